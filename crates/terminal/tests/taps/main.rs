//! Terminals against the software secure element: whole trips, sales and top-ups, torn ones included.

mod phone;

mod discounts;
mod fare_versions;
mod faults;
mod hostile;
mod lists;
mod offline;
mod services;
mod times;
mod trips;

use tsm_domain::{
    amount::Fen,
    money::fare::{DistanceBand, FareRule, FareTable, StationId},
};
use tsm_epurse::{
    Algorithm, Amount, DateTime, KeyRole, KeyVersion, TerminalNumber, TransactionType,
    file::Industry,
    host::purchase::{PurchaseFacts, verify_tac},
};
use tsm_terminal::{
    Gate, GateProfile, InMemory, Pos, PsamProfile, RecordProof, RootKeys, Terminal, TerminalClass,
    TerminalRecord, TerminalState, TerminalStore, UnmatchedJourney, pos::PosProfile, state::Limits,
};

pub(crate) type TestGate = Gate<RootKeys, InMemory>;
pub(crate) type TestPos = Pos<RootKeys, InMemory>;

/// What the trip between the two stations of the tests costs.
pub(crate) const FARE_FEN: u32 = 400;
pub(crate) const START_FEN: u32 = phone::START_FEN;

/// A moment of the day of the tests.
pub(crate) fn at(hour: u8, minute: u8, second: u8) -> DateTime {
    DateTime::from_calendar((2026, 3, 14), (hour, minute, second)).unwrap()
}

pub(crate) fn fen(fen: u32) -> Amount {
    Amount::from_fen(fen)
}

/// The PSAM's root keys: purchase for both ciphers, and the one that locks.
pub(crate) fn root_keys() -> RootKeys {
    let purchase = [Algorithm::TripleDes, Algorithm::Sm4]
        .map(|algorithm| (KeyVersion(1), phone::root(algorithm, KeyRole::Purchase)));
    RootKeys {
        purchase: purchase.to_vec(),
        block: Some(phone::root(Algorithm::TripleDes, KeyRole::ApplicationBlock)),
    }
}

pub(crate) fn psam_profile(number: u8) -> PsamProfile {
    PsamProfile {
        terminal: TerminalNumber::new([0x09, 0x99, 0, 0, 0, number]),
        serial: [number; 10],
        purchase_key_index: 1,
        wrong_mac2_limit: 5,
    }
}

pub(crate) fn terminal(
    class: TerminalClass,
    number: u8,
    state: TerminalState,
) -> Terminal<RootKeys, InMemory> {
    let profile = psam_profile(number);
    Terminal::start(class, profile, root_keys(), state, InMemory::default(), Limits::default()).unwrap()
}

pub(crate) fn fares() -> FareTable {
    let band = |up_to_m, price| DistanceBand { up_to_m, price: Fen::new(price) };
    let rule = FareRule::Distance {
        positions_m: [(1, 0), (2, 1_500), (9, 9_000)].map(|(station, m)| (StationId(station), m)).into(),
        bands: vec![band(6_000, 300), band(12_000, u64::from(FARE_FEN)), band(22_000, 500)],
        maximum: Fen::new(700),
    };
    FareTable::new(7, rule).unwrap()
}

/// Gate `number` of `station`.
pub(crate) fn gate(station: u16, number: u8) -> TestGate {
    gate_in(station, number, TerminalState::default())
}

pub(crate) fn gate_in(station: u16, number: u8, state: TerminalState) -> TestGate {
    gate_of(station, terminal(TerminalClass::A, number, state))
}

/// A gate that charges the highest fare when a card has not entered.
pub(crate) fn gate_charging_maximum(station: u16, number: u8) -> TestGate {
    let profile = GateProfile { unmatched: UnmatchedJourney::ChargeMaximum, ..gate_profile(station) };
    Gate::new(profile, terminal(TerminalClass::A, number, TerminalState::default()))
}

pub(crate) fn gate_of<S: TerminalStore>(station: u16, terminal: Terminal<RootKeys, S>) -> Gate<RootKeys, S> {
    Gate::new(gate_profile(station), terminal)
}

pub(crate) fn gate_profile(station: u16) -> GateProfile {
    GateProfile {
        station: StationId(station),
        line: [0x01, 0x00],
        operator: [0x30, 0x00],
        city: [0x99, 0x00],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
        fares: fares(),
        least_balance: Fen::new(300),
        unmatched: UnmatchedJourney::Refuse,
        neighbour_grace_s: 120,
    }
}

pub(crate) fn pos(class: TerminalClass, number: u8) -> TestPos {
    let profile = PosProfile {
        industry: Industry::Bus,
        line: [0x08, 0x00],
        station: [0x19, 0x00],
        operator: [0x30, 0x00],
        city: [0x99, 0x00],
        acquirer: [0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
    };
    Pos::new(profile, terminal(class, number, TerminalState::default()))
}

/// Verifies a record's TAC as the clearing centre does.
pub(crate) fn check_tac(record: &TerminalRecord) {
    let algorithm = Algorithm::try_from(record.algorithm).unwrap();
    let facts = PurchaseFacts {
        amount: fen(record.amount_fen),
        transaction_type: TransactionType::from(record.transaction_type),
        terminal: record.terminal,
        terminal_sequence: tsm_epurse::TerminalSequence::new(record.terminal_sequence),
        at: record.at,
    };
    let tac = record.tac.expect("the record has a TAC");
    assert!(verify_tac(&phone::card_key(algorithm, KeyRole::Tac), &facts, tac), "{record:?}");
    assert!(matches!(record.proof, RecordProof::Mac2 | RecordProof::Recovered));
}
