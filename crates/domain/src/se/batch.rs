//! SE batches by number segments (P-5.8.1).

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::application::{MemoryKind, Space};
use crate::id::{BatchId, KeyReference, SeId};
use crate::security_domain::ChannelProtocol;

/// A segment of SEIDs of one length, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeIdRange {
    /// The first.
    pub first: SeId,
    /// The last.
    pub last: SeId,
}

/// What kind of SE the batch has (B-5.2.1.a; stick-on cards after P-5.5.2.f).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeKind {
    /// In the SIM card.
    Sim,
    /// Embedded in the terminal.
    Embedded,
    /// External.
    External,
    /// A stick-on card: it is never registered to a number.
    StickOn,
}

/// How the issuer security domain's keys are found (P-5.8.1.b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IssuerKeyScheme {
    /// Derived from a root key by SEID.
    Root,
    /// Dynamic keys: each SE's own, kept in the key service under the SEID.
    Dynamic,
}

/// A security domain that SEs of the batch have from the factory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresetDomain {
    /// Its AID.
    pub aid: Aid,
    /// Its life-cycle byte.
    pub life_cycle: u8,
}

/// An application that SEs of the batch have from the factory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresetApplication {
    /// The application.
    pub application: Aid,
    /// Its load file on the SE.
    pub load_file: Aid,
    /// Read-only or rewritable memory.
    pub memory: MemoryKind,
    /// Whether instances are there too, with this life-cycle byte.
    pub instances: Option<u8>,
}

/// An SE batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its name.
    pub id: BatchId,
    /// Its number segments.
    pub segments: Vec<SeIdRange>,
    /// The kind of SE.
    pub kind: SeKind,
    /// The issuer security domain's AID.
    pub issuer_domain: Aid,
    /// Its secure channel protocol.
    pub protocol: ChannelProtocol,
    /// How its keys are found.
    pub key_scheme: IssuerKeyScheme,
    /// The key service's label of the root key or of the dynamic keys.
    pub issuer_keys: KeyReference,
    /// The key version to ask for; 0 asks for the default set.
    pub issuer_key_version: u8,
    /// The label of the root of initial SSD keys (two-level diversification, B-8.4.1.b, D-40).
    pub initial_domain_keys: KeyReference,
    /// The chip type.
    pub chip: String,
    /// The multi-application platform (CMS2AC) version.
    pub platform_version: String,
    /// The Java Card version.
    pub java_card_version: String,
    /// Free space of a new SE.
    pub initial_space: Space,
    /// Preset security domains.
    pub preset_domains: Vec<PresetDomain>,
    /// Preset applications.
    pub preset_applications: Vec<PresetApplication>,
}

/// Why a batch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// No segment.
    #[error("a batch has at least one number segment")]
    NoSegment,
    /// A segment's ends do not fit.
    #[error("a segment runs from {0} to {1}; both have the same length and the first is not the greater")]
    Segment(SeId, SeId),
    /// Segments overlap.
    #[error("segment {first} to {last} overlaps one of batch {batch}")]
    Overlap {
        /// The new segment's first.
        first: SeId,
        /// The new segment's last.
        last: SeId,
        /// The batch that has it.
        batch: BatchId,
    },
}

impl SeIdRange {
    /// Whether the segment has this SEID.
    pub fn has(&self, se: &SeId) -> bool {
        (self.first..=self.last).contains(se)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn check(&self) -> Result<(), BatchError> {
        let same_length = self.first.as_bytes().len() == self.last.as_bytes().len();
        if same_length && self.first <= self.last {
            Ok(())
        } else {
            Err(BatchError::Segment(self.first, self.last))
        }
    }
}

/// All batches of a platform.
#[derive(Debug, Clone, Default)]
pub struct BatchBook {
    batches: Vec<Batch>,
}

impl BatchBook {
    /// Adds a batch, or replaces the one of the same name. Overlapping segments are refused.
    pub fn put(&mut self, batch: Batch) -> Result<(), BatchError> {
        if batch.segments.is_empty() {
            return Err(BatchError::NoSegment);
        }
        for (index, segment) in batch.segments.iter().enumerate() {
            segment.check()?;
            let own = batch.segments[..index].iter().map(|other| (other, &batch.id));
            let others = self.batches.iter().filter(|known| known.id != batch.id);
            let others = others.flat_map(|known| known.segments.iter().map(move |other| (other, &known.id)));
            if let Some((_, id)) = own.chain(others).find(|(other, _)| other.overlaps(segment)) {
                return Err(BatchError::Overlap {
                    first: segment.first,
                    last: segment.last,
                    batch: id.clone(),
                });
            }
        }
        self.batches.retain(|known| known.id != batch.id);
        self.batches.push(batch);
        Ok(())
    }

    /// The batch that an SEID belongs to.
    pub fn find(&self, se: &SeId) -> Option<&Batch> {
        self.batches.iter().find(|batch| batch.segments.iter().any(|segment| segment.has(se)))
    }

    /// All batches.
    pub fn all(&self) -> &[Batch] {
        &self.batches
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn batch(id: &str, first: &[u8], last: &[u8]) -> Batch {
        Batch {
            id: id.parse().unwrap(),
            segments: vec![SeIdRange { first: SeId::new(first).unwrap(), last: SeId::new(last).unwrap() }],
            kind: SeKind::Embedded,
            issuer_domain: Aid::constant(&[0xA0, 0, 0, 0x01, 0x51, 0, 0, 0]),
            protocol: ChannelProtocol::Scp03 { i: 0x70 },
            key_scheme: IssuerKeyScheme::Root,
            issuer_keys: "isd/root".parse().unwrap(),
            issuer_key_version: 0x30,
            initial_domain_keys: "ssd/root".parse().unwrap(),
            chip: "soft".into(),
            platform_version: "1.0".into(),
            java_card_version: "3.0.5".into(),
            initial_space: Space { code: 100_000, data: 50_000, volatile: 4_000 },
            preset_domains: vec![],
            preset_applications: vec![],
        }
    }

    /// req: P-5.8.1.a
    #[test]
    fn an_seid_has_one_batch() {
        let mut book = BatchBook::default();
        book.put(batch("B1", &[0x10, 0x00], &[0x10, 0xFF])).unwrap();
        book.put(batch("B2", &[0x11, 0x00], &[0x11, 0xFF])).unwrap();
        let find = |bytes: &[u8]| book.find(&SeId::new(bytes).unwrap()).map(|found| found.id.as_str());
        assert_eq!(find(&[0x10, 0x00]), Some("B1"));
        assert_eq!(find(&[0x10, 0xFF]), Some("B1"));
        assert_eq!(find(&[0x11, 0x00]), Some("B2"));
        assert_eq!(find(&[0x12, 0x00]), None);
        assert_eq!(find(&[0x10, 0x80, 0x00]), None, "another length is another number");
    }

    /// req: P-5.8.1.a
    #[test]
    fn overlapping_segments_are_refused() {
        let mut book = BatchBook::default();
        book.put(batch("B1", &[0x10], &[0x20])).unwrap();
        for (first, last) in [(0x20, 0x30), (0x00, 0x10), (0x12, 0x13), (0x00, 0xFF)] {
            let refused = book.put(batch("B2", &[first], &[last]));
            assert!(matches!(refused, Err(BatchError::Overlap { .. })), "{first:02X} to {last:02X}");
        }
        assert!(matches!(book.put(batch("B2", &[0x40], &[0x30])), Err(BatchError::Segment(..))));
        assert!(matches!(book.put(batch("B2", &[0x40], &[0x40, 0])), Err(BatchError::Segment(..))));
        let none = Batch { segments: vec![], ..batch("B2", &[0x40], &[0x50]) };
        assert_eq!(book.put(none), Err(BatchError::NoSegment));
        book.put(batch("B1", &[0x10], &[0x30])).unwrap();
        assert_eq!(book.all().len(), 1, "the same batch may change its own segment");
    }
}
