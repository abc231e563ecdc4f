//! A look into a purse from outside the card.

use tsm_epurse::card::PurseState;

use super::ledger::{Availability, Ledger};
use super::objects;
use crate::applet::data_key;
use crate::memory::Memory;
use crate::open::registry::EntryId;

/// What a purse counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseReading {
    /// Amounts and counters.
    pub state: PurseState,
    /// Whether personalisation was completed.
    pub personalised: bool,
    /// Whether transactions are possible.
    pub spendable: bool,
}

/// Looks.
pub(crate) fn look(memory: &Memory, entry: EntryId) -> Option<PurseReading> {
    let ledger = Ledger::decode(memory.read(data_key(entry, objects::LEDGER))?)?;
    let spendable = ledger.personalised && ledger.availability == Availability::Open;
    Some(PurseReading { state: ledger.state, personalised: ledger.personalised, spendable })
}
