//! The built-in applications; the AID of a module chooses one.

mod inert;

use tsm_iso7816::Aid;

use crate::applet::Applet;

/// The behaviour of the module `module`; one that cannot run is inert.
pub fn create(module: &Aid) -> Box<dyn Applet> {
    let _ = module;
    Box::new(inert::Inert)
}
