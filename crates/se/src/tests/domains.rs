//! Security domains of modes two, three and four, end to end (decision D-16).

use tsm_globalplatform::commands::get_status::RegistryScope;
use tsm_globalplatform::commands::install::{
    InstallForExtradition, InstallForInstall, InstallForLoad, InstallForPersonalization, InstallParameters,
};
use tsm_globalplatform::commands::load::load_file;
use tsm_globalplatform::commands::{Delete, Install, delete::DeleteContent, delete::DeleteExtent};
use tsm_globalplatform::dap::{self, HashAlgorithm};
use tsm_globalplatform::primitives::AesKey;
use tsm_globalplatform::receipt::{ConfirmationData, Confirmed, Receipt};
use tsm_globalplatform::registry::RegistryEntry;
use tsm_globalplatform::signature::SigningKey;
use tsm_globalplatform::token::TokenData;
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::{Aid, CommandApdu};

use super::host::*;
use crate::profile::{ISSUER_DOMAIN, Protocol};

const SIGNATURE_KEY: [u8; 16] = [0x5A; 16];

fn signing_key() -> SigningKey {
    SigningKey::AesCmac(AesKey::from(SIGNATURE_KEY))
}

fn keys() -> Keys {
    test_keys(0x21, Protocol::Scp03, 0x33)
}

fn domain_of(card: &mut Card, session: &mut Session, aid: &Aid) -> Aid {
    let entries = session.registry(card, RegistryScope::Applications);
    match entries.iter().find(|entry| entry.aid() == aid).unwrap() {
        RegistryEntry::Application(entry) => entry.security_domain.unwrap(),
        RegistryEntry::LoadFile(_) => unreachable!("the scope is that of applications"),
    }
}

/// Mode two: managed by itself with authorized management, or by the issuer without.
///
/// req: P-5.8.3.1.1.a, P-5.8.3.1.1.b, B-4.a, B-6.2.1.c, B-6.2.2.b
#[test]
fn mode_two() {
    let mut card = Card::new();
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    card.make_domain(OTHER_DOMAIN, Privileges::SECURITY_DOMAIN, InstallParameters::default(), &keys());
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.load(&mut card, &Package::new());
    own.ok(&mut card, &install(INSTANCE));
    assert_eq!(domain_of(&mut card, &mut own, &INSTANCE), DOMAIN);
    // A domain without management of its own manages nothing, its own content included.
    let mut plain = card.open(CONTACT, &OTHER_DOMAIN, &keys(), SecurityLevel::C_MAC);
    let other = Package::named(ISSUER_DOMAIN, MODULE, 10);
    plain.expect(&mut card, &other.load_commands(None)[0], 0x6985);
    plain.expect(&mut card, &install(MODULE), 0x6985);
    plain.expect(&mut card, &delete(INSTANCE), 0x6985);
    assert!(plain.registry(&mut card, RegistryScope::LoadFiles).is_empty(), "and sees only its own");
    // The issuer loads, installs and gives the instance to it.
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let second = [INSTANCE.as_bytes(), &[1]].concat().as_slice().try_into().unwrap();
    issuer.ok(&mut card, &install(second));
    issuer.ok(&mut card, &InstallForExtradition::new(OTHER_DOMAIN, second).to_apdu());
    assert_eq!(domain_of(&mut card, &mut issuer, &second), OTHER_DOMAIN);
    // Neither domain reaches into the other.
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.expect(&mut card, &delete(second), 0x6985);
    own.expect(
        &mut card,
        &Package::named(ISSUER_DOMAIN, MODULE, 9).load_commands(Some(OTHER_DOMAIN))[0],
        0x6985,
    );
    own.ok(&mut card, &delete(INSTANCE));
}

/// A domain gives nobody a power over the card that it does not have.
#[test]
fn privileges_do_not_grow() {
    let mut card = Card::new();
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.load(&mut card, &Package::new());
    for privileges in [Privileges::GLOBAL_DELETE, Privileges::CARD_TERMINATE, Privileges::FINAL_APPLICATION] {
        let form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, privileges);
        own.expect(&mut card, &form.to_apdu(), 0x6985);
    }
    own.ok(&mut card, &install_domain(OTHER_DOMAIN, Privileges::AMSD, InstallParameters::default()));
}

/// Extradition: to oneself and others, never in a circle.
///
/// req: P-5.8.4.1.1.g
#[test]
fn extradition() {
    let mut card = Card::new();
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    card.make_domain(OTHER_DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let to = |domain, object| InstallForExtradition::new(domain, object).to_apdu();
    issuer.expect(&mut card, &to(DOMAIN, ISSUER_DOMAIN), 0x6985);
    issuer.expect(&mut card, &to(INSTANCE, DOMAIN), 0x6A88);
    issuer.ok(&mut card, &to(DOMAIN, OTHER_DOMAIN));
    issuer.expect(&mut card, &to(OTHER_DOMAIN, DOMAIN), 0x6985);
    issuer.ok(&mut card, &to(DOMAIN, DOMAIN));
    // What was given to itself is out of the issuer's hierarchy.
    issuer.expect(&mut card, &to(ISSUER_DOMAIN, OTHER_DOMAIN), 0x6985);
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.load(&mut card, &Package::new());
    own.ok(&mut card, &to(OTHER_DOMAIN, PACKAGE));
    own.ok(&mut card, &install(INSTANCE));
}

/// Mode three: the domain verifies the signature of what is loaded for it.
///
/// req: P-5.8.3.1.1.b, P-5.4.2.m
#[test]
fn mode_three() {
    let mut card = Card::new();
    let privileges = Privileges::AMSD | Privileges::DAP_VERIFICATION;
    card.make_domain(DOMAIN, privileges, InstallParameters::default(), &keys());
    let mut session = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    let put = session.put_signature_key(0x73, &SIGNATURE_KEY);
    session.ok(&mut card, &put);
    let package = Package::new();
    let hash = HashAlgorithm::Sha256.hash(&package.data_block);
    let right = dap::sign(DOMAIN, &signing_key(), &hash).unwrap();
    let mut altered = right.clone();
    altered.signature[0] ^= 1;
    let other_file = dap::sign(DOMAIN, &signing_key(), &HashAlgorithm::Sha256.hash(b"another")).unwrap();
    let mut other_domain = right.clone();
    other_domain.security_domain = ISSUER_DOMAIN;
    let cases = [
        ("none", vec![], 0x6985),
        ("altered", vec![altered], 0x6985),
        ("of another file", vec![other_file], 0x6985),
        ("of another domain", vec![other_domain], 0x6985),
        ("right", vec![right], 0x9000),
    ];
    // It holds for loading by the domain itself, and by the issuer for it.
    for by_issuer in [false, true] {
        let mut session = if by_issuer {
            card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC)
        } else {
            card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC)
        };
        for (name, blocks, status) in &cases {
            let mut announce = InstallForLoad::new(PACKAGE, Some(DOMAIN));
            announce.hash = hash.clone();
            session.ok(&mut card, &announce.to_apdu());
            let commands = package.blocks(&load_file(blocks, &package.data_block));
            let (last, first) = commands.split_last().unwrap();
            for command in first {
                session.ok(&mut card, command);
            }
            let answer = session.send(&mut card, last);
            assert_eq!(answer.status.0, *status, "a signature that is {name}");
        }
        session.ok(&mut card, &delete(PACKAGE));
    }
    // What is loaded for the issuer needs no such signature.
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    issuer.load(&mut card, &package);
}

/// A domain with mandated DAP verification verifies whatever is loaded.
#[test]
fn mandated_dap() {
    let mut card = Card::new();
    let privileges = Privileges::SECURITY_DOMAIN | Privileges::MANDATED_DAP_VERIFICATION;
    card.make_domain(DOMAIN, privileges, InstallParameters::default(), &keys());
    let mut session = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    let put = session.put_signature_key(0x73, &SIGNATURE_KEY);
    session.ok(&mut card, &put);
    let package = Package::new();
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let commands = package.load_commands(None);
    let (last, first) = commands.split_last().unwrap();
    for command in first {
        issuer.ok(&mut card, command);
    }
    issuer.expect(&mut card, last, 0x6985);
    let mut announce = InstallForLoad::new(PACKAGE, None);
    announce.hash = HashAlgorithm::Sha1.hash(&package.data_block);
    let block = dap::sign(DOMAIN, &signing_key(), &announce.hash).unwrap();
    issuer.ok(&mut card, &announce.to_apdu());
    for command in package.blocks(&load_file(&[block], &package.data_block)) {
        issuer.ok(&mut card, &command);
    }
}

fn with_token(install: Install) -> CommandApdu {
    let token = TokenData::of_install(&install).unwrap().sign(&signing_key()).unwrap();
    put_token(install, token).to_apdu()
}

fn put_token(install: Install, token: Vec<u8>) -> Install {
    match install {
        Install::ForLoad(form) => Install::ForLoad(InstallForLoad { token, ..form }),
        Install::ForInstall(form) => Install::ForInstall(InstallForInstall { token, ..form }),
        Install::ForExtradition(form) => Install::ForExtradition(InstallForExtradition { token, ..form }),
        other => other,
    }
}

/// Mode four: each step needs the issuer's token, and answers a receipt.
///
/// req: P-5.8.3.1.1.b, B-4.a, B-5.2.1.d
#[test]
fn mode_four() {
    let mut card = Card::new();
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    for version in [0x70, 0x71] {
        let put = issuer.put_signature_key(version, &SIGNATURE_KEY);
        issuer.ok(&mut card, &put);
    }
    card.make_domain(DOMAIN, Privileges::DMSD, InstallParameters::default(), &keys());
    card.make_domain(OTHER_DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    let mut session = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    let package = Package::new();
    let unique = [&[0x62, 0x41, 0, 0][..], SE_ID].concat();
    let check = |answer: &[u8], counter, confirmed: Confirmed| {
        let receipt = Receipt::parse(answer).unwrap().expect("a delegated step answers a receipt");
        let confirmation =
            ConfirmationData { counter, security_domain_unique_data: unique.clone(), token_identifier: None };
        confirmed.verify(&confirmation, &signing_key().verifying_key(), &receipt.signature).unwrap();
        assert_eq!(receipt.confirmation, Some(confirmation));
    };

    let mut form = InstallForLoad::new(PACKAGE, Some(DOMAIN));
    form.hash = HashAlgorithm::Sha1.hash(&package.data_block);
    session.expect(&mut card, &form.to_apdu(), 0x6985);
    let wrong = put_token(Install::ForLoad(form.clone()), vec![7; 16]);
    session.expect(&mut card, &wrong.to_apdu(), 0x6985);
    session.ok(&mut card, &with_token(Install::ForLoad(form)));
    let blocks = package.blocks(&load_file(&[], &package.data_block));
    let (last, first) = blocks.split_last().unwrap();
    for block in first {
        session.ok(&mut card, block);
    }
    let answer = session.ok(&mut card, last);
    check(&answer, 1, Confirmed::Load { load_file: PACKAGE, security_domain: DOMAIN });

    let form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    session.expect(&mut card, &form.to_apdu(), 0x6985);
    // A token for one instance is none for another.
    let other = InstallForInstall::new(PACKAGE, MODULE, MODULE, Privileges::NONE);
    let token = TokenData::of_install(&Install::ForInstall(other)).unwrap().sign(&signing_key()).unwrap();
    session.expect(&mut card, &put_token(Install::ForInstall(form.clone()), token).to_apdu(), 0x6985);
    let answer = session.ok(&mut card, &with_token(Install::ForInstall(form)));
    check(&answer, 2, Confirmed::Install { load_file: PACKAGE, application: INSTANCE });

    let form = InstallForExtradition::new(OTHER_DOMAIN, INSTANCE);
    session.expect(&mut card, &form.to_apdu(), 0x6985);
    let answer = session.ok(&mut card, &with_token(Install::ForExtradition(form)));
    check(&answer, 3, Confirmed::Extradition { from: DOMAIN, object: INSTANCE, to: OTHER_DOMAIN });

    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    assert_eq!(issuer.ok(&mut card, &delete(INSTANCE)), [0], "the issuer needs no token and gets no receipt");
    let mut session = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    session.expect(&mut card, &delete(PACKAGE), 0x6985);
    let mut content = DeleteContent::new(PACKAGE, DeleteExtent::Object);
    content.token = Some(TokenData::of_delete(&content).sign(&signing_key()).unwrap());
    let answer = session.ok(&mut card, &Delete::Content(content).to_apdu());
    check(&answer, 4, Confirmed::Delete { object: PACKAGE });
}

/// What belongs to one domain cannot be opened, written, locked, moved or deleted with the keys of another.
///
/// req: W-3.2.a, P-3.2.b
#[test]
fn another_domains_keys_do_nothing() {
    let mut card = Card::new();
    let others = test_keys(0x41, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    card.make_domain(OTHER_DOMAIN, Privileges::AMSD, InstallParameters::default(), &others);
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.load(&mut card, &Package::new());
    own.ok(&mut card, &install(INSTANCE));
    let before = own.registry(&mut card, RegistryScope::Applications).len();

    for aid in [DOMAIN, INSTANCE] {
        card.select(CONTACT, &aid);
        assert!(card.authenticate(CONTACT, &others, SecurityLevel::C_MAC).is_err(), "{aid}");
    }
    let mut other = card.open(CONTACT, &OTHER_DOMAIN, &others, SecurityLevel::C_MAC);
    let personalise = InstallForPersonalization { application: INSTANCE }.to_apdu();
    let extradite = Install::ForExtradition(InstallForExtradition::new(OTHER_DOMAIN, INSTANCE)).to_apdu();
    for command in [
        set_status(INSTANCE, 0x80),
        set_status(DOMAIN, 0x80),
        delete(INSTANCE),
        delete(PACKAGE),
        delete_related(DOMAIN),
        personalise,
        extradite,
    ] {
        let answer = other.send(&mut card, &command);
        assert!(!answer.status.is_success(), "{:02X}: {}", command.ins, answer.status);
    }
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    assert_eq!(own.registry(&mut card, RegistryScope::Applications).len(), before);
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success(), "it is neither locked nor gone");
}

/// An SSD that holds applications is not deleted without them.
#[test]
fn deleting_domains() {
    let mut card = Card::new();
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys());
    let mut own = card.open(CONTACT, &DOMAIN, &keys(), SecurityLevel::C_MAC);
    own.load(&mut card, &Package::new());
    own.ok(&mut card, &install(INSTANCE));
    own.expect(&mut card, &delete(DOMAIN), 0x6985);
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    issuer.expect(&mut card, &delete(DOMAIN), 0x6985);
    issuer.expect(&mut card, &delete(ISSUER_DOMAIN), 0x6985);
    issuer.expect(&mut card, &delete_related(ISSUER_DOMAIN), 0x6985);
    issuer.ok(&mut card, &delete_related(DOMAIN));
    assert!(issuer.registry(&mut card, RegistryScope::Applications).is_empty());
}
