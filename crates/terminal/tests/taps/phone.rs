//! A phone for the tests: the software secure element with a personalised purse, and its contactless side.

use std::convert::Infallible;

use tsm_epurse::{
    Algorithm, Amount, IssuerFactor, Key, KeyRole, KeySet, OfflineCounter, OnlineCounter, OverdraftLimit,
    Sfi,
    card::PurseState,
    commands::{BalanceKind, GetBalance, ReadRecord},
    diversification,
    file::{ApplicationSerial, HistoryRecord, LogRecord, Management, PublicInformation},
    personalization::{DataGrouping, EncipheredKeySet, PersonalizationData, PurseGrouping},
    select::{Directory, DirectoryEntry, PPSE_AID, PURSE_AID, PURSE_LABEL},
};
use tsm_globalplatform::{
    SecurityLevel,
    commands::{
        Select, StoreData,
        install::InstallForPersonalization,
        store_data::{DataEncryption, DataStructure},
    },
    primitives::AesKey,
    scp03::{
        Implementation, StaticKeys,
        host::{Handshake, Session},
    },
};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_se::{
    Interface, Profile, SecureElement,
    applets::{PPSE, TRANSIT_PURSE},
    memory::LoadFileLibrary,
    profile::{DEVELOPMENT_KEY, DEVELOPMENT_SCP03_VERSION, ISSUER_DOMAIN, PresetInstance, PresetLoadFile},
};
use tsm_terminal::{CardReader, ReaderError};

/// The purse of a city, which the directory may put before the plain one.
pub const CITY_PURSE: Aid =
    Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5, 0x10, 0, 0x09, 0x99, 0, 0, 0x14, 0xA1]);
/// What a new purse holds.
pub const START_FEN: u32 = 5_000;
pub const SERIAL: &str = "3104999000000012345";

/// Invented root keys: one byte repeated, by role.
pub fn root(algorithm: Algorithm, role: KeyRole) -> Key {
    Key::new(algorithm, [0x30 + role.index() as u8; 16])
}

pub fn issuer() -> IssuerFactor {
    IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])
}

pub fn serial() -> ApplicationSerial {
    ApplicationSerial::from_digits(SERIAL).unwrap()
}

/// The card's own key, as the clearing centre derives it.
pub fn card_key(algorithm: Algorithm, role: KeyRole) -> Key {
    diversification::card_key_from_root(&root(algorithm, role), issuer(), serial().factor())
}

/// How a purse is made.
#[derive(Clone, Copy)]
pub struct Issue {
    pub algorithm: Algorithm,
    pub aid: Aid,
    pub priority: u8,
    /// Added to every byte of every root key: zero for a genuine card.
    pub wrong: u8,
    /// For whom the card is, byte 10 of EF17.
    pub kind: u8,
}

impl Default for Issue {
    fn default() -> Self {
        Self { algorithm: Algorithm::TripleDes, aid: PURSE_AID, priority: 1, wrong: 0, kind: 1 }
    }
}

/// A phone with its secure element.
pub struct Phone {
    pub se: SecureElement,
}

fn randomness(mut state: u64) -> Box<dyn tsm_se::Randomness> {
    Box::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    })
}

impl Phone {
    /// A phone with one purse of 50 yuan.
    pub fn new() -> Self {
        Self::with(&[Issue::default()])
    }

    pub fn with(purses: &[Issue]) -> Self {
        let mut phone = Self { se: SecureElement::create(&profile(purses), randomness(1)).unwrap() };
        for purse in purses {
            phone.personalise(purse);
        }
        phone
    }

    /// The same phone at this point, powered on anew.
    pub fn copy(&self) -> Self {
        let seed =
            u64::from_be_bytes(self.se.image()[..8].try_into().unwrap()) ^ self.se.image().len() as u64;
        Self { se: SecureElement::open(&self.se.image(), LoadFileLibrary::new(), randomness(seed)).unwrap() }
    }

    pub fn send(&mut self, interface: Interface, command: &CommandApdu) -> ResponseApdu {
        let answer = self.se.transmit(interface, &command.to_bytes().unwrap());
        ResponseApdu::parse(&answer).expect("the secure element has power")
    }

    /// A secure channel to the issuer's domain on the contact interface.
    pub fn open_issuer(&mut self) -> Session {
        assert!(self.send(Interface::Contact, &Select::by_aid(&ISSUER_DOMAIN).to_apdu()).status.is_success());
        let key = || AesKey::from_slice(&DEVELOPMENT_KEY).unwrap();
        let keys = StaticKeys { enc: key(), mac: key(), dek: key() };
        let (handshake, command) =
            Handshake::begin(keys, Implementation::I70, DEVELOPMENT_SCP03_VERSION, &[7; 8]).unwrap();
        let answer = self.send(Interface::Contact, &command);
        let (session, command) =
            handshake.finish(&answer.data, SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC).unwrap();
        assert!(self.send(Interface::Contact, &command).status.is_success());
        session
    }

    pub fn secured(&mut self, session: &mut Session, command: &CommandApdu) -> ResponseApdu {
        let answer = self.send(Interface::Contact, &session.wrap(command).unwrap());
        session.unwrap(answer).unwrap()
    }

    fn personalise(&mut self, purse: &Issue) {
        let mut session = self.open_issuer();
        let install = InstallForPersonalization { application: purse.aid }.to_apdu();
        assert!(self.secured(&mut session, &install).status.is_success());
        let keys = KeySet::from_fn(purse.algorithm, |role| {
            let root = Key::new(
                purse.algorithm,
                root(purse.algorithm, role).expose().map(|byte| byte ^ purse.wrong),
            );
            *diversification::card_key_from_root(&root, issuer(), serial().factor()).expose()
        });
        let sealed = EncipheredKeySet::seal(&keys, |key| {
            Ok::<_, Infallible>(session.encrypt_sensitive(key).try_into().unwrap())
        });
        let mut data = PersonalizationData::new_card(
            public_information(),
            management(purse.kind),
            purse.algorithm,
            sealed.unwrap(),
        );
        data.start.state = PurseState::new(
            Amount::from_fen(START_FEN),
            OverdraftLimit::NONE,
            OverdraftLimit::NONE,
            OnlineCounter::new(3),
            OfflineCounter::new(40),
        )
        .unwrap();
        let entry = DirectoryEntry { aid: purse.aid, label: PURSE_LABEL.into(), priority: purse.priority };
        let directory = PurseGrouping::Directory(Directory { entries: vec![entry] }).encode();
        let groupings = core::iter::once(directory).chain(data.groupings());
        let bytes: Vec<u8> =
            groupings.flat_map(|grouping: DataGrouping| grouping.encode().unwrap()).collect();
        let pieces = bytes.chunks(200).map(<[u8]>::to_vec);
        let commands =
            StoreData::sequence(pieces, DataEncryption::ApplicationDependent, DataStructure::Dgi).unwrap();
        for command in commands {
            let status = self.secured(&mut session, &command.to_apdu()).status;
            assert!(status.is_success(), "STORE DATA: {status}");
        }
        self.se.reset(Interface::Contact);
    }

    fn read(&mut self, command: &CommandApdu) -> ResponseApdu {
        self.se.reset(Interface::Contact);
        self.send(Interface::Contact, &Select::by_aid(&PURSE_AID).to_apdu());
        self.send(Interface::Contact, command)
    }

    pub fn balance(&mut self) -> u32 {
        let answer = self.read(&GetBalance { kind: BalanceKind::Purse }.to_apdu());
        u32::from_be_bytes(answer.data.try_into().unwrap())
    }

    pub fn log(&mut self) -> Vec<LogRecord> {
        let read = |number| {
            let answer = self.read(&ReadRecord::number(Sfi::TRANSACTION_LOG, number).to_apdu());
            answer.status.is_success().then(|| LogRecord::decode(&answer.data).unwrap())
        };
        (1..=10).map_while(read).collect()
    }

    pub fn history(&mut self) -> Vec<HistoryRecord> {
        let read = |number| {
            let answer = self.read(&ReadRecord::number(Sfi::TRANSIT_HISTORY, number).to_apdu());
            answer.status.is_success().then(|| HistoryRecord::decode(&answer.data).unwrap())
        };
        (1..=30).map_while(read).collect()
    }
}

pub fn public_information() -> PublicInformation {
    let bytes = hex::decode("09990000FFFFFFFF02010310499900000001234520250101204512310000").unwrap();
    PublicInformation::decode(&bytes).unwrap()
}

fn management(kind: u8) -> Management {
    let mut bytes = hex::decode("00000156990099000001").unwrap();
    bytes.push(kind);
    bytes.resize(Management::LENGTH, 0);
    Management::decode(&bytes).unwrap()
}

fn profile(purses: &[Issue]) -> Profile {
    let package = |module: Aid| Aid::new(&module.as_bytes()[..7]).unwrap();
    let load_file = |module: Aid| PresetLoadFile {
        aid: package(module),
        version: [1, 0],
        modules: vec![module],
        code_bytes: 0,
        memory: Default::default(),
    };
    let instance = |module: Aid, aid: Aid| PresetInstance {
        load_file: package(module),
        module,
        aid,
        domain: None,
        privileges: Default::default(),
        parameters: Vec::new(),
        keys: Vec::new(),
    };
    let purses = purses.iter().map(|purse| instance(TRANSIT_PURSE, purse.aid));
    Profile {
        load_files: vec![load_file(TRANSIT_PURSE), load_file(PPSE)],
        instances: core::iter::once(instance(PPSE, PPSE_AID)).chain(purses).collect(),
        ..Profile::development(&[0x86, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    }
}

/// How an exchange goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The command does not reach the card.
    CommandLost,
    /// The card carries the command out, and its answer does not arrive.
    AnswerLost,
    /// The card's power fails at the n-th write to its memory from the command on.
    PowerLostAtWrite(u64),
}

/// A phone in a reader's field, with a fault at one of its exchanges.
pub struct Field<'a> {
    pub phone: &'a mut Phone,
    /// At which exchange, from 0, and what.
    pub fault: Option<(usize, Fault)>,
    /// How many exchanges there were.
    pub exchanges: usize,
    gone: bool,
}

impl<'a> Field<'a> {
    pub fn of(phone: &'a mut Phone, fault: Option<(usize, Fault)>) -> Self {
        phone.se.reset(Interface::Contactless);
        Self { phone, fault, exchanges: 0, gone: false }
    }

    fn leave(&mut self) -> ReaderError {
        self.gone = true;
        self.phone.se.cancel_power_cut();
        if !self.phone.se.is_powered() {
            self.phone.se.power_on().unwrap();
        }
        self.phone.se.reset(Interface::Contactless);
        ReaderError::CardLeft
    }
}

impl CardReader for Field<'_> {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        if self.gone {
            return Err(ReaderError::CardLeft);
        }
        let fault = self.fault.filter(|(exchange, _)| *exchange == self.exchanges).map(|(_, fault)| fault);
        self.exchanges += 1;
        match fault {
            Some(Fault::CommandLost) => return Err(self.leave()),
            Some(Fault::PowerLostAtWrite(writes)) => self.phone.se.power_cut_after(writes),
            Some(Fault::AnswerLost) | None => {}
        }
        let answer = self.phone.se.transmit(Interface::Contactless, &command.to_bytes().unwrap());
        if fault == Some(Fault::AnswerLost) || answer.is_empty() {
            return Err(self.leave());
        }
        self.phone.se.cancel_power_cut();
        ResponseApdu::parse(&answer).map_err(|_| ReaderError::NotAResponse)
    }
}
