//! Images of former versions, sizes, and hosts that send anything.

use tsm_globalplatform::commands::install::InstallParameters;
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::CommandApdu;

use super::host::*;
use crate::memory::{ImageDriver, LoadFileLibrary, Memory};
use crate::profile::Protocol;
use crate::{Interface, Profile, SecureElement};

const IMAGE_VERSION_1: &[u8] = include_bytes!("../../tests/data/card-version-1.image");

/// What the sample image holds, made again.
fn sample() -> Card {
    let mut card = Card::new();
    let keys = test_keys(0x21, Protocol::Scp02, 1);
    let fixed =
        InstallParameters { non_volatile_data: Some(4000), volatile_data: Some(100), ..Default::default() };
    card.make_domain(DOMAIN, Privileges::AMSD, fixed, &keys);
    let mut session = card.open(CONTACT, &DOMAIN, &keys, SecurityLevel::C_MAC);
    session.load(&mut card, &Package::new());
    session.ok(&mut card, &install(INSTANCE));
    session.ok(&mut card, &set_status(INSTANCE, 0x80));
    card
}

/// An image of format version 1, kept since that version was written, is read by this build.
///
/// With `OPENTSM_WRITE_IMAGE` naming a file, the sample of the present format is written to it: once
/// for each version of the format.
#[test]
fn the_image_of_version_1_is_read() {
    if let Some(file) = std::env::var_os("OPENTSM_WRITE_IMAGE") {
        std::fs::write(file, sample().se.image()).unwrap();
    }
    let mut old =
        Card { se: SecureElement::open(IMAGE_VERSION_1, LoadFileLibrary::new(), randomness()).unwrap() };
    let mut new = sample();
    assert_eq!(old.se.usage(), new.se.usage());
    let scopes = tsm_globalplatform::commands::get_status::RegistryScope::ALL;
    let registry = |card: &mut Card| {
        let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        scopes.map(|scope| session.registry(card, scope))
    };
    assert_eq!(registry(&mut old), registry(&mut new));
    old.open(CONTACT, &DOMAIN, &test_keys(0x21, Protocol::Scp02, 1), SecurityLevel::C_DECRYPTION_C_MAC);
}

/// A card may be served from any thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<SecureElement>();
};

/// An idle card is small, its load files aside.
#[test]
fn an_idle_card_is_small() {
    let profile = Profile::development(SE_ID);
    let mut card = Card::of(&profile);
    let keys = test_keys(0x21, Protocol::Scp03, 1);
    card.make_domain(DOMAIN, Privileges::AMSD, InstallParameters::default(), &keys);
    assert!(card.se.image().len() < 2 * 1024, "{} bytes", card.se.image().len());
}

/// Any commands at all, to both interfaces, in and out of sessions, with power cuts between: no
/// panic, and the card still opens.
#[test]
fn any_commands() {
    let start = sample().se.image();
    let keys = development(Protocol::Scp03);
    bolero::check!().with_type::<Vec<(u8, Vec<u8>)>>().for_each(|steps| {
        let mut card =
            Card { se: SecureElement::open(&start, LoadFileLibrary::new(), randomness()).unwrap() };
        let mut session = None;
        for (kind, bytes) in steps.iter().take(40) {
            let interface = if kind & 1 == 0 { Interface::Contact } else { Interface::Contactless };
            match kind >> 4 {
                0 => {
                    card.se.reset(interface);
                }
                1 => card.se.power_cut_after(u64::from(kind & 0x0F)),
                2 => {
                    card.script(CONTACT, "");
                    session = card.authenticate_or_none(&keys);
                }
                // A command as it may come in a session: any instruction a domain knows.
                3..=9 => {
                    const INSTRUCTIONS: [u8; 9] = [0xE4, 0xCA, 0xF2, 0xE6, 0xE8, 0xD8, 0xF0, 0xE2, 0x7A];
                    let ins = INSTRUCTIONS[usize::from(*kind) % INSTRUCTIONS.len()];
                    let (p1, p2, data) = match bytes.as_slice() {
                        [p1, p2, data @ ..] => (*p1, *p2, data),
                        _ => (0, 0, &[][..]),
                    };
                    let command = CommandApdu::new(0x80, ins, p1, p2).with_data(data).with_any_response();
                    if let Some(open) = session.as_mut() {
                        let wrapped = Session::wrap(open, &command);
                        card.try_send(CONTACT, &wrapped);
                    } else {
                        card.try_send(CONTACT, &command);
                    }
                }
                _ => {
                    card.se.transmit(interface, bytes);
                }
            }
            if !card.se.is_powered() {
                card.se.power_on().unwrap();
                session = None;
            }
        }
        card.se.cancel_power_cut();
        card.copy();
    });
}

/// An image whose objects were tampered with is refused or makes a card that answers.
#[test]
fn any_image() {
    let start = sample().se.image();
    bolero::check!().with_type::<Vec<(u16, u16, u8)>>().for_each(|changes| {
        let driver = Box::new(ImageDriver::from_image(&start));
        let mut memory = Memory::open(driver, LoadFileLibrary::new()).unwrap();
        let keys: Vec<_> = memory.owners().into_iter().flat_map(|owner| memory.keys(owner)).collect();
        for (which, position, byte) in changes.iter().take(8) {
            let key = keys[usize::from(*which) % keys.len()];
            let mut value = memory.read(key).unwrap_or_default().to_vec();
            match value.len() {
                0 => value.push(*byte),
                length if position & 0x8000 != 0 => value.truncate(usize::from(*position) % length),
                length => value[usize::from(*position) % length] = *byte,
            }
            memory.write(key, &value);
        }
        memory.commit().unwrap();
        let opened = SecureElement::open(&memory.image(), LoadFileLibrary::new(), randomness());
        if let Ok(se) = opened {
            let mut card = Card { se };
            for ins in [0xA4, 0xCA, 0x50, 0x70, 0xF2] {
                card.try_send(CONTACT, &CommandApdu::new(0, ins, 4, 0).with_any_response());
                card.try_send(
                    CONTACT,
                    &CommandApdu::new(0x80, ins, 0xFF, 0x21).with_data([1; 8]).with_any_response(),
                );
            }
            if let Some(mut session) = card.authenticate_or_none(&development(Protocol::Scp03)) {
                session.send(&mut card, &delete_related(DOMAIN));
                session.send(&mut card, &install(INSTANCE));
            }
        }
    });
}

impl Card {
    fn authenticate_or_none(&mut self, keys: &Keys) -> Option<Session> {
        let selected = self.try_send(CONTACT, &CommandApdu::new(0, 0xA4, 4, 0).with_any_response())?;
        if !self.se.is_powered() || !selected.status.is_success() {
            return None;
        }
        self.se.cancel_power_cut();
        self.authenticate(CONTACT, keys, SecurityLevel::C_MAC).ok()
    }
}
