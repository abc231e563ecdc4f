//! Load, purchase, composite purchase, unload and overdraft, driven by the host half.

use tsm_epurse::commands::{
    CreditForLoadResponse, DebitForUnloadResponse, GetTransactionProof, InitializeForOverdraft,
    InitializeForOverdraftResponse, InitializeForUnload, InitializeForUnloadResponse, TransactionProof,
    UpdateOverdraftLimitResponse,
};
use tsm_epurse::file::TransitRecord;
use tsm_epurse::host::load::{LoadFacts, verify_tac};
use tsm_epurse::host::overdraft::{OverdraftFacts, OverdraftSession};
use tsm_epurse::host::unload::{UnloadFacts, UnloadSession, verify_mac3};
use tsm_epurse::{Mac, TransactionSequence, TransactionType};

use super::*;

/// A load is proven by its TAC, also to whoever lost the answer; its MAC2 is good once.
///
/// req: B-6.2.1.a
#[test]
fn a_load_is_proven_and_happens_once() {
    let mut card = card(100);
    let credit = begin_load(&mut card, Interface::Contact, 5000);
    let answer = card.send(Interface::Contact, &credit.to_apdu());
    assert_eq!(answer.status, OK);
    let tac = CreditForLoadResponse::decode(&answer.data).unwrap().tac;
    let facts = LoadFacts {
        balance_after: fen(5100),
        counter_before: OnlineCounter::new(0),
        amount: fen(5000),
        terminal: TERMINAL,
        at: AT,
    };
    assert!(verify_tac(&key(KeyRole::Tac), &facts, tac));
    assert_eq!((balance(&mut card), counters(&mut card)), (5100, (1, 0)));

    let proof = GetTransactionProof {
        transaction_type: TransactionType::Load,
        sequence: TransactionSequence::new(1),
    };
    let answer = card.send(Interface::Contact, &proof.to_apdu());
    assert_eq!(TransactionProof::decode(&answer.data), Ok(TransactionProof { mac2: credit.mac2, tac }));
    let before = GetTransactionProof { sequence: TransactionSequence::new(0), ..proof };
    assert_eq!(card.send(Interface::Contact, &before.to_apdu()).status, StatusWord::PROOF_NOT_AVAILABLE);

    let replayed = card.send(Interface::Contact, &credit.to_apdu());
    assert_eq!(replayed.status, StatusWord::CONDITIONS_NOT_SATISFIED);
    initialize_again(&mut card, 5000);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, StatusWord::MAC_INCORRECT);
    assert_eq!(balance(&mut card), 5100);
}

fn initialize_again(card: &mut TestCard, amount: u32) {
    assert_eq!(card.send(Interface::Contact, &initialize_load(amount).to_apdu()).status, OK);
}

/// A new INITIALIZE FOR LOAD makes an outstanding MAC2 worthless, and a wrong MAC2 ends its load.
#[test]
fn an_outstanding_mac2_is_void_after_another_initialisation() {
    let mut card = card(0);
    let old = begin_load(&mut card, Interface::Contact, 5000);
    let new = begin_load(&mut card, Interface::Contact, 5000);
    assert_eq!(card.send(Interface::Contact, &old.to_apdu()).status, StatusWord::MAC_INCORRECT);
    assert_eq!(card.send(Interface::Contact, &new.to_apdu()).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(balance(&mut card), 0);
}

/// req: B-6.2.1.a
#[test]
fn a_purchase_is_proven_to_terminal_and_centre() {
    let mut card = card(1000);
    buy(&mut card, Interface::Contact, 300);
    assert_eq!((balance(&mut card), counters(&mut card)), (700, (0, 1)));
    let refused = card.send(Interface::Contact, &initialize_purchase(PurchaseKind::Simple, 701).to_apdu());
    assert_eq!(refused.status, StatusWord::AMOUNT_INSUFFICIENT);
}

/// Several cached records become effective with the debit and not before; a wrong MAC1 drops them.
#[test]
fn cached_records_come_with_the_debit_or_not_at_all() {
    let mut card = card(1000);
    let history = UpdateCappDataCache::history(vec![0x33; 48]).to_apdu();
    let transit = UpdateCappDataCache::transit_record(RecordId::RAIL, rail_record(0x44)).to_apdu();
    let begin = |card: &mut TestCard| {
        let purchase = Purchase::begin(card, Interface::Contact, PurchaseKind::Composite, 200);
        assert_eq!(card.send(Interface::Contact, &transit).status, OK);
        assert_eq!(card.send(Interface::Contact, &history).status, OK);
        purchase
    };
    let dropped = begin(&mut card);
    let mut wrong = dropped.debit();
    wrong.data[14] ^= 1;
    assert_eq!(card.send(Interface::Contact, &wrong).status, StatusWord::MAC_INCORRECT);
    assert_eq!(record(&mut card, 0x1E, 1).status, StatusWord::RECORD_NOT_FOUND);
    assert_eq!(record(&mut card, 0x1A, 1).data, TransitRecord::empty(RecordId::RAIL).encode());

    let purchase = begin(&mut card);
    assert_eq!(record(&mut card, 0x1E, 1).status, StatusWord::RECORD_NOT_FOUND);
    let answer = card.send(Interface::Contact, &purchase.debit());
    purchase.verify(&answer);
    assert_eq!(record(&mut card, 0x1E, 1).data, vec![0x33; 48]);
    assert_eq!(record(&mut card, 0x1A, 1).data, rail_record(0x44));
    assert_eq!(balance(&mut card), 800);
}

/// UPDATE CAPP DATA CACHE belongs to a composite purchase and takes whole and rightful records.
#[test]
fn the_cache_refuses_what_no_debit_could_write() {
    let mut card = card(1000);
    let cache =
        |record: u8, sfi: u8, data: Vec<u8>| CommandApdu::new(0x80, 0xDC, record, sfi << 3).with_data(data);
    let good = cache(0, 0x1E, vec![1; 48]);
    let mut send = |command: &CommandApdu| card.send(Interface::Contact, command).status;
    assert_eq!(send(&good), StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(send(&initialize_purchase(PurchaseKind::Simple, 1).to_apdu()), OK);
    assert_eq!(send(&good), StatusWord::CONDITIONS_NOT_SATISFIED, "a simple purchase writes no records");
    assert_eq!(send(&initialize_purchase(PurchaseKind::Composite, 1).to_apdu()), OK);
    assert_eq!(send(&cache(0, 0x1E, vec![1; 47])), StatusWord::WRONG_LENGTH);
    assert_eq!(send(&cache(1, 0x1E, vec![1; 48])), StatusWord::INCORRECT_P1_P2);
    assert_eq!(send(&cache(0, 0x18, vec![1; 23])), StatusWord::NOT_FOUND);
    assert_eq!(send(&cache(19, 0x1A, vec![0x27; 20])), StatusWord::RECORD_NOT_FOUND);
    assert_eq!(send(&cache(1, 0x1A, vec![0x27; 20])), StatusWord::WRONG_DATA);
    assert_eq!(send(&cache(1, 0x1A, [vec![0x27, 1], vec![0; 127]].concat())), StatusWord::WRONG_LENGTH);
    for _ in 0..8 {
        assert_eq!(send(&good), OK);
    }
    assert_eq!(send(&good), StatusWord::NOT_ENOUGH_MEMORY);
}

/// D-31: a composite purchase of nothing is counted and logged.
#[test]
fn an_entry_without_fare_is_counted_and_logged() {
    let mut card = card(500);
    tap(&mut card, Interface::Contactless, 0, 0x03);
    assert_eq!((balance(&mut card), counters(&mut card)), (500, (0, 1)));
    let log = record(&mut card, 0x18, 1).data;
    assert_eq!(hex::encode_upper(&log[..10]), "00010000000000000009");
}

/// Only the purse's own money can be unloaded; the answer proves it.
#[test]
fn an_unload_is_proven_by_mac3() {
    let mut card = card_with(900, 500, (0, 0), &keys(Algorithm::TripleDes));
    let command =
        |amount| InitializeForUnload { key_index: KeyIndex::FIRST, amount: fen(amount), terminal: TERMINAL };
    let refused = card.send(Interface::Contact, &command(901).to_apdu());
    assert_eq!(refused.status, StatusWord::AMOUNT_INSUFFICIENT);
    let answer = card.send(Interface::Contact, &command(900).to_apdu());
    let answer = InitializeForUnloadResponse::decode(&answer.data).unwrap();
    let session = UnloadSession::begin(&key(KeyRole::Unload), &command(900), &answer).unwrap();
    let answer = card.send(Interface::Contact, &session.debit(AT).to_apdu());
    let mac3 = DebitForUnloadResponse::decode(&answer.data).unwrap().mac3;
    let facts = UnloadFacts {
        balance_after: fen(500),
        counter_before: OnlineCounter::new(0),
        amount: fen(900),
        terminal: TERMINAL,
        at: AT,
    };
    assert!(verify_mac3(&key(KeyRole::Unload), &facts, mac3));
    assert_eq!((balance_of(&mut card, 0), balance_of(&mut card, 3)), (500, 0));
}

/// D-29: usable, limit, used and own, before and after the overdraft is used and repaid.
#[test]
fn the_overdraft_is_told_apart() {
    let mut card = card(100);
    let command = InitializeForOverdraft { key_index: KeyIndex::FIRST, terminal: TERMINAL };
    let answer = card.send(Interface::Contact, &command.to_apdu());
    let answer = InitializeForOverdraftResponse::decode(&answer.data).unwrap();
    let session = OverdraftSession::begin(&key(KeyRole::Overdraft), &command, &answer).unwrap();
    let limit = OverdraftLimit::from_fen(2000).unwrap();
    let answer = card.send(Interface::Contact, &session.update(limit, AT).to_apdu());
    let tac = UpdateOverdraftLimitResponse::decode(&answer.data).unwrap().tac;
    let facts = OverdraftFacts {
        balance: fen(100),
        counter_before: OnlineCounter::new(0),
        new_limit: limit,
        terminal: TERMINAL,
        at: AT,
    };
    assert!(tsm_epurse::host::overdraft::verify_tac(&key(KeyRole::Tac), &facts, tac));
    let told = |card: &mut TestCard| [0, 1, 2, 3].map(|p1| balance_of(card, p1));
    assert_eq!(told(&mut card), [2100, 2000, 0, 100]);
    buy(&mut card, Interface::Contact, 600);
    assert_eq!(told(&mut card), [1500, 2000, 500, 0]);
    let credit = begin_load(&mut card, Interface::Contact, 700);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, OK);
    assert_eq!(told(&mut card), [2200, 2000, 0, 200]);
}

/// A second load key has an index of its own.
#[test]
fn key_indexes_are_told_apart() {
    let mut card = card(0);
    let refused = InitializeForLoad { key_index: KeyIndex(2), ..initialize_load(1) };
    let refused = card.send(Interface::Contact, &refused.to_apdu());
    assert_eq!(refused.status, StatusWord::KEY_INDEX_NOT_SUPPORTED);
    let refused =
        InitializeForPurchase { key_index: KeyIndex(0), ..initialize_purchase(PurchaseKind::Simple, 0) };
    let refused = card.send(Interface::Contact, &refused.to_apdu());
    assert_eq!(refused.status, StatusWord::KEY_INDEX_NOT_SUPPORTED);

    let second = Key::new(Algorithm::TripleDes, [0x5A; 16]);
    let mut card = TestCard::new();
    card.personalise(PURSE, |seal| {
        let mut data = data(0, 0, (0, 0), &keys(Algorithm::TripleDes), seal);
        let sealed = tsm_epurse::personalization::EncipheredKey::seal(&second, |block| {
            Ok::<_, Infallible>(seal(block).try_into().unwrap())
        });
        data.second_load_keys = vec![(Algorithm::TripleDes, sealed.unwrap())];
        encoded(&data)
    });
    card.select(Interface::Contact, PURSE);
    let command = InitializeForLoad { key_index: KeyIndex(2), ..initialize_load(700) };
    let answer = card.send(Interface::Contact, &command.to_apdu());
    let answer = InitializeForLoadResponse::decode(&answer.data).unwrap();
    assert!(LoadSession::begin(&key(KeyRole::Load), &command, &answer).is_err());
    let credit = LoadSession::begin(&second, &command, &answer).unwrap().credit(AT);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, OK);
    assert_eq!(balance(&mut card), 700);
}

/// A card with other keys than the terminal's refuses the debit and keeps its money.
#[test]
fn a_terminal_with_other_keys_takes_nothing() {
    let mut card = card(1000);
    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Simple, 100);
    let forged = DebitForPurchase {
        terminal_sequence: purchase.facts.terminal_sequence,
        at: AT,
        mac1: Mac::new([1, 2, 3, 4]),
    };
    assert_eq!(card.send(Interface::Contactless, &forged.to_apdu()).status, StatusWord::MAC_INCORRECT);
    assert_eq!(
        card.send(Interface::Contactless, &purchase.debit()).status,
        StatusWord::CONDITIONS_NOT_SATISFIED,
        "the purchase is over"
    );
    assert_eq!((balance(&mut card), counters(&mut card)), (1000, (0, 0)));
}
