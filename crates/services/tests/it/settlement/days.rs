//! Settlement: once, to the fen, with files that can be made again.

use std::sync::Arc;

use tsm_api::clearing::lists::Decision;
use tsm_api::clearing::settlement as api;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::ProblemCode;
use tsm_domain::environment::Clock as _;
use tsm_domain::money::settlement::file;
use tsm_services::clearing::SettlementError;
use tsm_storage::ClearingStore;
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::DayRow;
use tsm_storage::memory::{Crash, Faults, MemoryClearing};
use tsm_storage::shared::ChainKey;
use tsm_storage::sqlite::SqliteClearing;

use super::world::{Broken, DAY, World, day, paid, refunded};

const AFTER: &str = "2026-11-20T16:10:00Z";

async fn a_day<S: ClearingStore + 'static>(world: &World<S>) {
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    for fen in [333, 200, 467] {
        world.spend(&mut card, fen).await;
    }
    // What the gate brings after midnight is the next day's.
    world.clock.set(AFTER);
    world.spend(&mut card, 111).await;
}

async fn settles(world: World<impl ClearingStore + 'static>) {
    let early = world.centre.settle_day(day()).await;
    assert!(matches!(early, Err(SettlementError::NotOver { .. })), "a day is not closed before its end");
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    for fen in [333, 200, 467] {
        world.spend(&mut card, fen).await;
    }
    world.clock.set(AFTER);
    let closed = world.centre.settle_day(day()).await.unwrap();
    // Told late: the day is closed, so it belongs to the next one.
    world.clock.set("2026-11-20T15:59:00Z");
    world.spend(&mut card, 111).await;
    world.clock.set(AFTER);
    assert_eq!(world.centre.settle_day(day()).await.unwrap(), closed, "twice gives the same");

    let desk = world.client(&world.desk);
    let settled = desk.call(&api::SETTLEMENTS, &[DAY], &Nothing {}).await.unwrap().settlements;
    let [one] = &settled[..] else { panic!("{settled:?}") };
    // 60, 30 and 20 basis points on 10.00, rounded down; the centre keeps what is left.
    assert_eq!((one.issuer.as_str(), one.operator.as_str()), ("CITY", "METRO"));
    assert_eq!((one.number, one.gross_fen, one.fee_fen), (3, 1_000, 6));
    assert_eq!((one.issuer_share_fen, one.acquirer_share_fen), (3, 2));
    assert_eq!((one.net_fen, one.due_from_issuer_fen, one.paid), (996, 997, false));
    let books = world.peer(&world.desk).books().await.unwrap();
    assert_eq!((books.spent_fen, books.operator_payable_fen, books.fees_fen), (111, 996, 4));
    assert_eq!(world.store.totals().await.unwrap().check(), Ok(()));

    pay_metro_out(&world).await;
    let books = world.peer(&world.desk).books().await.unwrap();
    assert_eq!((books.operator_payable_fen, books.operator_paid_fen), (0, 996), "paid once");

    let metro = world.client(&world.metro);
    let files = metro.call(&api::FILES, &[DAY], &Nothing {}).await.unwrap().files;
    assert_eq!((files.len(), files[0].records, files[0].gross_fen), (1, 3, 1_000));
    let got = metro.call(&api::FILE, &[DAY, "1"], &Nothing {}).await.unwrap();
    let mut digest = file::FileDigest::default();
    digest.add(&got.text);
    assert_eq!(digest.finish().0.to_vec(), files[0].sha256.0, "the text is the one that was settled");
    assert_eq!(got.text.len() as u64, files[0].bytes);
    let (of, receiver, records) = file::read(&got.text).unwrap();
    assert_eq!((of, receiver.trim_end()), (day(), "METRO"));
    let fees: u64 = records.iter().map(|record| record.fee.whole.get()).sum();
    assert_eq!(fees, one.fee_fen, "the records' fees make the day's fee");

    world.clock.set("2026-11-21T16:10:00Z");
    world.centre.settle_day(day().next()).await.unwrap();
    let next = world.store.settlements(day().next()).await.unwrap();
    assert_eq!(next[0].volume.gross.get(), 111);
}

/// One person proposes, another approves, and the operator is paid once; the journal names both.
async fn pay_metro_out(world: &World<impl ClearingStore + 'static>) {
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    let desk = world.client(&world.desk);
    let (ann, bob) = (world.person(&world.desk, "ann").await, world.person(&world.desk, "bob").await);
    let new = api::NewPayout { operator: "METRO".into(), note: "as settled".into() };
    let decide =
        |decision, amount_fen| api::PayoutDecision { operator: "METRO".into(), amount_fen, decision };
    let approve = decide(Decision::Approve, 996);
    let nobody = desk.call(&api::PROPOSE_PAYOUT, &[DAY], &new).await.unwrap_err();
    assert_eq!(code(nobody), ProblemCode::SessionRequired);
    let nothing = ann.call(&api::DECIDE_PAYOUT, &[DAY], &approve).await.unwrap_err();
    assert_eq!(code(nothing), ProblemCode::UnknownId, "nobody has proposed it");
    for (wrong, expected) in [
        (api::NewPayout { note: "  ".into(), ..new.clone() }, ProblemCode::ValueRefused),
        (api::NewPayout { operator: "BUS".into(), ..new.clone() }, ProblemCode::StateForbids),
    ] {
        let refused = ann.call(&api::PROPOSE_PAYOUT, &[DAY], &wrong).await.unwrap_err();
        assert_eq!(code(refused), expected);
    }
    let first = ann.call(&api::PROPOSE_PAYOUT, &[DAY], &new).await.unwrap();
    assert_eq!((first.number, first.amount_fen, first.proposed_by.as_str()), (1, 996, "ann"));
    assert_eq!(bob.call(&api::PROPOSE_PAYOUT, &[DAY], &new).await.unwrap(), first, "one waits at a time");
    let waiting = desk.call(&api::WAITING_PAYOUTS, &[], &Nothing {}).await.unwrap().payouts;
    assert_eq!(waiting, std::slice::from_ref(&first));
    let own = ann.call(&api::DECIDE_PAYOUT, &[DAY], &approve).await.unwrap_err();
    assert_eq!(code(own), ProblemCode::FourEyes);
    let other = bob.call(&api::DECIDE_PAYOUT, &[DAY], &decide(Decision::Approve, 997)).await.unwrap_err();
    assert_eq!(code(other), ProblemCode::ValueRefused, "not the amount that was proposed");
    let refused = bob.call(&api::DECIDE_PAYOUT, &[DAY], &decide(Decision::Refuse, 996)).await.unwrap();
    assert_eq!((refused.decision, refused.decided_by.as_deref()), (Some(Decision::Refuse), Some("bob")));
    let late = bob.call(&api::DECIDE_PAYOUT, &[DAY], &approve).await.unwrap_err();
    assert_eq!(code(late), ProblemCode::StateForbids);
    assert_eq!(world.peer(&world.desk).books().await.unwrap().operator_paid_fen, 0, "nothing is paid yet");

    assert_eq!(bob.call(&api::PROPOSE_PAYOUT, &[DAY], &new).await.unwrap().number, 2);
    for _ in 0..2 {
        let paid = ann.call(&api::DECIDE_PAYOUT, &[DAY], &approve).await.unwrap();
        assert_eq!((paid.decision, paid.decided_by.as_deref()), (Some(Decision::Approve), Some("ann")));
    }
    let settled = desk.call(&api::SETTLEMENTS, &[DAY], &Nothing {}).await.unwrap().settlements;
    assert!(settled[0].paid);
    let again = ann.call(&api::PROPOSE_PAYOUT, &[DAY], &new).await.unwrap_err();
    assert_eq!(code(again), ProblemCode::StateForbids, "nothing more is owed");
    assert_eq!(desk.call(&api::PAYOUTS, &[DAY], &Nothing {}).await.unwrap().payouts.len(), 2);

    let chain = ChainKey::day_of(world.clock.now());
    let entries = world.store.chain(chain, 0, 1_000).await.unwrap();
    let paid: Vec<_> = entries.iter().filter(|entry| entry.note.event == "operator-paid").collect();
    let [paid] = &paid[..] else { panic!("{entries:?}") };
    assert_eq!(paid.note.actor, "CENTRE/ann");
    assert!(paid.note.detail.contains(r#""proposed_by":"CENTRE/bob""#), "{}", paid.note.detail);
    assert!(
        paid.note.detail.contains("OperatorPaid"),
        "the same entry has the transfer: {}",
        paid.note.detail
    );
}

/// A day of taps is settled once with its operator and its file, on both stores.
///
/// req: B-7.3.1.a
#[tokio::test]
async fn a_day_is_settled_once_and_late_taps_belong_to_the_next() {
    settles(World::on(MemoryClearing::new()).await).await;
    let directory = std::env::temp_dir().join(format!("opentsm-settlement-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    settles(World::on(SqliteClearing::open(&directory.join("centre.sqlite")).unwrap()).await).await;
    std::fs::remove_dir_all(&directory).unwrap();
}

/// The centre dies before or after any commit of a settlement and reconciliation; whoever goes on gets the
/// same rows, files and books.
#[tokio::test]
async fn a_settlement_goes_on_after_a_crash_at_any_commit() {
    let whole = World::on(MemoryClearing::new()).await;
    a_day(&whole).await;
    let (expected, _) = close(&whole).await.unwrap();
    let settlements = whole.store.settlements(day()).await.unwrap();
    let files = whole.store.files(day(), &"METRO".parse().unwrap()).await.unwrap();
    let totals = whole.store.totals().await.unwrap();
    let mut cuts = 0;
    for crash in [Crash::BeforeCommit, Crash::AfterCommit] {
        for commit in 1.. {
            let faults = Arc::new(Faults::default());
            let mut world = World::on(MemoryClearing::with_faults(faults.clone())).await;
            a_day(&world).await;
            faults.crash_at(faults.commits() + commit, crash);
            let first = close(&world).await;
            if first.is_ok() {
                break;
            }
            cuts += 1;
            faults.restart();
            world.restart();
            let (row, _) = close(&world).await.unwrap();
            assert_eq!(row, expected, "{crash:?} {commit}");
            assert_eq!(world.store.settlements(day()).await.unwrap(), settlements);
            assert_eq!(world.store.files(day(), &"METRO".parse().unwrap()).await.unwrap(), files);
            assert_eq!(world.store.totals().await.unwrap(), totals, "{crash:?} {commit}");
            let found = world.store.differences(&Default::default(), 100).await.unwrap();
            assert_eq!(found.len(), 1, "the payment that no statement has");
        }
    }
    println!("a settlement was cut at {cuts} commits");
    assert!(cuts >= 12);
}

async fn close<S: ClearingStore + 'static>(world: &World<S>) -> Result<(DayRow, u64), String> {
    world.centre.settle_day(day()).await.map_err(|error| error.to_string())?;
    let (row, done) = world.centre.reconcile_day(day()).await.map_err(|error| error.to_string())?;
    Ok((row, done.found))
}

/// The jobs settle yesterday when it is over and reconcile it when its statement is there.
#[tokio::test]
async fn the_centre_works_by_itself() {
    let world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 500).await;
    world.clock.set("2026-11-20T16:04:00Z");
    world.centre.work().await;
    assert_eq!(world.store.day(day()).await.unwrap(), None, "what was on its way at midnight still counts");
    world.clock.set(AFTER);
    world.centre.work().await;
    let row = world.store.day(day()).await.unwrap().unwrap();
    assert!(row.settled_at.is_some() && row.reconciled_at.is_none());
    world.clock.set("2026-11-21T02:00:00Z");
    world.centre.work().await;
    assert!(world.store.day(day()).await.unwrap().unwrap().reconciled_at.is_some());
}

/// A centre that was down for days settles and reconciles every day that it missed, in order and each once: also
/// the days after a life's first one that was never settled.
#[tokio::test]
async fn a_centre_that_was_down_for_days_does_them_all() {
    let mut world = World::on(MemoryClearing::new()).await;
    let mut card = world.card(1).await;
    world.top_up(&mut card, 1, 5_000).await;
    world.spend(&mut card, 300).await;
    let days = async |world: &World<MemoryClearing>| -> Vec<(String, bool, bool)> {
        let rows = world.store.days(100).await.unwrap();
        let told =
            |row: &DayRow| (row.day.to_string(), row.settled_at.is_some(), row.reconciled_at.is_some());
        rows.iter().rev().map(told).collect()
    };
    let all = |days: &[&str]| days.iter().map(|day| ((*day).to_owned(), true, true)).collect::<Vec<_>>();
    // Down from the afternoon of the 20th to the morning of the 23rd.
    world.clock.set("2026-11-23T02:00:00Z");
    world.restart();
    world.centre.work().await;
    assert_eq!(days(&world).await, all(&["2026-11-20", "2026-11-21", "2026-11-22"]));
    let settled = world.store.settlements(day()).await.unwrap();
    assert_eq!(settled.iter().map(|one| one.volume.gross.get()).collect::<Vec<_>>(), [300]);
    let before = world.store.days(100).await.unwrap();
    world.centre.work().await;
    assert_eq!(world.store.days(100).await.unwrap(), before, "each once");

    // Down again, from the 23rd to the 26th, and the platform has no statement of the 23rd at first: the days are
    // settled, and none is reconciled before the one that comes first.
    world.spend(&mut card, 200).await;
    world.statements.set(vec![paid(1, 5_000), paid(2, 40), refunded(1, 5)]);
    world.statements.set_broken(1, Some(Broken::Off));
    world.clock.set("2026-11-26T02:00:00Z");
    world.restart();
    world.centre.work().await;
    let waiting = days(&world).await;
    let of = |day: &str| (day.to_owned(), true, false);
    assert_eq!(waiting[3..], [of("2026-11-23"), of("2026-11-24"), of("2026-11-25")]);
    world.statements.set_broken(1, None);
    world.centre.work().await;
    let every = ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24", "2026-11-25"];
    assert_eq!(days(&world).await, all(&every));
    let rows = world.store.days(100).await.unwrap();
    assert!(rows.windows(2).all(|pair| pair[0].reconciled_at >= pair[1].reconciled_at), "in order");
    let gross: u64 = settled_gross(&world, &every).await;
    assert_eq!(gross, 500, "each purchase in one settlement");
    assert_eq!(world.store.totals().await.unwrap().check(), Ok(()));

    // The desk closed a later day by itself: the ones before it are not left out.
    world.spend(&mut card, 100).await;
    world.clock.set("2026-11-29T02:00:00Z");
    world.centre.settle_day("2026-11-28".parse().unwrap()).await.unwrap();
    world.centre.work().await;
    assert_eq!(days(&world).await[6..], all(&["2026-11-26", "2026-11-27", "2026-11-28"]));
    assert_eq!(settled_gross(&world, &["2026-11-26", "2026-11-27", "2026-11-28"]).await, 100);
}

async fn settled_gross(world: &World<MemoryClearing>, days: &[&str]) -> u64 {
    let mut gross = 0;
    for day in days {
        let settled = world.store.settlements(day.parse().unwrap()).await.unwrap();
        gross += settled.iter().map(|one| one.volume.gross.get()).sum::<u64>();
    }
    gross
}

#[tokio::test]
async fn days_that_are_unknown_or_open_are_told_so() {
    let world = World::on(MemoryClearing::new()).await;
    let desk = world.client(&world.desk);
    let code = |error: tsm_api::client::ClientError| error.code().unwrap();
    let closed = desk.call(&api::CLOSE_DAY, &[DAY], &Nothing {}).await.unwrap_err();
    assert_eq!(code(closed), ProblemCode::StateForbids, "it is not over");
    let reconciled = desk.call(&api::RECONCILE_DAY, &[DAY], &Nothing {}).await.unwrap_err();
    assert_eq!(code(reconciled), ProblemCode::StateForbids, "it is not settled");
    for unknown in ["2026-11-19", "yesterday"] {
        let refused = desk.call(&api::SETTLEMENTS, &[unknown], &Nothing {}).await.unwrap_err();
        assert_eq!(code(refused), ProblemCode::UnknownId, "{unknown}");
    }
    let nothing = uuid::Uuid::nil().to_string();
    let refused = desk.call(&api::DIFFERENCE, &[&nothing], &Nothing {}).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::UnknownId);
    world.clock.set(AFTER);
    desk.call(&api::CLOSE_DAY, &[DAY], &Nothing {}).await.unwrap();
    let days = desk.call(&api::DAYS, &[], &Nothing {}).await.unwrap().days;
    assert_eq!(days[0].day, DAY);
    let refused = world.client(&world.metro).call(&api::FILE, &[DAY, "1"], &Nothing {}).await.unwrap_err();
    assert_eq!(code(refused), ProblemCode::UnknownId, "nothing was spent, so there is no file");
}
