//! Import component (JCVM 3.1, 6.7).

use crate::reader::Reader;
use crate::{ComponentTag, Fault, PackageInfo, RawComponent};

/// The packages that this one uses. A package's index is its package token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportComponent {
    /// In the order of their tokens.
    pub packages: Vec<PackageInfo>,
    /// Where each entry begins in the info item.
    pub(crate) offsets: Vec<usize>,
}

impl ImportComponent {
    pub(crate) fn parse(component: &RawComponent) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Import, component.info());
        let count = reader.u1("the import count")?;
        if count > 128 {
            return Err(reader.fault_at(0, format!("{count} packages are imported, and 128 have tokens")));
        }
        let mut packages = Vec::new();
        let mut offsets = Vec::new();
        for _ in 0..count {
            offsets.push(reader.offset());
            packages.push(reader.package_info("an imported package")?);
        }
        reader.finish()?;
        Ok(Self { packages, offsets })
    }
}
