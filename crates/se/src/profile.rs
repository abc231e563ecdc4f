//! What a card is made as: its identity, keys, memory and preset content.

use tsm_globalplatform::key::{KeyComponent, KeyType};
use tsm_globalplatform::life_cycle::CardLifeCycle;
use tsm_globalplatform::privileges::Privileges;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::Aid;

use crate::applet::AppletFactory;
use crate::applets;
use crate::domain::Key;
use crate::memory::LoadFileLibrary;
use crate::open::registry::CodeMemory;
use crate::open::settings::{InitialKeys, Settings};

/// The AID of the issuer security domain (GPC 2.3.1, H.1).
pub const ISSUER_DOMAIN: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
/// The load file that security domains are made from, preset on every card.
pub const DOMAIN_LOAD_FILE: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0x53, 0x50]);
/// The module that security domains are made from.
pub const DOMAIN_MODULE: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0x53, 0x50, 0x41]);

/// The key version of the SCP02 keys of a development card.
pub const DEVELOPMENT_SCP02_VERSION: u8 = 0x20;
/// The key version of the SCP03 keys of a development card.
pub const DEVELOPMENT_SCP03_VERSION: u8 = 0x30;

/// Everything that is decided when a card is made.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The SE-ID (GET DATA 0044), as the value of that object.
    pub se_id: Vec<u8>,
    /// The issuer identification number (GET DATA 0042).
    pub issuer_identification: Vec<u8>,
    /// The card image number (GET DATA 0045).
    pub card_image_number: Vec<u8>,
    /// The card production life cycle data (GET DATA 9F7F).
    pub production_life_cycle: [u8; 42],
    /// The AID of the issuer security domain.
    pub issuer_domain: Aid,
    /// The privileges of the issuer security domain.
    pub issuer_privileges: Privileges,
    /// The keys of the issuer security domain: secure channel, token, receipt and DAP keys.
    pub keys: Vec<Key>,
    /// The key version that answers to version 00.
    pub default_key_version: u8,
    /// What the card is set to.
    pub settings: Settings,
    /// The load files put on the card in production, besides the one of the security domains.
    pub load_files: Vec<PresetLoadFile>,
    /// The applications and security domains put on the card in production, in order.
    pub instances: Vec<PresetInstance>,
    /// The life-cycle state the card leaves production in.
    pub life_cycle: CardLifeCycle,
    /// The library that load files are shared through.
    pub library: LoadFileLibrary,
    /// What makes the applications' behaviour.
    pub factory: AppletFactory,
}

/// A load file put on the card in production.
#[derive(Debug, Clone)]
pub struct PresetLoadFile {
    /// Its AID.
    pub aid: Aid,
    /// Its version.
    pub version: [u8; 2],
    /// Its modules.
    pub modules: Vec<Aid>,
    /// The memory its code takes, if it is not in ROM.
    pub code_bytes: u32,
    /// Where it lies.
    pub memory: CodeMemory,
}

/// An instance put on the card in production.
#[derive(Debug, Clone)]
pub struct PresetInstance {
    /// Its load file.
    pub load_file: Aid,
    /// Its module.
    pub module: Aid,
    /// Its AID.
    pub aid: Aid,
    /// The security domain it is associated with; the issuer's if absent.
    pub domain: Option<Aid>,
    /// Its privileges.
    pub privileges: Privileges,
    /// The install parameters given to the application (value of C9).
    pub parameters: Vec<u8>,
    /// The keys, if it is a security domain.
    pub keys: Vec<Key>,
}

/// Why a profile makes no card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// An AID stands for two things.
    #[error("the AID {0} stands more than once in the profile")]
    Duplicate(Aid),
    /// An instance refers to what is not there.
    #[error("the instance {instance} refers to {missing}, which the profile does not hold")]
    Missing {
        /// The instance.
        instance: Aid,
        /// What is missing.
        missing: Aid,
    },
    /// The application refused its installation.
    #[error("the application {0} refuses to be installed as the profile says")]
    Refused(Aid),
}

impl Profile {
    /// A card for development: well-known keys, in state OP_READY, SCP03 by default. New security
    /// domains have keys of version 01, derived in two levels from the development key as root.
    ///
    /// The SE-ID tells cards apart. No production server manages such a card.
    pub fn development(se_id: &[u8]) -> Self {
        let keys = [
            secure_channel_keys(DEVELOPMENT_SCP02_VERSION, Protocol::Scp02, &DEVELOPMENT_KEY),
            secure_channel_keys(DEVELOPMENT_SCP03_VERSION, Protocol::Scp03, &DEVELOPMENT_KEY),
        ];
        Self {
            se_id: se_id.to_vec(),
            issuer_identification: vec![0x62, 0x41, 0x00, 0x00],
            card_image_number: se_id.iter().copied().take(10).collect(),
            production_life_cycle: development_cplc(se_id),
            issuer_domain: ISSUER_DOMAIN,
            issuer_privileges: issuer_privileges(),
            keys: keys.concat(),
            default_key_version: DEVELOPMENT_SCP03_VERSION,
            settings: Settings { initial_keys: development_initial_keys(), ..Settings::default() },
            load_files: Vec::new(),
            instances: Vec::new(),
            life_cycle: CardLifeCycle::OpReady,
            library: LoadFileLibrary::new(),
            factory: applets::create,
        }
    }
}

/// The development key 404142...4F.
pub const DEVELOPMENT_KEY: [u8; 16] =
    [0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x4B, 0x4C, 0x4D, 0x4E, 0x4F];

/// The key version of the first keys of a security domain on a development card.
pub const DEVELOPMENT_DOMAIN_VERSION: u8 = 0x01;

fn development_initial_keys() -> InitialKeys {
    InitialKeys::Derived { version: DEVELOPMENT_DOMAIN_VERSION, root: DEVELOPMENT_KEY.to_vec() }
}

/// The secure channel protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// 3DES.
    Scp02,
    /// AES.
    Scp03,
}

impl Protocol {
    pub(crate) const fn key_type(self) -> KeyType {
        match self {
            Self::Scp02 => KeyType::DES,
            Self::Scp03 => KeyType::AES,
        }
    }
}

/// The three keys of a secure channel key set, all of the value `key`.
pub fn secure_channel_keys(version: u8, protocol: Protocol, key: &[u8]) -> Vec<Key> {
    let component = KeyComponent { key_type: protocol.key_type(), value: key.to_vec() };
    (1..=3).map(|id| Key { version, id, components: vec![component.clone()] }).collect()
}

/// What an issuer's domain may do: everything but delegated management.
// GPC 2.3.1 6.6.2.
pub const fn issuer_privileges() -> Privileges {
    Privileges::from_bytes([0x9E, 0x7E, 0x80])
}

/// Production data that say "development": fabricator and type zero, and the end of the SE-ID as
/// the chip's serial number.
// GPC 2.3.1 has the tag; the fields are those of the EMV card production life cycle.
fn development_cplc(se_id: &[u8]) -> [u8; 42] {
    let mut cplc = [0; 42];
    let tail = &se_id[se_id.len().saturating_sub(4)..];
    cplc[12..12 + tail.len()].copy_from_slice(tail);
    cplc
}

/// The minimum level for content management once the card is SECURED (JT/T 1059, table 1).
pub(crate) const MINIMUM_LEVEL: SecurityLevel = SecurityLevel::C_MAC;
