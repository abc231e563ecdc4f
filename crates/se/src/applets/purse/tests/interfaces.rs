//! Contact and contactless at the same time (B-6.1.4).

use tsm_globalplatform::SecurityLevel;

use tsm_epurse::select::Directory;

use super::*;
use crate::applets::test_card::DIRECTORY;
use crate::profile::ISSUER_DOMAIN;

/// A gate taps while a secure channel session to the issuer's domain is open on the other interface;
/// the session goes on afterwards.
///
/// req: B-6.1.4.a
#[test]
fn a_tap_and_a_session_do_not_disturb_each_other() {
    let mut card = card(1000);
    card.select(Interface::Contact, ISSUER_DOMAIN);
    let mut session = card.authenticate(SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC);
    let status = CommandApdu::new(0x80, 0xF2, 0x80, 0x02).with_data([0x4F, 0x00]).with_any_response();
    let before = card.secured(&mut session, &status);
    tap(&mut card, Interface::Contactless, 250, 0x21);
    let after = card.secured(&mut session, &status);
    assert_eq!((before.status, &before.data), (OK, &after.data));
    card.card.reset(Interface::Contactless);
    assert_eq!(card.secured(&mut session, &status).status, OK, "a reset of one leaves the other alone");
    card.select(Interface::Contact, PURSE);
    assert_eq!(balance(&mut card), 750);
}

/// Whatever one interface completes voids what the other has begun: no old MAC is ever good again.
#[test]
fn a_transaction_voids_those_begun_elsewhere() {
    let mut card = card(1000);
    let credit = begin_load(&mut card, Interface::Contact, 500);
    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Simple, 100);
    let answer = card.send(Interface::Contactless, &purchase.debit());
    purchase.verify(&answer);
    let late = card.send(Interface::Contact, &credit.to_apdu());
    assert_eq!(late.status, StatusWord::CONDITIONS_NOT_SATISFIED);

    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Simple, 100);
    let credit = begin_load(&mut card, Interface::Contact, 500);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, OK);
    let late = card.send(Interface::Contactless, &purchase.debit());
    assert_eq!(late.status, StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(balance(&mut card), 1400);
}

/// Logical channels of one interface keep what they have begun apart, too.
#[test]
fn channels_keep_their_transactions_apart() {
    let mut card = card(1000);
    assert_eq!(card.apdu("0070000001"), "019000");
    assert!(card.apdu("01A4040008A00000063201010500").ends_with("9000"));
    let purchase = Purchase::begin(&mut card, Interface::Contact, PurchaseKind::Simple, 100);
    let mut elsewhere = purchase.debit();
    elsewhere.cla = 0x81;
    assert_eq!(
        card.send(Interface::Contact, &elsewhere).status,
        StatusWord::CONDITIONS_NOT_SATISFIED,
        "the other channel has begun nothing"
    );
    let answer = card.send(Interface::Contact, &purchase.debit());
    purchase.verify(&answer);
}

/// One online transaction and one challenge at a time, on whatever channel: a MAC2, a block or an unblock that
/// somebody kept back is void once the host has begun anew elsewhere. A purchase at a gate is left alone.
#[test]
fn what_was_kept_back_on_another_channel_is_void() {
    let mut card = card(1000);
    assert_eq!(card.apdu("0070000001"), "019000");
    assert!(card.apdu("01A4040008A00000063201010500").ends_with("9000"));
    let mut kept_back = begin_load(&mut card, Interface::Contact, 500).to_apdu();
    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Simple, 100);
    let mut again = initialize_load(1).to_apdu();
    again.cla = 0x81;
    assert_eq!(card.send(Interface::Contact, &again).status, OK);
    assert_eq!(card.send(Interface::Contact, &kept_back).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    kept_back.cla = 0x81;
    assert_ne!(card.send(Interface::Contact, &kept_back).status, OK);
    let answer = card.send(Interface::Contactless, &purchase.debit());
    purchase.verify(&answer);

    let given = super::files::challenge(&mut card);
    let block = tsm_epurse::commands::ApplicationBlock { kind: tsm_epurse::commands::BlockKind::Temporary };
    let block =
        tsm_epurse::host::secure_messaging::protect(&key(KeyRole::ApplicationBlock), given, &block.to_apdu());
    assert!(card.apdu("0184000004").ends_with("9000"));
    let late = card.send(Interface::Contact, &block.unwrap()).status;
    assert_eq!(late, StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(balance(&mut card), 900);
}

/// Selecting anew, or a reset, forgets what was begun.
#[test]
fn a_reset_forgets_what_was_begun() {
    let mut card = card(1000);
    let credit = begin_load(&mut card, Interface::Contact, 500);
    assert_eq!(reselect(&mut card, PURSE), OK);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    let credit = begin_load(&mut card, Interface::Contact, 500);
    card.card.reset(Interface::Contact);
    assert_eq!(reselect(&mut card, PURSE), OK);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, StatusWord::CONDITIONS_NOT_SATISFIED);
}

/// What a gate does, command by command, in the order of published gate logs.
///
/// req: B-6.1.3.a
#[test]
fn a_gate_finds_all_that_it_asks_for() {
    let mut card = card(1000);
    tap(&mut card, Interface::Contactless, 0, 0x01);
    let directory = card.select(Interface::Contactless, DIRECTORY);
    let first = Directory::decode(&directory.data).unwrap().by_priority()[0].aid;
    assert_eq!(first, PURSE);
    let mut gate = |command: &str| card.apdu_on(Interface::Contactless, command);
    assert!(gate("00A4040008A00000063201010500").ends_with("9000"));
    assert_eq!(gate("00B095001E"), format!("{EF15}9000"));
    assert!(gate("00B097003C").ends_with("9000"));
    assert!(gate("00B201F430").ends_with("9000"));
    assert_eq!(gate("805C000204"), "000003E89000");
    let purchase = Purchase::begin(&mut card, Interface::Contactless, PurchaseKind::Composite, 300);
    let rail = UpdateCappDataCache::transit_record(RecordId::RAIL, rail_record(0x02)).to_apdu();
    assert_eq!(hex::encode_upper(&rail.to_bytes().unwrap()[..5]), "80DC01D080");
    assert_eq!(card.send(Interface::Contactless, &rail).status, OK);
    let history = UpdateCappDataCache::history(vec![0x04; 48]).to_apdu();
    assert_eq!(card.send(Interface::Contactless, &history).status, OK);
    let answer = card.send(Interface::Contactless, &purchase.debit());
    purchase.verify(&answer);
    let proof = card.apdu_on(Interface::Contactless, "805A000902000208");
    let swapped = [&answer.data[4..], &answer.data[..4]].concat();
    assert_eq!(proof, format!("{}9000", hex::encode_upper(swapped)), "MAC2, then TAC (D-34)");
}

/// The phone is on, off with a battery, or without one: the reader's field is enough for a tap.
///
/// req: B-6.1.6.a, B-6.1.6.b
#[test]
fn a_tap_needs_no_running_phone() {
    let mut on = card(1000);
    tap(&mut on, Interface::Contactless, 100, 0x01);
    on.card.reset(Interface::Contact);
    tap(&mut on, Interface::Contactless, 100, 0x02);
    let mut without_battery = on.copy();
    without_battery.select(Interface::Contactless, PURSE);
    tap(&mut without_battery, Interface::Contactless, 100, 0x03);
    without_battery.select(Interface::Contact, PURSE);
    assert_eq!(balance(&mut without_battery), 700);
}
