//! Accounting of memory.

use tsm_globalplatform::commands::GetData;
use tsm_globalplatform::commands::install::{InstallForInstall, InstallForLoad, InstallParameters};
use tsm_globalplatform::extended_resources::ExtendedResources;
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::Aid;

use super::host::*;
use crate::Profile;
use crate::profile::Protocol;

fn free(card: &mut Card, domain: Option<&Aid>) -> ExtendedResources {
    if let Some(domain) = domain {
        card.select(CONTACTLESS, domain);
    } else {
        card.script(CONTACTLESS, ">> 00A4040000\n<< 6F..9000");
    }
    ExtendedResources::parse(&card.send(CONTACTLESS, &GetData::EXTENDED_RESOURCES.to_apdu()).data).unwrap()
}

/// A load file takes code space, an instance data space, and running it volatile space; GET DATA
/// says what is left; deletion gives it back.
///
/// req: P-5.8.7.1.a, P-5.8.7.1.c, P-5.8.7.1.f
#[test]
fn code_data_and_volatile_memory() {
    let mut card = Card::new();
    let before = free(&mut card, None);
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    let package = Package::sized(3000);
    session.load(&mut card, &package);
    let loaded = free(&mut card, None);
    assert_eq!(before.free_non_volatile - loaded.free_non_volatile, package.data_block.len() as u32);
    let mut form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    let parameters = InstallParameters {
        volatile_data: Some(300),
        non_volatile_data: Some(1000),
        ..InstallParameters::application([])
    };
    form.parameters = parameters.to_bytes();
    session.ok(&mut card, &form.to_apdu());
    let installed = free(&mut card, None);
    assert_eq!(loaded.free_non_volatile - installed.free_non_volatile, 1000);
    assert_eq!(loaded.free_volatile - installed.free_volatile, 300);
    assert_eq!(installed.applications, 1);
    let usage = card.se.usage();
    assert_eq!(usage.code, package.data_block.len() as u32);
    session.ok(&mut card, &delete_related(PACKAGE));
    assert_eq!(free(&mut card, None), before);
}

/// A domain of fixed space takes it from the card at once, and manages it by itself.
///
/// req: P-5.8.3.1.1.f, P-5.8.3.3.1.a, P-5.8.7.1.b
#[test]
fn a_domain_of_fixed_space() {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    let before = free(&mut card, None);
    let parameters =
        InstallParameters { non_volatile_data: Some(4000), volatile_data: Some(200), ..Default::default() };
    card.make_domain(DOMAIN, Privileges::AMSD, parameters, &keys);
    let made = free(&mut card, None);
    assert_eq!(before.free_non_volatile - made.free_non_volatile, 4000);
    assert_eq!(before.free_volatile - made.free_volatile, 200);
    let own = free(&mut card, Some(&DOMAIN));
    assert_eq!((own.free_non_volatile, own.free_volatile), (4000 - 48, 200), "its keys are its own affair");
    let mut session = card.open(CONTACT, &DOMAIN, &keys, SecurityLevel::C_MAC);
    let package = Package::new();
    session.load(&mut card, &package);
    let after = free(&mut card, Some(&DOMAIN));
    assert_eq!(own.free_non_volatile - after.free_non_volatile, package.data_block.len() as u32);
    assert_eq!(free(&mut card, None).free_non_volatile, made.free_non_volatile, "the card's is not touched");
    // What exceeds its space is refused, though the card has enough.
    let large = Package::named(OTHER_DOMAIN, OTHER_DOMAIN, 5000);
    let commands = large.load_commands(None);
    session.ok(&mut card, &commands[0]);
    session.expect(&mut card, &commands[1], 0x6A84);
    let mut form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    form.parameters =
        InstallParameters { non_volatile_data: Some(4000), ..InstallParameters::application([]) }.to_bytes();
    session.expect(&mut card, &form.to_apdu(), 0x6A84);
    let mut issuer = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    issuer.expect(&mut card, &delete(DOMAIN), 0x6985);
    issuer.ok(&mut card, &delete(PACKAGE));
    issuer.ok(&mut card, &delete(DOMAIN));
    assert_eq!(free(&mut card, None), before);
}

/// A domain without fixed space shares the card's.
///
/// req: P-5.8.7.1.b
#[test]
fn a_domain_that_shares_the_card() {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    assert_eq!(free(&mut card, Some(&DOMAIN)).free_non_volatile, free(&mut card, None).free_non_volatile);
}

/// A full card refuses, before and during a LOAD.
#[test]
fn a_full_card() {
    let mut profile = Profile::development(SE_ID);
    profile.settings.non_volatile_bytes = 2000;
    let mut card = Card::of(&profile);
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    let mut announce = InstallForLoad::new(PACKAGE, None);
    announce.parameters =
        InstallParameters { non_volatile_code: Some(2001), ..Default::default() }.to_bytes();
    session.expect(&mut card, &announce.to_apdu(), 0x6A84);
    let commands = Package::sized(3000).load_commands(None);
    session.ok(&mut card, &commands[0]);
    session.expect(&mut card, &commands[1], 0x6A84);
    session.load(&mut card, &Package::sized(200));
    let fixed = InstallParameters { non_volatile_data: Some(1900), ..Default::default() };
    session.expect(&mut card, &install_domain(DOMAIN, Privileges::AMSD, fixed), 0x6A84);
}
