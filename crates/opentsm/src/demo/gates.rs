//! The city's two gates: one where the rider enters, one where the rider leaves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tsm_domain::Fen;
use tsm_domain::money::fare::{DistanceBand, FareRule, FareTable, FareTableError, StationId};
use tsm_epurse::{Algorithm, Key, KeyVersion, TerminalNumber};
use tsm_iso7816::CommandApdu;
use tsm_services::purse::card_time;
use tsm_terminal::gate::{Gate, GateProfile, Passage, UnmatchedJourney};
use tsm_terminal::psam::{PsamProfile, RootKeys};
use tsm_terminal::reader::ReaderError;
use tsm_terminal::state::{Limits, TerminalState};
use tsm_terminal::store::{FileStore, Folder, InMemory, OnLoss, Opened, StoreKey, TerminalStore};
use tsm_terminal::terminal::{TapError, Terminal, TerminalClass};
use tsm_terminal::upload;

use crate::city::ceremony::{ISSUER_FACTOR, TerminalRoots, TerminalSecrets};
use crate::city::folder::CityFolder;
use crate::city::roles::GATES;
use crate::handset::CardLink;

/// A gate of the city.
pub type CityGate = Gate<RootKeys, Box<dyn TerminalStore + Send>>;

/// Why the gates could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The fares.
    #[error(transparent)]
    Fares(#[from] FareTableError),
    /// A terminal or a tap.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// A store.
    #[error("the store of a gate in {0} cannot be opened: {1}")]
    Store(PathBuf, String),
}

/// The gate at Harbour and the one at Lighthouse, eight kilometres apart.
pub fn open(roots: &TerminalRoots) -> Result<[CityGate; 2], GateError> {
    let [harbour, lighthouse] = GATES;
    let fresh = || (TerminalState::default(), Box::new(InMemory::default()) as Box<dyn TerminalStore + Send>);
    let keys = || (*roots.purchase, *roots.block);
    Ok([gate(1, harbour, keys(), fresh())?, gate(2, lighthouse, keys(), fresh())?])
}

/// The same gates with their stores in the city's folder: a city that is started again goes on with what its
/// gates had not delivered, and with their numbers.
pub fn open_in(folder: &CityFolder, secrets: &TerminalSecrets) -> Result<[CityGate; 2], GateError> {
    let [harbour, lighthouse] = GATES;
    let keys = || (secrets.purchase, secrets.block);
    let kept = |number| kept(folder, secrets, number);
    Ok([gate(1, harbour, keys(), kept(harbour)?)?, gate(2, lighthouse, keys(), kept(lighthouse)?)?])
}

type Kept = (TerminalState, Box<dyn TerminalStore + Send>);

fn kept(folder: &CityFolder, secrets: &TerminalSecrets, number: [u8; 6]) -> Result<Kept, GateError> {
    let path = folder.path().join("terminals").join(hex::encode(number));
    let wrong = |error: &dyn std::fmt::Display| GateError::Store(path.clone(), error.to_string());
    let disk = Folder::open(&path).map_err(|error| wrong(&error))?;
    let key = StoreKey::new(secrets.store);
    let opened = FileStore::open(disk, key, TerminalNumber::new(number), OnLoss::Refuse);
    let Opened { store, state, .. } = opened.map_err(|error| wrong(&error))?;
    Ok((state, Box::new(store)))
}

fn gate(
    station: u16,
    terminal: [u8; 6],
    (purchase, block): ([u8; 16], [u8; 16]),
    (state, store): Kept,
) -> Result<CityGate, GateError> {
    let key = |value: [u8; 16]| Key::new(Algorithm::TripleDes, value);
    let keys = RootKeys { purchase: vec![(KeyVersion(1), key(purchase))], block: Some(key(block)) };
    let [a, b, c, d, e, f] = terminal;
    let psam = PsamProfile {
        terminal: TerminalNumber::new(terminal),
        serial: [0, 0, 0, 0, a, b, c, d, e, f],
        purchase_key_index: 1,
        wrong_mac2_limit: 1_000,
    };
    let terminal = Terminal::start(TerminalClass::A, psam, keys, state, store, Limits::default())?;
    Ok(Gate::new(profile(station)?, terminal))
}

/// A gate of Harbour (1) or Lighthouse (2).
pub fn profile(station: u16) -> Result<GateProfile, FareTableError> {
    let stations = BTreeMap::from([(StationId(1), 0), (StationId(2), 8_000)]);
    let band = |up_to_m, fen| DistanceBand { up_to_m, price: Fen::new(fen) };
    let rule = FareRule::Distance {
        positions_m: stations,
        bands: vec![band(6_000, 300), band(12_000, 400), band(22_000, 500)],
        maximum: Fen::new(900),
    };
    Ok(GateProfile {
        station: StationId(station),
        line: [0x01, 0x00],
        operator: [0x00, 0x01],
        city: [0x99, 0x90],
        acquirer: ISSUER_FACTOR.to_bytes(),
        fares: FareTable::new(1, rule)?,
        least_balance: Fen::new(300),
        unmatched: UnmatchedJourney::ChargeMaximum,
        neighbour_grace_s: 300,
    })
}

/// The rider holds the phone to the gate on the way in.
pub fn enter(gate: &mut CityGate, phone: &mut CardLink, at: jiff::Timestamp) -> Result<Passage, TapError> {
    let passage = gate.enter(&mut reader(phone), card_time(at));
    phone.leave_field();
    passage
}

/// The rider holds the phone to the gate on the way out.
pub fn leave(gate: &mut CityGate, phone: &mut CardLink, at: jiff::Timestamp) -> Result<Passage, TapError> {
    let passage = gate.leave(&mut reader(phone), card_time(at));
    phone.leave_field();
    passage
}

fn reader(
    phone: &mut CardLink,
) -> impl FnMut(&CommandApdu) -> Result<tsm_iso7816::ResponseApdu, ReaderError> + '_ {
    |command| phone.exchange(command).ok_or(ReaderError::CardLeft)
}

/// What the gates have for the clearing centre.
pub fn batches(gates: &[CityGate; 2]) -> Vec<tsm_api::clearing::ConsumptionReport> {
    gates.iter().filter_map(|gate| upload::notice(gate.terminal(), 1_000)).collect()
}
