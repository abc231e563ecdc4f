//! Trips that go well, and trips that a gate refuses.

use tsm_api::{
    clearing::collection::{BatchReceipt, FileStage},
    pki::SigningIdentity,
    signature::MessageVerifier,
};
use tsm_epurse::{
    Algorithm, TransactionType,
    file::{HistoryType, Industry},
    select::{self, Directory, PPSE_AID, PURSE_AID},
};
use tsm_iso7816::CommandApdu;
use tsm_se::Interface;
use tsm_terminal::{Passage, Refusal, TapError, gate::Booking, service, upload, upload::Delivery};

use crate::{
    FARE_FEN, START_FEN, at, check_tac, fen, gate,
    phone::{CITY_PURSE, Field, Issue, Phone},
};

/// In at one station, out at another: the card's files and the gates' records say the same.
#[test]
fn a_trip_by_distance() {
    for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
        let mut phone = Phone::with(&[Issue { algorithm, ..Issue::default() }]);
        let (mut entry, mut exit) = (gate(1, 0x11), gate(9, 0x91));
        let entered = entry.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
        assert_eq!(entered, Passage::Entered { balance: fen(START_FEN), booking: Booking::Now });
        let left = exit.leave(&mut Field::of(&mut phone, None), at(8, 30, 0)).unwrap();
        let (fare, balance) = (fen(FARE_FEN), fen(START_FEN - FARE_FEN));
        assert_eq!(left, Passage::Left { fare, balance, booking: Booking::Now });

        let summary = service::read_card(&mut Field::of(&mut phone, None)).unwrap();
        assert_eq!(summary.balance, balance);
        assert_eq!(summary.log.iter().map(|record| record.amount).collect::<Vec<_>>(), [fare, fen(0)]);
        assert_eq!(summary.log[0].transaction_type, TransactionType::CompositePurchase);
        assert_eq!(summary.log[0].sequence.value(), 42, "the counter after the transaction");
        let types: Vec<_> = summary.history.iter().map(|record| record.history_type).collect();
        assert_eq!(types, [HistoryType::Exit, HistoryType::Entry]);
        assert_eq!((summary.history[0].balance, summary.history[0].industry), (balance, Industry::Rail));
        assert_eq!(summary.rail.entry_terminal, [0, 0, 0x09, 0x99, 0, 0, 0, 0x11]);
        assert_eq!((summary.rail.exit_at, summary.rail.head.state), (at(8, 30, 0), 2));

        for (gate, amount) in [(&entry, 0), (&exit, FARE_FEN)] {
            let [record] = gate.terminal().state().records() else {
                panic!("one record");
            };
            assert_eq!((record.amount_fen, record.fare_version), (amount, 7));
            check_tac(record);
        }
    }
}

/// What a gate has recorded goes to the centre in batches, and is forgotten when the centre has it.
#[test]
fn records_are_delivered() {
    let mut phone = Phone::new();
    let mut gate = gate(1, 0x11);
    for hour in 6..9 {
        gate.enter(&mut Field::of(&mut phone, None), at(hour, 0, 0)).unwrap();
        gate.leave(&mut Field::of(&mut phone, None), at(hour, 30, 0)).unwrap();
    }
    let terminal = gate.terminal_mut();
    let signer = SigningIdentity::generate().unwrap().signer().unwrap();
    let batch = upload::next_batch(terminal, 4, Some(&signer)).unwrap().unwrap();
    assert_eq!((batch.header.sequence, batch.header.count, batch.header.sum_fen), (1, 4, 600));
    assert_eq!((batch.rows[1].amount_fen, batch.rows[1].offline_counter), (300, 42));
    assert_eq!(batch.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let point = signer.public_key();
    let verifier = MessageVerifier::from_point(point.as_bytes()).unwrap();
    let signature = batch.header.signature.clone().unwrap();
    assert_eq!(verifier.verify(&batch.header.signed_bytes(), signature.as_bytes()), Ok(()));
    assert_eq!(
        upload::next_batch(terminal, 9, Some(&signer)).unwrap(),
        Some(batch.clone()),
        "again the same"
    );
    let receipt = |sequence, stage| BatchReceipt {
        terminal: batch.header.terminal.clone(),
        sequence,
        stage,
        verdicts: Vec::new(),
    };
    for unheard in [
        receipt(1, FileStage::Receiving),
        receipt(1, FileStage::Refused),
        receipt(2, FileStage::Taken),
        BatchReceipt { terminal: vec![9; 6].into(), ..receipt(1, FileStage::Taken) },
    ] {
        assert_eq!(upload::delivered(terminal, &unheard).unwrap(), Delivery::SendAgain, "{unheard:?}");
        assert_eq!(terminal.state().records().len(), 6, "only what the centre has is forgotten");
    }
    assert_eq!(upload::delivered(terminal, &receipt(1, FileStage::Received)).unwrap(), Delivery::Taken);
    assert_eq!(upload::delivered(terminal, &receipt(1, FileStage::Taken)).unwrap(), Delivery::SendAgain);
    let rest = upload::next_batch(terminal, 4, None).unwrap().unwrap();
    assert_eq!((rest.header.sequence, rest.rows.len(), rest.rows[0].number), (2, 2, 5));
    assert_eq!(upload::delivered(terminal, &receipt(2, FileStage::Taken)).unwrap(), Delivery::Taken);
    assert_eq!(upload::next_batch(terminal, 4, None).unwrap(), None);
    assert_eq!(upload::notice(terminal, 4), None);
}

fn refused(result: Result<Passage, TapError>) -> Refusal {
    match result {
        Err(TapError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn gates_refuse_and_record_why() {
    let mut phone = Phone::new();
    let (mut first, mut last) = (gate(1, 0x11), gate(9, 0x91));
    let not_inside = refused(last.leave(&mut Field::of(&mut phone, None), at(7, 0, 0)));
    assert_eq!(not_inside, Refusal::NotInside);
    first.enter(&mut Field::of(&mut phone, None), at(8, 0, 0)).unwrap();
    let inside = refused(last.enter(&mut Field::of(&mut phone, None), at(8, 10, 0)));
    assert_eq!(inside, Refusal::StillInside { station: 1 });
    let mut elsewhere = gate(77, 0x77);
    let unknown = refused(elsewhere.leave(&mut Field::of(&mut phone, None), at(8, 20, 0)));
    assert!(matches!(unknown, Refusal::UnknownStation { .. }));
    assert_eq!(phone.balance(), START_FEN, "a refusal costs nothing");
    let recorded: Vec<_> = last.terminal().state().refusals().iter().map(|record| record.refusal).collect();
    assert_eq!(recorded, [not_inside, inside]);
    assert_eq!(phone.log().len(), 1);

    let expired = refused(first.enter(
        &mut Field::of(&mut phone, None),
        tsm_epurse::DateTime::from_calendar((2046, 1, 1), (0, 0, 0)).unwrap(),
    ));
    assert_eq!(expired, Refusal::OutOfValidity);
}

/// An empty purse does not get in; a purse that cannot pay does not get out.
#[test]
fn the_balance_must_do() {
    let mut phone = Phone::new();
    let (mut first, mut last) = (gate(1, 0x11), gate(9, 0x91));
    // 12 trips of 4 yuan leave 2 yuan.
    for hour in 0..12 {
        first.enter(&mut Field::of(&mut phone, None), at(hour, 0, 0)).unwrap();
        last.leave(&mut Field::of(&mut phone, None), at(hour, 50, 0)).unwrap();
    }
    let refusal = refused(first.enter(&mut Field::of(&mut phone, None), at(20, 0, 0)));
    assert_eq!(refusal, Refusal::Insufficient { amount_fen: 300 });
    assert_eq!(phone.balance(), 200);
    assert_eq!(phone.log().len(), 10, "the log keeps ten");
    assert_eq!(phone.history().len(), 24, "the history keeps thirty");
}

/// req: B-6.7.a
#[test]
fn selection_goes_through_the_directory_in_priority_order() {
    for (plain, city, first) in [(1, 2, PURSE_AID), (2, 1, CITY_PURSE)] {
        let purses = [
            Issue { priority: plain, ..Issue::default() },
            Issue { aid: CITY_PURSE, priority: city, ..Issue::default() },
        ];
        let mut phone = Phone::with(&purses);
        phone.se.reset(Interface::Contactless);
        let answer = phone.send(Interface::Contactless, &select::select(&PPSE_AID));
        assert!(answer.status.is_success());
        let directory = Directory::decode(&answer.data).unwrap();
        let aids: Vec<_> = directory.entries.iter().map(|entry| entry.aid).collect();
        let sorted: Vec<_> = directory.by_priority().iter().map(|entry| entry.aid).collect();
        assert_eq!(aids, sorted, "the card lists its applications in priority order");
        assert_eq!((aids.len(), aids[0]), (2, first));

        let mut selected = Vec::new();
        let mut field = Field::of(&mut phone, None);
        let mut reader = |command: &CommandApdu| {
            if command.ins == 0xA4 {
                selected.push(command.data.clone());
            }
            tsm_terminal::CardReader::transmit(&mut field, command)
        };
        gate(1, 0x11).enter(&mut reader, at(8, 0, 0)).unwrap();
        assert_eq!(selected, [PPSE_AID.as_bytes(), first.as_bytes()], "and the gate takes the first");
    }
}

/// A session over the air on the contact interface goes on while the card passes a gate.
///
/// req: B-6.1.4.a
#[test]
fn both_interfaces_work_at_once() {
    use tsm_globalplatform::commands::GetStatus;
    use tsm_globalplatform::commands::get_status::RegistryScope;

    let mut phone = Phone::new();
    let (mut first, mut last) = (gate(1, 0x11), gate(9, 0x91));
    let mut session = phone.open_issuer();
    let status = GetStatus::all(RegistryScope::Applications).to_apdu();
    let before = phone.secured(&mut session, &status);
    // Before the answer to each command of the trip comes one of the session: MACs go on in both directions.
    phone.se.reset(Interface::Contactless);
    let mut reader = |command: &CommandApdu| {
        let answer = phone.send(Interface::Contactless, command);
        assert_eq!(phone.secured(&mut session, &status), before);
        Ok(answer)
    };
    first.enter(&mut reader, at(8, 0, 0)).unwrap();
    last.leave(&mut reader, at(8, 30, 0)).unwrap();
    assert_eq!(phone.secured(&mut session, &status), before);
    assert_eq!(phone.balance(), START_FEN - FARE_FEN);
}
