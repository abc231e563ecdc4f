//! The structural verifier: components against one another.
//!
//! A file that the specification clearly forbids is refused with a sentence that says which component,
//! which offset and why. What converters in the field are known to vary is a remark. References into other
//! packages are not followed: that needs their export files, and the card does it when it links.

mod code;
mod descriptor;
mod layout;
mod links;
mod locations;

use crate::{CapFile, Fault};

/// Why a CAP file must not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the CAP file is malformed: {0}")]
pub struct Refused(#[from] pub Fault);

/// An oddity that does not keep the file from being loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark(pub Fault);

impl core::fmt::Display for Remark {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// Checks a CAP file's structure. The remarks are in the order of the checks.
pub fn verify(cap: &CapFile) -> Result<Vec<Remark>, Refused> {
    let mut remarks = Vec::new();
    layout::check(cap, &mut remarks)?;
    let code = code::check(cap, &links::referred_methods(cap), &mut remarks)?;
    links::check(cap, &code, &mut remarks)?;
    locations::check(cap, &code, &mut remarks)?;
    descriptor::check(cap, &mut remarks)?;
    Ok(remarks)
}
