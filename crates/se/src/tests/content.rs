//! Loading, installing and deleting content.

use tsm_globalplatform::Privileges;
use tsm_globalplatform::SecurityLevel;
use tsm_globalplatform::commands::get_status::RegistryScope;
use tsm_globalplatform::commands::install::{
    CombinedProcess, InstallForInstall, InstallForLoad, InstallForMakeSelectable, Selectability,
};
use tsm_globalplatform::commands::load::load_file;
use tsm_globalplatform::commands::{Install, Load, load::BlockPosition};
use tsm_globalplatform::dap::HashAlgorithm;
use tsm_globalplatform::registry::RegistryEntry;
use tsm_iso7816::{CommandApdu, StatusWord};

use super::host::*;
use crate::profile::{ISSUER_DOMAIN, Protocol};

fn issuer(card: &mut Card) -> Session {
    card.open_issuer(Protocol::Scp03, FULL)
}

/// The whole life of a package: loaded, installed, selected, used, deleted.
///
/// req: B-6.2.1.b, B-6.2.7.b, B-6.2.7.c, B-6.2.7.d, B-6.2.5.b, P-5.8.4.1.1.h, P-3.2.c
#[test]
fn load_install_select_delete() {
    for (protocol, level) in [(Protocol::Scp02, SecurityLevel::C_DECRYPTION_C_MAC), (Protocol::Scp03, FULL)] {
        let mut card = Card::new();
        let empty = card.se.usage();
        let mut session = card.open_issuer(protocol, level);
        session.load(&mut card, &Package::new());
        let files = session.registry(&mut card, RegistryScope::LoadFilesAndModules);
        let Some(RegistryEntry::LoadFile(file)) = files.iter().find(|entry| *entry.aid() == PACKAGE) else {
            panic!("the load file is not in the registry");
        };
        assert_eq!((file.modules.as_slice(), file.version.as_deref()), (&[MODULE][..], Some(&[1, 2][..])));
        session.ok(&mut card, &install(INSTANCE));
        let second = [INSTANCE.as_bytes(), &[1]].concat();
        let second = second.as_slice().try_into().unwrap();
        session.ok(&mut card, &install(second));
        let applications = session.registry(&mut card, RegistryScope::Applications);
        assert_eq!(applications.len(), 2);
        assert_eq!(applications[0].life_cycle().value(), 0x07);
        session.expect(&mut card, &delete(PACKAGE), 0x6985);
        // The inert application is selected, and knows no command.
        assert!(card.select(CONTACT, &INSTANCE).status.is_success());
        let answer = card.send(CONTACT, &CommandApdu::new(0x80, 0x50, 0, 0).with_data([1; 8]));
        assert_eq!(answer.status, StatusWord::INSTRUCTION_NOT_SUPPORTED);
        let mut session = card.open_issuer(protocol, level);
        session.ok(&mut card, &delete(second));
        assert_eq!(card.select(At(crate::Interface::Contactless, 0), &second).status, StatusWord::NOT_FOUND);
        session.ok(&mut card, &delete_related(PACKAGE));
        assert!(session.registry(&mut card, RegistryScope::Applications).is_empty());
        assert_eq!(card.se.usage(), empty, "all memory is free again");
    }
}

/// What is there already, or is not, is refused without a change.
#[test]
fn refusals() {
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    session.expect(&mut card, &install(INSTANCE), 0x6A88);
    session.expect(&mut card, &delete(INSTANCE), 0x6A88);
    session.expect(&mut card, &delete(ISSUER_DOMAIN), 0x6985);
    session.load(&mut card, &Package::new());
    session.expect(&mut card, &Package::new().load_commands(None)[0], 0x6A89);
    session.ok(&mut card, &install(INSTANCE));
    session.expect(&mut card, &install(INSTANCE), 0x6A89);
    let unknown = InstallForInstall::new(PACKAGE, INSTANCE, OTHER_DOMAIN, Privileges::NONE);
    session.expect(&mut card, &unknown.to_apdu(), 0x6A88);
    let contradictory =
        InstallForInstall::new(PACKAGE, MODULE, OTHER_DOMAIN, Privileges::from_bytes([0x20, 0, 0]));
    session.expect(&mut card, &contradictory.to_apdu(), 0x6A80);
    let no_domain = InstallForInstall::new(PACKAGE, MODULE, OTHER_DOMAIN, Privileges::SECURITY_DOMAIN);
    session.expect(&mut card, &no_domain.to_apdu(), 0x6A80);
    let elsewhere = Package::named(OTHER_DOMAIN, MODULE, 10).load_commands(Some(INSTANCE));
    session.expect(&mut card, &elsewhere[0], 0x6A88);
    assert_eq!(session.registry(&mut card, RegistryScope::Applications).len(), 1);
}

/// INSTALL [for install], then [for make selectable].
#[test]
fn make_selectable_later() {
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    session.load(&mut card, &Package::new());
    let mut form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    form.selectability = Selectability::Later;
    session.ok(&mut card, &form.to_apdu());
    let state = session.registry(&mut card, RegistryScope::Applications)[0].life_cycle().value();
    assert_eq!(state, 0x03);
    assert_eq!(card.select(CONTACTLESS, &INSTANCE).status, StatusWord::NOT_FOUND);
    let selectable = InstallForMakeSelectable::new(INSTANCE).to_apdu();
    session.ok(&mut card, &selectable);
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    session.expect(&mut card, &selectable, 0x6985);
}

/// The combined load, install and make selectable process.
#[test]
fn combined_process() {
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    let package = Package::new();
    let mut ending = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    ending.selectability = Selectability::NowEndingCombined;
    session.expect(&mut card, &ending.to_apdu(), 0x6985);
    let begin = InstallForLoad { process: CombinedProcess::Combined, ..InstallForLoad::new(PACKAGE, None) };
    session.ok(&mut card, &begin.to_apdu());
    for block in package.blocks(&load_file(&[], &package.data_block)) {
        session.ok(&mut card, &block);
    }
    let unnamed = InstallForInstall { load_file: None, module: None, ..ending };
    session.ok(&mut card, &Install::ForInstall(unnamed).to_apdu());
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
}

/// Blocks come in order; a hash that was announced is compared; what breaks off leaves nothing.
#[test]
fn a_load_that_goes_wrong_leaves_nothing() {
    let package = Package::new();
    let file = load_file(&[], &package.data_block);
    let blocks = package.blocks(&file);
    let announce = InstallForLoad::new(PACKAGE, None);
    let mut wrong_hash = announce.clone();
    wrong_hash.hash = HashAlgorithm::Sha256.hash(b"something else");
    let mut altered = file.clone();
    *altered.last_mut().unwrap() ^= 1;
    let mut hashed = announce.clone();
    hashed.hash = HashAlgorithm::Sha1.hash(&package.data_block);
    let other_name = Package::named(OTHER_DOMAIN, MODULE, 400);
    let cases: Vec<(&str, InstallForLoad, Vec<CommandApdu>, u16)> = vec![
        ("the second block first", announce.clone(), vec![blocks[1].clone()], 0x6A86),
        ("a block twice", announce.clone(), vec![blocks[0].clone(), blocks[0].clone()], 0x6A86),
        ("another hash", wrong_hash, blocks.clone(), 0x6A80),
        ("an altered byte", hashed.clone(), package.blocks(&altered), 0x6A80),
        ("too short", announce.clone(), package.blocks(&file[..file.len() - 1]), 0x6A80),
        ("too long", announce.clone(), package.blocks(&[&file[..], &[0]].concat()), 0x6A80),
        (
            "another name",
            announce.clone(),
            other_name.blocks(&load_file(&[], &other_name.data_block)),
            0x6A80,
        ),
        ("no load file", announce.clone(), package.blocks(&[0x30; 150]), 0x6A80),
        ("no package", announce, package.blocks(&load_file(&[], &[0x55; 300])), 0x6A80),
    ];
    for (name, announce, blocks, status) in cases {
        let mut card = Card::new();
        let empty = card.se.usage();
        let mut session = issuer(&mut card);
        session.ok(&mut card, &announce.to_apdu());
        let (last, first) = blocks.split_last().unwrap();
        for block in first {
            session.ok(&mut card, block);
        }
        session.expect(&mut card, last, status);
        session.expect(&mut card, last, 0x6985);
        assert_eq!(card.se.usage(), empty, "{name}");
        session.load(&mut card, &package);
    }
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    session.ok(&mut card, &hashed.to_apdu());
    for block in &blocks {
        session.ok(&mut card, block);
    }
}

/// The memory of an unfinished LOAD counts as used until the loading is given up.
#[test]
fn an_unfinished_load_is_discarded() {
    let package = Package::sized(2000);
    let commands = package.load_commands(None);
    let mut card = Card::new();
    let empty = card.se.usage();
    for end in ["reset", "announce", "select", "power"] {
        let mut session = issuer(&mut card);
        for command in &commands[..5] {
            session.ok(&mut card, command);
        }
        assert_eq!(card.se.usage().code, empty.code + 4 * 200, "{end}");
        match end {
            "reset" => {
                card.se.reset(crate::Interface::Contact);
            }
            "announce" => {
                session.ok(&mut card, &commands[0]);
            }
            "select" => {
                card.select(CONTACT, &ISSUER_DOMAIN);
            }
            _ => card.se.power_on().unwrap(),
        }
        assert_eq!(card.se.usage(), empty, "{end}");
    }
    let mut session = issuer(&mut card);
    session.load(&mut card, &package);
}

/// Two hosts load the same file at once; one finishes first, and the other is told.
#[test]
fn two_hosts_load_the_same_file() {
    let mut card = Card::new();
    let commands = Package::new().load_commands(None);
    let mut contact = issuer(&mut card);
    let mut contactless =
        card.open(CONTACTLESS, &ISSUER_DOMAIN, &development(Protocol::Scp02), SecurityLevel::C_MAC);
    let (last, first) = commands.split_last().unwrap();
    for command in first {
        contact.ok(&mut card, command);
        contactless.ok(&mut card, command);
    }
    contact.ok(&mut card, last);
    contactless.expect(&mut card, last, 0x6A89);
}

/// An application selected elsewhere is not deleted on the same interface.
#[test]
fn a_selected_application_stays() {
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    card.script(CONTACT, ">> 0070000001\n<< 019000");
    let other = At(crate::Interface::Contact, 1);
    assert!(card.select(other, &INSTANCE).status.is_success());
    session.expect(&mut card, &delete(INSTANCE), 0x6985);
    card.select(other, &ISSUER_DOMAIN);
    // In the field of a reader it was merely selected last.
    assert!(card.select(CONTACTLESS, &INSTANCE).status.is_success());
    session.ok(&mut card, &delete(INSTANCE));
    let answer = card.send(CONTACTLESS, &CommandApdu::new(0x80, 0x5C, 0, 2));
    assert_eq!(answer.status, StatusWord::CONDITIONS_NOT_SATISFIED);
}

/// A domain that a load file is on its way to is not deleted under it.
#[test]
fn a_domain_that_is_loaded_for_stays() {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, Default::default(), &keys);
    let mut contactless =
        card.open(CONTACTLESS, &ISSUER_DOMAIN, &development(Protocol::Scp02), SecurityLevel::C_MAC);
    let commands = Package::new().load_commands(Some(DOMAIN));
    let (last, first) = commands.split_last().unwrap();
    for command in first {
        contactless.ok(&mut card, command);
    }
    let mut session = issuer(&mut card);
    session.expect(&mut card, &delete(DOMAIN), 0x6985);
    contactless.ok(&mut card, last);
    session.ok(&mut card, &delete_related(DOMAIN));
}

/// Hosts that need more than 256 blocks number them from 00 again.
#[test]
fn a_file_of_more_than_256_blocks() {
    let mut card = Card::new();
    let mut session = issuer(&mut card);
    let package = Package::sized(9000);
    session.ok(&mut card, &InstallForLoad::new(PACKAGE, None).to_apdu());
    let file = load_file(&[], &package.data_block);
    let last = file.len().div_ceil(32) - 1;
    assert!(last > 256);
    for (number, data) in file.chunks(32).enumerate() {
        let position = if number == last { BlockPosition::Last } else { BlockPosition::More };
        session.ok(&mut card, &Load { position, number: number as u8, data: data.to_vec() }.to_apdu());
    }
    session.ok(&mut card, &install(INSTANCE));
}
