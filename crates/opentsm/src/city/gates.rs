//! The city's two gates: one where the rider enters, one where the rider leaves.

use std::collections::BTreeMap;

use tsm_api::signature::SoftwareSigner;
use tsm_domain::Fen;
use tsm_domain::money::fare::{DistanceBand, FareRule, FareTable, FareTableError, StationId};
use tsm_epurse::file::Industry;
use tsm_iso7816::CommandApdu;
use tsm_services::clearing::TerminalPlace;
use tsm_services::purse::card_time;
use tsm_terminal::gate::{Gate, GateProfile, Passage, UnmatchedJourney};
use tsm_terminal::psam::RootKeys;
use tsm_terminal::reader::ReaderError;
use tsm_terminal::round::Lent;
use tsm_terminal::store::{FileStore, Folder};
use tsm_terminal::terminal::TapError;

use super::ceremony::ISSUER_FACTOR;
use super::roles::{BY_HAND, GATES, ONLINE};
use super::terminals::{CityTerminal, CityTerminals, Signed, TerminalError};
use crate::handset::CardLink;

/// A gate of the city.
pub struct CityGate {
    gate: Gate<RootKeys, FileStore<Folder>>,
    signer: Option<SoftwareSigner>,
}

/// Why the gates could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The fares.
    #[error(transparent)]
    Fares(#[from] FareTableError),
    /// A terminal.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// The gate at Harbour and the one at Lighthouse, eight kilometres apart, as they were left: with what they have not
/// delivered, and with their numbers.
pub fn open(terminals: &CityTerminals) -> Result<[CityGate; 2], GateError> {
    let [harbour, lighthouse] = GATES;
    let gate = |station, number| {
        let at_hand = terminals.open(number)?;
        let signer = at_hand.signer();
        Ok::<_, GateError>(CityGate { gate: Gate::new(profile(station)?, at_hand.terminal), signer })
    };
    Ok([gate(1, harbour)?, gate(2, lighthouse)?])
}

/// A gate of Harbour (1) or Lighthouse (2).
pub fn profile(station: u16) -> Result<GateProfile, FareTableError> {
    Ok(GateProfile {
        station: StationId(station),
        line: [0x01, 0x00],
        operator: [0x00, 0x01],
        city: [0x99, 0x90],
        acquirer: ISSUER_FACTOR.to_bytes(),
        fares: fares()?,
        least_balance: Fen::new(300),
        unmatched: UnmatchedJourney::ChargeMaximum,
        neighbour_grace_s: 300,
    })
}

/// Where the city's terminals stand: the gates, those of them that are used by hand, and the tills.
pub fn places() -> impl Iterator<Item = ([u8; 6], TerminalPlace)> {
    let gate = |station| TerminalPlace::Gate { industry: Industry::Rail.into(), station: StationId(station) };
    let [harbour, lighthouse] = GATES;
    let [harbour_by_hand, lighthouse_by_hand, till, cash] = BY_HAND;
    [
        (harbour, gate(1)),
        (lighthouse, gate(2)),
        (harbour_by_hand, gate(1)),
        (lighthouse_by_hand, gate(2)),
        (till, TerminalPlace::Till),
        (cash, TerminalPlace::Till),
        (ONLINE, TerminalPlace::Till),
    ]
    .into_iter()
}

/// The first version of the city's fare table.
pub fn fares() -> Result<FareTable, FareTableError> {
    let stations = BTreeMap::from([(StationId(1), 0), (StationId(2), 8_000)]);
    let band = |up_to_m, fen| DistanceBand { up_to_m, price: Fen::new(fen) };
    let rule = FareRule::Distance {
        positions_m: stations,
        bands: vec![band(6_000, 300), band(12_000, 400), band(22_000, 500)],
        maximum: Fen::new(900),
    };
    FareTable::new(1, rule)
}

impl CityGate {
    /// The terminal inside.
    pub const fn terminal(&self) -> &CityTerminal {
        self.gate.terminal()
    }

    /// The rider holds the phone to the gate on the way in.
    pub fn enter(&mut self, phone: &mut CardLink, at: jiff::Timestamp) -> Result<Passage, TapError> {
        let passage = self.gate.enter(&mut reader(phone), card_time(at));
        phone.leave_field();
        passage
    }

    /// The rider holds the phone to the gate on the way out.
    pub fn leave(&mut self, phone: &mut CardLink, at: jiff::Timestamp) -> Result<Passage, TapError> {
        let passage = self.gate.leave(&mut reader(phone), card_time(at));
        phone.leave_field();
        passage
    }
}

impl Lent for CityGate {
    type Keys = RootKeys;
    type Store = FileStore<Folder>;

    fn lend<T>(&mut self, work: impl FnOnce(&mut CityTerminal) -> T) -> T {
        work(self.gate.terminal_mut())
    }
}

impl Signed for CityGate {
    fn signer(&self) -> Option<SoftwareSigner> {
        self.signer.clone()
    }
}

fn reader(
    phone: &mut CardLink,
) -> impl FnMut(&CommandApdu) -> Result<tsm_iso7816::ResponseApdu, ReaderError> + '_ {
    |command| phone.exchange(command).ok_or(ReaderError::CardLeft)
}
