//! Online purchase from a real purse in the software SE: proven by MAC2 and TAC, cut at every command, charged
//! once.

use tsm_card::CardChannel;
use tsm_card::purse::{
    DebitOutcome, LoadPurpose, PurchaseObservation, PurchaseTerms, begin_purchase, credit, debit, initialise,
    observe_purchase, read_card,
};
use tsm_epurse::file::ApplicationSerial;
use tsm_epurse::{Amount, DateTime, KeyIndex, KeyRole, Tac, TerminalNumber, TerminalSequence};
use tsm_keys::purse::PurchaseAttempt;
use tsm_keys::{KeyHandle, KeyService};

use crate::support::*;

const PRICE: Amount = Amount::from_fen(1200);

fn at() -> DateTime {
    DateTime::from_bytes([0x20, 0x26, 0x11, 0x21, 0x09, 0x45, 0x00])
}

fn terms() -> PurchaseTerms {
    let terminal = TerminalNumber::new([0x09, 0x99, 0, 0, 0x0A, 0x01]);
    PurchaseTerms { key_index: KeyIndex::FIRST, amount: PRICE, terminal }
}

/// A purse with 5000 fen.
fn loaded() -> World {
    let world = World::new();
    run(world.open_card(&mut world.card.channel())).unwrap();
    world.card.restart();
    let (load, tac) = (world.purse_key(KeyRole::Load), world.purse_key(KeyRole::Tac));
    let terminal = TerminalNumber::new([0x09, 0x99, 0, 0, 0, 1]);
    let purpose = LoadPurpose { key_index: KeyIndex::FIRST, amount: Amount::from_fen(5000), terminal };
    let card = &mut world.card.channel();
    let attempt = run(initialise(card, &world.provider, &load, PURSE, purpose)).unwrap();
    run(credit(card, &world.provider, &load, &tac, &attempt, at())).unwrap();
    world
}

fn balance(world: &World) -> Amount {
    run(read_card(&mut world.card.channel(), PURSE)).unwrap().balance
}

/// As it is selected.
fn purse() -> (tsm_iso7816::Aid, ApplicationSerial) {
    (PURSE, ApplicationSerial([0x03, 0x10, 0x49, 0x99, 0, 0, 0, 0x01, 0x23, 0x45]))
}

fn sequence(number: u32) -> TerminalSequence {
    TerminalSequence::new(number)
}

fn check_tac(world: &World, attempt: &PurchaseAttempt, tac: Tac) {
    let key = world.purse_key(KeyRole::Tac);
    assert_eq!(world.provider.verify_purchase_tac(&key, &attempt.facts, tac), Ok(()), "the centre takes it");
}

pub async fn buy(
    world: &World,
    card: &mut impl CardChannel,
    key: &KeyHandle,
    durable: &mut Option<PurchaseAttempt>,
) -> Result<DebitOutcome, tsm_card::ProcedureError> {
    let answer = begin_purchase(card, PURSE, terms()).await?.answer;
    let attempt = terms().attempt(&answer, sequence(1), at());
    *durable = Some(attempt);
    debit(card, &world.provider, key, &attempt).await
}

#[test]
fn a_purchase_is_proven_by_mac2_and_its_tac() {
    let world = loaded();
    let key = world.purse_key(KeyRole::Purchase);
    let mut attempt = None;
    let outcome = run(buy(&world, &mut world.card.channel(), &key, &mut attempt)).unwrap();
    let DebitOutcome::Debited(tac) = outcome else { panic!("{outcome:?}") };
    check_tac(&world, &attempt.unwrap(), tac);
    assert_eq!(balance(&world), Amount::from_fen(3800));
    // Another card's key neither debits nor is believed.
    let wrong = world.purse_key(KeyRole::Load);
    let refused = run(buy(&world, &mut world.card.channel(), &wrong, &mut None));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(balance(&world), Amount::from_fen(3800));
}

/// Cut at every command, with the command or its answer lost, and taken up again: charged once, and the centre
/// gets the TAC of the debit that happened.
#[test]
fn a_purchase_that_was_cut_is_charged_once() {
    let mut cuts = 0;
    for lose in [Lost::Command, Lost::Response] {
        for left in 0..=2 {
            cuts += 1;
            let world = loaded();
            let key = world.purse_key(KeyRole::Purchase);
            let mut durable = None;
            let card = &mut world.card.channel_breaking_after(left, lose);
            run(buy(&world, card, &key, &mut durable)).unwrap_err();
            world.card.restart();
            let card = &mut world.card.channel();
            let Some(old) = durable else {
                // MAC1 never existed, so nothing can have been debited.
                run(buy(&world, card, &key, &mut durable)).unwrap();
                assert_eq!(balance(&world), Amount::from_fen(3800), "{lose:?} {left}");
                continue;
            };
            let seen = run(observe_purchase(card, &world.provider, &key, purse(), &old, terms())).unwrap();
            match seen {
                PurchaseObservation::Debited(tac) => check_tac(&world, &old, tac),
                PurchaseObservation::SaidNotToBeDebited { fresh } => {
                    let again = terms().attempt(&fresh.answer, sequence(2), at());
                    assert_eq!(again.counter, old.counter);
                    let done = run(debit(card, &world.provider, &key, &again)).unwrap();
                    let DebitOutcome::Debited(tac) = done else { panic!("{done:?}") };
                    check_tac(&world, &again, tac);
                }
                unknown => panic!("the card still has the proof: {unknown:?}"),
            }
            assert_eq!(balance(&world), Amount::from_fen(3800), "{lose:?} {left}");
            let last = run(observe_purchase(card, &world.provider, &key, purse(), &old, terms())).unwrap();
            assert!(!matches!(last, PurchaseObservation::SaidNotToBeDebited { .. }), "the counter has moved");
        }
    }
    println!("{cuts} cut points");
}

/// A MAC1 that was withheld is worth nothing once the purchase was begun anew.
#[test]
fn a_new_beginning_voids_a_mac1_that_is_still_on_its_way() {
    let world = loaded();
    let key = world.purse_key(KeyRole::Purchase);
    let card = &mut world.card.channel();
    let answer = run(begin_purchase(card, PURSE, terms())).unwrap().answer;
    let withheld = terms().attempt(&answer, sequence(1), at());
    let seen = run(observe_purchase(card, &world.provider, &key, purse(), &withheld, terms())).unwrap();
    assert!(matches!(seen, PurchaseObservation::SaidNotToBeDebited { .. }), "{seen:?}");
    let late = run(debit(card, &world.provider, &key, &withheld)).unwrap();
    assert!(matches!(late, DebitOutcome::SaidToBeRefused(_)), "{late:?}");
    assert_eq!(balance(&world), Amount::from_fen(5000));
    let another = ApplicationSerial::from_digits("3104999900000099999").unwrap();
    let key = world.purse_key(KeyRole::Purchase);
    let card = &mut world.card.channel();
    let seen = observe_purchase(card, &world.provider, &key, (PURSE, another), &withheld, terms());
    assert_eq!(run(seen), Ok(PurchaseObservation::AnotherCard), "another card's counter says nothing");
}
