use jiff::civil::{Date, DateTime, date, datetime};
use proptest::prelude::*;

use super::*;

const METRO: u8 = 1;
const BUS: u8 = 2;
const ORDINARY: u8 = 0x01;
const STUDENT: u8 = 0x02;
const ELDER: u8 = 0x03;
const MONTH_PASS: u8 = 0x11;

fn percent(percent: u8) -> Percent {
    Percent::new(percent).unwrap()
}

fn band(up_to_m: u32, price: u64) -> DistanceBand {
    DistanceBand { up_to_m, price: Fen::new(price) }
}

fn metro_rule() -> FareRule {
    let positions_m = [(1, 0), (2, 1_200), (3, 6_000), (4, 6_001), (5, 40_000)];
    FareRule::Distance {
        positions_m: positions_m.map(|(station, metres)| (StationId(station), metres)).into(),
        bands: vec![band(6_000, 300), band(12_000, 400), band(22_000, 500)],
        maximum: Fen::new(700),
    }
}

/// Steps as a northern capital has them: 80 per cent from 100 yuan, half from 150, whole again from 400.
fn capital() -> FareRules {
    let step = |from, to_pay| MonthStep { from: Fen::new(from), percent: percent(to_pay) };
    let transfer =
        |from, to| TransferDiscount { from, to, within_min: 60, discount: Discount::Less(Fen::new(100)) };
    FareRules {
        overlong: Some(Overlong { after_min: 240, surcharge: Some(Fen::new(300)) }),
        passes: vec![Pass { kind: MONTH_PASS, rides_per_month: Some(60), until: None }],
        concessions: vec![
            Concession {
                kind: STUDENT,
                percent: percent(50),
                combination: Combination::WithDiscounts,
                until: Some(date(2026, 7, 15)),
            },
            Concession { kind: ELDER, percent: percent(0), combination: Combination::Alone, until: None },
        ],
        transfers: vec![transfer(METRO, BUS), transfer(BUS, METRO)],
        month_steps: vec![step(10_000, 80), step(15_000, 50), step(40_000, 100)],
        day_cap: Some(Fen::new(2_000)),
        ..FareRules::plain(3, metro_rule())
    }
}

fn table() -> FareTable {
    FareTable::with(capital()).unwrap()
}

fn card(kind: u8) -> CardState {
    CardState::new(kind, Validity { from: date(2025, 1, 1), until: date(2030, 12, 31) })
}

const NOON: DateTime = datetime(2026, 3, 14, 12, 0, 0, 0);

fn between(entry: u16, exit: u16) -> Trip {
    let journey = Journey::Between { entry: StationId(entry), exit: StationId(exit), entered_at: None };
    Trip { industry: METRO, journey, at: NOON }
}

fn spent(card: CardState, fen: u64) -> CardState {
    let month = MonthSpent { year: 2026, month: 3, spent: Fen::new(fen), rides: 9 };
    CardState { month: Some(month), ..card }
}

fn rode(card: CardState, industry: u8, at: DateTime, by_transfer: bool) -> CardState {
    CardState { last_ride: Some(LastRide { industry, at, by_transfer }), ..card }
}

#[test]
fn base_fares() {
    let plain = FareTable::new(1, metro_rule()).unwrap();
    let rows = [(1, 1, 300), (1, 2, 300), (2, 1, 300), (1, 3, 300), (1, 4, 400), (1, 5, 500), (5, 3, 500)];
    for (entry, exit, fen) in rows {
        let fare = plain.fare(&between(entry, exit), &card(ORDINARY)).unwrap();
        assert_eq!(fare.amount, Fen::new(fen), "{entry} to {exit}");
    }
    let unknown = Err(FareError::UnknownStation(StationId(9)));
    assert_eq!(plain.fare(&between(1, 9), &card(ORDINARY)), unknown);
    let lost = Trip { journey: Journey::EntryUnknown { exit: StationId(2) }, ..between(1, 1) };
    let fare = plain.fare(&lost, &card(ORDINARY)).unwrap();
    assert_eq!((fare.amount, fare.why[0].reason), (Fen::new(700), FareReason::EntryUnknown));
    let nowhere = Trip { journey: Journey::EntryUnknown { exit: StationId(9) }, ..lost };
    assert_eq!(plain.fare(&nowhere, &card(ORDINARY)), unknown);
    let boarding = Trip { journey: Journey::Boarding, industry: BUS, ..lost };
    assert_eq!(plain.fare(&boarding, &card(ORDINARY)).unwrap().amount, Fen::new(700));
    let bus = FareTable::new(2, FareRule::Flat(Fen::new(200))).unwrap();
    assert_eq!(bus.fare(&boarding, &card(ORDINARY)).unwrap().amount, Fen::new(200));
    assert_eq!(bus.fare(&between(77, 78), &card(ORDINARY)).unwrap().amount, Fen::new(200));
}

#[test]
fn fares_by_zones() {
    let price = |from, to, fen| ZonePrice { from: ZoneId(from), to: ZoneId(to), price: Fen::new(fen) };
    let prices = vec![price(1, 1, 200), price(1, 2, 300), price(2, 2, 250)];
    let rule = |prices| FareRule::Zones {
        zones: [(1, 1), (2, 1), (3, 2)].map(|(station, zone)| (StationId(station), ZoneId(zone))).into(),
        prices,
        maximum: Fen::new(300),
    };
    let table = FareTable::new(1, rule(prices.clone())).unwrap();
    for (entry, exit, fen) in [(1, 2, 200), (1, 3, 300), (3, 1, 300), (3, 3, 250)] {
        assert_eq!(table.fare(&between(entry, exit), &card(1)).unwrap().amount, Fen::new(fen));
    }
    let missing = FareTable::new(1, rule(prices[..2].to_vec()));
    assert_eq!(missing, Err(FareTableError::NoPrice(ZoneId(2), ZoneId(2))));
    let twice = [prices.clone(), vec![price(2, 1, 300)]].concat();
    assert_eq!(FareTable::new(1, rule(twice)), Err(FareTableError::TwoPrices(ZoneId(2), ZoneId(1))));
    let high = [prices[..2].to_vec(), vec![price(2, 2, 301)]].concat();
    let error = FareTable::new(1, rule(high)).unwrap_err();
    assert_eq!(error, FareTableError::MaximumTooLow { maximum: Fen::new(300), price: Fen::new(301) });
}

/// Each row: what the card holds, the trip, what is to pay, and the last reason.
#[test]
fn discounts_by_row() {
    let minutes_ago = |minutes: i64| NOON - jiff::SignedDuration::from_mins(minutes);
    let late = Trip { at: datetime(2026, 9, 1, 8, 0, 0, 0), ..between(1, 4) };
    let bus_before = |minutes| rode(card(ORDINARY), BUS, minutes_ago(minutes), false);
    let rows: Vec<(&str, CardState, Trip, u64)> = vec![
        ("the whole price", card(ORDINARY), between(1, 4), 400),
        ("a student pays half", card(STUDENT), between(1, 4), 200),
        ("and whole when the school year is over", card(STUDENT), late, 400),
        ("an elder pays nothing", card(ELDER), between(1, 4), 0),
        ("another kind pays all", card(0x70), between(1, 4), 400),
        ("just before the first step", spent(card(ORDINARY), 9_999), between(1, 4), 400),
        ("at the first step", spent(card(ORDINARY), 10_000), between(1, 4), 320),
        ("at the second step", spent(card(ORDINARY), 15_000), between(1, 4), 200),
        ("past the last step all again", spent(card(ORDINARY), 40_000), between(1, 4), 400),
        ("a student's half of 80 per cent", spent(card(STUDENT), 10_000), between(1, 4), 160),
        ("last month does not count", spent(card(ORDINARY), 15_000), late, 400),
        ("a transfer", bus_before(60), between(1, 4), 300),
        ("a minute late for it", bus_before(61), between(1, 4), 400),
        ("from a ride in the future", bus_before(-1), between(1, 4), 400),
        ("no chain of transfers", rode(card(ORDINARY), BUS, minutes_ago(5), true), between(1, 4), 400),
        (
            "no transfer within the metro",
            rode(card(ORDINARY), METRO, minutes_ago(5), false),
            between(1, 4),
            400,
        ),
        ("transfer, then the month", spent(bus_before(5), 15_000), between(1, 4), 150),
        ("a pass", card(MONTH_PASS), between(1, 4), 0),
    ];
    for (what, card, trip, fen) in rows {
        let fare = table().fare(&trip, &card).unwrap();
        assert_eq!(fare.amount, Fen::new(fen), "{what}: {}", fare.english());
        assert_eq!(fare.why.last().unwrap().amount, fare.amount, "{what}");
        assert!(!fare.chinese().is_empty());
    }
}

#[test]
fn validity_caps_and_counts() {
    let expired =
        CardState { validity: Validity { from: date(2020, 1, 1), until: date(2026, 3, 13) }, ..card(ELDER) };
    assert_eq!(table().fare(&between(1, 4), &expired).unwrap().amount, Fen::new(400));
    let used_up = CardState {
        month: Some(MonthSpent { year: 2026, month: 3, spent: Fen::ZERO, rides: 60 }),
        ..card(MONTH_PASS)
    };
    assert_eq!(table().fare(&between(1, 4), &used_up).unwrap().amount, Fen::new(400));
    let busy = |fen| CardState {
        day: Some(DaySpent { day: date(2026, 3, 14), spent: Fen::new(fen) }),
        ..card(ORDINARY)
    };
    for (before, due) in [(0, 400), (1_600, 400), (1_700, 300), (2_000, 0), (9_000, 0)] {
        assert_eq!(table().fare(&between(1, 4), &busy(before)).unwrap().amount, Fen::new(due), "{before}");
    }
}

#[test]
fn a_stay_too_long() {
    let stay = |minutes: i64| {
        let entered_at = Some(NOON - jiff::SignedDuration::from_mins(minutes));
        let journey = Journey::Between { entry: StationId(1), exit: StationId(4), entered_at };
        Trip { journey, ..between(1, 4) }
    };
    for (minutes, due) in [(240, 400), (241, 700), (-5, 400)] {
        assert_eq!(table().fare(&stay(minutes), &card(ORDINARY)).unwrap().amount, Fen::new(due), "{minutes}");
    }
    let rules = FareRules { overlong: Some(Overlong { after_min: 240, surcharge: None }), ..capital() };
    let highest = FareTable::with(rules).unwrap();
    assert_eq!(highest.fare(&stay(241), &card(ORDINARY)).unwrap().amount, Fen::new(700));
}

/// A month of commuting, ride after ride, by hand: 4 yuan 25 times, 3.20 16 times, then 2 yuan.
#[test]
fn a_month_adds_up() {
    let mut state = card(ORDINARY);
    let rules = FareRules { day_cap: None, transfers: Vec::new(), ..capital() };
    let table = FareTable::with(rules).unwrap();
    let mut amounts = Vec::new();
    for day in 1..=21 {
        for hour in [8, 18] {
            let trip = Trip { at: Date::constant(2026, 3, day).at(hour, 0, 0, 0), ..between(1, 4) };
            let fare = table.fare(&trip, &state).unwrap();
            state = table.after(&trip, &fare, &state);
            amounts.push(fare.amount.get());
        }
    }
    assert_eq!(amounts[..25], [400; 25]);
    assert_eq!(amounts[25..41], [320; 16]);
    assert_eq!(amounts[41], 200);
    let month = state.month.unwrap();
    assert_eq!((month.spent.get(), month.rides), (amounts.iter().sum(), 42));
    let april = Trip { at: datetime(2026, 4, 1, 8, 0, 0, 0), ..between(1, 4) };
    assert_eq!(table.fare(&april, &state).unwrap().amount, Fen::new(400));
}

#[test]
fn tables_without_sense_are_refused() {
    let distance = |bands, maximum| FareRule::Distance {
        positions_m: Default::default(),
        bands,
        maximum: Fen::new(maximum),
    };
    use FareTableError as E;
    let rules: Vec<(FareRules, E)> = vec![
        (FareRules::plain(1, distance(vec![], 0)), E::NoBand),
        (FareRules::plain(1, distance(vec![band(5, 1), band(5, 2)], 9)), E::BandsDoNotRise),
        (FareRules::plain(1, distance(vec![band(5, 2), band(6, 1)], 9)), E::BandsDoNotRise),
        (
            FareRules::plain(1, distance(vec![band(5, 2)], 1)),
            E::MaximumTooLow { maximum: Fen::new(1), price: Fen::new(2) },
        ),
        (FareRules::plain(1, FareRule::Flat(Fen::new(1 << 32))), E::TooMuch(Fen::new(1 << 32))),
        (
            FareRules { month_steps: capital().month_steps.into_iter().rev().collect(), ..capital() },
            E::StepsDoNotRise,
        ),
        (
            FareRules { transfers: [capital().transfers, capital().transfers].concat(), ..capital() },
            E::TransferTwice(METRO, BUS),
        ),
        (
            FareRules {
                transfers: vec![TransferDiscount { within_min: 1_441, ..capital().transfers[0] }],
                ..capital()
            },
            E::TransferWindow(1_441),
        ),
        (
            FareRules { passes: vec![Pass { kind: ELDER, rides_per_month: None, until: None }], ..capital() },
            E::KindTwice(ELDER),
        ),
        (
            FareRules { overlong: Some(Overlong { after_min: 0, surcharge: None }), ..capital() },
            E::OverlongAtOnce,
        ),
        (FareRules { day_cap: Some(Fen::ZERO), ..capital() }, E::NoDayCap),
    ];
    for (rules, error) in rules {
        assert_eq!(FareTable::with(rules), Err(error), "{error}");
    }
}

#[test]
fn tables_are_read_and_checked() {
    let text = serde_json::to_string(&table()).unwrap();
    assert_eq!(serde_json::from_str::<FareTable>(&text).unwrap(), table());
    let by_hand = r#"{
        "version": 12,
        "rule": {"distance": {"positions_m": {"1": 0, "2": 900}, "bands": [{"up_to_m": 6000, "price": 300}], "maximum": 900}},
        "concessions": [{"kind": 2, "percent": 50, "until": "2026-07-15"}],
        "transfers": [{"from": 2, "to": 1, "within_min": 90, "discount": {"pay": 50}}],
        "month_steps": [{"from": 10000, "percent": 80}],
        "day_cap": 2000
    }"#;
    let table: FareTable = serde_json::from_str(by_hand).unwrap();
    assert_eq!((table.version(), table.highest()), (12, Fen::new(900)));
    assert!(table.needs_totals() && table.needs_kind());
    let says = |from: &str, to: &str| {
        serde_json::from_str::<FareTable>(&by_hand.replace(from, to)).unwrap_err().to_string()
    };
    assert!(says("\"percent\": 80", "\"percent\": 101").contains("101 per cent are more than the whole"));
    assert!(says("\"day_cap\"", "\"day_kap\"").contains("unknown field `day_kap`"));
    assert!(says("\"maximum\": 900", "\"maximum\": 1").contains("costs more"));
    assert!(says("2026-07-15", "2026-07-32").contains("day"));
}

/// Whatever is read, reading ends with a table or a sentence.
#[test]
fn any_text_is_read_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(table) = serde_json::from_slice::<FareTable>(bytes) {
            let _ = table.fare(&between(1, 2), &card(ORDINARY));
        }
    });
}

fn any_card() -> impl Strategy<Value = CardState> {
    let kind = prop::sample::select(vec![ORDINARY, STUDENT, ELDER, MONTH_PASS, 0x70]);
    (kind, 0..60_000u64, 0..100u16, 0..5_000u64, prop::option::of((1..=3u8, -100i64..200, any::<bool>())))
        .prop_map(|(kind, month, rides, day, last)| CardState {
            month: Some(MonthSpent { year: 2026, month: 3, spent: Fen::new(month), rides }),
            day: Some(DaySpent { day: date(2026, 3, 14), spent: Fen::new(day) }),
            last_ride: last.map(|(industry, minutes, by_transfer)| LastRide {
                industry,
                at: NOON - jiff::SignedDuration::from_mins(minutes),
                by_transfer,
            }),
            ..card(kind)
        })
}

proptest! {
    /// No fare is above the highest and its surcharge; no discount raises it; the cap of the day holds.
    #[test]
    fn discounts_never_raise(card in any_card(), entry in 1u16..=5, exit in 1u16..=5, stay in prop::option::of(0i64..600)) {
        let entered_at = stay.map(|minutes| NOON - jiff::SignedDuration::from_mins(minutes));
        let journey = Journey::Between { entry: StationId(entry), exit: StationId(exit), entered_at };
        let fare = table().fare(&Trip { journey, ..between(1, 1) }, &card).unwrap();
        prop_assert!(fare.amount <= Fen::new(1_000));
        let discounts = fare.why.windows(2).filter(|pair| !matches!(pair[1].reason, FareReason::Overlong { .. }));
        for pair in discounts {
            prop_assert!(pair[1].amount <= pair[0].amount, "{}", fare.english());
        }
        let today = card.day.map_or(0, |day| day.spent.get());
        prop_assert!(fare.amount.is_zero() || today + fare.amount.get() <= 2_000);
    }

    /// Farther is never cheaper, whatever the card holds.
    #[test]
    fn farther_is_never_cheaper(card in any_card(), near in 1u16..=5, far in 1u16..=5) {
        let place = [0, 1_200, 6_000, 6_001, 40_000];
        let (near, far) = if place[usize::from(near) - 1] <= place[usize::from(far) - 1] { (near, far) } else { (far, near) };
        let cost = |exit| table().fare(&between(1, exit), &card).unwrap().amount;
        prop_assert!(cost(near) <= cost(far));
    }

    /// What was paid is what the totals grow by.
    #[test]
    fn totals_grow_by_what_was_paid(card in any_card(), exit in 1u16..=5) {
        let trip = between(1, exit);
        let fare = table().fare(&trip, &card).unwrap();
        let after = table().after(&trip, &fare, &card);
        let today = trip.at.date();
        prop_assert_eq!(after.spent_in_month(today).get(), card.spent_in_month(today).get() + fare.amount.get());
        prop_assert_eq!(after.spent_on(today).get(), card.spent_on(today).get() + fare.amount.get());
        prop_assert_eq!(after.rides_in_month(today), card.rides_in_month(today) + 1);
    }
}
