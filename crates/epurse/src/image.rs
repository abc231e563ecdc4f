//! Everything a purse holds that must be the same before and after it moves to another secure
//! element (B-7.6.1.a): files, records, amounts, counters, key version and cipher.
//!
//! What is not in it cannot be read from a card, or belongs to the card's place and not to the card:
//! the keys (derived again for the new card, and equal because number and issuer are), the PIN (no
//! command reads it; the issuer sets it anew by RELOAD PIN), and the TACs of past transactions
//! (a transaction whose TAC is still wanted is settled before the card moves).
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | 01, the version of this encoding |
//! | 30, 55, 60 | EF15, EF16, EF17 |
//! | 16 | as DGI D001: purse, overdraft limit and use, counters, key version, cipher |
//! | 1, n times 23 | EF18, newest first |
//! | 1, n times 48 | EF1E, newest first |
//! | 1, n times (1, 30 to 128) | records of EF1A that are not empty: number and content, in rising order |

use core::fmt;

use crate::{
    Algorithm, Amount, KeyVersion, LayoutError, OverdraftLimit,
    bytes::Fields,
    card::{PurseState, StateError},
    file::{
        HISTORY_RECORDS, HistoryRecord, Holder, LOG_RECORDS, LogRecord, Management, PublicInformation,
        RecordId, TRANSIT_RECORDS, TransitRecord,
    },
    personalization::{
        EncipheredKeySet, PersonalizationData, PersonalizationError, PurseGrouping, PurseStart,
    },
};

/// A purse's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardImage {
    /// EF15.
    pub public_information: PublicInformation,
    /// EF16.
    pub holder: Holder,
    /// EF17.
    pub management: Management,
    /// Amounts, counters, key version, and the key set in use.
    pub start: PurseStart,
    /// Records of EF18, newest first, at most ten.
    pub log: Vec<LogRecord>,
    /// Records of EF1E, newest first, at most thirty.
    pub history: Vec<HistoryRecord>,
    /// Records of EF1A that are not empty, in the order of their numbers.
    transit_records: Vec<TransitRecord>,
}

/// A part of a purse in which two images can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImagePart {
    /// EF15.
    PublicInformation,
    /// EF16.
    Holder,
    /// EF17.
    Management,
    /// The purse's own money.
    Balance,
    /// The overdraft limit.
    OverdraftLimit,
    /// The overdraft used.
    OverdraftUsed,
    /// The count of online transactions.
    OnlineCounter,
    /// The count of offline transactions.
    OfflineCounter,
    /// The version of the keys.
    KeyVersion,
    /// The key set in use.
    Algorithm,
    /// EF18.
    Log,
    /// EF1E.
    History,
    /// A record of EF1A.
    TransitRecord(RecordId),
}

/// Why bytes are not an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Written by another version of this encoding.
    #[error("the card image has version {0}, which is unknown here")]
    Version(u8),
    /// Not the layout.
    #[error("the card image is damaged")]
    Layout(#[from] LayoutError),
    /// Amounts that no purse can hold.
    #[error("the card image's amounts contradict each other")]
    State(#[source] StateError),
}

impl CardImage {
    /// The version of the encoding.
    const VERSION: u8 = 1;

    /// An image of these parts. Empty records of EF1A are left out, because a card has them without
    /// being told; the others are put in order.
    pub fn new(
        public_information: PublicInformation,
        holder: Holder,
        management: Management,
        start: PurseStart,
        log: Vec<LogRecord>,
        history: Vec<HistoryRecord>,
        transit_records: impl IntoIterator<Item = TransitRecord>,
    ) -> Self {
        let mut transit_records: Vec<_> = transit_records
            .into_iter()
            .filter(|record| *record != TransitRecord::empty(record.head().id))
            .collect();
        transit_records.sort_by_key(|record| record.head().id);
        transit_records.dedup_by_key(|record| record.head().id);
        Self { public_information, holder, management, start, log, history, transit_records }
    }

    /// Records of EF1A that are not empty, in the order of their numbers.
    pub fn transit_records(&self) -> &[TransitRecord] {
        &self.transit_records
    }

    /// Amounts and counters.
    pub const fn state(&self) -> &PurseState {
        &self.start.state
    }

    /// The same card with this money in its purse: what a purse held that was emptied online, and read then.
    pub fn with_money(self, purse: Amount) -> Result<Self, StateError> {
        let state = self.start.state;
        let used = OverdraftLimit::from_fen(state.overdraft_used().fen()).ok_or(StateError::BeyondLimit)?;
        let state = PurseState::new(purse, state.overdraft_limit(), used, state.online(), state.offline())?;
        Ok(Self { start: PurseStart { state, ..self.start }, ..self })
    }

    /// The version of the keys that the card states.
    pub const fn key_version(&self) -> KeyVersion {
        self.start.key_version
    }

    /// The key set in use.
    pub const fn algorithm(&self) -> Algorithm {
        self.start.algorithm
    }

    /// The bytes that the centre keeps.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![Self::VERSION];
        out.extend(self.public_information.encode());
        out.extend(self.holder.encode());
        out.extend(self.management.encode());
        out.extend(PurseGrouping::Start(self.start).encode().data);
        out.push(self.log.len() as u8);
        out.extend(self.log.iter().flat_map(LogRecord::encode));
        out.push(self.history.len() as u8);
        out.extend(self.history.iter().flat_map(HistoryRecord::encode));
        out.push(self.transit_records.len() as u8);
        for record in &self.transit_records {
            out.push(record.head().id.number());
            out.extend(record.encode());
        }
        out
    }

    /// Reads what [`encode`](Self::encode) wrote; anything else is refused, so that an image has one
    /// encoding only.
    pub fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let mut fields = Fields::new("a card image", bytes);
        match fields.byte()? {
            Self::VERSION => {}
            other => return Err(ImageError::Version(other)),
        }
        let public_information = PublicInformation::decode(fields.slice(PublicInformation::LENGTH)?)?;
        let holder = Holder::decode(fields.slice(Holder::LENGTH)?)?;
        let management = Management::decode(fields.slice(Management::LENGTH)?)?;
        let start = PurseStart::decode(fields.slice(PurseStart::LENGTH)?).map_err(start_error)?;
        let log = cyclic(&mut fields, LOG_RECORDS, LogRecord::LENGTH, LogRecord::decode)?;
        let history = cyclic(&mut fields, HISTORY_RECORDS, HistoryRecord::LENGTH, HistoryRecord::decode)?;
        let transit_records = transit_records(&mut fields)?;
        fields.end()?;
        Ok(Self { public_information, holder, management, start, log, history, transit_records })
    }

    /// In what the two differ; nothing means that they are the same card, byte for byte.
    pub fn differences(&self, other: &Self) -> Vec<ImagePart> {
        let (mine, theirs) = (self.state(), other.state());
        let parts = [
            (ImagePart::PublicInformation, self.public_information == other.public_information),
            (ImagePart::Holder, self.holder == other.holder),
            (ImagePart::Management, self.management == other.management),
            (ImagePart::Balance, mine.purse() == theirs.purse()),
            (ImagePart::OverdraftLimit, mine.overdraft_limit() == theirs.overdraft_limit()),
            (ImagePart::OverdraftUsed, mine.overdraft_used() == theirs.overdraft_used()),
            (ImagePart::OnlineCounter, mine.online() == theirs.online()),
            (ImagePart::OfflineCounter, mine.offline() == theirs.offline()),
            (ImagePart::KeyVersion, self.key_version() == other.key_version()),
            (ImagePart::Algorithm, self.algorithm() == other.algorithm()),
            (ImagePart::Log, self.log == other.log),
            (ImagePart::History, self.history == other.history),
        ];
        let mut different: Vec<_> =
            parts.into_iter().filter(|(_, equal)| !equal).map(|(part, _)| part).collect();
        let numbers = (1..=TRANSIT_RECORDS as u8).filter_map(RecordId::new);
        different.extend(
            numbers
                .filter(|id| self.transit_record(*id) != other.transit_record(*id))
                .map(ImagePart::TransitRecord),
        );
        different
    }

    /// A record of EF1A; none when it is empty.
    pub fn transit_record(&self, id: RecordId) -> Option<&TransitRecord> {
        self.transit_records.iter().find(|record| record.head().id == id)
    }

    /// What a card is personalised with to hold this, its keys aside: in the order in which it is
    /// stored, the start last.
    pub fn groupings(&self) -> Vec<PurseGrouping> {
        let mut groupings = vec![
            PurseGrouping::PublicInformation(self.public_information),
            PurseGrouping::Holder(self.holder),
            PurseGrouping::Management(self.management),
        ];
        if !self.log.is_empty() {
            groupings.push(PurseGrouping::Log(self.log.clone()));
        }
        if !self.history.is_empty() {
            groupings.push(PurseGrouping::History(self.history.clone()));
        }
        groupings.extend(self.transit_records.iter().cloned().map(PurseGrouping::TransitRecord));
        groupings.push(PurseGrouping::Start(self.start));
        groupings
    }

    /// The complete personalisation data of a card that is to hold this, with the keys of its cipher.
    pub fn personalization(&self, keys: EncipheredKeySet) -> PersonalizationData {
        let mut data =
            PersonalizationData::new_card(self.public_information, self.management, self.algorithm(), keys);
        data.holder = self.holder;
        data.start = self.start;
        data.log.clone_from(&self.log);
        data.history.clone_from(&self.history);
        data.transit_records.clone_from(&self.transit_records);
        data
    }
}

impl From<&PersonalizationData> for CardImage {
    /// What a card holds after it was personalised with `data`.
    fn from(data: &PersonalizationData) -> Self {
        Self::new(
            data.public_information,
            data.holder,
            data.management,
            data.start,
            data.log.clone(),
            data.history.clone(),
            data.transit_records.iter().cloned(),
        )
    }
}

impl fmt::Display for ImagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::PublicInformation => "the public information (EF15)",
            Self::Holder => "the holder (EF16)",
            Self::Management => "the management information (EF17)",
            Self::Balance => "the balance",
            Self::OverdraftLimit => "the overdraft limit",
            Self::OverdraftUsed => "the overdraft used",
            Self::OnlineCounter => "the online counter",
            Self::OfflineCounter => "the offline counter",
            Self::KeyVersion => "the key version",
            Self::Algorithm => "the cipher",
            Self::Log => "the transaction log (EF18)",
            Self::History => "the transit history (EF1E)",
            Self::TransitRecord(id) => return write!(f, "transit record {} (EF1A)", id.number()),
        };
        f.write_str(words)
    }
}

fn start_error(error: PersonalizationError) -> ImageError {
    match error {
        PersonalizationError::State(source) => ImageError::State(source),
        PersonalizationError::Layout { source, .. } => ImageError::Layout(source),
        PersonalizationError::Directory(_)
        | PersonalizationError::Unknown(_)
        | PersonalizationError::Missing(_)
        | PersonalizationError::Duplicate(_)
        | PersonalizationError::CheckValue(_)
        | PersonalizationError::Pin => ImageError::Layout(LayoutError::Count { what: "the purse's start" }),
    }
}

/// A count and so many records.
fn cyclic<T>(
    fields: &mut Fields<'_>,
    most: usize,
    length: usize,
    decode: impl Fn(&[u8]) -> Result<T, LayoutError>,
) -> Result<Vec<T>, ImageError> {
    let count = usize::from(fields.byte()?);
    if count > most {
        return Err(LayoutError::Count { what: "a cyclic record of a card image" }.into());
    }
    (0..count).map(|_| Ok(decode(fields.slice(length)?)?)).collect()
}

fn transit_records(fields: &mut Fields<'_>) -> Result<Vec<TransitRecord>, ImageError> {
    let wrong = LayoutError::Count { what: "a transit record of a card image" };
    let count = fields.byte()?;
    let mut records: Vec<TransitRecord> = Vec::new();
    for _ in 0..count {
        let id = RecordId::new(fields.byte()?).ok_or(wrong)?;
        let record = TransitRecord::decode(fields.slice(id.length())?)?;
        let rising = records.last().is_none_or(|last| last.head().id < id);
        if record.head().id != id || !rising || record == TransitRecord::empty(id) {
            return Err(wrong.into());
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
