//! Power cut at every exchange of a tap, and at every write of the card: whatever happens, the next tap
//! goes on, the trip is charged once, and the records prove it.

use tsm_epurse::{commands::PurchaseKind, file::HistoryType};
use tsm_terminal::{
    Passage, Receipt, RecordProof, Refusal, TapError, TerminalClass, TerminalState, gate::Booking,
};

use crate::{
    FARE_FEN, START_FEN, TestGate, at, check_tac, fen, gate, gate_in,
    phone::{Fault, Field, Phone},
    pos,
};

const FAULTS: [Fault; 8] = [
    Fault::CommandLost,
    Fault::AnswerLost,
    Fault::PowerLostAtWrite(0),
    Fault::PowerLostAtWrite(1),
    Fault::PowerLostAtWrite(2),
    Fault::PowerLostAtWrite(3),
    Fault::PowerLostAtWrite(5),
    Fault::PowerLostAtWrite(8),
];

type Tap = fn(&mut TestGate, &mut Field<'_>, u8) -> Result<Passage, TapError>;

fn enter(gate: &mut TestGate, field: &mut Field<'_>, second: u8) -> Result<Passage, TapError> {
    gate.enter(field, at(8, 0, second))
}

fn leave(gate: &mut TestGate, field: &mut Field<'_>, second: u8) -> Result<Passage, TapError> {
    gate.leave(field, at(8, 30, second))
}

/// How many exchanges a tap has.
fn exchanges(phone: &Phone, gate: &mut TestGate, tap: Tap) -> usize {
    let mut copy = phone.copy();
    let mut field = Field::of(&mut copy, None);
    tap(gate, &mut field, 0).unwrap();
    field.exchanges
}

/// Taps with a fault, then again without, and gives what the gate finally did.
fn torn_tap(phone: &mut Phone, gate: &mut TestGate, tap: Tap, fault: (usize, Fault)) -> Passage {
    let first = tap(gate, &mut Field::of(phone, Some(fault)), 0);
    if let Ok(passage) = first {
        // The card wrote less than the fault waited for.
        return passage;
    }
    // The terminal loses its power too and goes on from what it has stored.
    let stored = serde_json::to_string(gate.terminal().state()).unwrap();
    let state: TerminalState = serde_json::from_str(&stored).unwrap();
    let number = gate.terminal().number().to_bytes()[5];
    let station = if number == 0x11 { 1 } else { 9 };
    *gate = gate_in(station, number, state);
    tap(gate, &mut Field::of(phone, None), 5).unwrap_or_else(|error| panic!("{fault:?}: {error:?}"))
}

fn check_records(gate: &TestGate, amount: u32, fault: (usize, Fault)) {
    let state = gate.terminal().state();
    assert!(state.pending().is_empty(), "{fault:?}");
    let [record] = state.records() else {
        panic!("{fault:?}: {} records", state.records().len());
    };
    assert_eq!(record.amount_fen, amount, "{fault:?}");
    check_tac(record);
}

#[test]
fn a_torn_entry_is_booked_once() {
    let phone = Phone::new();
    let count = exchanges(&phone, &mut gate(1, 0x11), enter);
    let mut recovered = 0;
    for fault in (0..count).flat_map(|exchange| FAULTS.map(|fault| (exchange, fault))) {
        let (mut phone, mut gate) = (phone.copy(), gate(1, 0x11));
        let passage = torn_tap(&mut phone, &mut gate, enter, fault);
        let Passage::Entered { balance, booking } = passage else {
            panic!("{fault:?}: {passage:?}");
        };
        recovered += usize::from(booking == Booking::Before);
        assert_eq!(balance, fen(START_FEN));
        let types: Vec<_> = phone.history().iter().map(|record| record.history_type).collect();
        assert_eq!(types, [HistoryType::Entry], "{fault:?}");
        assert_eq!(phone.log().len(), 1, "{fault:?}");
        check_records(&gate, 0, fault);
    }
    assert!(recovered > 0, "some faults strike after the card has booked");
}

#[test]
fn a_torn_exit_is_charged_once() {
    let mut phone = Phone::new();
    gate(1, 0x11).enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let count = exchanges(&phone, &mut gate(9, 0x91), leave);
    let mut recovered = 0;
    for fault in (0..count).flat_map(|exchange| FAULTS.map(|fault| (exchange, fault))) {
        let (mut phone, mut gate) = (phone.copy(), gate(9, 0x91));
        let passage = torn_tap(&mut phone, &mut gate, leave, fault);
        let Passage::Left { fare, balance, booking } = passage else {
            panic!("{fault:?}: {passage:?}");
        };
        recovered += usize::from(booking == Booking::Before);
        assert_eq!((fare, balance), (fen(FARE_FEN), fen(START_FEN - FARE_FEN)), "{fault:?}");
        assert_eq!(phone.balance(), START_FEN - FARE_FEN, "{fault:?}");
        let types: Vec<_> = phone.history().iter().map(|record| record.history_type).collect();
        assert_eq!(types, [HistoryType::Exit, HistoryType::Entry], "{fault:?}");
        check_records(&gate, FARE_FEN, fault);
    }
    assert!(recovered > 0, "some faults strike after the card has booked");
}

#[test]
fn a_torn_sale_is_charged_once() {
    let phone = Phone::new();
    for kind in [PurchaseKind::Simple, PurchaseKind::Composite] {
        let mut whole = phone.copy();
        let mut field = Field::of(&mut whole, None);
        pos(TerminalClass::B, 0x21).sell(&mut field, kind, fen(200), at(9, 0, 0)).unwrap();
        let count = field.exchanges;
        let mut recovered = 0;
        for fault in (0..count).flat_map(|exchange| FAULTS.map(|fault| (exchange, fault))) {
            let (mut phone, mut pos) = (phone.copy(), pos(TerminalClass::B, 0x21));
            let first = pos.sell(&mut Field::of(&mut phone, Some(fault)), kind, fen(200), at(9, 0, 0));
            if first.is_err() {
                let again = pos.sell(&mut Field::of(&mut phone, None), kind, fen(200), at(9, 0, 5)).unwrap();
                recovered += usize::from(matches!(again, Receipt::PaidBefore(_)));
            }
            assert_eq!(phone.balance(), START_FEN - 200, "{kind:?} {fault:?}");
            let [record] = pos.terminal().state().records() else {
                panic!("{fault:?}");
            };
            check_tac(record);
            assert_eq!(record.proof, RecordProof::Mac2, "the PSAM still had the session: {fault:?}");
        }
        assert!(recovered > 0);
    }
}

fn torn_exit() -> (Phone, TestGate) {
    let (mut phone, mut exit) = (Phone::new(), gate(9, 0x91));
    gate(1, 0x11).enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let count = exchanges(&phone, &mut gate(9, 0x91), leave);
    let last = Some((count - 1, Fault::AnswerLost));
    let torn = exit.leave(&mut Field::of(&mut phone, last), at(8, 30, 0));
    assert!(matches!(torn, Err(TapError::Torn(_))), "{torn:?}");
    (phone, exit)
}

/// The gate of a torn exit stays closed; the one beside it lets the rider out and charges nothing.
#[test]
fn the_gate_beside_lets_out() {
    let (mut phone, mut torn) = torn_exit();
    let mut beside = gate(9, 0x92);
    let passage = beside.leave(&mut Field::of(&mut phone, None), at(8, 30, 40)).unwrap();
    let balance = fen(START_FEN - FARE_FEN);
    assert_eq!(passage, Passage::Left { fare: fen(0), balance, booking: Booking::Before });
    assert!(beside.terminal().state().records().is_empty());
    // Nobody passes on the same exit later, and no other station takes it for its own.
    let later = beside.leave(&mut Field::of(&mut phone, None), at(8, 40, 0));
    assert!(matches!(later, Err(TapError::Refused(Refusal::NotInside))));
    let elsewhere = gate(2, 0x21).leave(&mut Field::of(&mut phone, None), at(8, 30, 50));
    assert!(matches!(elsewhere, Err(TapError::Refused(Refusal::NotInside))));
    // The first gate never sees the card again; its record says so.
    torn.terminal_mut().abandon_pending().unwrap();
    let [record] = torn.terminal().state().records() else {
        panic!("one record");
    };
    assert_eq!((record.proof, record.tac, record.amount_fen), (RecordProof::Unknown, None, FARE_FEN));
    assert_eq!(tsm_terminal::upload::notice(torn.terminal(), 10), None, "a notice has proven ones only");
    let batch = tsm_terminal::upload::next_batch(torn.terminal_mut(), 10, None).unwrap().unwrap();
    assert_eq!((batch.rows.len(), &batch.rows[0].tac), (1, &None));
}

/// The rider comes back the next day: by then the card has made other transactions.
#[test]
fn a_torn_exit_is_found_in_the_log_later() {
    let (mut phone, torn) = torn_exit();
    let mut shop = pos(TerminalClass::A, 0x31);
    for minute in 0..5 {
        shop.sell(&mut Field::of(&mut phone, None), PurchaseKind::Simple, fen(10), at(12, minute, 0))
            .unwrap();
    }
    // The gate was switched off in between, so that its PSAM has lost the session.
    let mut torn = gate_in(9, 0x91, torn.terminal().state().clone());
    torn.enter(&mut Field::of(&mut phone, None), at(18, 0, 0)).unwrap();
    let found = &torn.terminal().state().records()[0];
    assert_eq!((found.amount_fen, found.proof), (FARE_FEN, RecordProof::Recovered));
    check_tac(found);
    assert_eq!(phone.balance(), START_FEN - FARE_FEN - 50);
}

/// The log keeps ten records: after that nobody but the centre can tell.
#[test]
fn a_torn_exit_beyond_the_log_is_left_to_the_centre() {
    let (mut phone, mut torn) = torn_exit();
    let mut shop = pos(TerminalClass::A, 0x31);
    for minute in 0..10 {
        shop.sell(&mut Field::of(&mut phone, None), PurchaseKind::Simple, fen(10), at(12, minute, 0))
            .unwrap();
    }
    torn.enter(&mut Field::of(&mut phone, None), at(18, 0, 0)).unwrap();
    let records = torn.terminal().state().records();
    assert_eq!(
        records.iter().map(|record| record.proof).collect::<Vec<_>>(),
        [RecordProof::Unknown, RecordProof::Mac2]
    );
}

/// A debit that another terminal's transaction has overtaken did not happen.
#[test]
fn a_lost_debit_is_forgotten() {
    let mut phone = Phone::new();
    gate(1, 0x11).enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let count = exchanges(&phone, &mut gate(9, 0x91), leave);
    let mut exit = gate(9, 0x91);
    let lost = Some((count - 1, Fault::CommandLost));
    exit.leave(&mut Field::of(&mut phone, lost), at(8, 30, 0)).unwrap_err();
    pos(TerminalClass::A, 0x31)
        .sell(&mut Field::of(&mut phone, None), PurchaseKind::Simple, fen(10), at(8, 31, 0))
        .unwrap();
    let left = exit.leave(&mut Field::of(&mut phone, None), at(8, 32, 0)).unwrap();
    assert!(matches!(left, Passage::Left { booking: Booking::Now, .. }));
    assert_eq!(phone.balance(), START_FEN - FARE_FEN - 10);
    check_records(&exit, FARE_FEN, (count - 1, Fault::CommandLost));
}
