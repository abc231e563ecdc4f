//! SELECT, and what a card without a session answers.

use tsm_globalplatform::Privileges;
use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::commands::install::{ImplicitSelection, InstallForInstall, InstallParameters};
use tsm_iso7816::{LogicalChannel, StatusWord};

use super::host::*;
use crate::Interface;
use crate::profile::Protocol;

/// SELECT and the commands that need no session, byte for byte.
///
/// req: B-6.2.2.c, B-6.3.a
#[test]
fn plain_commands() {
    let mut card = Card::new();
    card.script(
        CONTACT,
        "# SELECT the issuer's domain: without a name, by its name, by the beginning of its name.
         >> 00A4040000
         << 6F108408A000000151000000A5049F6501FF9000
         >> 00A4040008A00000015100000000
         << 6F108408A000000151000000A5049F6501FF9000
         >> 00A4040007A000000151000000
         << 6F108408A000000151000000A5049F6501FF9000
         # There is no other; nothing else has that name.
         >> 00A4040207A000000151000000
         << 6A82
         >> 00A4040008A00000015100000100
         << 6A82
         # A load file is not selected.
         >> 00A4040007A000000151535000
         << 6A82
         # P2 and name out of bounds; no control information wanted.
         >> 00A4040100
         << 6A86
         >> 00A404001100112233445566778899AABBCCDDEEFF0000
         << 6700
         >> 00A4040C00
         << 9000
         # Unknown instructions and classes.
         >> 80AA000000
         << 6D00
         >> 00B0000000
         << 6D00
         >> 00F2800000
         << 6E00
         >> 90F2800000
         << 6884
         # Lengths that disagree.
         >> 80CA0042
         << 4204624100009000
         # Secured without a session.
         >> 84F28002024F0000
         << 6982",
    );
    assert_eq!(card.se.transmit(Interface::Contact, &[0x20, 0x50, 0, 0, 0]), [0x6E, 0x00]);
    assert_eq!(card.se.transmit(Interface::Contact, &[0x00, 0xA4, 0x04]), [0x67, 0x00]);
    assert_eq!(card.se.transmit(Interface::Contact, &[0, 0xA4, 4, 0, 5, 1]), [0x67, 0x00]);
    assert_eq!(card.se.atr(), [0x3B, 0x80, 0x01, 0x81], "T=1 only");
}

/// Applications whose names begin alike are found one after the other.
///
/// req: B-6.2.5.a
#[test]
fn partial_names_and_next_occurrence() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    session.load(&mut card, &Package::new());
    for last in [0x02, 0x03, 0x04] {
        let aid = [&MODULE.as_bytes()[..7], &[last]].concat();
        session.ok(&mut card, &install(aid.as_slice().try_into().unwrap()));
    }
    let prefix = hex::encode_upper(&INSTANCE.as_bytes()[..6]);
    card.script(
        CONTACTLESS,
        &format!(
            ">> 00A4040006{prefix}00
             << 9000
             >> 8010000000
             << 6D00
             >> 00A4040206{prefix}00
             << 9000
             >> 00A4040206{prefix}00
             << 9000
             >> 00A4040206{prefix}00
             << 6A82
             # A name in full finds exactly that one, though a longer one begins so.
             >> 00A4040008{}00
             << 9000",
            hex::encode_upper(INSTANCE.as_bytes())
        ),
    );
}

/// An application may ask to be selected without SELECT, on an interface and channel.
#[test]
fn implicit_selection() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    session.load(&mut card, &Package::new());
    let mut form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    let selection = ImplicitSelection { contactless: true, contact: false, channel: LogicalChannel::BASIC };
    form.parameters =
        InstallParameters { implicit_selection: vec![selection], ..InstallParameters::application([]) }
            .to_bytes();
    session.ok(&mut card, &form.to_apdu());
    card.se.reset(Interface::Contactless);
    card.se.reset(Interface::Contact);
    card.script(CONTACTLESS, ">> 80CA004200\n<< 6D00");
    card.script(CONTACT, ">> 80CA004200\n<< 4204624100009000");
    card.script(CONTACTLESS, ">> 00A4040000\n<< 6F..9000\n>> 80CA004200\n<< 4204624100009000");
}

/// A locked application is not found; one selected before is refused service.
///
/// req: P-5.8.4.3.1.a
#[test]
fn locked_applications() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    session.ok(&mut card, &set_status(INSTANCE, 0x80));
    card.script(CONTACTLESS, ">> 8010000000\n<< 6985");
    assert_eq!(card.select(CONTACTLESS, &INSTANCE).status, StatusWord::NOT_FOUND);
    session.ok(&mut card, &set_status(INSTANCE, 0x00));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
}
