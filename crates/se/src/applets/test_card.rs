//! For the tests of the built-in applications: a card that has them all, and a host with a secure
//! channel to its issuer security domain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tsm_globalplatform::commands::install::InstallForPersonalization;
use tsm_globalplatform::commands::store_data::{DataEncryption, DataStructure};
use tsm_globalplatform::commands::{Select, StoreData};
use tsm_globalplatform::primitives::AesKey;
use tsm_globalplatform::scp03::host::{Handshake, Session};
use tsm_globalplatform::scp03::{Implementation, StaticKeys};
use tsm_globalplatform::{Privileges, SecurityLevel};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::{GREETING_CARD, LOGIN_PASSWORD, MIFARE_MANAGER, PPSE, TRANSIT_PURSE};
use crate::memory::LoadFileLibrary;
use crate::open::registry::CodeMemory;
use crate::profile::{DEVELOPMENT_KEY, ISSUER_DOMAIN, PresetInstance, PresetLoadFile};
use crate::{Interface, Profile, SecureElement};

pub(super) const PURSE: Aid = tsm_epurse::select::PURSE_AID;
/// A second purse, of a city.
pub(super) const CITY_PURSE: Aid =
    Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x91, 0x56, 0, 0, 0x14, 0xA1]);
pub(super) const DIRECTORY: Aid = tsm_epurse::select::PPSE_AID;
pub(super) const MIFARE: Aid = tsm_epurse::mifare::CARD_MANAGER_AID;
/// Secure channel keys of the development card.
const KEY_VERSION: u8 = 0x30;

/// What the card draws: first what a test has queued, then numbers that no two draws share.
#[derive(Clone, Default)]
pub(super) struct Draws(Arc<Mutex<(VecDeque<u8>, u64)>>);

impl Draws {
    /// Lets the next draw be these bytes.
    pub(super) fn queue(&self, hex: &str) {
        self.0.lock().unwrap().0.extend(hex::decode(hex).unwrap());
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        if state.0.len() >= bytes.len() {
            bytes.iter_mut().for_each(|byte| *byte = state.0.pop_front().unwrap());
            return;
        }
        state.1 += 1;
        for (at, chunk) in bytes.chunks_mut(32).enumerate() {
            let digest = Sha256::digest([state.1.to_be_bytes(), (at as u64).to_be_bytes()].concat());
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
    }
}

/// A card with every built-in application installed.
pub(super) struct TestCard {
    pub(super) card: SecureElement,
    pub(super) draws: Draws,
}

impl TestCard {
    pub(super) fn new() -> Self {
        let draws = Draws::default();
        let source = draws.clone();
        let card = SecureElement::create(&profile(), Box::new(move |bytes: &mut [u8]| source.fill(bytes)));
        Self { card: card.unwrap(), draws }
    }

    /// The card as its memory now stands, powered on anew.
    pub(super) fn copy(&self) -> Self {
        let draws = Draws::default();
        let source = draws.clone();
        let randomness = Box::new(move |bytes: &mut [u8]| source.fill(bytes));
        let card = SecureElement::open(&self.card.image(), LoadFileLibrary::new(), randomness);
        Self { card: card.unwrap(), draws }
    }

    /// Sends a command; `None` is a card whose power failed.
    pub(super) fn try_send(&mut self, interface: Interface, command: &CommandApdu) -> Option<ResponseApdu> {
        let bytes = self.card.transmit(interface, &command.to_bytes().unwrap());
        (!bytes.is_empty()).then(|| ResponseApdu::parse(&bytes).unwrap())
    }

    pub(super) fn send(&mut self, interface: Interface, command: &CommandApdu) -> ResponseApdu {
        self.try_send(interface, command).expect("the card has power")
    }

    /// Sends hexadecimal on the contact interface and gives data and status word back.
    pub(super) fn apdu(&mut self, command: &str) -> String {
        self.apdu_on(Interface::Contact, command)
    }

    pub(super) fn apdu_on(&mut self, interface: Interface, command: &str) -> String {
        let command: String = command.chars().filter(|letter| !letter.is_whitespace()).collect();
        hex::encode_upper(self.card.transmit(interface, &hex::decode(command).unwrap()))
    }

    pub(super) fn select(&mut self, interface: Interface, aid: Aid) -> ResponseApdu {
        self.send(interface, &Select::by_aid(&aid).to_apdu())
    }

    /// Opens a secure channel to what is selected on the contact interface.
    pub(super) fn authenticate(&mut self, level: SecurityLevel) -> Session {
        let key = || AesKey::from_slice(&DEVELOPMENT_KEY).unwrap();
        let keys = StaticKeys { enc: key(), mac: key(), dek: key() };
        let (handshake, command) = Handshake::begin(keys, Implementation::I70, KEY_VERSION, &[7; 8]).unwrap();
        let answer = self.send(Interface::Contact, &command);
        assert_eq!(answer.status, StatusWord::SUCCESS);
        let (session, command) = handshake.finish(&answer.data, level).unwrap();
        assert_eq!(self.send(Interface::Contact, &command).status, StatusWord::SUCCESS);
        session
    }

    /// Sends a command of the session on the contact interface.
    pub(super) fn secured(&mut self, session: &mut Session, command: &CommandApdu) -> ResponseApdu {
        let wrapped = session.wrap(command).unwrap();
        let answer = self.send(Interface::Contact, &wrapped);
        session.unwrap(answer).unwrap()
    }

    /// Personalises an application through the issuer security domain. `groupings` makes the data
    /// with what enciphers a key or a PIN.
    pub(super) fn personalise(
        &mut self,
        application: Aid,
        groupings: impl FnOnce(&dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8>,
    ) -> StatusWord {
        self.select(Interface::Contact, ISSUER_DOMAIN);
        let mut session = self.authenticate(SecurityLevel::C_DECRYPTION_C_MAC);
        let named = self.secured(&mut session, &InstallForPersonalization { application }.to_apdu());
        assert_eq!(named.status, StatusWord::SUCCESS);
        let data = groupings(&|plain| session.encrypt_sensitive(plain));
        self.store(&mut session, &data)
    }

    /// Sends STORE DATA in blocks until the end or the first refusal.
    pub(super) fn store(&mut self, session: &mut Session, data: &[u8]) -> StatusWord {
        let pieces = data.chunks(200).map(<[u8]>::to_vec);
        let commands =
            StoreData::sequence(pieces, DataEncryption::ApplicationDependent, DataStructure::Dgi).unwrap();
        for command in commands {
            let status = self.secured(session, &command.to_apdu()).status;
            if status != StatusWord::SUCCESS {
                return status;
            }
        }
        StatusWord::SUCCESS
    }
}

fn profile() -> Profile {
    let instances = [
        (TRANSIT_PURSE, PURSE),
        (TRANSIT_PURSE, CITY_PURSE),
        (PPSE, DIRECTORY),
        (LOGIN_PASSWORD, LOGIN_PASSWORD),
        (MIFARE_MANAGER, MIFARE),
        (GREETING_CARD, GREETING_CARD),
    ];
    let package = |module: Aid| Aid::new(&module.as_bytes()[..7]).unwrap();
    let modules = [TRANSIT_PURSE, PPSE, LOGIN_PASSWORD, MIFARE_MANAGER, GREETING_CARD];
    Profile {
        load_files: modules
            .map(|module| PresetLoadFile {
                aid: package(module),
                version: [1, 0],
                modules: vec![module],
                code_bytes: 0,
                memory: CodeMemory::Rom,
            })
            .to_vec(),
        instances: instances
            .map(|(module, aid)| PresetInstance {
                load_file: package(module),
                module,
                aid,
                domain: None,
                privileges: Privileges::default(),
                parameters: Vec::new(),
                keys: Vec::new(),
            })
            .to_vec(),
        ..Profile::development(&[0x86, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    }
}
