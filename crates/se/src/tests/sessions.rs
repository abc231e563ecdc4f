//! Secure channel sessions: both protocols, all levels, and what ends or refuses them.

use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::commands::GetStatus;
use tsm_globalplatform::commands::get_status::RegistryScope;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::host::*;
use crate::Profile;
use crate::profile::{ISSUER_DOMAIN, Protocol};

fn read_issuer() -> CommandApdu {
    GetStatus::all(RegistryScope::IssuerSecurityDomain).to_apdu()
}

/// Both protocols at every level that their options have.
///
/// req: B-6.5.a, P-5.8.9.1.b, P-5.8.9.1.d, P-5.8.9.2.b
#[test]
fn both_protocols_at_every_level() {
    let cases = [
        (Protocol::Scp02, 0x55, vec![0x00, 0x01, 0x03]),
        (Protocol::Scp02, 0x15, vec![0x00, 0x01, 0x03]),
        (Protocol::Scp02, 0x75, vec![0x00, 0x01, 0x03, 0x10, 0x11, 0x13]),
        (Protocol::Scp03, 0x00, vec![0x00, 0x01, 0x03]),
        (Protocol::Scp03, 0x30, vec![0x01, 0x03, 0x11, 0x13]),
        (Protocol::Scp03, 0x60, vec![0x03, 0x33]),
        (Protocol::Scp03, 0x70, vec![0x00, 0x01, 0x03, 0x11, 0x13, 0x33]),
    ];
    for (protocol, i, levels) in cases {
        let mut profile = Profile::development(SE_ID);
        match protocol {
            Protocol::Scp02 => profile.settings.scp02_i = i,
            Protocol::Scp03 => profile.settings.scp03_i = i,
        }
        let mut card = Card::of(&profile);
        for level in levels {
            let level = SecurityLevel::new(level).unwrap();
            let mut session = card.open_issuer(protocol, level);
            for _ in 0..3 {
                let data = session.ok(&mut card, &read_issuer());
                assert_eq!(data[..3], [0xE3, data[1], 0x4F], "{protocol:?} i={i:02X} level {level}");
            }
        }
    }
}

/// Version 00 asks for the default keys; the answer names their version.
#[test]
fn key_version_zero_is_the_default() {
    let mut card = Card::new();
    let answer =
        card.send(CONTACT, &CommandApdu::new(0x80, 0x50, 0, 0).with_data([1; 8]).with_any_response());
    assert_eq!(answer.data[10..12], [0x30, 0x03]);
    let mut profile = Profile::development(SE_ID);
    profile.default_key_version = 0x20;
    let mut card = Card::of(&profile);
    let answer =
        card.send(CONTACT, &CommandApdu::new(0x80, 0x50, 0, 0).with_data([1; 8]).with_any_response());
    assert_eq!((answer.data.len(), &answer.data[10..12]), (28, &[0x20, 0x02][..]));
}

/// A card may hold the keys of one protocol only.
#[test]
fn a_card_of_one_protocol() {
    let mut profile = Profile::development(SE_ID);
    profile.keys.retain(|key| key.version == 0x20);
    profile.default_key_version = 0x20;
    let mut card = Card::of(&profile);
    card.script(
        CONTACT,
        ">> 8050300008 0102030405060708 00
         << 6A88",
    );
    card.open_issuer(Protocol::Scp02, SecurityLevel::C_MAC);
}

/// A guess at the host cryptogram is refused, and the right host is let in after it.
///
/// req: P-5.8.9.1.b
#[test]
fn a_wrong_host_is_refused() {
    for (protocol, wrong) in
        [(Protocol::Scp02, 0), (Protocol::Scp02, 15), (Protocol::Scp03, 0), (Protocol::Scp03, 15)]
    {
        let mut card = Card::new();
        let keys = development(protocol);
        // A host with other keys sees that the card is not the one it means, and stops; this one
        // sends a guess.
        let at = CONTACT;
        let begin = CommandApdu::new(0x80, 0x50, keys.0, 0).with_data([7; 8]).with_any_response();
        assert!(card.send(at, &begin).status.is_success());
        let mut forged = vec![0xAA; 16];
        forged[wrong] ^= 1;
        let answer = card.send(at, &CommandApdu::new(0x84, 0x82, 1, 0).with_data(forged));
        assert_eq!(answer.status, StatusWord::AUTHENTICATION_FAILED);
        assert!(card.authenticate(at, &keys, SecurityLevel::C_MAC).is_ok(), "the right host is let in after");
    }
}

/// Every byte of the handshake counts: the host does not believe an answer to another challenge or
/// an altered one, and the card believes no altered EXTERNAL AUTHENTICATE.
///
/// req: P-5.8.9.2.c
#[test]
fn every_byte_of_the_handshake_counts() {
    let level = SecurityLevel::C_MAC;
    for protocol in [Protocol::Scp02, Protocol::Scp03] {
        let keys = development(protocol);
        let mut card = Card::new();
        for altered in 0..8 {
            let (host, mut begin) = Handshake::begin(&keys, level);
            begin.data[altered] ^= 1;
            let answer = card.send(CONTACT, &begin);
            assert!(answer.status.is_success());
            assert!(host.finish(&answer.data, level).is_none(), "{protocol:?}, challenge byte {altered}");
        }
        // The ten bytes in front only help to find the keys.
        for altered in 10.. {
            let (host, begin) = Handshake::begin(&keys, level);
            let mut answer = card.send(CONTACT, &begin).data;
            let Some(byte) = answer.get_mut(altered) else { break };
            // The counter of SCP03 only explains the challenge, and i what the card offers.
            if protocol == Protocol::Scp03 && (altered == 12 || altered >= 29) {
                continue;
            }
            *byte ^= 1;
            assert!(host.finish(&answer, level).is_none(), "{protocol:?}, answer byte {altered}");
        }
        for altered in 0..16 {
            let (host, begin) = Handshake::begin(&keys, level);
            let answer = card.send(CONTACT, &begin);
            let (_, mut authenticate) = host.finish(&answer.data, level).unwrap();
            authenticate.data[altered] ^= 1;
            let answer = card.send(CONTACT, &authenticate);
            assert!(!answer.status.is_success(), "{protocol:?}, command byte {altered}");
        }
        assert!(card.authenticate(CONTACT, &keys, level).is_ok());
    }
}

/// EXTERNAL AUTHENTICATE carries a C-MAC, always.
///
/// req: B-6.5.b
#[test]
fn external_authenticate_needs_its_mac() {
    for state in [0x01, 0x0F] {
        let mut card = secured(state);
        let begin = CommandApdu::new(0x80, 0x50, 0x30, 0).with_data([7; 8]).with_any_response();
        assert!(card.send(CONTACT, &begin).status.is_success(), "INITIALIZE UPDATE needs no security");
        let answer = card.send(CONTACT, &CommandApdu::new(0x80, 0x82, 1, 0).with_data([0; 16]));
        assert_eq!(answer.status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        let answer = card.send(CONTACT, &CommandApdu::new(0x84, 0x82, 1, 0).with_data([0; 8]));
        assert_ne!(answer.status, StatusWord::SUCCESS);
    }
}

pub(super) fn secured(state: u8) -> Card {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    for next in [0x07, 0x0F].into_iter().filter(|next| *next <= state) {
        session.ok(&mut card, &set_card_status(next));
    }
    card
}

/// Once SECURED, content management needs at least level 01; before, an authenticated host is
/// enough.
///
/// req: B-6.5.b, P-5.8.9.2.a
#[test]
fn minimum_level_once_secured() {
    for (state, expected) in [(0x01, 0x9000), (0x0F, 0x6982)] {
        let mut card = secured(state);
        let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::AUTHENTICATED);
        session.expect(&mut card, &Package::new().load_commands(None)[0], expected);
        session.ok(&mut card, &read_issuer());
    }
    for command in
        [Package::new().load_commands(None).remove(0), install(INSTANCE), delete(PACKAGE), read_issuer()]
    {
        let mut card = Card::new();
        let answer = card.send(CONTACT, &command);
        assert_eq!(answer.status, StatusWord::SECURITY_STATUS_NOT_SATISFIED, "without a session");
    }
}

/// A command altered, replayed or out of order ends the session.
///
/// req: P-5.8.9.1.a, P-5.8.9.1.c
#[test]
fn altered_replayed_and_reordered_commands_end_the_session() {
    for protocol in [Protocol::Scp02, Protocol::Scp03] {
        for fault in 0..4 {
            let mut card = Card::new();
            let mut session = card.open_issuer(protocol, SecurityLevel::C_DECRYPTION_C_MAC);
            let (first, second) = (session.wrap(&read_issuer()), session.wrap(&read_issuer()));
            let sent = match fault {
                0 => CommandApdu { p2: 0x00, ..first },
                1 => {
                    let mut altered = first;
                    altered.data[0] ^= 1;
                    altered
                }
                2 => {
                    assert!(card.send(CONTACT, &first).status.is_success());
                    first
                }
                _ => second,
            };
            assert_eq!(
                card.send(CONTACT, &sent).status,
                StatusWord::SECURITY_STATUS_NOT_SATISFIED,
                "fault {fault}"
            );
            let next = session.wrap(&read_issuer());
            assert_eq!(
                card.send(CONTACT, &next).status,
                StatusWord::SECURITY_STATUS_NOT_SATISFIED,
                "it is over"
            );
        }
    }
}

/// An unsecured command in the middle of a session is refused and ends it; GET DATA is not.
#[test]
fn an_unsecured_command_in_a_session() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    card.script(
        CONTACT,
        ">> 80CA004200
         << 4204624100009000",
    );
    session.ok(&mut card, &read_issuer());
    assert_eq!(card.send(CONTACT, &read_issuer()).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    let next = session.wrap(&read_issuer());
    assert_eq!(card.send(CONTACT, &next).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
}

/// Failures are counted across resets; a success forgives them; too many block the keys.
#[test]
fn failures_are_counted() {
    let mut profile = Profile::development(SE_ID);
    profile.settings.authentication_tries = 3;
    let mut card = Card::of(&profile);
    let begin = CommandApdu::new(0x80, 0x50, 0x30, 0).with_data([7; 8]).with_any_response();
    let fail = |card: &mut Card| {
        assert!(card.send(CONTACT, &begin).status.is_success());
        let answer = card.send(CONTACT, &CommandApdu::new(0x84, 0x82, 1, 0).with_data([0; 16]));
        assert_eq!(answer.status, StatusWord::AUTHENTICATION_FAILED);
    };
    fail(&mut card);
    fail(&mut card);
    card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    fail(&mut card);
    card = card.copy();
    fail(&mut card);
    fail(&mut card);
    assert_eq!(card.send(CONTACT, &begin).status, StatusWord::AUTHENTICATION_METHOD_BLOCKED);
}

/// Cutting the power on a wrong guess does not save the guess.
#[test]
fn a_failure_counts_even_when_the_power_fails() {
    let mut profile = Profile::development(SE_ID);
    profile.settings.authentication_tries = 3;
    let begin = CommandApdu::new(0x80, 0x50, 0x20, 0).with_data([7; 8]).with_any_response();
    let mut card = Card::of(&profile);
    let mut guesses = 0;
    while card.send(CONTACT, &begin).status.is_success() {
        // Just enough writes for the failure to be written, and no more.
        card.se.power_cut_after(8);
        card.try_send(CONTACT, &CommandApdu::new(0x84, 0x82, 1, 0).with_data([0; 16]));
        card.se.cancel_power_cut();
        card.se.power_on().unwrap();
        guesses += 1;
        assert!(guesses < 10);
    }
    assert_eq!(guesses, 3);
}

/// The session keys differ each time: the counter goes on, over a reset too.
#[test]
fn the_counter_goes_on() {
    let mut card = Card::new();
    let counter = |card: &mut Card| {
        let begin = CommandApdu::new(0x80, 0x50, 0x20, 0).with_data([7; 8]).with_any_response();
        let data = card.send(CONTACT, &begin).data;
        u16::from_be_bytes([data[12], data[13]])
    };
    let before = counter(&mut card);
    card.open_issuer(Protocol::Scp02, SecurityLevel::C_MAC);
    let mut card = card.copy();
    assert_eq!(counter(&mut card), before + 1);
}

/// BEGIN and END R-MAC SESSION protect the answers between them.
#[test]
fn an_r_mac_session() {
    use tsm_globalplatform::commands::BeginRMacSession;
    use tsm_globalplatform::security_level::ResponseProtection;
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let begin = BeginRMacSession { protection: ResponseProtection::Mac, data: Vec::new() };
    session.ok(&mut card, &begin.to_apdu());
    let Channel::Scp03(host) = &mut session.channel else { unreachable!("the session is one of SCP03") };
    host.begin_r_mac(ResponseProtection::Mac).unwrap();
    session.ok(&mut card, &read_issuer());
}

/// A session belongs to the domain it was opened with, and ends when another is selected.
#[test]
fn selecting_ends_the_session() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    card.select(CONTACT, &ISSUER_DOMAIN);
    let command = session.wrap(&read_issuer());
    assert_eq!(card.send(CONTACT, &command).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
}

/// What the domain does not know is refused, and the session counts it as the host has: with
/// either protocol, and for an instruction as for a class.
#[test]
fn an_unknown_command_leaves_the_session() {
    for (protocol, level) in [(Protocol::Scp02, SecurityLevel::C_DECRYPTION_C_MAC), (Protocol::Scp03, FULL)] {
        let mut card = Card::new();
        let mut session = card.open_issuer(protocol, level);
        session.expect(&mut card, &CommandApdu::new(0x80, 0x0E, 0, 0).with_data([1]), 0x6D00);
        session.expect(&mut card, &CommandApdu::new(0x00, 0xE4, 0, 0).with_data([1]), 0x6E00);
        session.ok(&mut card, &read_issuer());
    }
}
