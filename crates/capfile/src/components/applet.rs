//! Applet component (JCVM 3.1, 6.6).

use tsm_iso7816::Aid;

use super::MethodLocation;
use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

/// An applet: what GlobalPlatform calls an executable module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppletEntry {
    /// Its AID: the module AID of INSTALL [for install].
    pub aid: Aid,
    /// Its `install(byte[], short, byte)`.
    pub install: MethodLocation,
}

/// The applets of the CAP file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppletComponent {
    /// In the order of the file; at least one.
    pub applets: Vec<AppletEntry>,
    /// Where each entry begins in the info item.
    pub(crate) offsets: Vec<usize>,
}

impl AppletComponent {
    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Applet, component.info());
        let count = reader.u1("the applet count")?;
        let mut applets = Vec::new();
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(reader.offset());
            let aid = reader.aid("an applet's AID")?;
            let install = MethodLocation::parse(&mut reader, form, "an applet's install method")?;
            applets.push(AppletEntry { aid, install });
        }
        reader.finish()?;
        Ok(Self { applets, offsets })
    }
}
