//! The power fails at every write of every command that changes the card.

use tsm_globalplatform::commands::install::{InstallForExtradition, InstallParameters};
use tsm_globalplatform::commands::store_data::{DataAnswer, DataEncryption, DataGroup, DataStructure};
use tsm_globalplatform::commands::{StoreData, load::BlockPosition};
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::CommandApdu;

use super::host::*;
use crate::memory::LoadFileLibrary;
use crate::profile::Protocol;

/// A card with a domain, a package, and an instance of it.
fn furnished() -> Card {
    let mut card = Card::new();
    card.make_domain(
        DOMAIN,
        Privileges::AMSD,
        InstallParameters::default(),
        &test_keys(0x21, Protocol::Scp03, 1),
    );
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    card
}

/// Runs commands in a session with the issuer; the last one is torn at every write, and the card
/// is then either as before it or as after it, and works on.
fn tear(name: &str, prepare: &[CommandApdu], command: impl Fn(&Session) -> CommandApdu) {
    let start = furnished();
    let run = |cut: Option<u64>| {
        let mut card = start.copy();
        let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        for command in prepare {
            session.ok(&mut card, command);
        }
        let before = card.se.image();
        let writes = card.se.writes();
        if let Some(cut) = cut {
            card.se.power_cut_after(cut);
        }
        let command = command(&session);
        let answer = session.try_send(&mut card, &command);
        (card, before, answer, writes)
    };
    let (card, _, answer, writes) = run(None);
    let answer = answer.unwrap();
    assert!(answer.status.is_success(), "{name} answers {}", answer.status);
    let (after, total) = (card.se.image(), card.se.writes() - writes);
    assert!(total > 0, "{name} writes");
    let (mut undone, mut done) = (0, 0);
    for cut in 0..total {
        let (mut card, before, answer, _) = run(Some(cut));
        if answer.is_some() {
            // The cut came after the answer was decided: in rewriting the log.
            assert_eq!(card.se.image(), after, "{name}, cut at {cut} of {total}");
            continue;
        }
        assert!(!card.se.is_powered());
        assert!(card.try_send(CONTACT, &install(INSTANCE)).is_none(), "a card without power is mute");
        card.se.power_on().unwrap();
        let found = card.se.image();
        assert!(
            found == before || found == after,
            "{name}, cut at write {cut} of {total}: neither before nor after"
        );
        if found == after {
            done += 1;
        } else {
            undone += 1;
        }
        card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        let reopened = crate::SecureElement::open(&found, LoadFileLibrary::new(), randomness()).unwrap();
        assert_eq!(reopened.usage(), card.se.usage());
    }
    assert!(undone > 0 && undone + done <= total, "{name}: {undone} undone, {done} done");
}

/// Each command that changes the card, torn.
#[test]
fn every_command_happens_or_not() {
    let groups = DataGroup { identifier: 0x1047, value: vec![1; 100] }.to_bytes();
    let store = StoreData {
        position: BlockPosition::Last,
        encryption: DataEncryption::NoInformation,
        structure: DataStructure::Dgi,
        answer: DataAnswer::None,
        number: 0,
        data: groups,
    };
    let other = Package::named(OTHER_DOMAIN, OTHER_DOMAIN, 300).load_commands(None);
    let (last, first) = other.split_last().unwrap();
    let second = [INSTANCE.as_bytes(), &[1]].concat().as_slice().try_into().unwrap();
    let fixed = InstallParameters { non_volatile_data: Some(500), ..Default::default() };
    tear("LOAD", first, |_| last.clone());
    tear("INSTALL [for install]", &[], |_| install(second));
    tear("INSTALL of a domain", &[], |_| install_domain(OTHER_DOMAIN, Privileges::AMSD, fixed.clone()));
    tear("INSTALL [for extradition]", &[], |_| InstallForExtradition::new(DOMAIN, INSTANCE).to_apdu());
    tear("DELETE", &[], |_| delete(INSTANCE));
    tear("DELETE with related", &[], |_| delete_related(PACKAGE));
    tear("PUT KEY", &[], |session| session.put_keys(0x20, &test_keys(0x44, Protocol::Scp03, 9)));
    tear("STORE DATA", &[], |_| store.to_apdu());
    tear("SET STATUS of an application", &[], |_| set_status(INSTANCE, 0x80));
    tear("SET STATUS of the card", &[], |_| set_card_status(0x07));
}

/// An INITIALIZE UPDATE that the power fails on does not bring a challenge back.
#[test]
fn a_torn_authentication_leaves_the_counter_usable() {
    let start = furnished();
    for cut in 0..12 {
        let mut card = start.copy();
        let begin = CommandApdu::new(0x80, 0x50, 0x30, 0).with_data([7; 8]).with_any_response();
        card.se.power_cut_after(cut);
        let first = card.try_send(CONTACT, &begin);
        if first.is_none() {
            card.se.power_on().unwrap();
        }
        card.se.cancel_power_cut();
        let second = card.send(CONTACT, &begin);
        if let Some(first) = first {
            assert_ne!(first.data[29..32], second.data[29..32], "no challenge comes twice");
        }
        card.open_issuer(Protocol::Scp03, FULL);
    }
}
