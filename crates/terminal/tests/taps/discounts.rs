//! Fares that depend on the card and on what it has done: kinds, month totals, transfers, caps, a stay too long.
//! What they depend on is in the card, written with the same composite purchase that is paid by it.

use tsm_domain::{
    amount::Fen,
    money::fare::{
        Combination, Concession, Discount, FareRule, FareRules, FareTable, MonthStep, Overlong, Pass,
        Percent, TransferDiscount,
    },
};
use tsm_epurse::{
    DateTime, Sfi,
    commands::ReadRecord,
    file::{DiscountRecord, RecordId},
};
use tsm_se::Interface;
use tsm_terminal::{Passage, Receipt, Refusal, TapError, TerminalClass, gate::Booking};

use crate::{
    START_FEN, TestGate, at, fen, gate,
    hostile::refused,
    phone::{Fault, Field, Issue, Phone},
    pos,
};

fn percent(percent: u8) -> Percent {
    Percent::new(percent).unwrap()
}

fn rules() -> FareRules {
    let FareRules { rule, .. } = crate::fares().rules().clone();
    FareRules {
        overlong: Some(Overlong { after_min: 240, surcharge: Some(Fen::new(300)) }),
        passes: vec![Pass { kind: 0x11, rides_per_month: None, until: None }],
        concessions: vec![Concession {
            kind: 0x02,
            percent: percent(50),
            combination: Combination::WithDiscounts,
            until: None,
        }],
        transfers: vec![TransferDiscount {
            from: 2,
            to: 1,
            within_min: 60,
            discount: Discount::Less(Fen::new(100)),
        }],
        month_steps: vec![MonthStep { from: Fen::new(800), percent: percent(50) }],
        ..FareRules::plain(8, rule)
    }
}

fn table(rules: FareRules) -> FareTable {
    FareTable::with(rules).unwrap()
}

fn gates(table: &FareTable) -> (TestGate, TestGate) {
    let (mut first, mut last) = (gate(1, 0x11), gate(9, 0x91));
    first.set_fares(table.clone());
    last.set_fares(table.clone());
    (first, last)
}

fn trip(gates: &mut (TestGate, TestGate), phone: &mut Phone, hour: u8) -> u32 {
    gates.0.enter(&mut Field::of(phone, None), at(hour, 0, 0)).unwrap();
    match gates.1.leave(&mut Field::of(phone, None), at(hour, 30, 0)).unwrap() {
        Passage::Left { fare, booking: Booking::Now, .. } => fare.fen(),
        other => panic!("{other:?}"),
    }
}

fn discount_record(phone: &mut Phone) -> DiscountRecord {
    phone.balance();
    let command = ReadRecord::number(Sfi::TRANSIT_RECORDS, RecordId::DISCOUNT.number());
    DiscountRecord::decode(&phone.send(Interface::Contact, &command.to_apdu()).data).unwrap()
}

/// Eight yuan are spent at the whole price, then half is to pay; the totals stand in the card.
#[test]
fn the_months_total_is_in_the_card() {
    let mut phone = Phone::new();
    let mut gates = gates(&table(rules()));
    let paid: Vec<u32> = (6..11).map(|hour| trip(&mut gates, &mut phone, hour)).collect();
    assert_eq!(paid, [400, 400, 200, 200, 200]);
    assert_eq!(phone.balance(), START_FEN - 1_400);
    let record = discount_record(&mut phone);
    assert_eq!((record.month, record.rides), ([0x26, 0x03], 5));
    assert_eq!(record.month_spent, [0, 0x05, 0x78], "fourteen yuan");
    assert_eq!((record.day, record.day_spent, record.last_industry), (0x14, 1_400, 1));
    assert_eq!(record.last_at, [0x03, 0x14, 0x10, 0x30]);
    assert!(gates.1.last_fare().unwrap().english().contains("spent this month"));
    let april = DateTime::from_calendar((2026, 4, 1), (8, 0, 0)).unwrap();
    let later = DateTime::from_calendar((2026, 4, 1), (8, 30, 0)).unwrap();
    gates.0.enter(&mut Field::of(&mut phone, None), april).unwrap();
    let left = gates.1.leave(&mut Field::of(&mut phone, None), later).unwrap();
    assert!(matches!(left, Passage::Left { fare, .. } if fare == fen(400)), "a new month: {left:?}");
}

/// A torn exit with totals: the fare and the totals are booked together, once.
#[test]
fn totals_and_fare_are_booked_together() {
    let mut phone = Phone::new();
    let fares = table(rules());
    let mut pair = gates(&fares);
    trip(&mut pair, &mut phone, 6);
    pair.0.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let mut whole = phone.copy();
    let mut field = Field::of(&mut whole, None);
    gates(&fares).1.leave(&mut field, at(8, 30, 0)).unwrap();
    let count = field.exchanges;
    let mut points = 0;
    for exchange in 0..count {
        for fault in [
            Fault::CommandLost,
            Fault::AnswerLost,
            Fault::PowerLostAtWrite(0),
            Fault::PowerLostAtWrite(1),
            Fault::PowerLostAtWrite(2),
        ] {
            let mut phone = phone.copy();
            let mut exit = gates(&fares).1;
            let first = exit.leave(&mut Field::of(&mut phone, Some((exchange, fault))), at(8, 30, 0));
            if first.is_err() {
                exit.leave(&mut Field::of(&mut phone, None), at(8, 30, 5)).unwrap();
            }
            let record = discount_record(&mut phone);
            assert_eq!(phone.balance(), START_FEN - 800, "{exchange} {fault:?}");
            assert_eq!((record.day_spent, record.rides), (800, 2), "{exchange} {fault:?}");
            points += 1;
        }
    }
    println!("{points} cut points of an exit with totals");
}

/// From the bus to the metro within the hour: a yuan less, once.
#[test]
fn a_transfer_costs_less() {
    let bus_fares = |rule| table(FareRules { version: 9, rule, ..rules() });
    let bus = bus_fares(FareRule::Flat(Fen::new(200)));
    let mut phone = Phone::new();
    let mut shop = pos(TerminalClass::B, 0x21);
    let mut gates = gates(&table(rules()));
    let (receipt, fare) = shop.ride(&mut Field::of(&mut phone, None), &bus, at(7, 45, 0)).unwrap();
    let Receipt::Paid(record) = receipt else { panic!("{receipt:?}") };
    assert_eq!((record.amount_fen, record.fare_version), (200, 9));
    assert_eq!(fare.unwrap().amount, Fen::new(200));
    assert_eq!(trip(&mut gates, &mut phone, 8), 300, "forty-five minutes after the bus");
    assert_eq!(trip(&mut gates, &mut phone, 9), 400, "the metro is no bus");
    assert_eq!(phone.balance(), START_FEN - 900);
}

#[test]
fn students_and_passes() {
    for (kind, paid) in [(0x01, 400), (0x02, 200), (0x11, 0), (0x70, 400)] {
        let mut phone = Phone::with(&[Issue { kind, ..Issue::default() }]);
        assert_eq!(trip(&mut gates(&table(rules())), &mut phone, 8), paid, "kind {kind:02X}");
        assert_eq!(phone.balance(), START_FEN - paid);
    }
}

/// Whoever rides for nothing gets in with nothing.
#[test]
fn a_pass_needs_no_balance() {
    for (kind, enters) in [(0x01, false), (0x11, true)] {
        let mut phone = Phone::with(&[Issue { kind, ..Issue::default() }]);
        let mut shop = pos(TerminalClass::B, 0x21);
        let simple = tsm_epurse::commands::PurchaseKind::Simple;
        shop.sell(&mut Field::of(&mut phone, None), simple, fen(START_FEN), at(7, 0, 0)).unwrap();
        let (mut first, _) = gates(&table(rules()));
        let entered = first.enter(&mut Field::of(&mut phone, None), at(8, 0, 0));
        match entered {
            Ok(_) => assert!(enters),
            Err(TapError::Refused(Refusal::Insufficient { .. })) => assert!(!enters),
            other => panic!("{other:?}"),
        }
    }
}

/// More than four hours inside cost three yuan more; an exit without an entry the highest fare.
#[test]
fn long_stays_and_lost_entries() {
    let mut phone = Phone::new();
    let (mut first, mut last) = gates(&table(rules()));
    first.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let left = last.leave(&mut Field::of(&mut phone, None), at(12, 1, 0)).unwrap();
    assert!(matches!(left, Passage::Left { fare, .. } if fare == fen(700)), "{left:?}");
    let refusal = refused(last.leave(&mut Field::of(&mut phone, None), at(13, 0, 0)));
    assert_eq!(refusal, Refusal::NotInside);
    let mut lenient = crate::gate_charging_maximum(9, 0x92);
    lenient.set_fares(table(FareRules { month_steps: Vec::new(), ..rules() }));
    let left = lenient.leave(&mut Field::of(&mut phone, None), at(13, 5, 0)).unwrap();
    assert!(matches!(left, Passage::Left { fare, .. } if fare == fen(700)), "{left:?}");
}
