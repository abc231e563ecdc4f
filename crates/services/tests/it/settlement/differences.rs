//! Reconciliation: lines that are missing, extra or altered all appear, with their causes, and two people
//! resolve them with entries that balance.

use tsm_api::clearing::payments::{PaymentIncident, StrayPayment};
use tsm_api::clearing::settlement::{self as api, ActionKind, DifferenceRecord};
use tsm_api::client::ClientError;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_domain::environment::Clock as _;
use tsm_domain::money::StatementLine;
use tsm_domain::money::settlement::BusinessDay;
use tsm_storage::ClearingStore;
use tsm_storage::memory::MemoryClearing;

use super::world::{World, day, paid, refunded, report};
use crate::purse_card::PurseCard;

type Memory = World<MemoryClearing>;

async fn reconcile(world: &Memory, on: BusinessDay, statement: Vec<StatementLine>) -> u64 {
    let after = on.cut() + jiff::SignedDuration::from_mins(10);
    world.clock.set(&after.to_string());
    world.statements.set(statement);
    world.centre.settle_day(on).await.unwrap();
    let (_, done) = world.centre.reconcile_day(on).await.unwrap();
    let (_, again) = world.centre.reconcile_day(on).await.unwrap();
    assert_eq!(again.found, 0, "twice finds nothing new");
    done.found
}

async fn list(world: &Memory, state: Option<&str>) -> Vec<DifferenceRecord> {
    let query = api::DifferenceQuery { state: state.map(str::to_owned), ..Default::default() };
    world.client(&world.desk).call(&api::DIFFERENCES, &[], &query).await.unwrap().differences
}

async fn causes(world: &Memory, state: Option<&str>) -> Vec<String> {
    let mut found: Vec<_> = list(world, state).await.into_iter().map(|one| one.cause).collect();
    found.sort();
    found
}

async fn propose(
    world: &Memory,
    one: &DifferenceRecord,
    action: ActionKind,
    card: Option<&PurseCard>,
) -> Result<DifferenceRecord, ClientError> {
    let card = card.map(PurseCard::wire);
    let proposal = api::NewProposal { action, card, note: "as agreed".into() };
    let id = one.difference.to_string();
    world.person(&world.desk, "ann").await.call(&api::PROPOSE, &[&id], &proposal).await
}

async fn approve(
    world: &Memory,
    one: &DifferenceRecord,
    person: &str,
) -> Result<DifferenceRecord, ClientError> {
    let id = one.difference.to_string();
    world.person(&world.desk, person).await.call(&api::APPROVE, &[&id], &Nothing {}).await
}

async fn resolve(world: &Memory, one: &DifferenceRecord, action: ActionKind, card: Option<&PurseCard>) {
    propose(world, one, action, card).await.unwrap();
    let done = approve(world, one, "bob").await.unwrap();
    assert_eq!(done.state, "resolved");
    assert_eq!(approve(world, one, "bob").await.unwrap(), done, "an answer that was lost is given again");
    assert_eq!(world.store.totals().await.unwrap().check(), Ok(()));
}

fn of<'a>(all: &'a [DifferenceRecord], cause: &str) -> &'a DifferenceRecord {
    all.iter().find(|one| one.cause == cause).unwrap_or_else(|| panic!("no {cause} in {all:?}"))
}

/// A statement with missing, extra, altered and doubled lines: each is listed with its cause.
#[tokio::test]
async fn every_altered_line_of_a_statement_is_a_difference() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    for order in 1..=6 {
        world.top_up(&mut card, order, 500).await;
    }
    let cancelled = report(7, &card, 700);
    let issuer = world.peer(&world.city);
    issuer.payment(&cancelled).await.unwrap();
    issuer.cancellation(&cancelled).await.unwrap();
    issuer.refund(&cancelled).await.unwrap();
    // Paid and nothing more: it is in flight.
    issuer.payment(&report(8, &card, 800)).await.unwrap();
    let statement = vec![
        paid(6, 500),
        paid(2, 499),
        paid(5, 500),
        paid(3, 500),
        paid(3, 500),
        paid(8, 800),
        paid(1, 500),
        paid(7, 700),
        refunded(5, 200),
        paid(90, 4_000),
    ];
    assert_eq!(reconcile(&world, day(), statement).await, 7);
    let expected = [
        "amount_differs",
        "not_in_statement",
        "paid_twice",
        "paid_unknown_to_us",
        "refund_extra",
        "refund_missing",
    ];
    assert_eq!(causes(&world, None).await, expected);
    assert_eq!(causes(&world, Some("waiting")).await, ["in_flight_too_long"]);
    let all = list(&world, None).await;
    let altered = of(&all, "amount_differs");
    assert_eq!((altered.ours_fen, altered.theirs_fen), (Some(500), Some(499)));
    assert!(!altered.cause_zh.is_empty() && !altered.proposal_en.is_empty());
    assert_eq!(altered.card, Some(card.wire()));
    let by_cause = api::DifferenceQuery { cause: Some("paid_twice".into()), ..Default::default() };
    let found = world.client(&world.desk).call(&api::DIFFERENCES, &[], &by_cause).await.unwrap();
    assert_eq!(found.differences, [of(&all, "paid_twice").clone()]);
    let same = world.client(&world.desk);
    let id = altered.difference.to_string();
    assert_eq!(same.call(&api::DIFFERENCE, &[&id], &Nothing {}).await.unwrap(), *altered);
}

/// A payment that nobody could use and that went back is booked both ways, once: books, statement and cards meet,
/// also where another payment paid the same order.
#[tokio::test]
async fn a_stray_payment_and_its_refund_meet_the_statement() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    let issuer = world.peer(&world.city);
    let stray = |order: u128, payment: &str, amount_fen| StrayPayment {
        order: report(order, &card, 1).order,
        card: card.wire(),
        payment: payment.into(),
        amount_fen,
    };
    for one in [stray(1, "P1-again", 500), stray(2, "P2", 500), stray(1, "P1-again", 500)] {
        issuer.stray_payment(&one).await.unwrap();
    }
    let refused = [
        (stray(2, "P2", 499), ProblemCode::AmountRefused),
        (stray(3, "P3", 0), ProblemCode::ValueRefused),
        (stray(3, "cash:099900000042:00000000-0000-0000-0000-000000000001", 5), ProblemCode::ValueRefused),
        (StrayPayment { card: PurseCard::new(9).wire(), ..stray(3, "P3", 5) }, ProblemCode::UnknownId),
    ];
    for (one, code) in refused {
        assert_eq!(issuer.stray_payment(&one).await.unwrap_err().code(), Some(code), "{one:?}");
    }
    // What the stray payment left behind is nothing that the order's own money could be given back by.
    let own = issuer.refund(&report(1, &card, 500)).await.unwrap_err();
    assert_eq!(own.code(), Some(ProblemCode::StateForbids));
    let statement = vec![paid(1, 500), paid(1, 500), refunded(1, 500), paid(2, 500), refunded(2, 500)];
    assert_eq!(reconcile(&world, day(), statement).await, 0);
    let totals = world.store.totals().await.unwrap();
    assert_eq!((totals.paid_in, totals.refunded, totals.in_flight), (1_500, 1_000, 0));
    assert_eq!(totals.check(), Ok(()));
}

/// What contradicts a payment is in the view with a cause of its own and the card of the order.
#[tokio::test]
async fn incidents_of_payments_have_their_cause_and_card() {
    let world = World::on(MemoryClearing::new()).await;
    let card = world.card(1).await;
    let kinds = [
        ("payment-forged", "notification_refused"),
        ("payment-misdirected", "notification_refused"),
        ("payment-of-another-order", "payment_contradicts"),
        ("payment-refund-refused", "refund_refused"),
        ("payment-wrong-amount", "payment_contradicts"),
    ];
    for (number, (kind, _)) in (1..).zip(kinds) {
        let incident = PaymentIncident {
            incident: uuid::Uuid::from_u128(number),
            kind: kind.into(),
            text: "as it was said".into(),
            card: Some(card.wire()),
            at: world.clock.now(),
        };
        world.peer(&world.city).payment_incident(&incident).await.unwrap();
        let metro = world.peer(&world.metro).payment_incident(&incident).await.unwrap_err();
        assert!(metro.code().is_some(), "another institution says nothing of the issuer's cards");
    }
    assert_eq!(reconcile(&world, day(), Vec::new()).await, 5);
    let all = list(&world, None).await;
    for (kind, cause) in kinds {
        let one = all.iter().find(|one| one.text.starts_with(kind)).unwrap();
        assert_eq!((one.cause.as_str(), one.card.clone()), (cause, Some(card.wire())), "{kind}");
    }
}

/// What is found is resolved by two people, with entries in the ledger that balance.
#[tokio::test]
async fn two_people_resolve_a_difference_and_the_books_follow() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    world.top_up(&mut card, 2, 500).await;
    world.peer(&world.city).payment(&report(3, &card, 300)).await.unwrap();
    let statement = vec![paid(2, 450), paid(90, 4_000), paid(91, 60), refunded(2, 30)];
    reconcile(&world, day(), statement).await;
    let all = list(&world, None).await;
    let books = async || world.peer(&world.desk).books().await.unwrap();
    let code = |result: Result<DifferenceRecord, ClientError>| result.unwrap_err().code().unwrap();

    let missing =
        all.iter().find(|one| one.cause == "not_in_statement" && one.ours_fen == Some(500)).unwrap();
    assert_eq!(code(approve(&world, missing, "bob").await), ProblemCode::StateForbids, "nothing is proposed");
    assert_eq!(
        code(propose(&world, missing, ActionKind::Refund, None).await),
        ProblemCode::ValueRefused,
        "nobody paid, so nothing is given back"
    );
    propose(&world, missing, ActionKind::WriteOff, None).await.unwrap();
    assert_eq!(code(approve(&world, missing, "ann").await), ProblemCode::FourEyes);
    assert_eq!(books().await.paid_in_fen, 1_300, "nothing is booked before the second person");
    let id = missing.difference.to_string();
    let cid = world.person(&world.desk, "cid").await;
    let back = cid.call(&api::REJECT, &[&id], &Nothing {}).await.unwrap();
    assert_eq!(back.state, "open");
    resolve(&world, missing, ActionKind::WriteOff, None).await;
    let after = books().await;
    assert_eq!((after.paid_in_fen, after.write_offs_fen, after.purses_fen), (800, -500, 1_000), "a loss");
    let own = world.peer(&world.city).books().await.unwrap();
    assert_eq!(
        (own.paid_in_fen, own.write_offs_fen, own.purses_fen),
        (800, -500, 1_000),
        "and the issuer's own"
    );

    // Money that never came and is on no card is taken back.
    let unpaid = all.iter().find(|one| one.cause == "not_in_statement" && one.ours_fen == Some(300)).unwrap();
    resolve(&world, unpaid, ActionKind::WriteOff, None).await;
    let after = books().await;
    assert_eq!((after.paid_in_fen, after.in_flight_fen, after.write_offs_fen), (500, 0, -500));

    let unknown = all.iter().find(|one| one.theirs_fen == Some(4_000)).unwrap();
    assert_eq!(
        code(propose(&world, unknown, ActionKind::Book, None).await),
        ProblemCode::ValueRefused,
        "for which card?"
    );
    resolve(&world, unknown, ActionKind::Book, Some(&card)).await;
    let other = all.iter().find(|one| one.theirs_fen == Some(60)).unwrap();
    resolve(&world, other, ActionKind::Refund, Some(&card)).await;
    let after = books().await;
    assert_eq!((after.paid_in_fen, after.in_flight_fen, after.refund_payable_fen), (4_560, 4_000, 60));
    resolve(&world, of(&all, "amount_differs"), ActionKind::WriteOff, None).await;
    resolve(&world, of(&all, "refund_extra"), ActionKind::WriteOff, None).await;
    let after = books().await;
    assert_eq!((after.paid_in_fen, after.refunded_fen, after.write_offs_fen), (4_510, 30, -580));
    assert_eq!(causes(&world, Some("open")).await, [""; 0]);

    // What two people booked is no new difference the day after.
    assert_eq!(reconcile(&world, day().next(), Vec::new()).await, 1);
    let next = causes(&world, Some("waiting")).await;
    assert_eq!(next, ["in_flight_too_long"], "what was booked waits to be credited");

    let frozen = of(&list(&world, None).await, "not_in_statement").clone();
    assert_eq!(code(propose(&world, &frozen, ActionKind::FreezeCard, None).await), ProblemCode::StateForbids);
}

/// A payment a second before midnight is in one day's statement and the next day's books.
#[tokio::test]
async fn a_later_day_explains_what_midnight_parted() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.clock.set("2026-11-20T15:59:59Z");
    world.peer(&world.city).payment(&report(1, &card, 500)).await.unwrap();
    // Order 2 is paid before midnight and told after it; order 1 is credited after it.
    assert_eq!(reconcile(&world, day(), vec![paid(2, 300)]).await, 3);
    assert_eq!(causes(&world, None).await, ["not_in_statement", "paid_unknown_to_us"]);
    world.top_up(&mut card, 2, 300).await;
    world.peer(&world.city).credit(&card.load(1, 500)).await.unwrap();
    assert_eq!(reconcile(&world, day().next(), vec![paid(1, 500)]).await, 0);
    let explained = ["in_flight_too_long", "not_in_statement", "paid_unknown_to_us"];
    assert_eq!(causes(&world, Some("explained")).await, explained);
    assert_eq!(causes(&world, Some("open")).await, [""; 0]);
}

/// A payment that stays in flight is listed after its days, and no lapse of time gives it back.
#[tokio::test]
async fn what_is_in_flight_too_long_is_listed_and_not_given_back() {
    let world = World::on(MemoryClearing::new()).await;
    let card = world.card(1).await;
    world.peer(&world.city).payment(&report(1, &card, 500)).await.unwrap();
    reconcile(&world, day(), vec![paid(1, 500)]).await;
    reconcile(&world, day().next(), Vec::new()).await;
    assert_eq!(causes(&world, None).await, [""; 0]);
    reconcile(&world, day().plus(2), Vec::new()).await;
    assert_eq!(causes(&world, None).await, ["in_flight_too_long"]);
    let one = list(&world, None).await.remove(0);
    let refused = propose(&world, &one, ActionKind::Refund, None).await.unwrap_err();
    assert_eq!(refused.code(), Some(ProblemCode::ValueRefused), "the card must be asked");
    resolve(&world, &one, ActionKind::FreezeCard, None).await;
    let account = world.store.account(card.number).await.unwrap().unwrap();
    assert!(account.account.freeze.is_some());
}

/// A credit without its payment's report is in doubt until the report or the statement confirms it.
#[tokio::test]
async fn a_credit_on_the_issuers_word_is_in_doubt_until_it_is_confirmed() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    let issuer = world.peer(&world.city);
    for order in 1..=3 {
        issuer.credit(&card.load(order, 500)).await.unwrap();
    }
    // Order 1 is in the statement, order 2 will be reported, order 3 by nobody.
    assert_eq!(reconcile(&world, day(), vec![paid(1, 500)]).await, 2);
    assert_eq!(causes(&world, None).await, ["credit_without_payment", "credit_without_payment"]);
    for _ in 0..2 {
        issuer.payment(&report(2, &card, 500)).await.unwrap();
    }
    let wrong = issuer.payment(&report(3, &card, 501)).await.unwrap_err();
    assert_eq!(wrong.code(), Some(ProblemCode::AmountRefused));
    assert_eq!(issuer.books().await.unwrap().paid_in_fen, 1_500, "each is booked once");
    assert_eq!(reconcile(&world, day().next(), Vec::new()).await, 0);
    assert_eq!(causes(&world, Some("open")).await, ["credit_without_payment"]);
    assert_eq!(causes(&world, Some("explained")).await, ["credit_without_payment"]);
}

/// What was kept aside when it was reported is in the view too.
#[tokio::test]
async fn what_was_kept_aside_is_in_the_view() {
    use tsm_api::HexBytes;
    use tsm_api::clearing::{Consumption, ConsumptionReport};
    use tsm_epurse::commands::PurchaseKind;
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    let tap = card.pay(PurchaseKind::Simple, 100);
    let forged = Consumption { tac: Some(HexBytes(vec![0; 4])), ..tap.clone() };
    let other = Consumption { offline_counter: 77, ..tap.clone() };
    let terminal = HexBytes(crate::purse_card::TERMINAL.to_vec());
    let taps = ConsumptionReport { terminal, transactions: vec![tap, forged, other] };
    world.peer(&world.metro).consumption(&taps).await.unwrap();
    reconcile(&world, day(), vec![paid(1, 500)]).await;
    assert_eq!(causes(&world, None).await, ["card_copied", "wrong_tac"]);
    reconcile(&world, day().next(), Vec::new()).await;
    assert_eq!(causes(&world, None).await, ["card_copied", "wrong_tac"], "once, whatever day sees it");
}
