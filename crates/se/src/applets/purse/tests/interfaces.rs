//! Contact and contactless at the same time (B-6.1.4).

use tsm_globalplatform::SecurityLevel;

use super::*;
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
