//! APPLICATION BLOCK, APPLICATION UNBLOCK and CARD BLOCK (D-35).

use tsm_epurse::commands::{ApplicationBlock, ApplicationUnblock, BlockKind, CardBlock};
use tsm_epurse::host::secure_messaging::protect;

use tsm_epurse::select::Directory;

use super::files::challenge;
use super::*;
use crate::applets::test_card::DIRECTORY;

fn secured(card: &mut TestCard, role: KeyRole, command: &CommandApdu) -> StatusWord {
    let challenge = challenge(card);
    let command = protect(&key(role), challenge, command).unwrap();
    card.send(Interface::Contact, &command).status
}

fn block(card: &mut TestCard, kind: BlockKind) -> StatusWord {
    secured(card, KeyRole::ApplicationBlock, &ApplicationBlock { kind }.to_apdu())
}

fn unblock(card: &mut TestCard, role: KeyRole) -> StatusWord {
    secured(card, role, &ApplicationUnblock.to_apdu())
}

#[test]
fn a_blocked_purse_is_read_and_not_used() {
    let mut card = card(1000);
    tap(&mut card, Interface::Contact, 100, 0x11);
    assert_eq!(unblock(&mut card, KeyRole::ApplicationUnblock), StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(block(&mut card, BlockKind::Temporary), OK);
    let selected = card.select(Interface::Contact, PURSE);
    assert_eq!(selected.status, StatusWord::SELECTED_FILE_INVALIDATED);
    assert!(hex::encode_upper(&selected.data).contains(EF15));
    assert_eq!(balance(&mut card), 900);
    assert_eq!(record(&mut card, 0x1E, 1).data, vec![0x11; 48]);
    for refused in [initialize_load(1).to_apdu(), initialize_purchase(PurchaseKind::Composite, 0).to_apdu()] {
        let status = card.send(Interface::Contact, &refused).status;
        assert_eq!(status, StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    assert_eq!(unblock(&mut card, KeyRole::ApplicationUnblock), OK);
    assert_eq!(reselect(&mut card, PURSE), OK);
    buy(&mut card, Interface::Contact, 100);
}

/// A transaction begun before the block is void.
#[test]
fn a_block_voids_what_was_begun() {
    let mut card = card(1000);
    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Simple, 100);
    assert_eq!(block(&mut card, BlockKind::Temporary), OK);
    assert_eq!(unblock(&mut card, KeyRole::ApplicationUnblock), OK);
    let refused = card.send(Interface::Contactless, &purchase.debit()).status;
    assert_eq!(refused, StatusWord::CONDITIONS_NOT_SATISFIED);
}

#[test]
fn a_permanent_block_ends_the_purse() {
    let mut card = card(1000);
    assert_eq!(block(&mut card, BlockKind::Permanent), OK);
    assert_eq!(card.apdu("805C000204"), "9303");
    assert_eq!(reselect(&mut card, PURSE), StatusWord::APPLICATION_PERMANENTLY_LOCKED);
    let directory = card.select(Interface::Contactless, DIRECTORY);
    let listed = Directory::decode(&directory.data).unwrap().entries;
    assert!(listed.iter().all(|entry| entry.aid != PURSE), "no reader is led to it");
}

#[test]
fn three_wrong_unblocks_end_the_purse() {
    let mut card = card(1000);
    assert_eq!(block(&mut card, BlockKind::Temporary), OK);
    for _ in 0..2 {
        let wrong = unblock(&mut card, KeyRole::ApplicationBlock);
        assert_eq!(wrong, StatusWord::SECURE_MESSAGING_DATA_INCORRECT);
    }
    assert_eq!(unblock(&mut card, KeyRole::ApplicationUnblock), OK, "the third is right and forgives");
    assert_eq!(block(&mut card, BlockKind::Temporary), OK);
    for _ in 0..3 {
        unblock(&mut card, KeyRole::ApplicationBlock);
    }
    assert_eq!(reselect(&mut card, PURSE), StatusWord::APPLICATION_PERMANENTLY_LOCKED);
}

#[test]
fn card_block_takes_the_purse_away() {
    let mut card = card(1000);
    let blocked = secured(&mut card, KeyRole::ApplicationMaintenance, &CardBlock.to_apdu());
    assert_eq!(blocked, OK);
    assert_eq!(reselect(&mut card, PURSE), StatusWord::FUNCTION_NOT_SUPPORTED);
}
