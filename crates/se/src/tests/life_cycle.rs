//! Life cycles of the card, applications, domains and load files.

use tsm_globalplatform::commands::get_status::{GetStatus, RegistryScope};
use tsm_globalplatform::commands::install::{InstallForInstall, InstallForRegistryUpdate, InstallParameters};
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_globalplatform::commands::{Install, SetStatus};
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::{Aid, CommandApdu, StatusWord};

use super::host::*;
use crate::open::registry::CodeMemory;
use crate::profile::{ISSUER_DOMAIN, PresetInstance, PresetLoadFile, Protocol};
use crate::{Interface, Profile};

fn state_of(card: &mut Card, session: &mut Session, aid: &Aid) -> u8 {
    let entries = session.registry(card, RegistryScope::Applications);
    entries.iter().find(|entry| entry.aid() == aid).unwrap().life_cycle().value()
}

/// The card moves forward only, and between SECURED and CARD_LOCKED.
///
/// req: B-6.2.8.a, B-3.1.a
#[test]
fn the_card() {
    let allowed = [(0x01, 0x07), (0x07, 0x0F), (0x0F, 0x7F), (0x7F, 0x0F)];
    let states = [0x01, 0x07, 0x0F, 0x7F];
    for from in states {
        for to in states {
            let mut card = Card::new();
            let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
            for step in [0x07, 0x0F, 0x7F].into_iter().filter(|step| *step <= from) {
                session.ok(&mut card, &set_card_status(step));
            }
            let expected = if allowed.contains(&(from, to)) { 0x9000 } else { 0x6985 };
            session.expect(&mut card, &set_card_status(to), expected);
            let now = if expected == 0x9000 { to } else { from };
            assert_eq!(card.se.life_cycle().value(), now, "{from:02X} to {to:02X}");
            assert_eq!(card.copy().se.life_cycle().value(), now);
        }
    }
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.expect(&mut card, &set_card_status(0x33), 0x6A86);
}

/// A locked card serves its issuer's unlocking, GET DATA, and nothing else.
#[test]
fn a_locked_card() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    for state in [0x07, 0x0F, 0x7F] {
        session.ok(&mut card, &set_card_status(state));
    }
    assert_eq!(
        card.send(CONTACTLESS, &CommandApdu::new(0x80, 0x10, 0, 0)).status,
        StatusWord::FUNCTION_NOT_SUPPORTED
    );
    assert_eq!(card.select(CONTACTLESS, &INSTANCE).status, StatusWord::FUNCTION_NOT_SUPPORTED);
    session.expect(&mut card, &delete(INSTANCE), 0x6A81);
    let answer = card.select(CONTACT, &ISSUER_DOMAIN);
    assert_eq!(answer.status, StatusWord::SELECTED_FILE_INVALIDATED);
    card.script(CONTACT, ">> 80CA004200\n<< 4204624100009000");
    let mut session =
        card.authenticate(CONTACT, &development(Protocol::Scp03), SecurityLevel::C_MAC).unwrap();
    session.ok(&mut card, &set_card_status(0x0F));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
}

/// A terminated card stays so, and answers GET DATA only.
///
/// req: B-6.2.8.a
#[test]
fn a_terminated_card() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.ok(&mut card, &set_card_status(0xFF));
    for mut card in [card.copy(), card] {
        card.script(
            CONTACT,
            ">> 80CA004200
             << 4204624100009000
             >> 8050000008010203040506070800
             << 6985
             >> 0070000001
             << 6A81",
        );
        assert!(card.send(CONTACTLESS, &set_card_status(0x0F)).status != StatusWord::SUCCESS);
    }
}

/// Applications are locked and unlocked by the domain they belong to and by the issuer's.
#[test]
fn applications() {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    card.make_domain(OTHER_DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    let mut domain = card.open(CONTACT, &DOMAIN, &keys, SecurityLevel::C_MAC);
    domain.load(&mut card, &Package::new());
    domain.ok(&mut card, &install(INSTANCE));
    domain.expect(&mut card, &set_status(INSTANCE, 0x00), 0x6985);
    domain.ok(&mut card, &set_status(INSTANCE, 0x80));
    assert_eq!(state_of(&mut card, &mut domain, &INSTANCE), 0x87);
    domain.expect(&mut card, &set_status(INSTANCE, 0x80), 0x6985);
    domain.expect(&mut card, &set_status(DOMAIN, 0x80), 0x6985);
    let mut stranger = card.open(CONTACT, &OTHER_DOMAIN, &keys, SecurityLevel::C_MAC);
    stranger.expect(&mut card, &set_status(INSTANCE, 0x00), 0x6985);
    let mut issuer = card.open_issuer(Protocol::Scp02, SecurityLevel::C_MAC);
    issuer.ok(&mut card, &set_status(INSTANCE, 0x00));
    assert_eq!(state_of(&mut card, &mut issuer, &INSTANCE), 0x07);
    issuer.expect(&mut card, &set_status(INSTANCE, 0x0F), 0x6985);
}

/// A domain becomes PERSONALIZED once, and installs nothing before.
///
/// req: P-5.8.3.1.1.e
#[test]
fn a_domain_is_personalised_once() {
    let mut card = Card::new();
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    issuer.ok(&mut card, &install_domain(DOMAIN, Privileges::AMSD, InstallParameters::default()));
    let into_domain = Package::new().load_commands(Some(DOMAIN));
    issuer.expect(&mut card, &into_domain[0], 0x6985);
    let mut domain = card.open(CONTACT, &DOMAIN, &initial_keys(&DOMAIN), SecurityLevel::C_MAC);
    domain.expect(&mut card, &Package::new().load_commands(None)[0], 0x6985);
    domain.ok(&mut card, &set_status(DOMAIN, 0x0F));
    domain.expect(&mut card, &set_status(DOMAIN, 0x0F), 0x6985);
    domain.load(&mut card, &Package::new());
    domain.ok(&mut card, &install(INSTANCE));
}

/// A domain is locked with all its applications, and is not selected then.
#[test]
fn a_domain_and_its_applications() {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    let mut domain = card.open(CONTACTLESS, &DOMAIN, &keys, SecurityLevel::C_MAC);
    domain.load(&mut card, &Package::new());
    domain.ok(&mut card, &install(INSTANCE));
    let group =
        |state| SetStatus { target: StatusTarget::SecurityDomainAndApplications(DOMAIN), state }.to_apdu();
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    issuer.ok(&mut card, &group(0x80));
    assert_eq!(state_of(&mut card, &mut issuer, &DOMAIN), 0x8F);
    assert_eq!(state_of(&mut card, &mut issuer, &INSTANCE), 0x87);
    let late = domain.wrap(&GetStatus::all(RegistryScope::Applications).to_apdu());
    assert!(!card.send(CONTACTLESS, &late).status.is_success());
    assert_eq!(card.select(CONTACTLESS, &DOMAIN).status, StatusWord::NOT_FOUND);
    issuer.ok(&mut card, &group(0x00));
    assert_eq!(state_of(&mut card, &mut issuer, &DOMAIN), 0x0F);
    card.open(CONTACTLESS, &DOMAIN, &keys, SecurityLevel::C_MAC);
}

/// A ROM load file is disabled by the issuer, never deleted; what it made goes on.
///
/// req: B-6.2.7.a, P-5.8.4.2.2.b, P-5.4.2.e
#[test]
fn a_rom_load_file() {
    let mut profile = Profile::development(SE_ID);
    profile.load_files.push(PresetLoadFile {
        aid: PACKAGE,
        version: [1, 0],
        modules: vec![MODULE],
        code_bytes: 9999,
        memory: CodeMemory::Rom,
    });
    profile.instances.push(PresetInstance {
        load_file: PACKAGE,
        module: MODULE,
        aid: MODULE,
        domain: None,
        privileges: Privileges::NONE,
        parameters: Vec::new(),
        keys: Vec::new(),
    });
    let mut card = Card::of(&profile);
    assert_eq!(card.se.usage().code, 0, "ROM is not what content takes");
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let disable = SetStatus { target: StatusTarget::LoadFile(PACKAGE), state: 0x80 }.to_apdu();
    let enable = SetStatus { target: StatusTarget::LoadFile(PACKAGE), state: 0x00 }.to_apdu();
    session.ok(&mut card, &disable);
    session.expect(&mut card, &disable, 0x6985);
    session.expect(&mut card, &install(INSTANCE), 0x6985);
    session.expect(&mut card, &delete_related(PACKAGE), 0x6985);
    assert!(card.select(CONTACTLESS, &MODULE).status.is_success());
    card.se.reset(Interface::Contactless);
    session.ok(&mut card, &delete(MODULE));
    session.expect(&mut card, &delete(PACKAGE), 0x6985);
    session.ok(&mut card, &enable);
    session.ok(&mut card, &install(INSTANCE));
}

/// The final application is what a terminated card still selects; a registry update moves it.
///
/// req: B-4.a
#[test]
fn the_final_application() {
    let mut card = Card::new();
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    let update = |aid, privileges| {
        Install::ForRegistryUpdate(InstallForRegistryUpdate {
            security_domain: None,
            application: Some(aid),
            privileges: Some(privileges),
            parameters: Vec::new(),
            token: Vec::new(),
        })
        .to_apdu()
    };
    session.ok(&mut card, &update(INSTANCE, Privileges::FINAL_APPLICATION));
    let second = InstallForInstall::new(PACKAGE, MODULE, MODULE, Privileges::FINAL_APPLICATION);
    session.expect(&mut card, &second.to_apdu(), 0x6985);
    session.expect(&mut card, &update(INSTANCE, Privileges::AMSD), 0x6A80);
    session.expect(&mut card, &update(ISSUER_DOMAIN, Privileges::SECURITY_DOMAIN), 0x6985);
    session.ok(&mut card, &set_card_status(0xFF));
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    assert_eq!(card.select(CONTACTLESS, &ISSUER_DOMAIN).status, StatusWord::FUNCTION_NOT_SUPPORTED);
}
