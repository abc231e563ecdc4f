//! A look into a purse from outside the card.

use tsm_epurse::Sfi;
use tsm_epurse::card::PurseState;
use tsm_epurse::file::PublicInformation;

use super::ledger::{Availability, Ledger};
use super::objects;
use crate::applet::data_key;
use crate::memory::Memory;
use crate::open::registry::EntryId;

/// What a purse counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseReading {
    /// The card's number as EF15 has it.
    pub serial: [u8; 10],
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
    let information = memory.read(data_key(entry, objects::transparent(Sfi::PUBLIC_INFORMATION)));
    let information = information.and_then(|content| PublicInformation::decode(content).ok());
    let serial = information.map(|information| information.serial.0).unwrap_or_default();
    Some(PurseReading { serial, state: ledger.state, personalised: ledger.personalised, spendable })
}
