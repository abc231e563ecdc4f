//! A host for the tests, made of the host halves of the secure channels.

use sha2::{Digest, Sha256};
use tsm_capfile::CapBuilder;
use tsm_globalplatform::commands::delete::DeleteExtent;
use tsm_globalplatform::commands::get_status::{GetStatus, RegistryScope};
use tsm_globalplatform::commands::install::{InstallForInstall, InstallForLoad, InstallParameters};
use tsm_globalplatform::commands::load::load_file;
use tsm_globalplatform::commands::put_key::KeyField;
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_globalplatform::commands::{Delete, Load, PutKey, Select, SetStatus, load::BlockPosition};
use tsm_globalplatform::key::{KeyType, key_check_value};
use tsm_globalplatform::primitives::{Aes, AesKey, DesKey};
use tsm_globalplatform::registry::RegistryEntry;
use tsm_globalplatform::{Privileges, SecurityLevel, scp02, scp03};
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu};

use crate::memory::LoadFileLibrary;
use crate::profile::{
    DEVELOPMENT_KEY, DEVELOPMENT_SCP02_VERSION, DEVELOPMENT_SCP03_VERSION, DOMAIN_LOAD_FILE, DOMAIN_MODULE,
    ISSUER_DOMAIN, Protocol,
};
use crate::{Interface, Profile, SecureElement};

pub(super) const SE_ID: &[u8] = &[0x86, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09];
pub(super) const PACKAGE: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x01, 0x01]);
pub(super) const MODULE: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x01, 0x01, 0x01]);
pub(super) const INSTANCE: Aid = Aid::constant(&[0xD2, 0x76, 0, 0, 0x85, 0x01, 0x01, 0x02]);
pub(super) const DOMAIN: Aid = Aid::constant(&[0xA0, 0, 0, 0x06, 0x32, 0x53, 0x44, 0x01]);
pub(super) const OTHER_DOMAIN: Aid = Aid::constant(&[0xA0, 0, 0, 0x06, 0x32, 0x53, 0x44, 0x02]);

/// Level 33: everything the card has.
pub(super) const FULL: SecurityLevel = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;

/// A card, and what its randomness counts from.
pub(super) struct Card {
    pub(super) se: SecureElement,
}

/// Where a host stands: interface and channel.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) Interface, pub(super) u8);

pub(super) const CONTACT: At = At(Interface::Contact, 0);
pub(super) const CONTACTLESS: At = At(Interface::Contactless, 0);

pub(super) enum Channel {
    Scp02(scp02::host::Session),
    Scp03(scp03::host::Session),
}

pub(super) enum Handshake {
    Scp02(scp02::host::Handshake),
    Scp03(scp03::host::Handshake),
}

impl Handshake {
    pub(super) fn begin((version, protocol, values): &Keys, level: SecurityLevel) -> (Self, CommandApdu) {
        match protocol {
            Protocol::Scp02 => {
                let [enc, mac, dek] = values.map(DesKey::new);
                let r_mac = level.has_r_mac();
                let implementation =
                    if r_mac { scp02::Implementation::I75 } else { scp02::Implementation::I55 };
                let keys = scp02::StaticKeys { enc, mac, dek };
                let (handshake, begin) =
                    scp02::host::Handshake::begin(keys, implementation, *version, [7; 8]);
                (Self::Scp02(handshake), begin)
            }
            Protocol::Scp03 => {
                let [enc, mac, dek] = values.map(AesKey::from);
                let (keys, i) = (scp03::StaticKeys { enc, mac, dek }, scp03::Implementation::I70);
                let (handshake, begin) = scp03::host::Handshake::begin(keys, i, *version, &[7; 8]).unwrap();
                (Self::Scp03(handshake), begin)
            }
        }
    }

    /// The session and EXTERNAL AUTHENTICATE; none where the host does not believe the card.
    pub(super) fn finish(self, answer: &[u8], level: SecurityLevel) -> Option<(Channel, CommandApdu)> {
        Some(match self {
            Self::Scp02(handshake) => {
                let (session, authenticate) = handshake.finish(answer, level).ok()?;
                (Channel::Scp02(session), authenticate)
            }
            Self::Scp03(handshake) => {
                let (session, authenticate) = handshake.finish(answer, level).ok()?;
                (Channel::Scp03(session), authenticate)
            }
        })
    }
}

/// An open session on a channel.
pub(super) struct Session {
    pub(super) at: At,
    pub(super) channel: Channel,
}

pub(super) fn randomness() -> Box<dyn crate::Randomness> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    Box::new(move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    })
}

/// A key set of 16-byte keys for tests.
pub(super) fn test_keys(version: u8, protocol: Protocol, first: u8) -> (u8, Protocol, [[u8; 16]; 3]) {
    let key = |add: u8| core::array::from_fn(|index| first.wrapping_add(add).wrapping_add(index as u8 * 3));
    (version, protocol, [key(0), key(0x40), key(0x80)])
}

pub(super) type Keys = (u8, Protocol, [[u8; 16]; 3]);

pub(super) fn development(protocol: Protocol) -> Keys {
    let version = match protocol {
        Protocol::Scp02 => DEVELOPMENT_SCP02_VERSION,
        Protocol::Scp03 => DEVELOPMENT_SCP03_VERSION,
    };
    (version, protocol, [DEVELOPMENT_KEY; 3])
}

/// The first keys of a domain on the development card, computed as its issuer does.
pub(super) fn initial_keys(aid: &Aid) -> Keys {
    let level = |key: [u8; 16], factor: &[u8]| {
        let mut block = [0; 16];
        block.copy_from_slice(&factor[..16]);
        Aes::new(&AesKey::from(key)).encrypt_block(&block)
    };
    let domain = level(DEVELOPMENT_KEY, &Sha256::digest(aid.as_bytes()));
    let keys = [1, 2, 3].map(|id| level(domain, &Sha256::digest([&[id], SE_ID].concat())));
    (0x01, Protocol::Scp03, keys)
}

impl Card {
    pub(super) fn new() -> Self {
        Self::of(&Profile::development(SE_ID))
    }

    pub(super) fn of(profile: &Profile) -> Self {
        Self { se: SecureElement::create(profile, randomness()).unwrap() }
    }

    /// The same card at another host: its image, powered on.
    pub(super) fn copy(&self) -> Self {
        Self { se: SecureElement::open(&self.se.image(), LoadFileLibrary::new(), randomness()).unwrap() }
    }

    pub(super) fn try_send(&mut self, at: At, command: &CommandApdu) -> Option<ResponseApdu> {
        let channel = LogicalChannel::new(at.1).unwrap();
        let command = CommandApdu { cla: channel.apply(command.cla).unwrap(), ..command.clone() };
        let bytes = self.se.transmit(at.0, &command.to_bytes().unwrap());
        if bytes.is_empty() { None } else { Some(ResponseApdu::parse(&bytes).unwrap()) }
    }

    pub(super) fn send(&mut self, at: At, command: &CommandApdu) -> ResponseApdu {
        self.try_send(at, command).expect("the card has power")
    }

    pub(super) fn select(&mut self, at: At, aid: &Aid) -> ResponseApdu {
        self.send(at, &Select::by_aid(aid).to_apdu())
    }

    /// Selects a domain and opens a session with it.
    pub(super) fn open(&mut self, at: At, domain: &Aid, keys: &Keys, level: SecurityLevel) -> Session {
        assert!(self.select(at, domain).status.is_success(), "SELECT {domain}");
        self.authenticate(at, keys, level).unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// A session with the issuer's domain.
    pub(super) fn open_issuer(&mut self, protocol: Protocol, level: SecurityLevel) -> Session {
        self.open(CONTACT, &ISSUER_DOMAIN, &development(protocol), level)
    }

    /// INITIALIZE UPDATE and EXTERNAL AUTHENTICATE; the error is what the card answered.
    pub(super) fn authenticate(
        &mut self,
        at: At,
        keys: &Keys,
        level: SecurityLevel,
    ) -> Result<Session, ResponseApdu> {
        let (handshake, begin) = Handshake::begin(keys, level);
        let answer = self.send(at, &begin);
        if !answer.status.is_success() {
            return Err(answer);
        }
        // A host that does not believe the card sends nothing more.
        let Some((channel, authenticate)) = handshake.finish(&answer.data, level) else {
            return Err(answer);
        };
        let answer = self.send(at, &authenticate);
        if answer.status.is_success() { Ok(Session { at, channel }) } else { Err(answer) }
    }

    /// Runs a table of plain commands and expected answers, in hexadecimal. `..` at the end of an
    /// answer stands for any data before the status word.
    pub(super) fn script(&mut self, at: At, lines: &str) {
        let mut command = None;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let text: String = line[2..].chars().filter(|c| !c.is_whitespace()).collect();
            if line.starts_with(">>") {
                command = Some(text);
                continue;
            }
            assert!(line.starts_with("<<"), "{line}");
            let sent = command.take().unwrap_or_else(|| panic!("no command before {line}"));
            let command = CommandApdu::parse(&hex::decode(&sent).unwrap()).unwrap();
            let answer = hex::encode_upper(self.send(at, &command).to_bytes());
            match text.split_once("..") {
                Some((begin, end)) => {
                    assert!(answer.starts_with(begin) && answer.ends_with(end), ">> {sent}\n<< {answer}");
                }
                None => assert_eq!(answer, text, ">> {sent}"),
            }
        }
    }
}

impl Session {
    pub(super) fn wrap(&mut self, command: &CommandApdu) -> CommandApdu {
        match &mut self.channel {
            Channel::Scp02(session) => session.wrap(command).unwrap(),
            Channel::Scp03(session) => session.wrap(command).unwrap(),
        }
    }

    pub(super) fn try_send(&mut self, card: &mut Card, command: &CommandApdu) -> Option<ResponseApdu> {
        let wrapped = self.wrap(command);
        let answer = card.try_send(self.at, &wrapped)?;
        Some(match &mut self.channel {
            Channel::Scp02(session) => session.unwrap(answer).unwrap(),
            Channel::Scp03(session) => session.unwrap(answer).unwrap(),
        })
    }

    pub(super) fn send(&mut self, card: &mut Card, command: &CommandApdu) -> ResponseApdu {
        self.try_send(card, command).expect("the card has power")
    }

    /// Sends and compares the status word.
    pub(super) fn expect(&mut self, card: &mut Card, command: &CommandApdu, status: u16) -> Vec<u8> {
        let answer = self.send(card, command);
        assert_eq!(format!("{}", answer.status), format!("{status:04X}"), "{command:02X?}");
        answer.data
    }

    pub(super) fn ok(&mut self, card: &mut Card, command: &CommandApdu) -> Vec<u8> {
        self.expect(card, command, 0x9000)
    }

    pub(super) fn encrypt(&self, key: &[u8]) -> Vec<u8> {
        match &self.channel {
            Channel::Scp02(session) => session.encrypt_sensitive(key),
            Channel::Scp03(session) => session.encrypt_sensitive(key),
        }
    }

    /// PUT KEY of a whole set, in one command.
    pub(super) fn put_keys(&self, replaced_version: u8, keys: &Keys) -> CommandApdu {
        let (version, protocol, values) = keys;
        let key_type = match protocol {
            Protocol::Scp02 => KeyType::DES,
            Protocol::Scp03 => KeyType::AES,
        };
        let field = |key: &[u8; 16]| {
            let check_value = key_check_value(key_type, key).unwrap();
            KeyField::symmetric(key_type, 16, &self.encrypt(key), &check_value)
        };
        PutKey {
            replaced_version,
            new_version: *version,
            first_identifier: 1,
            position: BlockPosition::Last,
            keys: values.iter().map(field).collect(),
        }
        .to_apdu()
    }

    /// PUT KEY of one symmetric key in a slot of its own, as tokens, receipts and DAPs have them.
    pub(super) fn put_signature_key(&self, version: u8, key: &[u8; 16]) -> CommandApdu {
        let check_value = key_check_value(KeyType::AES, key).unwrap();
        let field = KeyField::symmetric(KeyType::AES, 16, &self.encrypt(key), &check_value);
        PutKey {
            replaced_version: 0,
            new_version: version,
            first_identifier: 1,
            position: BlockPosition::Last,
            keys: vec![field],
        }
        .to_apdu()
    }

    /// All entries of a scope, page by page.
    pub(super) fn registry(&mut self, card: &mut Card, scope: RegistryScope) -> Vec<RegistryEntry> {
        let mut data = Vec::new();
        let mut command = GetStatus::all(scope);
        loop {
            let answer = self.send(card, &command.to_apdu());
            data.extend(&answer.data);
            match answer.status.0 {
                0x6310 => command = command.next(),
                0x9000 => break,
                0x6A88 => break,
                other => panic!("GET STATUS answers {other:04X}"),
            }
        }
        RegistryEntry::parse_all(scope, &data).unwrap()
    }

    /// Loads the package whole.
    pub(super) fn load(&mut self, card: &mut Card, package: &Package) {
        for command in package.load_commands(None) {
            self.ok(card, &command);
        }
    }
}

/// A package for tests.
pub(super) struct Package {
    pub(super) aid: Aid,
    pub(super) data_block: Vec<u8>,
}

impl Package {
    pub(super) fn new() -> Self {
        Self::sized(400)
    }

    pub(super) fn sized(padding: usize) -> Self {
        Self::named(PACKAGE, MODULE, padding)
    }

    pub(super) fn named(aid: Aid, module: Aid, padding: usize) -> Self {
        let cap = CapBuilder::new(aid).version(1, 2).applet(module).padding(padding).build_cap().unwrap();
        let data_block = cap.load_file_data_block(tsm_capfile::Descriptor::Omit);
        Self { aid, data_block }
    }

    /// INSTALL [for load] and the LOAD commands.
    pub(super) fn load_commands(&self, domain: Option<Aid>) -> Vec<CommandApdu> {
        let mut commands = vec![InstallForLoad::new(self.aid, domain).to_apdu()];
        commands.extend(self.blocks(&load_file(&[], &self.data_block)));
        commands
    }

    pub(super) fn blocks(&self, file: &[u8]) -> Vec<CommandApdu> {
        Load::blocks(file, 200).unwrap().iter().map(Load::to_apdu).collect()
    }
}

pub(super) fn install(instance: Aid) -> CommandApdu {
    InstallForInstall::new(PACKAGE, MODULE, instance, Privileges::NONE).to_apdu()
}

pub(super) fn install_domain(aid: Aid, privileges: Privileges, parameters: InstallParameters) -> CommandApdu {
    let mut form = InstallForInstall::new(DOMAIN_LOAD_FILE, DOMAIN_MODULE, aid, privileges);
    form.parameters = InstallParameters { application: Some(Vec::new()), ..parameters }.to_bytes();
    form.to_apdu()
}

pub(super) fn delete(aid: Aid) -> CommandApdu {
    Delete::content(aid, DeleteExtent::Object).to_apdu()
}

pub(super) fn delete_related(aid: Aid) -> CommandApdu {
    Delete::content(aid, DeleteExtent::ObjectAndRelated).to_apdu()
}

pub(super) fn set_status(aid: Aid, state: u8) -> CommandApdu {
    SetStatus { target: StatusTarget::Application(aid), state }.to_apdu()
}

pub(super) fn set_card_status(state: u8) -> CommandApdu {
    SetStatus { target: StatusTarget::IssuerSecurityDomain, state }.to_apdu()
}

impl Card {
    /// Makes a domain, gives it its own keys and personalises it.
    pub(super) fn make_domain(
        &mut self,
        aid: Aid,
        privileges: Privileges,
        parameters: InstallParameters,
        keys: &Keys,
    ) {
        let mut issuer = self.open_issuer(Protocol::Scp03, SecurityLevel::C_MAC);
        issuer.ok(self, &install_domain(aid, privileges, parameters));
        let made = issuer.registry(self, RegistryScope::Applications);
        let shown = made.iter().any(|entry| {
            matches!(entry, RegistryEntry::Application(entry) if entry.aid == aid && entry.privileges == privileges)
        });
        assert!(shown, "the domain is in the registry with its privileges");
        let mut session = self.open(CONTACT, &aid, &initial_keys(&aid), SecurityLevel::C_MAC);
        let put = session.put_keys(0x01, keys);
        session.ok(self, &put);
        session.ok(self, &set_status(aid, 0x0F));
    }
}
