//! What the platform knows of one SE (P-5.5.1).

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use super::batch::Batch;
use crate::application::{MemoryKind, Space};
use crate::id::{BatchId, Msisdn, SeId};

/// What a registry entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MirrorKind {
    /// The issuer security domain.
    IssuerDomain,
    /// A supplementary security domain.
    SecurityDomain,
    /// An application instance.
    Application,
    /// A load file.
    LoadFile,
}

/// One entry of the card's registry, as the platform mirrors it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MirrorEntry {
    /// The AID.
    pub aid: Aid,
    /// What it is.
    pub kind: MirrorKind,
    /// The life-cycle byte (GPC 2.3.1 11.1.1).
    pub life_cycle: u8,
    /// The privileges, three bytes.
    pub privileges: [u8; 3],
    /// The load file an instance comes from, where the card tells.
    pub load_file: Option<Aid>,
    /// The security domain it belongs to, where the card tells.
    pub domain: Option<Aid>,
    /// The modules of a load file.
    pub modules: Vec<Aid>,
}

/// The mirror of a card: its registry and free space at the last observation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// Free space.
    pub free: Space,
    /// The registry, in order of AID.
    pub entries: Vec<MirrorEntry>,
}

/// Whether an SE may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeStanding {
    /// In use.
    Active,
    /// Reported lost: applications are locked at the next contact, and nothing else happens.
    Lost,
    /// Terminated for ever.
    Terminated,
}

/// A report of loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossReport {
    /// When.
    pub at: jiff::Timestamp,
    /// The number that reported it.
    pub number: Option<Msisdn>,
}

/// The relation of an SE to a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The number.
    pub number: Msisdn,
    /// Since when.
    pub since: jiff::Timestamp,
    /// The numbers that the same user had on it before (P-5.5.5).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<Msisdn>,
}

/// A change of the bound number that the carrier has made, until the SE shows the new one (P-5.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberChange {
    /// The number that the SE is bound to until then.
    pub from: Msisdn,
    /// The number that it will be bound to.
    pub to: Msisdn,
    /// Since when.
    pub since: jiff::Timestamp,
}

/// The record of one SE. Applications and domains on it have records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeRecord {
    /// The SEID.
    pub se: SeId,
    /// Its batch.
    pub batch: BatchId,
    /// The number it is bound to. At most one, always.
    pub binding: Option<Binding>,
    /// The change of that number which is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number_change: Option<NumberChange>,
    /// Whether it may be served.
    pub standing: SeStanding,
    /// The loss report, while there is one.
    pub loss: Option<LossReport>,
    /// How often it was put on the loss list or taken off.
    #[serde(default)]
    pub loss_changes: u64,
    /// What was seen on it last.
    pub inventory: Inventory,
    /// When that was; `None` when the inventory is still the batch's initial one.
    pub observed_at: Option<jiff::Timestamp>,
}

impl Inventory {
    /// The inventory of a new SE of the batch (P-5.8.1.d).
    pub fn initial(batch: &Batch) -> Self {
        let mut entries = vec![MirrorEntry {
            aid: batch.issuer_domain,
            kind: MirrorKind::IssuerDomain,
            // SECURED
            life_cycle: 0x0F,
            privileges: [0x9E, 0xFE, 0x80],
            load_file: None,
            domain: None,
            modules: vec![],
        }];
        let plain = |aid, kind, life_cycle| MirrorEntry {
            aid,
            kind,
            life_cycle,
            privileges: [0; 3],
            load_file: None,
            domain: Some(batch.issuer_domain),
            modules: vec![],
        };
        for domain in &batch.preset_domains {
            let entry = plain(domain.aid, MirrorKind::SecurityDomain, domain.life_cycle);
            entries.push(MirrorEntry { privileges: [0x80, 0, 0], ..entry });
        }
        for preset in &batch.preset_applications {
            entries.push(plain(preset.load_file, MirrorKind::LoadFile, 0x01));
            if let Some(life_cycle) = preset.instances {
                let entry = plain(preset.application, MirrorKind::Application, life_cycle);
                entries.push(MirrorEntry { load_file: Some(preset.load_file), ..entry });
            }
        }
        Self { free: batch.initial_space, entries }.sorted()
    }

    /// The same inventory in order of AID, so that equal registries compare equal.
    pub fn sorted(mut self) -> Self {
        self.entries.sort();
        self
    }

    /// The entry with this AID.
    pub fn entry(&self, aid: &Aid) -> Option<&MirrorEntry> {
        self.entries.iter().find(|entry| entry.aid == *aid)
    }

    /// Applications and load files that belong to a domain.
    pub fn belonging_to(&self, domain: &Aid) -> impl Iterator<Item = &MirrorEntry> {
        self.entries.iter().filter(|entry| entry.domain.as_ref() == Some(domain) && entry.aid != *domain)
    }
}

impl Binding {
    /// A new user's.
    pub const fn new(number: Msisdn, since: jiff::Timestamp) -> Self {
        Self { number, since, formerly: Vec::new() }
    }

    /// The same user's, under another number.
    pub fn renumbered(self, number: Msisdn, since: jiff::Timestamp) -> Self {
        let mut formerly = self.formerly;
        if self.number != number {
            formerly.push(self.number);
        }
        formerly.retain(|former| *former != number);
        Self { number, since, formerly }
    }
}

impl SeRecord {
    /// The record of an SE that was never seen, from its batch.
    pub fn new(se: SeId, batch: &Batch) -> Self {
        Self {
            se,
            batch: batch.id.clone(),
            binding: None,
            number_change: None,
            standing: SeStanding::Active,
            loss: None,
            loss_changes: 0,
            inventory: Inventory::initial(batch),
            observed_at: None,
        }
    }
}

impl MemoryKind {
    /// Whether the file can be deleted (P-5.4.2.e).
    pub const fn can_be_deleted(self) -> bool {
        match self {
            Self::PresetRom => false,
            Self::Downloaded | Self::PresetFlash | Self::PresetEprom => true,
        }
    }
}

impl Space {
    /// The space after so much was taken; what would be negative becomes zero and is corrected at the next
    /// observation.
    pub const fn less(self, taken: Self) -> Self {
        Self {
            code: self.code.saturating_sub(taken.code),
            data: self.data.saturating_sub(taken.data),
            volatile: self.volatile.saturating_sub(taken.volatile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::batch;
    use super::super::{PresetApplication, PresetDomain};
    use super::*;

    /// req: P-5.8.1.d
    #[test]
    fn a_new_se_starts_from_its_batch() {
        let aid = |last| Aid::constant(&[0xF0, 0, 0, 0, last]);
        let mut factory = batch("B1", &[0], &[0xFF]);
        factory.preset_domains = vec![PresetDomain { aid: aid(1), life_cycle: 0x0F }];
        factory.preset_applications = vec![
            PresetApplication {
                application: aid(3),
                load_file: aid(2),
                memory: MemoryKind::PresetRom,
                instances: Some(0x07),
            },
            PresetApplication {
                application: aid(5),
                load_file: aid(4),
                memory: MemoryKind::PresetFlash,
                instances: None,
            },
        ];
        let record = SeRecord::new(SeId::new(&[7]).unwrap(), &factory);
        assert_eq!(record.inventory.free, factory.initial_space);
        let kinds: Vec<_> =
            [1, 2, 3, 4, 5].map(|last| record.inventory.entry(&aid(last)).map(|e| e.kind)).into();
        let (domain, file, application) =
            (MirrorKind::SecurityDomain, MirrorKind::LoadFile, MirrorKind::Application);
        assert_eq!(kinds, [Some(domain), Some(file), Some(application), Some(file), None]);
        assert_eq!(record.observed_at, None);
    }

    #[test]
    fn space_after_a_download_is_computed() {
        let before = Space { code: 1_000, data: 500, volatile: 100 };
        let after = before.less(Space { code: 400, data: 600, volatile: 0 });
        assert_eq!(after, Space { code: 600, data: 0, volatile: 100 });
    }
}
