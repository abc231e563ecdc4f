//! Files read by plain APDUs, secured updates, personalisation.

use tsm_epurse::commands::{AppendRecord, RecordReference, UpdateBinary, UpdateRecord};
use tsm_epurse::file::{CrcTail, RailRecord, TransitRecord};
use tsm_epurse::host::secure_messaging::protect;
use tsm_epurse::{Challenge, Sfi};

use super::*;
use crate::applets::test_card::CITY_PURSE;

/// Asks for a challenge and protects a command with it.
fn protected(card: &mut TestCard, role: KeyRole, command: &CommandApdu) -> CommandApdu {
    protect(&key(role), challenge(card), command).unwrap()
}

pub(super) fn challenge(card: &mut TestCard) -> Challenge {
    let answer = card.send(Interface::Contact, &CommandApdu::new(0x00, 0x84, 0x00, 0x00).with_ne(4));
    Challenge::new(answer.data.try_into().unwrap())
}

/// The T-Union layout by plain APDUs: EF15, EF16, EF17, all ten records of EF18 and all thirty of EF1E,
/// record 1 the newest, and one past the last refused.
#[test]
fn plain_apdus_read_the_whole_layout() {
    let mut card = card(100_000);
    for mark in 1..=33 {
        tap(&mut card, Interface::Contactless, 10, mark);
    }
    for (sfi, length) in [(0x15, 30), (0x16, 55), (0x17, 60)] {
        let answer = card.apdu(&format!("00B0{:02X}0000", 0x80 | sfi));
        assert_eq!(answer.len(), 2 * (length + 2), "EF{sfi:02X}");
        assert!(answer.ends_with("9000"));
    }
    for number in 1..=10 {
        let log = record(&mut card, 0x18, number);
        assert_eq!((log.status, log.data.len()), (OK, 23));
        assert_eq!(u16::from_be_bytes([log.data[0], log.data[1]]), 34 - u16::from(number), "D-30");
        assert_eq!(&log.data[5..10], [0, 0, 0, 10, 0x09]);
        assert_eq!(log.data[10..16], TERMINAL.to_bytes());
        assert_eq!(log.data[16..], AT.to_bytes());
    }
    for number in 1..=30 {
        assert_eq!(record(&mut card, 0x1E, number).data, vec![34 - number; 48]);
    }
    assert_eq!(record(&mut card, 0x18, 11).status, StatusWord::RECORD_NOT_FOUND);
    assert_eq!(record(&mut card, 0x1E, 31).status, StatusWord::RECORD_NOT_FOUND);
    assert_eq!(record(&mut card, 0x18, 0).status, StatusWord::RECORD_NOT_FOUND);
}

#[test]
fn reads_are_refused_with_a_reason() {
    let mut card = card(0);
    assert_eq!(card.apdu("00B0951E00"), "9000", "nothing is left behind the end");
    assert_eq!(card.apdu("00B0951F00"), "6B00");
    assert_eq!(card.apdu("00B095001F"), "6C1E");
    assert_eq!(card.apdu("00B0950A05"), "03104999009000");
    assert_eq!(card.apdu("00B0850000"), "6A82", "no issuer file was personalised");
    assert_eq!(card.apdu("00B0980000"), "6981");
    assert_eq!(card.apdu("00B201AC00"), "6981");
    assert_eq!(card.apdu("00B2015400"), "6A82");
    assert_eq!(card.apdu("00FF000000"), "6D00");
}

/// The longer AIDs of city purses show the purse's own name, and each instance its own money.
#[test]
fn city_instances_are_purses_of_their_own() {
    let mut card = card(700);
    let selected = card.select(Interface::Contact, CITY_PURSE);
    assert_eq!(hex::encode_upper(&selected.data), "6F0A8408A000000632010105", "not personalised yet");
    let answer = card.send(Interface::Contact, &initialize_load(0).to_apdu());
    assert_eq!(answer.status, StatusWord::CONDITIONS_NOT_SATISFIED);
    card.personalise(CITY_PURSE, |seal| encoded(&data(9, 0, (0, 0), &keys(Algorithm::TripleDes), seal)));
    let selected = card.select(Interface::Contact, CITY_PURSE);
    assert!(hex::encode_upper(&selected.data).starts_with("6F318408A000000632010105A525"));
    assert_eq!(balance(&mut card), 9);
    assert_eq!(reselect(&mut card, PURSE), OK);
    assert_eq!(balance(&mut card), 700);
}

/// A new card has all eighteen transit records, empty, as terminals expect to find them.
#[test]
fn transit_records_are_there_from_the_beginning() {
    let mut card = card(0);
    for number in 1..=18 {
        let empty = TransitRecord::empty(RecordId::new(number).unwrap()).encode();
        assert_eq!(empty[..3], [0x27, number, (empty.len() - 3) as u8]);
        assert_eq!(record(&mut card, 0x1A, number).data, empty);
    }
    assert_eq!(record(&mut card, 0x1A, 19).status, StatusWord::RECORD_NOT_FOUND);
    let rail = RailRecord::decode(&record(&mut card, 0x1A, 1).data, CrcTail::None).unwrap();
    assert_eq!(rail, RailRecord::empty());
}

/// Every update wants a challenge of its own; a repeated command changes nothing.
#[test]
fn secured_updates_want_a_fresh_challenge() {
    let mut card = card(0);
    let update = UpdateBinary { sfi: Sfi::MANAGEMENT, offset: 8, data: vec![0, 1] }.to_apdu();
    let update = protected(&mut card, KeyRole::ApplicationMaintenance, &update);
    assert_eq!(card.send(Interface::Contact, &update).status, OK);
    assert_eq!(card.apdu("00B0970802"), "00019000");
    assert_eq!(card.send(Interface::Contact, &update).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    challenge(&mut card);
    assert_eq!(card.send(Interface::Contact, &update).status, StatusWord::SECURE_MESSAGING_DATA_INCORRECT);
}

#[test]
fn transit_files_are_updated_under_their_own_key() {
    let mut card = card(0);
    let append = AppendRecord { sfi: Sfi::TRANSIT_HISTORY, data: vec![7; 48] }.to_apdu();
    let command = protected(&mut card, KeyRole::InteroperabilityPurse, &append);
    assert_eq!(card.send(Interface::Contact, &command).status, OK);
    let replace = |number, data| {
        UpdateRecord { sfi: Sfi::TRANSIT_HISTORY, record: RecordReference::Number(number), data }.to_apdu()
    };
    let command = protected(&mut card, KeyRole::InteroperabilityPurse, &replace(1, vec![8; 48]));
    assert_eq!(card.send(Interface::Contact, &command).status, OK);
    assert_eq!(record(&mut card, 0x1E, 1).data, vec![8; 48]);
    let command = protected(&mut card, KeyRole::InteroperabilityPurse, &replace(2, vec![8; 48]));
    assert_eq!(card.send(Interface::Contact, &command).status, StatusWord::RECORD_NOT_FOUND);
    let command = protected(&mut card, KeyRole::ApplicationMaintenance, &append);
    assert_eq!(card.send(Interface::Contact, &command).status, StatusWord::SECURE_MESSAGING_DATA_INCORRECT);

    let rail =
        UpdateRecord { sfi: Sfi::TRANSIT_RECORDS, record: RecordReference::Id(1), data: rail_record(5) };
    let command = protected(&mut card, KeyRole::InteroperabilityPurse, &rail.to_apdu());
    assert_eq!(card.send(Interface::Contact, &command).status, OK);
    assert_eq!(card.apdu("00B201D000"), format!("{}9000", hex::encode_upper(rail_record(5))));
    let log = AppendRecord { sfi: Sfi::TRANSACTION_LOG, data: vec![7; 23] }.to_apdu();
    let command = protected(&mut card, KeyRole::ApplicationMaintenance, &log);
    assert_eq!(card.send(Interface::Contact, &command).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
}

/// A restored card is the card it was: amounts, counters, records.
#[test]
fn a_purse_is_restored_from_its_data() {
    let mut card = card(1000);
    tap(&mut card, Interface::Contact, 1, 0x61);
    tap(&mut card, Interface::Contact, 2, 0x62);
    let read = |card: &mut TestCard, sfi| [1, 2].map(|number| record(card, sfi, number).data);
    let (log, history) = (read(&mut card, 0x18), read(&mut card, 0x1E));

    let mut other = TestCard::new();
    let status = other.personalise(PURSE, |seal| {
        let mut data = data(997, 0, (0, 2), &keys(Algorithm::TripleDes), seal);
        let decode = |record: &Vec<u8>| tsm_epurse::file::LogRecord::decode(record).unwrap();
        data.log = log.iter().map(decode).collect();
        let decode = |record: &Vec<u8>| tsm_epurse::file::HistoryRecord::decode(record).unwrap();
        data.history = history.iter().map(decode).collect();
        encoded(&data)
    });
    assert_eq!(status, OK);
    other.select(Interface::Contact, PURSE);
    assert_eq!((read(&mut other, 0x18), read(&mut other, 0x1E)), (log, history));
    assert_eq!((balance(&mut other), counters(&mut other)), (997, (0, 2)));
    tap(&mut other, Interface::Contact, 3, 0x63);
    assert_eq!(record(&mut other, 0x1E, 1).data, vec![0x63; 48]);
    assert_eq!(record(&mut other, 0x1E, 2).data, vec![0x62; 48]);
}

/// Personalisation may be repeated until the purse is used, and never afterwards.
///
/// req: B-6.6.1.a
#[test]
fn personalisation_ends_with_the_first_transaction() {
    let mut card = card(1000);
    let again = |card: &mut TestCard| {
        card.personalise(PURSE, |seal| encoded(&data(2000, 0, (0, 0), &keys(Algorithm::TripleDes), seal)))
    };
    assert_eq!(again(&mut card), OK);
    card.select(Interface::Contact, PURSE);
    buy(&mut card, Interface::Contact, 1);
    assert_eq!(again(&mut card), StatusWord::CONDITIONS_NOT_SATISFIED);
    card.select(Interface::Contact, PURSE);
    assert_eq!(balance(&mut card), 1999);
}

/// The application takes its data over a secure channel of its own, with the services of its domain.
///
/// req: B-6.6.1.b, B-6.6.2.a
#[test]
fn the_purse_takes_its_data_itself() {
    let mut card = TestCard::new();
    card.select(Interface::Contact, PURSE);
    let mut session = card.authenticate(tsm_globalplatform::SecurityLevel::C_DECRYPTION_C_MAC);
    let set = keys(Algorithm::TripleDes);
    let bytes = encoded(&data(300, 0, (0, 0), &set, &|plain| session.encrypt_sensitive(plain)));
    assert_eq!(card.store(&mut session, &bytes), OK);
    assert_eq!(reselect(&mut card, PURSE), OK);
    assert_eq!(balance(&mut card), 300);
    assert_eq!(card.apdu("80E2800000"), "6982", "without a session nothing is stored");
}

/// Keys with wrong check values, unknown and malformed groupings leave the purse as it was.
///
/// req: B-6.6.3.a
#[test]
fn wrong_personalisation_data_is_refused() {
    let mut card = TestCard::new();
    let set = keys(Algorithm::TripleDes);
    let wrong_keys = card.personalise(PURSE, |_| {
        encoded(&data(0, 0, (0, 0), &set, &|plain| plain.iter().map(|byte| byte ^ 1).collect()))
    });
    assert_eq!(wrong_keys, StatusWord::INVALID_KEY_CHECK_VALUE);
    let start_alone = card.personalise(PURSE, |seal| {
        let groupings = data(0, 0, (0, 0), &set, seal).groupings();
        groupings.last().unwrap().encode().unwrap()
    });
    assert_eq!(start_alone, StatusWord::CONDITIONS_NOT_SATISFIED);
    let unknown = card.personalise(PURSE, |_| vec![0xEE, 0xEE, 0x01, 0x00]);
    assert_eq!(unknown, StatusWord::REFERENCED_DATA_NOT_FOUND);
    let short = card.personalise(PURSE, |_| vec![0xB0, 0x01, 0x01, 0x00]);
    assert_eq!(short, StatusWord::WRONG_DATA);
    let unfinished = card.personalise(PURSE, |_| vec![0xB0, 0x01, 0x1E, 0x00]);
    assert_eq!(unfinished, StatusWord::WRONG_DATA);
    card.select(Interface::Contact, PURSE);
    let answer = card.send(Interface::Contact, &initialize_load(0).to_apdu());
    assert_eq!(answer.status, StatusWord::CONDITIONS_NOT_SATISFIED);
}
