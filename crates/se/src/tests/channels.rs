//! Logical channels and the two interfaces.

use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::commands::GetStatus;
use tsm_globalplatform::commands::get_status::RegistryScope;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::host::*;
use crate::Interface;
use crate::profile::{ISSUER_DOMAIN, Protocol};

fn read_issuer() -> CommandApdu {
    GetStatus::all(RegistryScope::IssuerSecurityDomain).to_apdu()
}

/// MANAGE CHANNEL opens channels 1 to 19 and closes them.
///
/// req: B-6.2.5.a
#[test]
fn nineteen_channels() {
    let mut card = Card::new();
    for number in 1..20u8 {
        let answer = card.send(CONTACT, &CommandApdu::new(0, 0x70, 0, 0).with_ne(1));
        assert_eq!((answer.data.as_slice(), answer.status), (&[number][..], StatusWord::SUCCESS));
        card.script(At(Interface::Contact, number), ">> 80CA004200\n<< 4204624100009000");
    }
    card.script(
        CONTACT,
        ">> 0070000001
         << 6A81
         >> 00708005
         << 9000
         >> 00708005
         << 6200
         >> 0070000501
         << 9000
         >> 00700005
         << 6A86
         >> 00708000
         << 6A86
         >> 00708014
         << 6A86",
    );
    let closed = card.send(At(Interface::Contactless, 4), &CommandApdu::new(0x80, 0xCA, 0, 0x42));
    assert_eq!(closed.status, StatusWord::LOGICAL_CHANNEL_NOT_SUPPORTED, "the other interface has its own");
}

/// Each channel has a session of its own, of its own protocol, at its own level.
///
/// req: P-5.8.7.3.a
#[test]
fn sessions_on_several_channels() {
    let mut card = Card::new();
    let mut sessions = Vec::new();
    for number in [1, 2, 3, 4, 19] {
        card.send(CONTACT, &CommandApdu::new(0, 0x70, 0, number));
        let protocol = if number % 2 == 0 { Protocol::Scp02 } else { Protocol::Scp03 };
        let at = At(Interface::Contact, number);
        sessions.push(card.open(
            at,
            &ISSUER_DOMAIN,
            &development(protocol),
            SecurityLevel::C_DECRYPTION_C_MAC,
        ));
    }
    for _ in 0..3 {
        for session in &mut sessions {
            session.ok(&mut card, &read_issuer());
        }
    }
    // A command of one session is not one of another.
    let at = sessions[1].at;
    let foreign = sessions[0].wrap(&read_issuer());
    assert_eq!(card.send(at, &foreign).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    card.send(CONTACT, &CommandApdu::new(0, 0x70, 0x80, 3));
    for (index, session) in sessions.iter_mut().enumerate().skip(3) {
        session.ok(&mut card, &read_issuer());
        assert!(index >= 3);
    }
}

/// A session on one interface goes on while the other is used and reset; resetting its own ends it.
///
/// req: B-6.1.4.a, B-6.1.2.a
#[test]
fn the_interfaces_do_not_touch_each_other() {
    let mut card = Card::new();
    let package = Package::new();
    let mut contact = card.open_issuer(Protocol::Scp03, FULL);
    let commands = package.load_commands(None);
    for command in &commands {
        contact.ok(&mut card, command);
        card.se.reset(Interface::Contactless);
        let mut tap = card.open(
            CONTACTLESS,
            &ISSUER_DOMAIN,
            &development(Protocol::Scp02),
            SecurityLevel::C_DECRYPTION_C_MAC,
        );
        tap.ok(&mut card, &read_issuer());
    }
    contact.ok(&mut card, &install(INSTANCE));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    contact.ok(&mut card, &read_issuer());
    card.se.reset(Interface::Contact);
    let late = contact.wrap(&read_issuer());
    assert_eq!(card.send(CONTACT, &late).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    card.script(CONTACTLESS, ">> 8010000000\n<< 6D00");
}
