//! Counters at their limit, and keys that failed too often.

use tsm_epurse::Mac;

use super::*;

#[test]
fn counters_stop_at_their_limit() {
    let mut card = card_with(1000, 0, (0xFFFF, 0xFFFE), &keys(Algorithm::TripleDes));
    let load = card.send(Interface::Contact, &initialize_load(1).to_apdu());
    assert_eq!(load.status, StatusWord::COUNTER_AT_LIMIT);
    buy(&mut card, Interface::Contact, 1);
    let purchase = card.send(Interface::Contact, &initialize_purchase(PurchaseKind::Simple, 1).to_apdu());
    assert_eq!(purchase.status, StatusWord::COUNTER_AT_LIMIT);
}

#[test]
fn a_purse_holds_only_so_much() {
    let mut card = card(u32::MAX - 5);
    assert_eq!(
        card.send(Interface::Contact, &initialize_load(6).to_apdu()).status,
        StatusWord::CONDITIONS_NOT_SATISFIED
    );
    assert_eq!(card.send(Interface::Contact, &initialize_load(5).to_apdu()).status, OK);
}

/// A key refuses after fifteen wrong MACs in a row; a right one in between forgives them. The count
/// outlives the power.
#[test]
fn a_key_that_failed_too_often_refuses() {
    let mut card = card(1000);
    let fail = |card: &mut TestCard| {
        let purchase = Purchase::begin(card, Interface::Contactless, PurchaseKind::Simple, 1);
        let forged = DebitForPurchase {
            terminal_sequence: purchase.facts.terminal_sequence,
            at: AT,
            mac1: Mac::new([0; 4]),
        };
        let status = card.send(Interface::Contactless, &forged.to_apdu()).status;
        assert_eq!(status, StatusWord::MAC_INCORRECT);
    };
    (0..14).for_each(|_| fail(&mut card));
    buy(&mut card, Interface::Contactless, 1);
    (0..15).for_each(|_| fail(&mut card));
    let mut card = card.copy();
    card.select(Interface::Contact, PURSE);
    let refused = card.send(Interface::Contact, &initialize_purchase(PurchaseKind::Simple, 1).to_apdu());
    assert_eq!(refused.status, StatusWord::AUTHENTICATION_METHOD_BLOCKED);
    let credit = begin_load(&mut card, Interface::Contact, 1);
    assert_eq!(card.send(Interface::Contact, &credit.to_apdu()).status, OK, "other keys work");
}
