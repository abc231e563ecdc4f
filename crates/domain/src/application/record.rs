//! The application record (P-5.4.1, P-5.4.2, P-5.4.3): load files, modules, instances and attributes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use super::management::{ArchiveDeletion, ManagementState};
use super::version::ManagedVersion;
use crate::bytes::{HexBytes, Sha1Digest, Sha256Digest};
use crate::id::{BatchId, Msisdn, ProviderId};
use crate::se_application::{OpeningNeed, PersonalisationNeed, UnlockPolicy};

/// A name in the two languages of the interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Space on an SE, in bytes (P-5.8.7.1.a).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Space {
    /// Immutable code space: the application files.
    pub code: u32,
    /// Immutable data space: instances.
    pub data: u32,
    /// Mutable data space: what running needs.
    pub volatile: u32,
}

/// Whether the record is of an application or of an extension (P-5.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ApplicationKind {
    /// An application, which is instantiated.
    Application,
    /// An extension that others use; it is loaded only.
    Extension,
}

/// Where a load file is kept (P-5.4.2.e).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemoryKind {
    /// It is downloaded.
    Downloaded,
    /// Preset in read-only memory: never deleted.
    PresetRom,
    /// Preset in flash memory.
    PresetFlash,
    /// Preset in EPROM.
    PresetEprom,
}

/// Whether an application belongs to the whole network or a province (P-5.4.2.n).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Network-wide.
    Network,
    /// One province, by its code.
    Province(String),
}

/// What a deletion removes (P-5.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeletionMode {
    /// Code, instances and data.
    Full,
    /// Instances and data; the code stays.
    InstanceOnly,
}

/// Which security domain's secure channel manages the application (P-5.8.4.1.2.a).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChannelOwner {
    /// The issuer security domain.
    Issuer,
    /// The application's own security domain.
    ApplicationDomain,
}

/// The three ways of personalisation (P-5.8.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PersonalisationWay {
    /// Mode 1: with the application's own keys; the platform passes commands through.
    ApplicationKeys,
    /// Mode 2: the application uses its security domain's services.
    DomainServices,
    /// Mode 3: the security domain forwards STORE DATA to the application.
    DomainForwards,
}

/// Whether deletion could destroy money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueBearing {
    /// It holds no value.
    NoValue,
    /// It is a stored-value purse.
    StoredValue,
}

/// Which SE batches an application supports (P-5.4.2.l, P-5.4.4.4.b).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchSelection {
    /// All batches.
    All,
    /// These.
    These(BTreeSet<BatchId>),
}

/// Which users an application is published for (P-5.4.4.4.c).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserSelection {
    /// Everybody.
    Everybody,
    /// These numbers.
    These(BTreeSet<Msisdn>),
}

/// An instance to be made from a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Its AID.
    pub aid: Aid,
    /// Its privileges, three bytes (GPC 2.3.1 6.6.2).
    pub privileges: HexBytes,
    /// The application's own install parameters, the value of C9.
    pub parameters: HexBytes,
    /// Non-volatile space it takes.
    pub data_space: u32,
    /// Volatile space it takes.
    pub volatile_space: u32,
}

/// A module of a load file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// Its AID.
    pub aid: Aid,
    /// The instances to be made from it.
    pub instances: Vec<InstanceRecord>,
}

/// An executable load file. Its content is stored apart, by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadFileRecord {
    /// Its AID on the SE.
    pub aid: Aid,
    /// The security domain it is loaded to (P-5.4.2.h).
    pub domain: Aid,
    /// The uploaded file's SHA-1 (P-5.4.2.g).
    pub sha1: Sha1Digest,
    /// The uploaded file's SHA-256, by which it is stored.
    pub sha256: Sha256Digest,
    /// Code space it takes.
    pub code_space: u32,
    /// Where it is kept.
    pub memory: MemoryKind,
    /// The DAP signature over the load file data block hash, for a domain of mode three (P-5.4.2.m).
    pub dap_signature: Option<HexBytes>,
    /// Load files of extensions that must be there before (P-5.4.2.o).
    pub depends_on: Vec<Aid>,
    /// Its modules.
    pub modules: Vec<ModuleRecord>,
}

/// An application or extension as the platform manages it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// The AID: the main module's instance; for an extension its load file (P-5.4.1.d, P-5.4.3.b).
    pub aid: Aid,
    /// Application or extension.
    pub kind: ApplicationKind,
    /// Its name.
    pub names: Names,
    /// What it is for, in the two languages.
    pub description: Names,
    /// The industry, for the default-card setting: `transport`, `bank`, ...
    pub industry: String,
    /// The provider.
    pub provider: ProviderId,
    /// The security domain the instances belong to (P-5.4.2.c).
    pub domain: Aid,
    /// The managed version.
    pub version: ManagedVersion,
    /// Where it stands in its life.
    pub state: ManagementState,
    /// Load files, extensions' included when they are loaded with it, in no particular order.
    pub load_files: Vec<LoadFileRecord>,
    /// Space needed in all.
    pub space: Space,
    /// Lowest Java Card version.
    pub java_card_version: String,
    /// Lowest multi-application platform (CMS2AC) version.
    pub platform_version: String,
    /// SE batches it supports.
    pub batches: BatchSelection,
    /// Users it is published for.
    pub users: UserSelection,
    /// Network-wide or provincial.
    pub scope: Scope,
    /// Whether it needs personalisation.
    pub personalisation: PersonalisationNeed,
    /// How it is personalised.
    pub way: PersonalisationWay,
    /// Whether it needs opening.
    pub opening: OpeningNeed,
    /// What deletion removes.
    pub deletion_mode: DeletionMode,
    /// How archiving removes it from SEs.
    pub archive_deletion: ArchiveDeletion,
    /// Whether it holds money.
    pub value: ValueBearing,
    /// Who may unlock it.
    pub unlock: UnlockPolicy,
    /// Whose channel manages it.
    pub channel: ChannelOwner,
    /// Whether it is personalised anew after a change of number (P-5.5.5.b).
    pub renew_on_number_change: PersonalisationNeed,
    /// The companion handset application's address (P-5.4.2.f).
    pub companion_url: Option<String>,
    /// The icon's name or address, as the catalogue shows it (W-6.4.1.g).
    #[serde(default)]
    pub icon: String,
    /// What it costs, in words, as the catalogue shows it (W-6.4.1.g).
    #[serde(default)]
    pub charging: String,
    /// Its place among the recommended, lowest first; `None` when it is not recommended.
    pub recommended: Option<u32>,
    /// When it was last published.
    pub released_at: Option<jiff::Timestamp>,
}

/// Why a structure is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// No load file.
    #[error("an application has at least one load file")]
    NoLoadFile,
    /// An AID is used twice.
    #[error("AID {0} is used more than once; load files, modules and instances have AIDs of their own")]
    DuplicateAid(Aid),
    /// The main instance is missing.
    #[error("no instance has the application's AID {0}")]
    NoMainInstance(Aid),
    /// An extension has modules to instantiate.
    #[error("extension {0} can only be loaded, and its record makes instances")]
    ExtensionInstantiated(Aid),
    /// An extension has one load file with its AID.
    #[error("extension {0} is one load file with the same AID")]
    ExtensionShape(Aid),
    /// An extension comes from the operator.
    #[error("extension {0} must come from the platform's operator")]
    ExtensionOfThirdParty(Aid),
    /// Something depended on is missing.
    #[error("load file {from} needs {missing}, which is not known")]
    MissingExtension {
        /// The load file.
        from: Aid,
        /// What it needs.
        missing: Aid,
    },
    /// Load files need each other in a circle.
    #[error("load file {0} needs itself through others")]
    DependencyCycle(Aid),
}

impl Application {
    /// Checks the structure: unique AIDs of all three kinds, a main instance, the shape of an extension.
    pub fn check_structure(&self, operator: &ProviderId) -> Result<(), StructureError> {
        if self.load_files.is_empty() {
            return Err(StructureError::NoLoadFile);
        }
        if self.kind == ApplicationKind::Extension {
            self.check_extension(operator)?;
        }
        let mut seen = BTreeSet::new();
        let extension_twice = |aid: &Aid| Err(StructureError::DuplicateAid(*aid));
        for aid in self.aids() {
            if !seen.insert(aid) {
                return extension_twice(&aid);
            }
        }
        let is_main = |instance: &InstanceRecord| instance.aid == self.aid;
        if self.kind == ApplicationKind::Application && !self.instances().any(is_main) {
            return Err(StructureError::NoMainInstance(self.aid));
        }
        Ok(())
    }

    fn check_extension(&self, operator: &ProviderId) -> Result<(), StructureError> {
        if self.provider != *operator {
            return Err(StructureError::ExtensionOfThirdParty(self.aid));
        }
        if self.instances().next().is_some() {
            return Err(StructureError::ExtensionInstantiated(self.aid));
        }
        match self.load_files.as_slice() {
            [only] if only.aid == self.aid => Ok(()),
            _ => Err(StructureError::ExtensionShape(self.aid)),
        }
    }

    /// All AIDs: load files, modules, instances.
    pub fn aids(&self) -> impl Iterator<Item = Aid> + '_ {
        self.load_files.iter().flat_map(|file| {
            let modules = file.modules.iter().flat_map(|module| {
                std::iter::once(module.aid).chain(module.instances.iter().map(|instance| instance.aid))
            });
            std::iter::once(file.aid).chain(modules)
        })
    }

    /// All instances.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceRecord> {
        self.load_files.iter().flat_map(|file| &file.modules).flat_map(|module| &module.instances)
    }
}

/// The load files that `wanted` needs, each after all it depends on.
///
/// `known` holds every load file that may be needed: the application's own and the extensions'.
pub fn dependency_order<'a>(
    wanted: &'a [LoadFileRecord],
    known: &'a BTreeMap<Aid, LoadFileRecord>,
) -> Result<Vec<&'a LoadFileRecord>, StructureError> {
    let mut walk = Walk { wanted, known, done: BTreeSet::new(), open: BTreeSet::new(), order: Vec::new() };
    for file in wanted {
        walk.visit(file)?;
    }
    Ok(walk.order)
}

struct Walk<'a> {
    wanted: &'a [LoadFileRecord],
    known: &'a BTreeMap<Aid, LoadFileRecord>,
    done: BTreeSet<Aid>,
    open: BTreeSet<Aid>,
    order: Vec<&'a LoadFileRecord>,
}

impl<'a> Walk<'a> {
    // The depth is bounded by the number of load files, because an open one is never entered again.
    fn visit(&mut self, file: &'a LoadFileRecord) -> Result<(), StructureError> {
        if self.done.contains(&file.aid) {
            return Ok(());
        }
        if !self.open.insert(file.aid) {
            return Err(StructureError::DependencyCycle(file.aid));
        }
        for needed in &file.depends_on {
            let own = self.wanted.iter().find(|candidate| candidate.aid == *needed);
            let found = own.or_else(|| self.known.get(needed));
            self.visit(found.ok_or(StructureError::MissingExtension { from: file.aid, missing: *needed })?)?;
        }
        self.open.remove(&file.aid);
        self.done.insert(file.aid);
        self.order.push(file);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn aid(last: u8) -> Aid {
        Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, last])
    }

    pub(crate) fn load_file(last: u8, depends_on: &[u8], modules: Vec<ModuleRecord>) -> LoadFileRecord {
        LoadFileRecord {
            aid: aid(last),
            domain: aid(0xD0),
            sha1: Sha1Digest([0; 20]),
            sha256: Sha256Digest([0; 32]),
            code_space: 1_000,
            memory: MemoryKind::Downloaded,
            dap_signature: None,
            depends_on: depends_on.iter().map(|last| aid(*last)).collect(),
            modules,
        }
    }

    pub(crate) fn module(last: u8, instances: &[u8]) -> ModuleRecord {
        let instance = |last: &u8| InstanceRecord {
            aid: aid(*last),
            privileges: HexBytes(vec![0; 3]),
            parameters: HexBytes::default(),
            data_space: 200,
            volatile_space: 50,
        };
        ModuleRecord { aid: aid(last), instances: instances.iter().map(instance).collect() }
    }

    pub(crate) fn application(load_files: Vec<LoadFileRecord>) -> Application {
        let text = || Names { en: "Card".into(), zh: "卡".into() };
        Application {
            aid: aid(0x30),
            kind: ApplicationKind::Application,
            names: text(),
            description: text(),
            industry: "transport".into(),
            provider: "CITY".parse().unwrap(),
            domain: aid(0xD0),
            version: ManagedVersion::new(aid(0x30), "1.0", "20261121").unwrap(),
            state: ManagementState::Initial,
            load_files,
            space: Space { code: 1_000, data: 200, volatile: 50 },
            java_card_version: "2.2.2".into(),
            platform_version: "1.0".into(),
            batches: BatchSelection::All,
            users: UserSelection::Everybody,
            scope: Scope::Network,
            personalisation: PersonalisationNeed::Needed,
            way: PersonalisationWay::DomainForwards,
            opening: OpeningNeed::NotNeeded,
            deletion_mode: DeletionMode::Full,
            archive_deletion: ArchiveDeletion::NotifyUsers,
            value: ValueBearing::StoredValue,
            unlock: UnlockPolicy::HallOnly,
            channel: ChannelOwner::Issuer,
            renew_on_number_change: PersonalisationNeed::NotNeeded,
            companion_url: None,
            icon: String::new(),
            charging: String::new(),
            recommended: None,
            released_at: None,
        }
    }

    fn operator() -> ProviderId {
        "OPERATOR".parse().unwrap()
    }

    /// req: P-5.4.1.d, P-5.4.1.e, P-5.4.2.a
    #[test]
    fn aids_are_unique_and_the_main_instance_names_the_application() {
        let fine =
            application(vec![load_file(0x10, &[], vec![module(0x20, &[0x30, 0x31]), module(0x21, &[0x32])])]);
        assert_eq!(fine.check_structure(&operator()), Ok(()));
        for clash in [0x10, 0x20, 0x30] {
            let mut wrong = fine.clone();
            wrong.load_files[0].modules[1].instances[0].aid = aid(clash);
            assert_eq!(wrong.check_structure(&operator()), Err(StructureError::DuplicateAid(aid(clash))));
        }
        let headless = application(vec![load_file(0x10, &[], vec![module(0x20, &[0x31])])]);
        assert_eq!(headless.check_structure(&operator()), Err(StructureError::NoMainInstance(aid(0x30))));
        assert_eq!(application(vec![]).check_structure(&operator()), Err(StructureError::NoLoadFile));
    }

    /// req: P-5.4.3.a, P-5.4.3.b, P-5.4.3.d
    #[test]
    fn an_extension_is_one_load_file_of_the_operator() {
        let mut extension = application(vec![load_file(0x30, &[], vec![module(0x20, &[])])]);
        extension.kind = ApplicationKind::Extension;
        assert_eq!(
            extension.check_structure(&operator()),
            Err(StructureError::ExtensionOfThirdParty(aid(0x30)))
        );
        extension.provider = operator();
        assert_eq!(extension.check_structure(&operator()), Ok(()));
        let mut instantiated = extension.clone();
        instantiated.load_files[0].modules = vec![module(0x20, &[0x40])];
        assert_eq!(
            instantiated.check_structure(&operator()),
            Err(StructureError::ExtensionInstantiated(aid(0x30)))
        );
        extension.load_files[0].aid = aid(0x11);
        assert_eq!(extension.check_structure(&operator()), Err(StructureError::ExtensionShape(aid(0x30))));
    }

    /// req: P-5.4.3.c
    #[test]
    fn extensions_come_before_what_needs_them() {
        let known: BTreeMap<_, _> = [load_file(0x50, &[0x51], vec![]), load_file(0x51, &[], vec![])]
            .into_iter()
            .map(|file| (file.aid, file))
            .collect();
        let wanted = [load_file(0x10, &[0x50, 0x51], vec![]), load_file(0x11, &[0x10], vec![])];
        let order: Vec<_> = dependency_order(&wanted, &known).unwrap().iter().map(|file| file.aid).collect();
        assert_eq!(order, [aid(0x51), aid(0x50), aid(0x10), aid(0x11)]);
        let missing = [load_file(0x10, &[0x99], vec![])];
        assert_eq!(
            dependency_order(&missing, &known).unwrap_err(),
            StructureError::MissingExtension { from: aid(0x10), missing: aid(0x99) }
        );
        let circle = [load_file(0x10, &[0x11], vec![]), load_file(0x11, &[0x10], vec![])];
        assert_eq!(
            dependency_order(&circle, &known).unwrap_err(),
            StructureError::DependencyCycle(aid(0x10))
        );
    }
}
