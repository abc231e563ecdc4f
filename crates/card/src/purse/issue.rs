//! The data groups that make a purse (facts of JT/T 978 personalisation; P-5.8.4.6.3), with its keys
//! by handle: they leave the key service only under the session's DEK.

use tsm_epurse::file::{HistoryRecord, Holder, LogRecord, Management, PublicInformation, TransitRecord};
use tsm_epurse::personalization::{DataGrouping, PurseGrouping, PurseStart, dgi};
use tsm_epurse::{Algorithm, CardImage, KeyRole};
use tsm_keys::{Derivation, KeyError, KeyHandle, KeyReference, KeyService, PursePath};

use crate::personalise::{DataGroupTemplate, Piece};

/// Everything that makes a purse. A new card has no records and an empty start; a card that moved to
/// another phone has those it had.
#[derive(Debug, Clone)]
pub struct PurseIssue {
    /// EF15; its factors diversify the keys.
    pub public_information: PublicInformation,
    /// EF16.
    pub holder: Holder,
    /// EF17.
    pub management: Management,
    /// The keys in the order of [`KeyRole::ALL`].
    pub keys: Vec<KeyHandle>,
    /// Amounts, counters and the key set in use.
    pub start: PurseStart,
    /// Records of EF18, newest first, at most ten.
    pub log: Vec<LogRecord>,
    /// Records of EF1E, newest first, at most thirty.
    pub history: Vec<HistoryRecord>,
    /// Records of EF1A that are not empty.
    pub transit_records: Vec<TransitRecord>,
}

impl PurseIssue {
    /// A new card: nothing in it, nothing counted, no holder.
    pub fn new_card(
        public_information: PublicInformation,
        management: Management,
        algorithm: Algorithm,
        keys: Vec<KeyHandle>,
    ) -> Self {
        Self {
            public_information,
            holder: Holder::ANONYMOUS,
            management,
            keys,
            start: PurseStart::empty(algorithm),
            log: Vec::new(),
            history: Vec::new(),
            transit_records: Vec::new(),
        }
    }

    /// A card that moved here from another secure element, as it was there (B-7.6.1.a).
    pub fn restored(image: &CardImage, keys: Vec<KeyHandle>) -> Self {
        Self {
            public_information: image.public_information,
            holder: image.holder,
            management: image.management,
            keys,
            start: image.start,
            log: image.log.clone(),
            history: image.history.clone(),
            transit_records: image.transit_records().to_vec(),
        }
    }

    /// The data groups in the order in which they are stored: keys before what uses them, the start
    /// last, so that a purse that has it is complete.
    pub fn data_groups(&self) -> Vec<DataGroupTemplate> {
        let clear = |grouping: &PurseGrouping| {
            let DataGrouping { id, data } = grouping.encode();
            DataGroupTemplate { identifier: id, pieces: vec![Piece::Clear(data)] }
        };
        let mut groups = vec![
            clear(&PurseGrouping::PublicInformation(self.public_information)),
            clear(&PurseGrouping::Holder(self.holder)),
            clear(&PurseGrouping::Management(self.management)),
            self.key_group(),
        ];
        if !self.log.is_empty() {
            groups.push(clear(&PurseGrouping::Log(self.log.clone())));
        }
        if !self.history.is_empty() {
            groups.push(clear(&PurseGrouping::History(self.history.clone())));
        }
        groups.extend(
            self.transit_records.iter().map(|record| clear(&PurseGrouping::TransitRecord(record.clone()))),
        );
        groups.push(clear(&PurseGrouping::Start(self.start)));
        groups
    }

    fn key_group(&self) -> DataGroupTemplate {
        let identifier = match self.start.algorithm {
            Algorithm::TripleDes => dgi::KEYS_3DES,
            Algorithm::Sm4 => dgi::KEYS_SM4,
        };
        let pieces = self.keys.iter().cloned().map(Piece::KeyWithCheckValue).collect();
        DataGroupTemplate { identifier, pieces }
    }
}

/// The keys of one card, derived from the roots that `root` names (issuer factor first, then card
/// factor; D-36), in the order of [`KeyRole::ALL`].
pub fn purse_keys(
    keys: &dyn KeyService,
    root: impl Fn(KeyRole) -> KeyReference,
    card: &PublicInformation,
) -> Result<Vec<KeyHandle>, KeyError> {
    let path = PursePath { issuer: card.issuer, card: card.card_factor() };
    KeyRole::ALL.into_iter().map(|role| keys.derive(&root(role), &Derivation::Purse(path))).collect()
}
