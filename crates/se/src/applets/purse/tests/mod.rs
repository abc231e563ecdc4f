//! The purse through the card's front door: APDUs on both interfaces, secure channel and all.

mod blocks;
mod files;
mod interfaces;
mod limits;
mod pin;
mod power;
mod random;
mod status;
mod transactions;
mod vectors;

use std::convert::Infallible;

use sha2::{Digest, Sha256};
use tsm_epurse::card::PurseState;
use tsm_epurse::commands::{
    CreditForLoad, DebitForPurchase, DebitForPurchaseResponse, InitializeForLoad, InitializeForLoadResponse,
    InitializeForPurchase, InitializeForPurchaseResponse, Pin, PurchaseKind, UpdateCappDataCache,
};
use tsm_epurse::file::{CardKind, Management, PublicInformation, RecordId};
use tsm_epurse::host::load::LoadSession;
use tsm_epurse::host::purchase::{PurchaseFacts, PurchaseSession};
use tsm_epurse::personalization::{EncipheredKeySet, EncipheredPin, PersonalizationData};
use tsm_epurse::{
    Algorithm, Amount, DateTime, Key, KeyIndex, KeyRole, KeySet, OfflineCounter, OnlineCounter,
    OverdraftLimit, TerminalNumber, TerminalSequence,
};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use crate::Interface;
use crate::applets::test_card::{PURSE, TestCard};

const EF15: &str = "09990000FFFFFFFF02010310499900000001234520250101204512310000";
const AT: DateTime = DateTime::from_bytes([0x20, 0x24, 0x12, 0x29, 0x14, 0x17, 0x40]);
const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0x00, 0x00, 0x00, 0x42]);
const OK: StatusWord = StatusWord::SUCCESS;

/// Keys that differ from role to role, folded or not.
fn keys(algorithm: Algorithm) -> KeySet {
    KeySet::from_fn(algorithm, |role| {
        let digest = Sha256::digest([role.index() as u8, algorithm.identifier()]);
        core::array::from_fn(|at| digest[at])
    })
}

fn key(role: KeyRole) -> Key {
    keys(Algorithm::TripleDes).key(role).clone()
}

/// The data of a card with `purse` fen, a limit, counters and keys.
fn data(
    purse: u32,
    limit: u32,
    counters: (u16, u16),
    set: &KeySet,
    seal: &dyn Fn(&[u8]) -> Vec<u8>,
) -> PersonalizationData {
    let seal = |block: &[u8; 16]| Ok::<_, Infallible>(seal(block).try_into().unwrap());
    let public = PublicInformation::decode(&hex::decode(EF15).unwrap()).unwrap();
    let mut management = Management::decode(&[0; 60]).unwrap();
    management.country = [0, 0, 1, 0x56];
    management.kind = CardKind::Ordinary;
    let sealed = EncipheredKeySet::seal(set, seal).unwrap();
    let mut data = PersonalizationData::new_card(public, management, set.algorithm(), sealed);
    data.start.state = PurseState::new(
        Amount::from_fen(purse),
        OverdraftLimit::from_fen(limit).unwrap(),
        OverdraftLimit::NONE,
        OnlineCounter::new(counters.0),
        OfflineCounter::new(counters.1),
    )
    .unwrap();
    let pin = Pin::new(&[0x12, 0x34, 0x56]).unwrap();
    data.pin = Some(EncipheredPin::seal(&pin, 3, seal).unwrap());
    data
}

fn encoded(data: &PersonalizationData) -> Vec<u8> {
    data.groupings().iter().flat_map(|grouping| grouping.encode().unwrap()).collect()
}

/// A card whose purse is personalised so, and selected on both interfaces.
fn card_with(purse: u32, limit: u32, counters: (u16, u16), set: &KeySet) -> TestCard {
    let mut card = TestCard::new();
    let status = card.personalise(PURSE, |seal| encoded(&data(purse, limit, counters, set, seal)));
    assert_eq!(status, OK);
    for interface in Interface::ALL {
        assert_eq!(card.select(interface, PURSE).status, OK);
    }
    card
}

/// A card with `purse` fen and fresh counters.
fn card(purse: u32) -> TestCard {
    card_with(purse, 0, (0, 0), &keys(Algorithm::TripleDes))
}

fn fen(fen: u32) -> Amount {
    Amount::from_fen(fen)
}

fn initialize_load(amount: u32) -> InitializeForLoad {
    InitializeForLoad { key_index: KeyIndex::FIRST, amount: fen(amount), terminal: TERMINAL }
}

/// INITIALIZE FOR LOAD and the CREDIT FOR LOAD that answers it.
fn begin_load(card: &mut TestCard, interface: Interface, amount: u32) -> CreditForLoad {
    let command = initialize_load(amount);
    let answer = card.send(interface, &command.to_apdu());
    assert_eq!(answer.status, OK);
    let answer = InitializeForLoadResponse::decode(&answer.data).unwrap();
    LoadSession::begin(&key(KeyRole::Load), &command, &answer).unwrap().credit(AT)
}

/// One purchase of a terminal with a PSAM of its own.
struct Purchase {
    session: PurchaseSession,
    facts: PurchaseFacts,
}

impl Purchase {
    fn begin(card: &mut TestCard, interface: Interface, kind: PurchaseKind, amount: u32) -> Self {
        let command = initialize_purchase(kind, amount);
        let answer = card.send(interface, &command.to_apdu());
        assert_eq!(answer.status, OK);
        let answer = InitializeForPurchaseResponse::decode(&answer.data).unwrap();
        let facts = PurchaseFacts {
            amount: fen(amount),
            transaction_type: kind.transaction_type(),
            terminal: TERMINAL,
            terminal_sequence: TerminalSequence::new(0x1234),
            at: AT,
        };
        let session = PurchaseSession::begin(&key(KeyRole::Purchase), answer.random, answer.counter, facts);
        Self { session, facts }
    }

    fn debit(&self) -> CommandApdu {
        let Self { session, facts } = self;
        DebitForPurchase { terminal_sequence: facts.terminal_sequence, at: facts.at, mac1: session.mac1() }
            .to_apdu()
    }

    /// Whether the answer proves the debit to the PSAM and to the clearing centre.
    fn verify(&self, answer: &ResponseApdu) {
        assert_eq!(answer.status, OK);
        let answer = DebitForPurchaseResponse::decode(&answer.data).unwrap();
        assert!(self.session.verify_mac2(answer.mac2));
        assert!(tsm_epurse::host::purchase::verify_tac(&key(KeyRole::Tac), &self.facts, answer.tac));
    }
}

fn initialize_purchase(kind: PurchaseKind, amount: u32) -> InitializeForPurchase {
    InitializeForPurchase { kind, key_index: KeyIndex::FIRST, amount: fen(amount), terminal: TERMINAL }
}

/// A whole purchase.
fn buy(card: &mut TestCard, interface: Interface, amount: u32) {
    let purchase = Purchase::begin(card, interface, PurchaseKind::Simple, amount);
    let answer = card.send(interface, &purchase.debit());
    purchase.verify(&answer);
}

/// A whole composite purchase with a history record filled with `mark`.
fn tap(card: &mut TestCard, interface: Interface, amount: u32, mark: u8) {
    let purchase = Purchase::begin(card, interface, PurchaseKind::Composite, amount);
    let cached = card.send(interface, &UpdateCappDataCache::history(vec![mark; 48]).to_apdu());
    assert_eq!(cached.status, OK);
    let answer = card.send(interface, &purchase.debit());
    purchase.verify(&answer);
}

/// A rail record with `mark` in its body.
fn rail_record(mark: u8) -> Vec<u8> {
    let mut record = vec![mark; RecordId::RAIL.length()];
    record[..4].copy_from_slice(&[0x27, 0x01, 0x7D, 0x01]);
    record
}

/// What can be spent.
fn balance(card: &mut TestCard) -> u32 {
    balance_of(card, 0)
}

fn balance_of(card: &mut TestCard, p1: u8) -> u32 {
    let answer = card.send(Interface::Contact, &CommandApdu::new(0x80, 0x5C, p1, 0x02).with_ne(4));
    assert_eq!(answer.status, OK);
    u32::from_be_bytes(answer.data.try_into().unwrap())
}

/// The counters, as the INITIALIZE commands tell them without changing anything.
fn counters(card: &mut TestCard) -> (u16, u16) {
    let load = card.send(Interface::Contact, &initialize_load(0).to_apdu());
    let purchase = card.send(Interface::Contact, &initialize_purchase(PurchaseKind::Simple, 0).to_apdu());
    let counter = |answer: &ResponseApdu| u16::from_be_bytes([answer.data[4], answer.data[5]]);
    (counter(&load), counter(&purchase))
}

fn record(card: &mut TestCard, sfi: u8, number: u8) -> ResponseApdu {
    let command = CommandApdu::new(0x00, 0xB2, number, sfi << 3 | 4).with_any_response();
    card.send(Interface::Contact, &command)
}

fn reselect(card: &mut TestCard, aid: Aid) -> StatusWord {
    card.select(Interface::Contact, aid).status
}
