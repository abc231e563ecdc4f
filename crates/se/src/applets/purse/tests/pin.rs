//! VERIFY, CHANGE PIN, RELOAD PIN and PIN UNBLOCK.

use tsm_epurse::commands::{ChangePin, UnblockPin, VerifyPin};
use tsm_epurse::host::pin::reload_pin;
use tsm_epurse::host::secure_messaging::{encipher, protect};

use super::files::challenge;
use super::*;

fn pin(digits: &[u8]) -> Pin {
    Pin::new(digits).unwrap()
}

fn verify(card: &mut TestCard, digits: &[u8]) -> StatusWord {
    card.send(Interface::Contact, &VerifyPin { pin: pin(digits) }.to_apdu()).status
}

const FIRST: &[u8] = &[0x12, 0x34, 0x56];
const WRONG: &[u8] = &[0x65, 0x43, 0x21];

#[test]
fn wrong_pins_are_counted_until_the_pin_is_blocked() {
    let mut card = card(0);
    assert_eq!(verify(&mut card, WRONG), StatusWord::tries_left(2));
    assert_eq!(verify(&mut card, FIRST), OK);
    assert_eq!(verify(&mut card, WRONG), StatusWord::tries_left(2));
    assert_eq!(verify(&mut card, WRONG), StatusWord::tries_left(1));
    assert_eq!(verify(&mut card, WRONG), StatusWord::AUTHENTICATION_METHOD_BLOCKED);
    assert_eq!(verify(&mut card, FIRST), StatusWord::AUTHENTICATION_METHOD_BLOCKED);
}

#[test]
fn a_pin_is_changed_reloaded_and_unblocked() {
    let mut card = card(0);
    let change = ChangePin { old: pin(FIRST), new: pin(&[0x99, 0x88]) }.to_apdu();
    assert_eq!(card.send(Interface::Contact, &change).status, OK);
    assert_eq!(card.send(Interface::Contact, &change).status, StatusWord::tries_left(2));
    assert_eq!(verify(&mut card, &[0x99, 0x88]), OK);

    let reload = reload_pin(&key(KeyRole::Pin), pin(&[0x77, 0x66])).to_apdu();
    assert_eq!(card.send(Interface::Contact, &reload).status, OK);
    assert_eq!(verify(&mut card, &[0x77, 0x66]), OK);
    let forged = reload_pin(&key(KeyRole::Load), pin(&[0x11, 0x11])).to_apdu();
    assert_eq!(card.send(Interface::Contact, &forged).status, StatusWord::SECURE_MESSAGING_DATA_INCORRECT);

    for _ in 0..3 {
        verify(&mut card, WRONG);
    }
    let enciphered_pin = encipher(&key(KeyRole::Pin), &[0x55, 0x44]).unwrap();
    let unblock = UnblockPin { enciphered_pin }.to_apdu();
    let challenge = challenge(&mut card);
    let unblock = protect(&key(KeyRole::Pin), challenge, &unblock).unwrap();
    assert_eq!(card.send(Interface::Contact, &unblock).status, OK);
    assert_eq!(verify(&mut card, &[0x55, 0x44]), OK);
}
