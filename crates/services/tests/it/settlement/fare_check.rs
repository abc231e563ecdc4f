//! Fares worked out once more: what a terminal charged against what the tables allow, from what the card proved.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tsm_api::HexBytes;
use tsm_api::clearing::lists::TerminalStatus;
use tsm_api::clearing::{Consumption, ConsumptionReport};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::fare::{
    Concession, DistanceBand, FareHead, FareRule, FareRules, FareTable, MonthStep, Percent, StationId,
};
use tsm_domain::money::reconciliation::{Action, Cause, Difference};
use tsm_domain::{CardNumber, Fen};
use tsm_epurse::DateTime;
use tsm_epurse::commands::PurchaseKind::{self, Composite, Simple};
use tsm_storage::clearing::fares::{FareRow, Fares as _};
use tsm_storage::clearing::lists::{ProposalDecided, ProposalVerdict};
use tsm_storage::clearing::settlement::{DayRow, DifferenceQuery, Settlements as _};
use tsm_storage::clearing::{Books, ClearingStore as _};
use tsm_storage::memory::MemoryClearing;

use super::world::{BUS, GATES, World, day};
use crate::purse_card::{PurseCard, TERMINAL};

const HARBOUR: [u8; 6] = GATES[0];
const LIGHTHOUSE: [u8; 6] = GATES[1];
/// When a table was in force long before, and when one came into force this morning.
const LONG_AGO: &str = "2026-09-01T00:00:00Z";
const TODAY: &str = "2026-11-20T00:00:00Z";

fn at(hour: u8, minute: u8) -> DateTime {
    DateTime::from_calendar((2026, 11, 20), (hour, minute, 0)).unwrap()
}

/// A price of one ride from Harbour to Lighthouse, and 9 yuan for one that nobody saw begin.
fn by_distance(version: u32, fen: u64) -> FareTable {
    let positions_m = BTreeMap::from([(StationId(1), 0), (StationId(2), 8_000)]);
    let bands = vec![DistanceBand { up_to_m: 12_000, price: Fen::new(fen) }];
    FareTable::new(version, FareRule::Distance { positions_m, bands, maximum: Fen::new(900) }).unwrap()
}

async fn publish(world: &World<MemoryClearing>, table: &FareTable, from: &str) {
    let from: Timestamp = from.parse().unwrap();
    let text = serde_json::to_string(table).unwrap();
    let digest = Sha256Digest::of(text.as_bytes());
    let head = FareHead { version: table.version(), valid_from: from, valid_until: None, digest };
    let (operator, by) = ("METRO".parse().unwrap(), "METRO/an".parse().unwrap());
    let row = FareRow { operator, head, by, at: from, decided: None };
    let operator = row.operator.clone();
    world.store.propose_fares(row, text).await.unwrap();
    let by = "METRO/bo".parse().unwrap();
    let decided = ProposalDecided { by, verdict: ProposalVerdict::Approved, at: from };
    world.store.decide_fares(&operator, table.version(), decided, Books::default()).await.unwrap();
}

async fn deliver(world: &World<MemoryClearing>, terminal: [u8; 6], sale: Consumption) {
    let report = ConsumptionReport { terminal: HexBytes(terminal.to_vec()), transactions: vec![sale] };
    world.peer(&world.metro).consumption(&report).await.unwrap();
}

/// A card with 50 yuan.
async fn card(world: &World<MemoryClearing>, own: u64) -> PurseCard {
    let mut card = world.card(own).await;
    world.top_up(&mut card, own.into(), 5_000).await;
    card
}

/// Taps so many minutes after ten, each told to the centre.
async fn taps(
    world: &World<MemoryClearing>,
    card: &mut PurseCard,
    taps: &[(PurchaseKind, u32, [u8; 6], u8)],
) {
    for (kind, fen, terminal, minute) in taps {
        let sale = card.pay_at(*kind, *fen, (*terminal, at(10 + minute / 60, minute % 60)));
        deliver(world, *terminal, sale).await;
    }
}

async fn reconciled(world: &World<MemoryClearing>) -> (DayRow, Vec<Difference>) {
    world.clock.set("2026-11-21T02:00:00Z");
    world.centre.settle_day(day()).await.unwrap();
    let before = world.store.totals().await.unwrap();
    let (row, _) = world.centre.reconcile_day(day()).await.unwrap();
    assert_eq!(world.store.totals().await.unwrap(), before, "the money stays as the cards proved it");
    let all = world.store.differences(&DifferenceQuery::default(), 100).await.unwrap();
    let about_fares = |one: &Difference| matches!(one.cause, Cause::FareDearer | Cause::FareCheaper);
    (row, all.into_iter().filter(about_fares).collect())
}

fn found(all: &[Difference]) -> BTreeMap<CardNumber, (Cause, Option<u64>, Option<u64>)> {
    let fen = |fen: Option<Fen>| fen.map(Fen::get);
    all.iter().map(|one| (one.card.unwrap(), (one.cause, fen(one.ours), fen(one.theirs)))).collect()
}

/// Each ride is worked out from what its card proved. What no table says is a difference, dearer and cheaper told
/// apart; an older table is right where the terminal may not have had the new one; and a ride of which the centre
/// does not know enough is counted, and no difference.
#[tokio::test]
async fn an_amount_that_no_table_says_is_a_difference() {
    let world = World::on(MemoryClearing::new()).await;
    publish(&world, &by_distance(1, 400), LONG_AGO).await;
    publish(&world, &by_distance(2, 450), TODAY).await;
    let mut cards = Vec::new();
    for own in 1..=9 {
        cards.push(card(&world, own).await);
    }
    let [new, old, dear, cheap, nowhere, gap, unknown, shop, bus] = &mut cards[..] else { unreachable!() };
    let ride = |fen| [(Composite, 0, HARBOUR, 0), (Composite, fen, LIGHTHOUSE, 20)];
    taps(&world, new, &ride(450)).await;
    taps(&world, old, &ride(400)).await;
    taps(&world, dear, &ride(500)).await;
    taps(&world, cheap, &ride(300)).await;
    taps(&world, nowhere, &[(Composite, 900, LIGHTHOUSE, 20)]).await;
    gap.pay_at(Composite, 0, (HARBOUR, at(10, 0)));
    taps(&world, gap, &[(Composite, 777, LIGHTHOUSE, 20)]).await;
    let between =
        [(Composite, 0, HARBOUR, 0), (Composite, 10, TERMINAL, 5), (Composite, 777, LIGHTHOUSE, 20)];
    taps(&world, unknown, &between).await;
    let between = [(Composite, 0, HARBOUR, 0), (Simple, 10, TERMINAL, 5), (Composite, 777, LIGHTHOUSE, 20)];
    taps(&world, shop, &between).await;
    taps(&world, bus, &[(Composite, 900, BUS, 0), (Composite, 899, BUS, 30)]).await;

    let (row, differences) = reconciled(&world).await;
    let expected = BTreeMap::from([
        (dear.number, (Cause::FareDearer, Some(450), Some(500))),
        (cheap.number, (Cause::FareCheaper, Some(450), Some(300))),
        (shop.number, (Cause::FareDearer, Some(450), Some(777))),
        (bus.number, (Cause::FareCheaper, Some(900), Some(899))),
    ]);
    assert_eq!(found(&differences), expected);
    assert_eq!((row.fares.judged, row.fares.not_judged), (8, 2));
    let one = differences.iter().find(|one| one.card == Some(dear.number)).unwrap();
    assert!(one.text.contains("version 2 says 4.50 yuan") && one.text.contains("第 2 版"), "{}", one.text);
    assert!(one.check_action(&Action::Ignore).is_ok());
    assert!(one.check_action(&Action::WriteOff).is_err(), "nothing is booked about it");

    let (again, differences) = reconciled(&world).await;
    assert_eq!((again.fares, differences.len()), (row.fares, 4), "looking again finds nothing twice");
}

/// A terminal that has told that it holds the new table has to use it, and so has every
/// terminal when the days of grace are over.
#[tokio::test]
async fn a_terminal_that_has_the_table_uses_it() {
    let world = World::on(MemoryClearing::new()).await;
    publish(&world, &by_distance(1, 400), LONG_AGO).await;
    publish(&world, &by_distance(2, 450), TODAY).await;
    let status = TerminalStatus {
        terminal: HexBytes(LIGHTHOUSE.to_vec()),
        list_version: 0,
        fare_version: 1,
        fares_held: 2,
        undelivered: 0,
    };
    world.peer(&world.metro).terminal_status(&status).await.unwrap();
    let (early, late) = (&mut card(&world, 2).await, 200);
    taps(&world, early, &[(Composite, 0, HARBOUR, 0), (Composite, 400, LIGHTHOUSE, 20)]).await;
    let mut card = card(&world, 1).await;
    taps(&world, &mut card, &[(Composite, 0, HARBOUR, 0), (Composite, 400, LIGHTHOUSE, late)]).await;
    let (_, differences) = reconciled(&world).await;
    let expected = BTreeMap::from([(card.number, (Cause::FareCheaper, Some(450), Some(400)))]);
    assert_eq!(found(&differences), expected, "before it told, the old table was right");

    let world = World::on(MemoryClearing::new()).await;
    publish(&world, &by_distance(1, 400), LONG_AGO).await;
    publish(&world, &by_distance(2, 450), "2026-11-12T00:00:00Z").await;
    let mut card = self::card(&world, 1).await;
    taps(&world, &mut card, &[(Composite, 0, HARBOUR, 0), (Composite, 400, LIGHTHOUSE, 20)]).await;
    let (_, differences) = reconciled(&world).await;
    assert_eq!(found(&differences)[&card.number], (Cause::FareCheaper, Some(450), Some(400)));
}

/// A table that nobody outside the terminal knows may have been in force: nothing is judged but what a published
/// table says.
#[tokio::test]
async fn a_table_that_a_terminal_was_installed_with_is_not_judged() {
    let world = World::on(MemoryClearing::new()).await;
    publish(&world, &by_distance(1, 400), TODAY).await;
    let (mut right, mut other) = (card(&world, 1).await, card(&world, 2).await);
    taps(&world, &mut right, &[(Composite, 0, HARBOUR, 0), (Composite, 400, LIGHTHOUSE, 20)]).await;
    taps(&world, &mut other, &[(Composite, 0, HARBOUR, 0), (Composite, 350, LIGHTHOUSE, 20)]).await;
    let (row, differences) = reconciled(&world).await;
    assert_eq!((row.fares.judged, row.fares.not_judged, differences.len()), (1, 1, 0));
}

/// The month's total follows from the card's own transactions, and counts only when none of them is missing. What a
/// card may be, a student's or not, is not guessed: either amount is right.
#[tokio::test]
async fn a_months_total_counts_when_it_is_proven() {
    let world = World::on(MemoryClearing::new()).await;
    let percent = |percent| Percent::new(percent).unwrap();
    let step = MonthStep { from: Fen::new(1_000), percent: percent(50) };
    let student = Concession { kind: 2, percent: percent(10), combination: Default::default(), until: None };
    let rules = FareRules {
        month_steps: vec![step],
        concessions: vec![student],
        ..FareRules::plain(1, FareRule::Flat(Fen::new(600)))
    };
    publish(&world, &FareTable::with(rules).unwrap(), LONG_AGO).await;
    let mut cards = Vec::new();
    for own in 1..=5 {
        cards.push(card(&world, own).await);
    }
    let [right, dear, gap, pupil, more] = &mut cards[..] else { unreachable!() };
    let rides = |third| [(Composite, 600, BUS, 0), (Composite, 600, BUS, 20), (Composite, third, BUS, 40)];
    taps(&world, right, &rides(300)).await;
    taps(&world, dear, &rides(600)).await;
    taps(&world, gap, &rides(300)[..1]).await;
    gap.pay_at(Composite, 600, (BUS, at(10, 20)));
    taps(&world, gap, &rides(300)[2..]).await;
    taps(&world, pupil, &[(Composite, 60, BUS, 0)]).await;
    more.pay_at(Composite, 600, (BUS, at(10, 20)));
    taps(&world, more, &[(Composite, 601, BUS, 40)]).await;
    let (row, differences) = reconciled(&world).await;
    let expected = BTreeMap::from([
        (dear.number, (Cause::FareDearer, Some(300), Some(600))),
        // No discount raises a fare, so this needs no total.
        (more.number, (Cause::FareDearer, Some(600), Some(601))),
    ]);
    assert_eq!(found(&differences), expected);
    assert_eq!((row.fares.judged, row.fares.not_judged), (9, 1));
}
