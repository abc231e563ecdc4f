//! The power fails at every write of a transaction: it happened entirely or not at all.

use tsm_epurse::commands::GetTransactionProof;
use tsm_epurse::{TransactionSequence, TransactionType};

use super::*;

/// All that a transaction changes, as the card tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    balance: u32,
    counters: (u16, u16),
    log: Option<Vec<u8>>,
    history: Option<Vec<u8>>,
    transit: Option<Vec<u8>>,
    proof: Option<Vec<u8>>,
}

fn observe(card: &mut TestCard, proof: GetTransactionProof) -> Seen {
    card.select(Interface::Contact, PURSE);
    let data = |answer: ResponseApdu| (answer.status == OK).then_some(answer.data);
    Seen {
        balance: balance(card),
        counters: counters(card),
        log: data(record(card, 0x18, 1)),
        history: data(record(card, 0x1E, 1)),
        transit: data(record(card, 0x1A, 1)),
        proof: data(card.send(Interface::Contact, &proof.to_apdu())),
    }
}

/// Cuts the power at every write of the last command that `run` sends and checks what the card shows
/// afterwards. `run` prepares the command on a card and gives it back.
fn tear(
    card: &TestCard,
    proof: GetTransactionProof,
    run: impl Fn(&mut TestCard) -> CommandApdu,
) -> (u64, u64) {
    let before = observe(&mut card.copy(), proof);
    let mut whole = card.copy();
    whole.select(Interface::Contact, PURSE);
    let command = run(&mut whole);
    assert_eq!(whole.send(Interface::Contact, &command).status, OK);
    let after = observe(&mut whole, proof);
    assert_ne!(before, after);

    let (mut undone, mut done) = (0, 0);
    for writes in 0.. {
        let mut card = card.copy();
        card.select(Interface::Contact, PURSE);
        let command = run(&mut card);
        card.card.power_cut_after(writes);
        let answer = card.try_send(Interface::Contact, &command);
        if answer.is_some() {
            return (undone, done);
        }
        card.card.power_on().unwrap();
        let seen = observe(&mut card, proof);
        if seen == before {
            undone += 1;
        } else {
            assert_eq!(seen, after, "cut after {writes} writes");
            done += 1;
        }
    }
    unreachable!("some number of writes is enough")
}

/// req: B-6.1.6.c
#[test]
fn a_torn_credit_happened_or_not() {
    let card = card(1000);
    let sequence = TransactionSequence::new(1);
    let proof = GetTransactionProof { transaction_type: TransactionType::Load, sequence };
    let (undone, _) = tear(&card, proof, |card| begin_load(card, Interface::Contact, 5000).to_apdu());
    assert!(undone > 0);
}

/// req: B-6.1.6.c
#[test]
fn a_torn_debit_happened_or_not() {
    let card = card(1000);
    let sequence = TransactionSequence::new(1);
    let proof = GetTransactionProof { transaction_type: TransactionType::CompositePurchase, sequence };
    let (undone, _) = tear(&card, proof, |card| {
        let purchase = Purchase::begin(card, Interface::Contact, PurchaseKind::Composite, 300);
        let cached = [
            UpdateCappDataCache::transit_record(RecordId::RAIL, rail_record(0x44)),
            UpdateCappDataCache::history(vec![0x55; 48]),
        ];
        for record in cached {
            assert_eq!(card.send(Interface::Contact, &record.to_apdu()).status, OK);
        }
        purchase.debit()
    });
    assert!(undone > 0);
}

/// One card, hundreds of transactions, and the power failing at all manner of writes, those that
/// make room in the memory included: the counter always tells whether the money moved.
#[test]
fn a_long_life_on_bad_power_loses_nothing() {
    let mut card = card(0);
    let (mut expected, mut count, mut cuts) = (0, 0, 0);
    for turn in 0..300 {
        let credit = begin_load(&mut card, Interface::Contact, 7);
        card.card.power_cut_after(turn * 5 % 97);
        let answer = card.try_send(Interface::Contact, &credit.to_apdu());
        card.card.cancel_power_cut();
        if answer.is_none() {
            cuts += 1;
            card.card.power_on().unwrap();
            card.select(Interface::Contact, PURSE);
        }
        let (online, _) = counters(&mut card);
        assert!(online == count + 1 || (answer.is_none() && online == count), "turn {turn}");
        expected += 7 * u32::from(online - count);
        count = online;
        assert_eq!(balance(&mut card), expected);
        if count > 0 {
            let log = record(&mut card, 0x18, 1).data;
            assert_eq!(u16::from_be_bytes([log[0], log[1]]), count);
        }
    }
    assert!(cuts > 10 && count > 100, "{cuts} cuts, {count} loads");
}
