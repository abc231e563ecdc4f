//! Security domains: their keys, their data, their secure channel sessions, and the signatures
//! they verify and make (GPC 2.3.1, chapter 7).

mod initial_keys;
pub(crate) mod keys;
pub(crate) mod session;
pub mod signatures;

use std::collections::BTreeMap;

pub use keys::{Key, KeyRing};

/// What a security domain has beyond its registry entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainData {
    /// Its keys.
    pub keys: KeyRing,
    /// Its data objects by tag (0042, 0045, 1047, 2F14 and others), each the bare value.
    pub objects: BTreeMap<u16, Vec<u8>>,
    /// The memory set aside for it and its applications, if its space is fixed.
    pub fixed_space: Option<FixedSpace>,
    /// Failed authentications in a row.
    pub failures: u8,
    /// The receipts it has generated.
    pub confirmation_counter: u32,
    /// Whether applications may be extradited away from it.
    pub extradition: Extradition,
}

/// The memory set aside for a security domain of fixed space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedSpace {
    /// Bytes of non-volatile memory.
    pub non_volatile: u32,
    /// Bytes of volatile memory.
    pub volatile: u32,
}

/// Whether applications may leave a security domain for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extradition {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Refused,
}

impl DomainData {
    /// The bytes of its keys and data objects.
    pub fn size(&self) -> usize {
        let components = self.keys.iter().flat_map(|key| &key.components);
        components.map(|component| component.value.len()).sum::<usize>()
            + self.objects.values().map(Vec::len).sum::<usize>()
    }
}
