//! Groups and their causes; differences, two people and money.

use proptest::prelude::*;

use super::*;
use crate::money::equation::MoneyTotals;
use crate::money::ledger::{Ledger, Transfer};
use crate::money::settlement::BusinessDay;

fn order() -> OrderId {
    OrderId::from_uuid(uuid::Uuid::from_u128(7))
}

fn card() -> CardNumber {
    CardNumber::compose("31049900", 1).unwrap()
}

fn line(kind: StatementKind, amount: u64) -> StatementLine {
    let (payment, at) = ("P1".parse().unwrap(), jiff::Timestamp::UNIX_EPOCH);
    StatementLine { order: order(), payment, kind, amount: Fen::new(amount), at }
}

fn entry(code: TransferCode, amount: u64) -> LedgerItem {
    let entry = EntryKind::Transfer(code);
    LedgerItem { reference: order(), entry, card: Some(card()), amount: Fen::new(amount) }
}

fn reported() -> LedgerItem {
    LedgerItem { entry: EntryKind::PaymentReported, ..entry(TransferCode::PaymentConfirmed, 100) }
}

fn transaction(kind: TransactionType, amount: u64) -> CardItem {
    let key = TransactionKey { card: card(), counter: 3, kind };
    CardItem { reference: order(), key, amount: Fen::new(amount) }
}

fn causes(statement: &[StatementLine], ledger: &[LedgerItem], cards: &[CardItem]) -> Vec<Cause> {
    judge(Group { statement, ledger, cards }).findings.iter().map(|finding| finding.cause).collect()
}

#[test]
fn each_group_has_its_causes() {
    use StatementKind::Paid;
    let refund = StatementKind::Refunded { refund: crate::id::TransferId::from_uuid(uuid::Uuid::nil()) };
    use TransactionType as Type;
    use TransferCode as T;
    let [paid, refunded] = [line(Paid, 100), line(refund, 100)];
    let (confirmed, loaded) = (entry(T::PaymentConfirmed, 100), entry(T::Loaded, 100));
    let claimed = entry(T::PaymentClaimed, 100);
    let (cancelled, repaid) = (entry(T::TopUpCancelled, 100), entry(T::RefundPaid, 100));
    let load = transaction(Type::Load, 100);
    let none: [Cause; 0] = [];
    let statement = std::slice::from_ref(&paid);
    let top_up = [confirmed.clone(), loaded.clone()];
    let cards = std::slice::from_ref(&load);
    assert_eq!(causes(statement, &top_up, cards), none, "a top-up");
    let doubted = [claimed.clone(), loaded.clone()];
    assert_eq!(causes(statement, &doubted, cards), none, "the statement confirms it");
    assert_eq!(causes(&[], &doubted, cards), [Cause::CreditWithoutPayment]);
    let confirmed_later = [claimed, loaded.clone(), reported()];
    assert_eq!(
        causes(&[], &confirmed_later, cards),
        [Cause::NotInStatement],
        "both of our words, not theirs"
    );
    assert_eq!(causes(&[], &top_up, cards), [Cause::NotInStatement]);
    assert_eq!(causes(statement, &[], &[]), [Cause::PaidUnknownToUs]);
    assert_eq!(causes(&[line(Paid, 99)], &top_up, cards), [Cause::AmountDiffers]);
    assert_eq!(causes(&[paid.clone(), paid.clone()], &top_up, cards), [Cause::PaidTwice]);
    let waiting = std::slice::from_ref(&confirmed);
    assert_eq!(causes(statement, waiting, &[]), [Cause::InFlightTooLong]);
    let given_back = [confirmed.clone(), cancelled, repaid.clone()];
    assert_eq!(causes(&[paid.clone(), refunded.clone()], &given_back, &[]), none, "a cancelled order");
    assert_eq!(causes(statement, &given_back, &[]), [Cause::RefundMissing]);
    assert_eq!(causes(&[paid.clone(), refunded.clone()], &top_up, cards), [Cause::RefundExtra]);
    let less = [paid.clone(), line(refund, 60)];
    assert_eq!(causes(&less, &given_back, &[]), [Cause::RefundAmountDiffers]);
    assert_eq!(causes(statement, &top_up, &[]), [Cause::EntryWithoutTransaction]);

    let sale = transaction(Type::Purchase, 40);
    assert_eq!(causes(&[], &[entry(T::Spent, 40)], std::slice::from_ref(&sale)), none);
    assert_eq!(causes(&[], &[], std::slice::from_ref(&sale)), [Cause::TransactionWithoutEntry]);
    assert_eq!(
        causes(&[], &[entry(T::Spent, 41)], std::slice::from_ref(&sale)),
        [Cause::TransactionAmountDiffers]
    );
    assert_eq!(causes(&[], &[entry(T::Spent, 40)], &[]), [Cause::EntryWithoutTransaction]);
    assert_eq!(causes(&[], &[], &[transaction(Type::CompositePurchase, 0)]), none, "an entry without a fare");
    assert_eq!(causes(&[], &[entry(T::CashLoaded, 100)], &[load]), none, "cash is in no statement");
}

#[test]
fn every_cause_has_both_sentences() {
    for cause in Cause::ALL {
        assert_eq!(Cause::from_name(cause.name()), Some(*cause));
        assert!(cause.en().ends_with('.') && cause.proposal_en().ends_with('.'), "{cause:?}");
        assert!(cause.zh().ends_with('。') && cause.proposal_zh().ends_with('。'), "{cause:?}");
        let json = serde_json::to_string(cause).unwrap();
        assert_eq!(json, format!("\"{}\"", cause.name()));
    }
    for entry in TransferCode::all().map(EntryKind::Transfer).chain([EntryKind::PaymentReported]) {
        assert_eq!(EntryKind::from_name(entry.name()), Some(entry));
    }
}

fn day(text: &str) -> BusinessDay {
    text.parse().unwrap()
}

fn difference(cause: Cause, ours: Option<u64>, theirs: Option<u64>) -> Difference {
    Difference {
        id: crate::id::DifferenceId::from_uuid(uuid::Uuid::nil()),
        day: day("2026-11-20"),
        cause,
        reference: Some(order()),
        card: Some(card()),
        transaction: None,
        ours: ours.map(Fen::new),
        theirs: theirs.map(Fen::new),
        text: String::new(),
        evidence: None,
        found_at: jiff::Timestamp::UNIX_EPOCH,
        state: DifferenceState::Open,
    }
}

fn clerk(person: &str) -> Clerk {
    Clerk { institution: "CITY".parse().unwrap(), person: person.parse().unwrap() }
}

fn proposal(action: Action) -> Proposal {
    Proposal { by: clerk("ann"), action, note: "seen".into(), at: jiff::Timestamp::UNIX_EPOCH }
}

#[test]
fn one_proposes_and_another_approves() {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let open = difference(Cause::NotInStatement, Some(100), None);
    assert_eq!(open.clone().approve(clerk("bob"), at), Err(DifferenceRefusal::NothingProposed));
    let proposed = open.clone().propose(proposal(Action::WriteOff)).unwrap();
    assert_eq!(proposed.clone().approve(clerk("ann"), at), Err(DifferenceRefusal::FourEyes));
    let back = proposed.clone().reject().unwrap();
    assert_eq!(back.state, DifferenceState::Open);
    let elsewhere = Clerk { institution: "METRO".parse().unwrap(), ..clerk("ann") };
    assert!(proposed.clone().approve(elsewhere, at).is_ok(), "another institution's ann is another person");
    let resolved = proposed.approve(clerk("bob"), at).unwrap();
    assert_eq!(resolved.clone().approve(clerk("bob"), at), Err(DifferenceRefusal::Settled));
    assert_eq!(resolved.clone().propose(proposal(Action::Ignore)), Err(DifferenceRefusal::Settled));
    assert_eq!(resolved.clone().reject(), Err(DifferenceRefusal::Settled));
    assert_eq!(resolved.clone().explained(day("2026-11-21"), Explanation::LaterStatement), resolved);
    let refund = open.propose(proposal(Action::Refund { card: None }));
    assert_eq!(refund, Err(DifferenceRefusal::Action(ActionRefusal::DoesNotFit)));
}

#[test]
fn no_lapse_of_time_gives_money_back() {
    let waiting = difference(Cause::InFlightTooLong, Some(100), None);
    for action in [Action::Refund { card: None }, Action::Book { card: None }, Action::WriteOff] {
        assert_eq!(waiting.check_action(&action), Err(ActionRefusal::DoesNotFit), "{action:?}");
    }
    assert_eq!(waiting.check_action(&Action::FreezeCard), Ok(()));
}

#[test]
fn a_card_is_named_once_and_where_it_is_needed() {
    let named = |card| Action::Book { card };
    let unknown = Difference { card: None, ..difference(Cause::PaidUnknownToUs, None, Some(100)) };
    assert_eq!(unknown.check_action(&named(None)), Err(ActionRefusal::CardMissing));
    assert_eq!(unknown.check_action(&Action::FreezeCard), Err(ActionRefusal::CardMissing));
    assert_eq!(unknown.check_action(&named(Some(card()))), Ok(()));
    let other = CardNumber::compose("31049900", 2).unwrap();
    let known = difference(Cause::AmountDiffers, Some(50), Some(100));
    assert_eq!(known.check_action(&named(Some(other))), Err(ActionRefusal::AnotherCard));
    assert_eq!(
        known.check_action(&Action::WriteOff),
        Err(ActionRefusal::DoesNotFit),
        "there is more, not less"
    );
}

fn arrivals() -> Arrivals {
    Arrivals::default()
}

#[test]
fn a_later_day_explains_what_it_brings_and_nothing_else() {
    let fen = |amount| Some(Fen::new(amount));
    let paid = Arrivals { paid_in_statement: fen(100), ..arrivals() };
    let missing = difference(Cause::NotInStatement, Some(100), None);
    assert_eq!(missing.explanation(&paid), Some(Explanation::LaterStatement));
    assert_eq!(missing.explanation(&Arrivals { paid_in_statement: fen(99), ..arrivals() }), None);
    assert_eq!(missing.explanation(&Arrivals { reported: true, ..arrivals() }), None, "our word again");
    let doubted = difference(Cause::CreditWithoutPayment, Some(100), None);
    assert_eq!(doubted.explanation(&paid), Some(Explanation::LaterStatement));
    let report = Arrivals { reported: true, ..arrivals() };
    assert_eq!(doubted.explanation(&report), Some(Explanation::PaymentReported));
    let unknown = difference(Cause::PaidUnknownToUs, None, Some(100));
    let booked = Arrivals { paid_in_ledger: fen(100), ..arrivals() };
    assert_eq!(unknown.explanation(&booked), Some(Explanation::LaterEntry));
    let in_flight = difference(Cause::InFlightTooLong, Some(100), None);
    assert_eq!(in_flight.explanation(&Arrivals { settled: true, ..arrivals() }), Some(Explanation::Settled));
    assert_eq!(in_flight.explanation(&paid), None);
    let refund = difference(Cause::RefundMissing, Some(30), None);
    let went = Arrivals { refund_in_statement: fen(30), ..arrivals() };
    assert_eq!(refund.explanation(&went), Some(Explanation::LaterStatement));

    // A booking that two people made is no new difference the day after.
    let statement =
        judge(Group { statement: &[], ledger: &[entry(TransferCode::PaymentConfirmed, 100)], cards: &[] });
    let finding = &statement.findings[0];
    assert_eq!(finding.cause, Cause::NotInStatement);
    let resolve = |action| {
        let proposed = unknown.clone().propose(proposal(action)).unwrap();
        proposed.approve(clerk("bob"), jiff::Timestamp::UNIX_EPOCH).unwrap()
    };
    assert!(resolve(Action::Book { card: None }).accounts_for(finding));
    assert!(!resolve(Action::Ignore).accounts_for(finding));
}

fn ledger_with(transfers: &[(TransferCode, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (number, (code, amount)) in (1..).zip(transfers) {
        let id = crate::id::TransferId::from_uuid(uuid::Uuid::from_u128(number));
        ledger.record(&code.transfer(id, card(), Fen::new(*amount), jiff::Timestamp::UNIX_EPOCH)).unwrap();
    }
    ledger
}

fn book(ledger: &mut Ledger, entries: &[(TransferCode, Fen)]) -> bool {
    let transfers: Vec<Transfer> = (100..)
        .zip(entries)
        .map(|(number, (code, amount))| {
            let id = crate::id::TransferId::from_uuid(uuid::Uuid::from_u128(number));
            code.transfer(id, card(), *amount, jiff::Timestamp::UNIX_EPOCH)
        })
        .collect();
    ledger.record_all(&transfers).is_ok()
}

proptest! {
    /// Whatever two people do about whatever difference, the books balance and no card's money goes below zero.
    #[test]
    fn no_resolution_breaks_the_books(
        cause in 0..Cause::ALL.len(), action in 0..7_usize, on_card in 0..2_usize,
        ours in proptest::option::of(0_u64..300), theirs in proptest::option::of(0_u64..300),
    ) {
        let action = [
            Action::Book { card: None }, Action::Refund { card: None }, Action::WriteOff, Action::Ignore,
            Action::FreezeCard, Action::ReleaseCard, Action::GoOnWithout,
        ][action].clone();
        let money = [MoneyIs::InFlight, MoneyIs::OnCard][on_card];
        let mut ledger = ledger_with(&[
            (TransferCode::PaymentConfirmed, 400), (TransferCode::Loaded, 150), (TransferCode::TopUpCancelled, 100),
            (TransferCode::RefundPaid, 50),
        ]);
        let difference = difference(Cause::ALL[cause], ours, theirs);
        if let Ok(entries) = difference.entries(&action, money) {
            prop_assert!(entries.iter().all(|(_, amount)| !amount.is_zero()));
            let before = ledger.transfers().len();
            let booked = book(&mut ledger, &entries);
            prop_assert_eq!(ledger.transfers().len(), before + if booked { entries.len() } else { 0 });
        }
        prop_assert_eq!(MoneyTotals::of_transfers(ledger.transfers()).check(), Ok(()));
    }
}
