//! What a card holds, seen from outside without a command: for simulators and tests, which compare what the
//! servers believe with what is so. No command of the card reads this way, and nothing is changed.

use tsm_iso7816::Aid;

pub use crate::applets::purse::PurseReading;
use crate::applets::{self, purse};
use crate::card::SecureElement;
use crate::open::registry::Registry;

impl SecureElement {
    /// The registry: load files, security domains and applications.
    pub fn registry(&self) -> &Registry {
        &self.open.registry
    }

    /// What the purse with this AID counts; `None` when there is no such purse.
    ///
    /// While the card has no power, this is what it held before the write at which the power failed.
    pub fn purse(&self, aid: &Aid) -> Option<PurseReading> {
        let (id, entry) = self.open.registry.find_application(aid)?;
        let is_purse = entry.as_application()?.module == applets::TRANSIT_PURSE;
        is_purse.then(|| purse::look(&self.open.memory, id)).flatten()
    }
}
