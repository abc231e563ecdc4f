//! Statements that come in pieces: a download that breaks off anywhere is done again, and one that was altered
//! leaves nothing behind.

use tsm_api::clearing::settlement as api;
use tsm_api::clearing::watch::{self, Alarm};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_services::clearing::ReconciliationError;
use tsm_services::payment::StatementFailure;
use tsm_storage::ClearingStore as _;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::{BUCKETS, Place};
use tsm_storage::memory::MemoryClearing;

use super::world::{Broken, World, day, paid};

async fn kept(world: &World<MemoryClearing>) -> usize {
    let mut lines = 0;
    for bucket in 0..BUCKETS {
        let place = Place { bucket, day: day() };
        lines += world.store.statement_lines(place, None, 100).await.unwrap().len();
    }
    lines
}

async fn settled() -> World<MemoryClearing> {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    for order in 1..=7 {
        world.top_up(&mut card, order, 500).await;
    }
    world.clock.set("2026-11-20T16:10:00Z");
    world.centre.settle_day(day()).await.unwrap();
    world.statements.set((1..=7).map(|order| paid(order, 500)).collect());
    world
}

#[tokio::test]
async fn a_download_that_breaks_off_anywhere_is_done_again() {
    for after in 0..=4 {
        let world = settled().await;
        world.statements.set_broken(after, Some(Broken::Off));
        let failed = world.centre.reconcile_day(day()).await.unwrap_err();
        assert!(matches!(failed, ReconciliationError::Statement(StatementFailure::Platform(_))), "{failed}");
        assert_eq!(world.store.day(day()).await.unwrap().unwrap().statement, None, "not all of it is here");
        world.statements.set_broken(0, None);
        let (row, done) = world.centre.reconcile_day(day()).await.unwrap();
        assert_eq!((row.statement.unwrap().lines, done.found), (7, 0), "after {after} pieces");
        assert_eq!(kept(&world).await, 7, "each line once");
    }
}

#[tokio::test]
async fn an_altered_statement_leaves_nothing_behind() {
    for after in 0..=3 {
        let world = settled().await;
        world.statements.set_broken(after, Some(Broken::Altered));
        let refused = world.centre.reconcile_day(day()).await.unwrap_err();
        assert!(matches!(refused, ReconciliationError::Statement(StatementFailure::Altered(_))), "{refused}");
        assert_eq!(kept(&world).await, 0, "nobody signed these lines");
        world.statements.set_broken(0, None);
        let (row, done) = world.centre.reconcile_day(day()).await.unwrap();
        assert_eq!((row.statement.unwrap().lines, done.found), (7, 0), "altered in piece {after}");
    }
}

/// When the statement is overdue, and one hour before.
const OVERDUE: &str = "2026-11-21T02:30:00Z";
const DUE: &str = "2026-11-21T01:30:00Z";

async fn alarms(world: &World<MemoryClearing>) -> Vec<Alarm> {
    world.client(&world.desk).call(&watch::WATCH, &[], &Nothing {}).await.unwrap().alarms
}

async fn open_differences(world: &World<MemoryClearing>) -> Vec<api::DifferenceRecord> {
    let query = api::DifferenceQuery { state: Some("open".into()), ..Default::default() };
    world.client(&world.desk).call(&api::DIFFERENCES, &[], &query).await.unwrap().differences
}

/// A statement that does not come raises the alarm, once, wherever alarms are told; when it comes after all, alarm and
/// difference end by themselves.
#[tokio::test]
async fn an_overdue_statement_raises_the_alarm_until_it_comes() {
    let world = settled().await;
    world.statements.set_broken(1, Some(Broken::Off));
    world.clock.set(DUE);
    world.centre.work().await;
    assert_eq!(alarms(&world).await, [], "it is due, and not late");
    world.clock.set(OVERDUE);
    for _ in 0..3 {
        world.centre.work().await;
    }
    let [alarm] = &alarms(&world).await[..] else { panic!("one alarm") };
    assert_eq!(alarm.kind, "statement-overdue");
    assert!(alarm.text.contains("2026-11-20"), "{}", alarm.text);
    let metrics = world.centre.metrics().await;
    assert!(metrics.contains("opentsm_alarms_open{kind=\"statement-overdue\"} 1"), "{metrics}");
    let [difference] = &open_differences(&world).await[..] else { panic!("one difference") };
    assert_eq!(difference.cause, "statement_overdue");

    // Nobody looks away from it, alone or not.
    let id = difference.difference.to_string();
    let ann = world.person(&world.desk, "ann").await;
    for action in [api::ActionKind::Ignore, api::ActionKind::WriteOff, api::ActionKind::FreezeCard] {
        let proposal = api::NewProposal { action, card: None, note: "never mind".into() };
        let refused = ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap_err();
        assert_eq!(refused.code(), Some(ProblemCode::ValueRefused), "{action:?}");
    }
    world.statements.set_broken(0, None);
    world.centre.work().await;
    let row = world.store.day(day()).await.unwrap().unwrap();
    assert!(row.reconciled_at.is_some() && row.statement.unwrap().missing == 0);
    assert_eq!((alarms(&world).await, open_differences(&world).await), (vec![], vec![]));
    let metrics = world.centre.metrics().await;
    assert!(metrics.contains("opentsm_alarms_open{kind=\"statement-overdue\"} 0"), "{metrics}");
}

/// Two people let a day go on without its statement: the days after it are reconciled too, and each of its payments
/// stands as a difference that says why.
#[tokio::test]
async fn two_people_let_a_day_go_on_without_its_statement() {
    let world = settled().await;
    world.statements.set_broken(2, Some(Broken::Off));
    world.clock.set("2026-11-22T02:30:00Z");
    world.centre.work().await;
    let reconciled = async || {
        let rows = world.store.days(10).await.unwrap();
        rows.iter().rev().map(|row| row.reconciled_at.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(reconciled().await, [false, false], "it holds up the day after it");
    let [difference] = &open_differences(&world).await[..] else { panic!("one difference") };
    let id = difference.difference.to_string();
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    let note = "the platform has lost it".to_owned();
    let proposal = api::NewProposal { action: api::ActionKind::GoOnWithout, card: None, note };
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    world.centre.work().await;
    assert_eq!(reconciled().await, [false, false], "one person decides nothing");
    let own = ann.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap_err();
    assert_eq!(own.code(), Some(ProblemCode::FourEyes));
    bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    assert_eq!(alarms(&world).await, []);

    // The day after it has a statement of its own, without a line.
    world.centre.work().await;
    world.statements.set_absent(Some(day()));
    world.statements.set(Vec::new());
    world.statements.set_broken(0, None);
    world.centre.work().await;
    assert_eq!(reconciled().await, [true, true]);
    assert_eq!(alarms(&world).await, []);
    assert_eq!(kept(&world).await, 0, "what came of it proves nothing");
    let days = world.client(&world.desk).call(&api::DAYS, &[], &Nothing {}).await.unwrap().days;
    assert_eq!(days.iter().map(|day| day.statements_missing).collect::<Vec<_>>(), [0, 1]);
    let found = open_differences(&world).await;
    let told: Vec<_> = found.iter().map(|one| (one.cause.as_str(), one.ours_fen)).collect();
    assert_eq!(told, [("statement_missing", Some(500)); 7]);
    // A payment that the platform does not know either is written off by two people.
    let id = found[0].difference.to_string();
    let lost = api::NewProposal {
        action: api::ActionKind::WriteOff,
        card: None,
        note: "the platform does not know it".into(),
    };
    bob.call(&api::PROPOSE, &[&id], &lost).await.unwrap();
    ann.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
    assert_eq!(world.store.totals().await.unwrap().check(), Ok(()));
}

/// Two people let the day go on without its statement.
async fn gone_on_without(world: &World<MemoryClearing>) {
    world.statements.set_broken(2, Some(Broken::Off));
    world.clock.set("2026-11-22T02:30:00Z");
    world.centre.work().await;
    let [difference] = &open_differences(world).await[..] else { panic!("one difference") };
    resolve(world, difference, api::ActionKind::GoOnWithout).await;
    world.centre.work().await;
    world.statements.set_absent(Some(day()));
    world.statements.set(Vec::new());
    world.statements.set_broken(0, None);
    world.centre.work().await;
}

async fn resolve(world: &World<MemoryClearing>, difference: &api::DifferenceRecord, action: api::ActionKind) {
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    let id = difference.difference.to_string();
    let proposal = api::NewProposal { action, card: None, note: "as far as is known".into() };
    ann.call(&api::PROPOSE, &[&id], &proposal).await.unwrap();
    bob.call(&api::APPROVE, &[&id], &Nothing {}).await.unwrap();
}

async fn found(world: &World<MemoryClearing>, state: &str) -> Vec<(String, Option<i64>, Option<i64>)> {
    let query = api::DifferenceQuery { state: Some(state.into()), ..Default::default() };
    let differences = world.client(&world.desk).call(&api::DIFFERENCES, &[], &query).await.unwrap();
    let told = differences.differences.into_iter().map(|one| {
        let fen = |fen: Option<_>| fen.map(|fen| i64::try_from(fen).unwrap());
        (one.cause, fen(one.ours_fen), fen(one.theirs_fen))
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    told
}

/// A statement that comes after its day went on without it is asked for each night and compared: what was only for
/// want of it is explained, and what is so is raised, also what two people had taken for lost.
#[tokio::test]
async fn a_statement_that_comes_after_all_is_compared() {
    let world = settled().await;
    gone_on_without(&world).await;
    let missing = open_differences(&world).await;
    assert_eq!(missing.len(), 7);
    // Two people have taken one payment for lost, and looked at another one.
    resolve(&world, &missing[0], api::ActionKind::WriteOff).await;
    resolve(&world, &missing[1], api::ActionKind::Ignore).await;
    let order_of = |at: usize| missing[at].reference.unwrap().as_u128();
    let (lost, seen, absent, other) = (order_of(0), order_of(1), order_of(2), order_of(3));

    // The platform still has none: asking changes nothing.
    world.centre.reconcile_day(day()).await.unwrap();
    assert_eq!(found(&world, "open").await.len(), 5);
    let head = |world: &World<MemoryClearing>| {
        let store = world.store.clone();
        async move { store.day(day()).await.unwrap().unwrap().statement.unwrap() }
    };
    assert_eq!((head(&world).await.missing, head(&world).await.late), (1, 0));

    // It has it: one payment is in it with another amount, one is not, and one nobody knows.
    world.statements.set_absent(None);
    let lines = (1..=7).filter(|order| *order != absent).map(|order| match order {
        order if order == other => paid(order, 700),
        order => paid(order, 500),
    });
    world.statements.set(lines.chain([paid(99, 300)]).collect());
    for broken in [Broken::Altered, Broken::Off] {
        world.statements.set_broken(2, Some(broken));
        let row = world.store.day(day()).await.unwrap().unwrap();
        assert!(world.centre.reconcile_day(day()).await.unwrap().0.reconciled_at >= row.reconciled_at);
        assert_eq!(found(&world, "open").await.len(), 5, "part of a statement proves nothing");
    }
    world.statements.set_broken(0, None);
    let (row, done) = world.centre.reconcile_day(day()).await.unwrap();
    let came = row.statement.unwrap();
    assert_eq!((came.missing, came.late, came.lines), (0, 1, 7));
    assert_eq!(done.explained, 5, "all that was only for want of it");
    let expected = [
        ("amount_differs", Some(500), Some(700)),
        ("not_in_statement", Some(500), None),
        ("paid_unknown_to_us", None, Some(300)),
        ("paid_unknown_to_us", None, Some(500)),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(cause, ours, theirs)| (cause.to_owned(), ours, theirs)).collect();
    assert_eq!(found(&world, "open").await, expected);
    let all = open_differences(&world).await;
    let again = all.iter().find(|one| one.reference.is_some_and(|order| order.as_u128() == lost)).unwrap();
    assert_eq!(again.cause, "paid_unknown_to_us", "it was taken for lost, and is there");
    assert!(all.iter().all(|one| one.reference.is_none_or(|order| order.as_u128() != seen)));
    let days = world.client(&world.desk).call(&api::DAYS, &[], &Nothing {}).await.unwrap().days;
    assert!(days.iter().all(|day| day.statements_missing == 0));
    // Doing it again finds the same.
    let (_, again) = world.centre.reconcile_day(day()).await.unwrap();
    assert_eq!((again.found, again.explained), (0, 0));
    assert_eq!(found(&world, "open").await, expected);
    assert_eq!(world.store.totals().await.unwrap().check(), Ok(()));
}

/// The centre asks by itself, each night, and no longer than platforms keep their statements.
#[tokio::test]
async fn each_night_asks_for_the_statements_that_are_missing() {
    let world = settled().await;
    gone_on_without(&world).await;
    assert_eq!(open_differences(&world).await.len(), 7);
    world.statements.set_absent(None);
    world.statements.set((1..=7).map(|order| paid(order, 500)).collect());
    world.clock.set("2026-11-22T20:30:00Z");
    world.centre.work().await;
    assert_eq!(open_differences(&world).await.len(), 7, "no day was done since");
    world.clock.set("2026-11-23T01:30:00Z");
    world.centre.work().await;
    let row = world.store.day(day()).await.unwrap().unwrap();
    assert_eq!((row.statement.unwrap().late, row.reconciled_at.is_some()), (1, true));
    let unknown = |one: &api::DifferenceRecord| one.cause == "paid_unknown_to_us";
    assert!(open_differences(&world).await.iter().all(unknown), "the days after have the same lines here");
}

/// A later day that cannot be reconciled holds up no statement of an earlier one: it is asked for once a night all the
/// same, by a centre that was started again too.
#[tokio::test]
async fn a_late_statement_waits_for_no_later_day() {
    let world = settled().await;
    gone_on_without(&world).await;
    let late = async || world.store.day(day()).await.unwrap().unwrap().statement.unwrap().late;
    world.clock.set("2026-11-23T01:30:00Z");
    world.centre.work().await;
    assert_eq!(late().await, 0, "the platform has none yet");
    let stuck = day().next().next().next();
    world.statements.set_absent(Some(stuck));
    world.statements.set((1..=7).map(|order| paid(order, 500)).collect());
    world.clock.set("2026-11-23T20:30:00Z");
    world.centre.work().await;
    assert_eq!(late().await, 0, "it was asked for this night");
    world.clock.set("2026-11-24T02:30:00Z");
    world.centre.work().await;
    assert_eq!(late().await, 1);
    assert_eq!(world.store.day(stuck).await.unwrap().unwrap().reconciled_at, None, "no later day was done");
    assert!(open_differences(&world).await.iter().all(|one| one.cause != "statement_missing"));
}
