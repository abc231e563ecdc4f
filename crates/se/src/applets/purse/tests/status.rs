//! What the purse says of itself within a secure channel of its domain.

use tsm_epurse::commands::{
    ApplicationBlock, BlockKind, GetPurseStatus, PurseAvailability, PurseStatus, ReadBinary, ReadRecord,
};
use tsm_epurse::host::secure_messaging::protect;
use tsm_globalplatform::SecurityLevel;

use super::files::challenge;
use super::*;

const PROVEN: SecurityLevel = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;

fn status(card: &mut TestCard) -> PurseStatus {
    let mut session = card.authenticate(PROVEN);
    let answer = card.secured(&mut session, &GetPurseStatus.to_apdu());
    assert_eq!(answer.status, OK);
    PurseStatus::decode(&answer.data).unwrap()
}

#[test]
fn a_blocked_purse_proves_that_it_is_blocked_and_what_it_holds() {
    let mut card = card(1000);
    tap(&mut card, Interface::Contact, 100, 0x11);
    let before = status(&mut card);
    assert_eq!(before.availability, PurseAvailability::Open);
    assert_eq!(reselect(&mut card, PURSE), OK);
    let given = challenge(&mut card);
    let block = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
    let block = protect(&key(KeyRole::ApplicationBlock), given, &block).unwrap();
    assert_eq!(card.send(Interface::Contact, &block).status, OK);
    assert_eq!(reselect(&mut card, PURSE), StatusWord::SELECTED_FILE_INVALIDATED);
    let after = status(&mut card);
    let mut expected = before;
    expected.availability = PurseAvailability::Blocked;
    assert_eq!(after, expected);
    assert_eq!((after.start.state.usable(), after.log, after.history), (fen(900), 1, 1));
    assert_eq!(after.start.state.offline(), OfflineCounter::new(1));
}

/// Reads within the channel carry the card's MAC, and nobody who asks beside it is told.
#[test]
fn the_files_are_read_within_the_channel() {
    let mut card = card(1000);
    tap(&mut card, Interface::Contact, 100, 0x22);
    let mut session = card.authenticate(PROVEN);
    let read = ReadBinary { sfi: tsm_epurse::Sfi::PUBLIC_INFORMATION, offset: 0, length: Some(30) };
    let answer = card.secured(&mut session, &read.to_apdu());
    assert_eq!(hex::encode_upper(answer.data), EF15);
    let record = ReadRecord::number(tsm_epurse::Sfi::TRANSIT_HISTORY, 1).to_apdu();
    assert_eq!(card.secured(&mut session, &record).data, vec![0x22; 48]);
    let beside = card.send(Interface::Contact, &GetPurseStatus.to_apdu()).status;
    assert_eq!(beside, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
}

#[test]
fn nobody_else_is_told() {
    let mut card = card(1000);
    let status = card.send(Interface::Contactless, &GetPurseStatus.to_apdu()).status;
    assert_eq!(status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
}
