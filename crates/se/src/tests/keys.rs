//! PUT KEY and DELETE [key].

use tsm_globalplatform::Privileges;
use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::commands::delete::DeleteKeys;
use tsm_globalplatform::commands::install::InstallParameters;
use tsm_globalplatform::commands::{Delete, GetData};
use tsm_globalplatform::key_information::KeyInformation;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::host::*;
use crate::Profile;
use crate::open::settings::InitialKeys;
use crate::profile::{ISSUER_DOMAIN, Protocol};

fn versions(card: &mut Card) -> Vec<u8> {
    let answer = card.send(CONTACT, &GetData::KEY_INFORMATION.to_apdu());
    let mut versions: Vec<u8> =
        KeyInformation::parse_template(&answer.data).unwrap().iter().map(|key| key.version).collect();
    versions.dedup();
    versions
}

/// Keys are added and replaced, by both protocols; the answer repeats version and check values.
///
/// req: P-5.8.3.2.2.b
#[test]
fn keys_are_added_and_replaced() {
    for protocol in [Protocol::Scp02, Protocol::Scp03] {
        let mut card = Card::new();
        let mut session = card.open_issuer(protocol, SecurityLevel::C_DECRYPTION_C_MAC);
        let added = test_keys(0x21, Protocol::Scp02, 1);
        let put = session.put_keys(0, &added);
        let confirmed = session.ok(&mut card, &put);
        assert_eq!((confirmed.len(), confirmed[0]), (10, 0x21));
        session.expect(&mut card, &put, 0x6A80);
        assert_eq!(versions(&mut card), [0x20, 0x21, 0x30]);
        let replacing = test_keys(0x31, Protocol::Scp03, 2);
        let version = development(protocol).0;
        let put = session.put_keys(version, &replacing);
        session.ok(&mut card, &put);
        session.expect(&mut card, &put, 0x6A88);
        card.open(CONTACT, &ISSUER_DOMAIN, &added, SecurityLevel::C_MAC);
        card.open(CONTACT, &ISSUER_DOMAIN, &replacing, SecurityLevel::C_MAC);
        assert!(!versions(&mut card).contains(&version));
        let refused = card.authenticate(CONTACT, &development(protocol), SecurityLevel::C_MAC);
        assert_eq!(refused.err().unwrap().status, StatusWord::REFERENCED_DATA_NOT_FOUND);
    }
}

/// A key set that replaces itself under the same version.
#[test]
fn keys_are_replaced_under_the_same_version() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let keys = test_keys(0x30, Protocol::Scp03, 9);
    let put = session.put_keys(0x30, &keys);
    session.ok(&mut card, &put);
    card.open(CONTACT, &ISSUER_DOMAIN, &keys, FULL);
    let begin = CommandApdu::new(0x80, 0x50, 0, 0).with_data([1; 8]).with_any_response();
    assert_eq!(card.send(CONTACT, &begin).data[10], 0x30, "they are the default keys");
}

/// A wrong check value or malformed key changes nothing, whichever key of the command it is.
#[test]
fn a_wrong_key_changes_none() {
    for (name, fault) in [("check value", 0), ("length", 1), ("type", 2), ("version", 3)] {
        let mut card = Card::new();
        let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        let mut put = session.put_keys(0x30, &test_keys(0x31, Protocol::Scp03, 3));
        let length = put.data.len();
        let expected = match fault {
            0 => {
                *put.data.last_mut().unwrap() ^= 1;
                0x9485
            }
            1 => {
                put.data.truncate(length - 5);
                0x6A80
            }
            2 => {
                put.data[1] = 0xA8;
                0x9484
            }
            _ => {
                put.data[0] = 0x80;
                0x6A80
            }
        };
        session.expect(&mut card, &put, expected);
        assert_eq!(versions(&mut card), [0x20, 0x30], "{name}");
        card.open_issuer(Protocol::Scp03, FULL);
    }
}

/// DELETE [key] removes keys, but never the last set of the issuer.
#[test]
fn keys_are_deleted() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let delete = |version| Delete::Keys(DeleteKeys { identifier: None, version: Some(version) }).to_apdu();
    session.expect(&mut card, &delete(0x55), 0x6A88);
    session.ok(&mut card, &delete(0x20));
    assert_eq!(versions(&mut card), [0x30]);
    session.expect(&mut card, &delete(0x30), 0x6985);
    card.open_issuer(Protocol::Scp03, FULL);
}

/// A new domain has initial keys; replacing them ends them.
#[test]
fn initial_keys_are_replaced() {
    let mut card = Card::new();
    let keys = test_keys(0x01, Protocol::Scp03, 5);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    card.select(CONTACT, &DOMAIN);
    let begin = CommandApdu::new(0x80, 0x50, 0, 0).with_data([1; 8]).with_any_response();
    let answer = card.send(CONTACT, &begin);
    assert_eq!(answer.data[10], 0x01);
    card.open(CONTACT, &DOMAIN, &keys, FULL);
    assert_ne!(initial_keys(&DOMAIN).2, keys.2);
}

/// A domain without keys of its own uses those of the domain above it, until it has some, be they
/// of another protocol.
///
/// req: B-6.2.1.d
#[test]
fn a_domain_without_keys() {
    let mut profile = Profile::development(SE_ID);
    profile.settings.initial_keys = InitialKeys::OfAssociatedDomain;
    for replaced in [0x00, 0x30] {
        let mut card = Card::of(&profile);
        let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        issuer.ok(&mut card, &install_domain(DOMAIN, Privileges::AMSD, InstallParameters::default()));
        let mut session = card.open(CONTACT, &DOMAIN, &development(Protocol::Scp03), SecurityLevel::C_MAC);
        let keys = test_keys(0x21, Protocol::Scp02, 7);
        let put = session.put_keys(replaced, &keys);
        session.ok(&mut card, &put);
        let refused = card.authenticate(CONTACT, &development(Protocol::Scp03), SecurityLevel::C_MAC);
        assert_eq!(refused.err().unwrap().status, StatusWord::REFERENCED_DATA_NOT_FOUND);
        card.open(CONTACT, &DOMAIN, &keys, SecurityLevel::C_MAC);
        card.open_issuer(Protocol::Scp03, FULL);
    }
}

/// A domain holds keys of every purpose, each by version and identifier: secure channel, over the
/// air, token, receipt and DAP.
///
/// req: P-5.8.9.3.a, B-6.4.a
#[test]
fn a_domain_holds_keys_of_every_purpose() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let over_the_air = session.put_keys(0, &test_keys(0x01, Protocol::Scp02, 1));
    session.ok(&mut card, &over_the_air);
    for version in [0x70, 0x71, 0x73] {
        let put = session.put_signature_key(version, &[version; 16]);
        session.ok(&mut card, &put);
    }
    let answer = card.send(CONTACT, &GetData::KEY_INFORMATION.to_apdu());
    let keys = KeyInformation::parse_template(&answer.data).unwrap();
    let held: Vec<(u8, u8)> = keys.iter().map(|key| (key.version, key.identifier)).collect();
    let sets = [0x01, 0x20, 0x30].into_iter().flat_map(|version| (1..=3).map(move |id| (version, id)));
    let expected: Vec<_> = sets.chain([(0x70, 1), (0x71, 1), (0x73, 1)]).collect();
    assert_eq!(held, expected);
}

/// A public key that no signature could be verified with is refused when it comes.
#[test]
fn an_unknown_curve_is_refused() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let put = |point: &[u8], curve: u8| {
        let field = [&[0x73, 0xB0, point.len() as u8], point, &[0xF0, 0x01, curve, 0x00]].concat();
        CommandApdu::new(0x80, 0xD8, 0x00, 0x01).with_data(field)
    };
    // The generator of P-256 (FIPS 186-4, D.1.2.3), and a point of the length of P-384.
    let generator = hex::decode(concat!(
        "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296",
        "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
    ));
    session.expect(&mut card, &put(&[4; 97], 1), 0x9484);
    session.ok(&mut card, &put(&generator.unwrap(), 0));
}
