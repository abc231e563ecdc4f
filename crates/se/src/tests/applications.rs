//! What the card offers its applications, used by one made for the purpose.

use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::host::*;
use crate::applet::{Answer, Applet, AppletContext, CvmState, DirectoryEntry, StoreDataBlock};
use crate::memory::LoadFileLibrary;
use crate::open::registry::CodeMemory;
use crate::profile::{PresetInstance, PresetLoadFile, Protocol};
use crate::{Interface, Profile, SecureElement};

const FIRST: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x10, 0x01]);
const SECOND: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x10, 0x02]);
const LONELY: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x10, 0x03]);

/// Does what its instruction byte says.
struct Probe {
    lonely: bool,
}

impl Applet for Probe {
    fn install(&mut self, context: &mut AppletContext<'_>, parameters: &[u8]) -> Result<(), StatusWord> {
        context.write(0, b"installed")?;
        if let [priority, label @ ..] = parameters {
            context.set_directory_entry(Some(DirectoryEntry { label: label.to_vec(), priority: *priority }));
        }
        if parameters == b"\xFF" { Err(StatusWord::WRONG_DATA) } else { Ok(()) }
    }

    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        *context.volatile::<u32>() = 100;
        let state = context
            .read(9)
            .map_or(StatusWord::SUCCESS, |value| StatusWord(u16::from_be_bytes([value[0], value[1]])));
        Ok(ResponseApdu::new(context.aid().as_bytes(), state))
    }

    fn deselect(&mut self, context: &mut AppletContext<'_>) {
        context.write(8, b"deselected").unwrap();
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        assert!(matches!(command.cla, 0x00 | 0x04 | 0x80 | 0x84), "no channel bits: {:02X}", command.cla);
        let object = u16::from(command.p1);
        match command.ins {
            0x10 => Ok(ResponseApdu::success(context.read(object).unwrap_or_default())),
            0x12 => context.write(object, &command.data).map(|()| ResponseApdu::success([])),
            0x14 => {
                context.write(object, &command.data)?;
                context.write(object + 1, &command.data)?;
                Err(StatusWord::EXECUTION_ERROR)
            }
            0x16 => {
                context.write(object, &command.data)?;
                Ok(StatusWord::tries_left(2).into())
            }
            0x18 => {
                *context.volatile::<u32>() += 1;
                Ok(ResponseApdu::success(context.volatile::<u32>().to_be_bytes()))
            }
            0x1A => {
                Ok(ResponseApdu::success(vec![0x5A; usize::from(command.p1) << 8 | usize::from(command.p2)]))
            }
            0x20 => {
                let right = context.cvm_verify(&command.data);
                Ok(if right { StatusWord::SUCCESS } else { StatusWord::tries_left(context.cvm_tries_left()) }
                    .into())
            }
            0x22 => context.cvm_update(&command.data, 3).map(|()| ResponseApdu::success([])),
            0x24 => Ok(ResponseApdu::success([context.cvm_state() as u8])),
            0x26 => context.cvm_reset().map(|()| ResponseApdu::success([])),
            0x30 => {
                context.set_life_cycle(command.p1).map(|()| ResponseApdu::success([context.life_cycle()]))
            }
            0x32 => context.lock_card().map(|()| ResponseApdu::success([])),
            0x34 => {
                let listed = context.directory();
                let labels: Vec<u8> = listed.into_iter().flat_map(|(_, entry)| entry.label).collect();
                Ok(ResponseApdu::success(labels))
            }
            0x50 | 0x82 => context.process_security(command),
            0xD0 => {
                let plain = context.unwrap(command)?;
                let key = context.decrypt_sensitive(&plain.data)?;
                context.write(7, &key)?;
                Ok(ResponseApdu::success(vec![context.security_level().map_or(0xFF, SecurityLevel::value)]))
            }
            _ => Err(StatusWord::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        context.write(0x40 + u16::from(block.number), block.data)?;
        *context.volatile::<u64>() = 5;
        Ok(ResponseApdu::success(vec![u8::from(block.is_last())]))
    }

    fn is_multi_selectable(&self) -> bool {
        !self.lonely
    }
}

fn factory(module: &Aid) -> Box<dyn Applet> {
    Box::new(Probe { lonely: *module == LONELY })
}

fn card() -> Card {
    let mut profile = Profile::development(SE_ID);
    profile.factory = factory;
    profile.load_files.push(PresetLoadFile {
        aid: PACKAGE,
        version: [1, 0],
        modules: vec![MODULE, LONELY],
        code_bytes: 0,
        memory: CodeMemory::Rom,
    });
    let instance = |aid, module, privileges, parameters: &[u8]| PresetInstance {
        load_file: PACKAGE,
        module,
        aid,
        domain: None,
        privileges,
        parameters: parameters.to_vec(),
        keys: Vec::new(),
    };
    profile.instances.push(instance(FIRST, MODULE, Privileges::CVM_MANAGEMENT, b"\x02b"));
    profile.instances.push(instance(SECOND, MODULE, Privileges::CARD_LOCK, b"\x01a"));
    profile.instances.push(instance(LONELY, LONELY, Privileges::NONE, b"\x00c"));
    Card::of(&profile)
}

fn command(ins: u8, p1: u8, data: &[u8]) -> CommandApdu {
    CommandApdu::new(0x80, ins, p1, 0).with_data(data)
}

/// All writes of a command are kept together, or none; a failed PIN is a kept one.
///
/// req: B-6.2.4.a
#[test]
fn writes_of_a_command_stay_together() {
    let mut card = card();
    card.select(CONTACT, &FIRST);
    assert_eq!(card.send(CONTACT, &command(0x10, 0, &[])).data, b"installed");
    card.send(CONTACT, &command(0x12, 1, b"kept"));
    assert_eq!(card.send(CONTACT, &command(0x14, 1, b"lost")).status, StatusWord::EXECUTION_ERROR);
    assert_eq!(card.send(CONTACT, &command(0x16, 3, b"counted")).status, StatusWord::tries_left(2));
    let reopened = SecureElement::open(&card.se.image(), LoadFileLibrary::new(), randomness()).unwrap();
    let mut reopened = Card { se: reopened.with_factory(factory) };
    for card in [&mut card, &mut reopened] {
        card.select(CONTACT, &FIRST);
        let read = |card: &mut Card, object| card.send(CONTACT, &command(0x10, object, &[])).data;
        assert_eq!(read(card, 1), b"kept");
        assert_eq!(read(card, 2), b"");
        assert_eq!(read(card, 3), b"counted");
    }
    // Another instance of the same module has objects of its own.
    card.select(CONTACT, &SECOND);
    assert_eq!(card.send(CONTACT, &command(0x10, 1, &[])).data, b"");
    card.select(CONTACT, &FIRST);
    assert_eq!(card.send(CONTACT, &command(0x10, 8, &[])).data, b"deselected");
}

/// Volatile state is one channel's, and ends with the selection and at reset.
#[test]
fn volatile_state() {
    let mut card = card();
    let count = |card: &mut Card, at| {
        let data = card.send(at, &command(0x18, 0, &[])).data;
        u32::from_be_bytes(data.try_into().unwrap())
    };
    card.send(CONTACT, &CommandApdu::new(0, 0x70, 0, 5));
    let other = At(Interface::Contact, 5);
    for at in [CONTACT, other, CONTACTLESS] {
        card.select(at, &FIRST);
        assert_eq!((count(&mut card, at), count(&mut card, at)), (101, 102));
    }
    card.select(CONTACT, &FIRST);
    assert_eq!(count(&mut card, CONTACT), 101);
    assert_eq!(count(&mut card, other), 103);
    card.se.reset(Interface::Contact);
    assert_eq!(count(&mut card, CONTACTLESS), 103, "the other interface goes on");
}

/// A selection that is refused leaves nothing selected; a warning selects.
#[test]
fn refused_selection() {
    let mut card = card();
    card.select(CONTACT, &FIRST);
    card.send(CONTACT, &command(0x12, 9, &[0x62, 0x83]));
    assert_eq!(card.select(CONTACT, &FIRST).status, StatusWord::SELECTED_FILE_INVALIDATED);
    card.send(CONTACT, &command(0x12, 9, &[0x93, 0x03]));
    assert_eq!(card.select(CONTACT, &FIRST).status, StatusWord::APPLICATION_PERMANENTLY_LOCKED);
    assert_eq!(card.send(CONTACT, &command(0x10, 0, &[])).status, StatusWord::CONDITIONS_NOT_SATISFIED);
}

/// An application that stands alone is selected once at a time.
#[test]
fn not_multi_selectable() {
    let mut card = card();
    assert!(card.select(CONTACT, &LONELY).status.is_success());
    assert!(card.select(CONTACT, &LONELY).status.is_success(), "again on the same channel");
    assert_eq!(card.select(CONTACTLESS, &LONELY).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    card.select(CONTACT, &FIRST);
    assert!(card.select(CONTACTLESS, &LONELY).status.is_success());
}

/// Two applications share the cardholder verification of the card; one of them manages it.
///
/// req: B-6.2.3.a, B-6.2.6.a
#[test]
fn cardholder_verification_for_two_applications() {
    let mut card = card();
    let state = |card: &mut Card, at| card.send(at, &command(0x24, 0, &[])).data[0];
    card.select(CONTACT, &FIRST);
    card.select(CONTACTLESS, &SECOND);
    assert_eq!(state(&mut card, CONTACT), CvmState::Unset as u8);
    let refused = card.send(CONTACTLESS, &command(0x22, 0, b"1234"));
    assert_eq!(refused.status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    assert!(card.send(CONTACT, &command(0x22, 0, b"1234")).status.is_success());
    assert!(card.send(CONTACTLESS, &command(0x20, 0, b"1234")).status.is_success());
    assert_eq!(state(&mut card, CONTACT), CvmState::Validated as u8);
    for (tries, at) in [(2, CONTACT), (1, CONTACTLESS), (0, CONTACT)] {
        assert_eq!(card.send(at, &command(0x20, 0, b"0000")).status, StatusWord::tries_left(tries));
        card.se.power_on().unwrap();
        card.select(CONTACT, &FIRST);
        card.select(CONTACTLESS, &SECOND);
    }
    assert_eq!(card.send(CONTACT, &command(0x20, 0, b"1234")).status, StatusWord::tries_left(0));
    assert_eq!(state(&mut card, CONTACTLESS), CvmState::Blocked as u8);
    assert!(card.send(CONTACT, &command(0x26, 0, &[])).status.is_success());
    assert_eq!(state(&mut card, CONTACTLESS), CvmState::Active as u8);
}

/// Run-time messaging: the application has its domain authenticate the host, check and decrypt its
/// commands and the keys in them, and its answers carry the session's protection.
///
/// req: B-6.6.1.a, B-6.6.1.b, B-6.6.2.a, P-5.8.4.6.d
#[test]
fn run_time_messaging() {
    for (protocol, level) in [(Protocol::Scp02, SecurityLevel::C_DECRYPTION_C_MAC), (Protocol::Scp03, FULL)] {
        let mut card = card();
        card.select(CONTACT, &FIRST);
        let mut session = card.authenticate(CONTACT, &development(protocol), level).unwrap();
        let key = [0x77; 16];
        let personalise = command(0xD0, 0, &session.encrypt(&key));
        assert_eq!(session.ok(&mut card, &personalise), [level.value()]);
        let read = card.send(CONTACT, &command(0x10, 7, &[]));
        assert_eq!(read.data[..16], key, "the key arrived in the clear inside the card");
        // An altered command changes nothing and ends the session.
        let mut forged = session.wrap(&personalise);
        forged.data[0] ^= 1;
        assert_eq!(card.send(CONTACT, &forged).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        let late = session.wrap(&personalise);
        assert_eq!(card.send(CONTACT, &late).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        // The session is that application's channel's, not that of the domain selected after it.
        card.script(CONTACT, ">> 00A4040000\n<< 6F..9000");
        assert_eq!(card.send(CONTACT, &install(INSTANCE)).status, StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    }
}

/// Access through the domain: what it forwards arrives without the secure messaging.
///
/// req: B-6.6.3.a, P-5.8.4.6.e, P-5.8.4.6.3.d
#[test]
fn personalised_through_the_domain() {
    use tsm_globalplatform::commands::StoreData;
    use tsm_globalplatform::commands::install::InstallForPersonalization;
    use tsm_globalplatform::commands::store_data::{DataEncryption, DataStructure};
    let mut card = card();
    let mut session = card.open_issuer(Protocol::Scp03, FULL);
    let blocks = [b"one".to_vec(), b"two".to_vec()];
    let blocks =
        StoreData::sequence(blocks, DataEncryption::NoInformation, DataStructure::NoInformation).unwrap();
    session.ok(&mut card, &InstallForPersonalization { application: FIRST }.to_apdu());
    assert_eq!(session.ok(&mut card, &blocks[0].to_apdu()), [0]);
    assert_eq!(session.ok(&mut card, &blocks[1].to_apdu()), [1]);
    // After the last block STORE DATA is for the domain again.
    session.expect(&mut card, &blocks[0].to_apdu(), 0x6A80);
    card.select(CONTACT, &FIRST);
    assert_eq!(card.send(CONTACT, &command(0x10, 0x41, &[])).data, b"two");
}

/// Applications have states of their own, may lock themselves, and lock the card with the privilege.
#[test]
fn life_cycles_by_applications() {
    let mut card = card();
    card.select(CONTACT, &FIRST);
    assert_eq!(card.send(CONTACT, &command(0x30, 0x0F, &[])).data, [0x0F]);
    assert_eq!(card.send(CONTACT, &command(0x30, 0x03, &[])).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(card.send(CONTACT, &command(0x32, 0, &[])).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    assert_eq!(card.send(CONTACT, &command(0x30, 0x80, &[])).data, [0x8F]);
    assert_eq!(card.send(CONTACT, &command(0x10, 0, &[])).status, StatusWord::CONDITIONS_NOT_SATISFIED);
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    for state in [0x07, 0x0F] {
        session.ok(&mut card, &set_card_status(state));
    }
    card.select(CONTACTLESS, &SECOND);
    assert!(card.send(CONTACTLESS, &command(0x32, 0, &[])).status.is_success());
    assert_eq!(card.send(CONTACTLESS, &command(0x10, 0, &[])).status, StatusWord::FUNCTION_NOT_SUPPORTED);
}

/// The directory is in the order of priority, without what is locked.
#[test]
fn the_directory() {
    let mut card = card();
    card.select(CONTACTLESS, &FIRST);
    assert_eq!(card.send(CONTACTLESS, &command(0x34, 0, &[])).data, b"abc");
    let mut session = card.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
    session.ok(&mut card, &set_status(SECOND, 0x80));
    assert_eq!(card.send(CONTACTLESS, &command(0x34, 0, &[])).data, b"bc");
}

/// An application that refuses its installation leaves nothing.
#[test]
fn a_refused_installation() {
    use tsm_globalplatform::commands::install::{InstallForInstall, InstallParameters};
    let mut card = card();
    let before = card.se.image();
    let mut session = card.open_issuer(Protocol::Scp02, SecurityLevel::AUTHENTICATED);
    let opened = card.se.image();
    let mut form = InstallForInstall::new(PACKAGE, MODULE, INSTANCE, Privileges::NONE);
    form.parameters = InstallParameters::application(*b"\xFF").to_bytes();
    session.expect(&mut card, &form.to_apdu(), 0x6A80);
    assert_ne!(before, opened);
    assert_eq!(card.se.image(), opened);
}

/// An answer that a short response does not hold comes in parts.
#[test]
fn long_answers() {
    let mut card = card();
    card.script(
        CONTACT,
        &format!(
            ">> 00A4040007{}
             << {}9000
             >> 801A010000
             << {}9000
             >> 801A020500
             << {}6100
             >> 00C0000000
             << {}6105
             >> 00C0000005
             << 5A5A5A5A5A9000
             >> 00C0000000
             << 6D00
             >> 801A010100
             << {}6101
             >> 8010000000
             << 696E7374616C6C65649000
             >> 00C0000000
             << 6D00
             >> 801A01010000 00
             << {}9000",
            hex::encode(FIRST.as_bytes()),
            hex::encode_upper(FIRST.as_bytes()),
            "5A".repeat(256),
            "5A".repeat(256),
            "5A".repeat(256),
            "5A".repeat(256),
            "5A".repeat(257),
        ),
    );
}

/// Memory that an application asks for beyond its reservation comes out of what is free.
#[test]
fn an_application_that_grows() {
    let mut card = card();
    let before = card.se.usage();
    card.select(CONTACT, &FIRST);
    card.send(CONTACT, &command(0x12, 1, &[1; 200]));
    card.send(CONTACT, &command(0x12, 1, &[2; 50]));
    assert_eq!(card.se.usage().data, before.data + 50);
}
