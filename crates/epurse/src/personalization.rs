//! The data that a purse is personalised with, as data groupings (DGI) for STORE DATA.
//!
//! | DGI | content | from |
//! | --- | --- | --- |
//! | 0100 | the PPSE's proprietary template, for the PPSE and not for the purse | T-Union files |
//! | B001, B002, B003 | EF15, EF16, EF17 | T-Union files |
//! | B0A0, B1A0 | fifteen keys, each enciphered (16) and its check value (3): 3DES, SM4 | T-Union files |
//! | B0A5, B1A5 | a second load key, enciphered, and its check value | T-Union files |
//! | D001 | purse 4, overdraft limit 3, overdraft used 3, online counter 2, offline counter 2, key version 1, algorithm 1 | ours |
//! | D002 | records of EF18, newest first, 23 bytes each | ours |
//! | D003 | records of EF1E, newest first, 48 bytes each | ours |
//! | D004 | number of PIN tries 1, enciphered PIN 16 | ours |
//! | D1nn | record nn of EF1A | ours |
//!
//! With D001 to D112 a card can be restored exactly as another one left off. In the PIN's plain text
//! a length byte comes first and 80 00.. fills 16 bytes. Keys and PIN are enciphered one by one under
//! the session's data encryption key (or a transport key on the way there), so that whoever translates
//! them from key to key needs no layout.

use zeroize::Zeroizing;

use crate::{
    Algorithm, Key, KeyCheckValue, KeyRole, KeySet, KeyVersion, LayoutError,
    bytes::Fields,
    card::{PurseState, StateError},
    commands::Pin,
    file::{
        HISTORY_RECORDS, HistoryRecord, Holder, LOG_RECORDS, LogRecord, Management, PublicInformation,
        TransitRecord,
    },
    select::{Directory, SelectError},
};

/// One data grouping (GPC 2.3.1, 11.11.3.2: identifier, length, data).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataGrouping {
    /// The identifier.
    pub id: u16,
    /// The data.
    pub data: Vec<u8>,
}

impl DataGrouping {
    /// Identifier, length (one byte, or FF and two), data. Data beyond 65,535 bytes cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, LayoutError> {
        let length = u16::try_from(self.data.len()).map_err(|_| LayoutError::Length {
            what: "a data grouping",
            expected: 0xFFFF,
            found: self.data.len(),
        })?;
        let mut out = self.id.to_be_bytes().to_vec();
        match u8::try_from(length) {
            Ok(short) if short < 0xFF => out.push(short),
            _ => {
                out.push(0xFF);
                out.extend(length.to_be_bytes());
            }
        }
        out.extend(&self.data);
        Ok(out)
    }

    /// Reads data groupings one after another until the end.
    pub fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, LayoutError> {
        let mut fields = Fields::new("a data grouping", bytes);
        let mut groupings = Vec::new();
        while !fields.rest().is_empty() {
            let id = fields.u16()?;
            let length = match fields.byte()? {
                0xFF => fields.u16()?,
                short => short.into(),
            };
            groupings.push(Self { id, data: fields.slice(length.into())?.to_vec() });
        }
        Ok(groupings)
    }
}

/// Why personalisation data are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonalizationError {
    /// A grouping has the wrong layout.
    #[error("data grouping {id:04X} has the wrong content")]
    Layout {
        /// The grouping.
        id: u16,
        /// What is wrong in it.
        source: LayoutError,
    },
    /// The amounts contradict each other.
    #[error("the purse's amounts contradict each other")]
    State(#[source] StateError),
    /// The directory is not one.
    #[error("the contactless directory is wrong")]
    Directory(#[source] SelectError),
    /// An identifier that this purse does not know.
    #[error("data grouping {0:04X} is unknown")]
    Unknown(u16),
    /// A required grouping is missing.
    #[error("data grouping {0:04X} is missing")]
    Missing(u16),
    /// A grouping stands twice.
    #[error("data grouping {0:04X} stands twice")]
    Duplicate(u16),
    /// A key deciphered to something else than its check value says.
    #[error("the check value of key {0} is wrong")]
    CheckValue(&'static str),
    /// The PIN deciphered to something else than a PIN.
    #[error("the PIN does not decipher to a PIN")]
    Pin,
}

/// A key as it travels: enciphered, with its check value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncipheredKey {
    /// The key under a transport or session key, one block of 16 bytes.
    pub cryptogram: [u8; 16],
    /// The check value of the key itself.
    pub check_value: KeyCheckValue,
}

impl EncipheredKey {
    const LENGTH: usize = 19;

    /// Enciphers `key` with `encipher`.
    pub fn seal<E>(key: &Key, encipher: impl FnOnce(&[u8; 16]) -> Result<[u8; 16], E>) -> Result<Self, E> {
        Ok(Self { cryptogram: encipher(key.expose())?, check_value: key.check_value() })
    }

    /// Deciphers the key and verifies its check value; `name` says which key it is, for the error.
    pub fn open(
        &self,
        algorithm: Algorithm,
        name: &'static str,
        decipher: impl FnOnce(&[u8; 16]) -> [u8; 16],
    ) -> Result<Key, PersonalizationError> {
        let key = Key::new(algorithm, decipher(&self.cryptogram));
        if key.check_value() != self.check_value {
            return Err(PersonalizationError::CheckValue(name));
        }
        Ok(key)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.cryptogram);
        out.extend(self.check_value.0);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, LayoutError> {
        Ok(Self { cryptogram: fields.array()?, check_value: KeyCheckValue(fields.array()?) })
    }
}

/// The fifteen keys of one cipher as they travel, in the order of [`KeyRole::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncipheredKeySet(pub [EncipheredKey; 15]);

impl EncipheredKeySet {
    /// Length of the grouping's data.
    pub const LENGTH: usize = 15 * EncipheredKey::LENGTH;

    /// Enciphers every key of `keys` with `encipher`.
    pub fn seal<E>(
        keys: &KeySet,
        mut encipher: impl FnMut(&[u8; 16]) -> Result<[u8; 16], E>,
    ) -> Result<Self, E> {
        let mut sealed = [EncipheredKey { cryptogram: [0; 16], check_value: KeyCheckValue([0; 3]) }; 15];
        for role in KeyRole::ALL {
            sealed[role.index()] = EncipheredKey::seal(keys.key(role), &mut encipher)?;
        }
        Ok(Self(sealed))
    }

    /// Deciphers every key and verifies its check value.
    pub fn open(
        &self,
        algorithm: Algorithm,
        mut decipher: impl FnMut(&[u8; 16]) -> [u8; 16],
    ) -> Result<KeySet, PersonalizationError> {
        let mut plain = Zeroizing::new([[0; 16]; 15]);
        for role in KeyRole::ALL {
            plain[role.index()] = *self.key(role).open(algorithm, role.name(), &mut decipher)?.expose();
        }
        Ok(KeySet::from_fn(algorithm, |role| plain[role.index()]))
    }

    /// The key for `role`.
    pub const fn key(&self, role: KeyRole) -> &EncipheredKey {
        &self.0[role.index()]
    }

    /// The grouping's data.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().fold(Vec::with_capacity(Self::LENGTH), |mut out, key| {
            key.encode(&mut out);
            out
        })
    }

    /// Reads the grouping's data.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a key data grouping", bytes, Self::LENGTH)?;
        let mut keys = [EncipheredKey { cryptogram: [0; 16], check_value: KeyCheckValue([0; 3]) }; 15];
        for key in &mut keys {
            *key = EncipheredKey::decode(&mut fields)?;
        }
        Ok(Self(keys))
    }
}

/// A PIN as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncipheredPin {
    /// How often a wrong PIN may be tried.
    pub tries: u8,
    /// The PIN's block of 16 bytes, enciphered like a key.
    pub cryptogram: [u8; 16],
}

impl EncipheredPin {
    /// Enciphers `pin` with `encipher`.
    pub fn seal<E>(
        pin: &Pin,
        tries: u8,
        encipher: impl FnOnce(&[u8; 16]) -> Result<[u8; 16], E>,
    ) -> Result<Self, E> {
        let mut block = Zeroizing::new([0; 16]);
        let bytes = pin.expose();
        block[0] = bytes.len() as u8;
        block[1..=bytes.len()].copy_from_slice(bytes);
        block[bytes.len() + 1] = 0x80;
        Ok(Self { tries, cryptogram: encipher(&block)? })
    }

    /// Deciphers the PIN.
    pub fn open(&self, decipher: impl FnOnce(&[u8; 16]) -> [u8; 16]) -> Result<Pin, PersonalizationError> {
        let block = Zeroizing::new(decipher(&self.cryptogram));
        let (length, rest) = block.split_first().ok_or(PersonalizationError::Pin)?;
        let (pin, filling) = rest.split_at_checked(usize::from(*length)).ok_or(PersonalizationError::Pin)?;
        let [0x80, zeros @ ..] = filling else {
            return Err(PersonalizationError::Pin);
        };
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(PersonalizationError::Pin);
        }
        Pin::new(pin).map_err(|_| PersonalizationError::Pin)
    }
}

/// DGI D001: amounts, counters, and the keys in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PurseStart {
    /// Amounts and counters.
    pub state: PurseState,
    /// The version that the card states for its keys.
    pub key_version: KeyVersion,
    /// The key set that transactions use.
    pub algorithm: Algorithm,
}

impl PurseStart {
    pub(crate) const LENGTH: usize = PurseState::LENGTH + 2;

    /// A purse as it is opened: nothing in it, nothing counted.
    pub fn empty(algorithm: Algorithm) -> Self {
        Self { state: PurseState::default(), key_version: KeyVersion(1), algorithm }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.state.encode().to_vec();
        out.extend([self.key_version.0, self.algorithm.identifier()]);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, PersonalizationError> {
        let layout = |source| PersonalizationError::Layout { id: dgi::PURSE_START, source };
        let mut fields = Fields::exact("the purse's start", bytes, Self::LENGTH).map_err(layout)?;
        let state = PurseState::decode(fields.slice(PurseState::LENGTH).map_err(layout)?);
        let state = state.map_err(PersonalizationError::State)?;
        let key_version = KeyVersion(fields.byte().map_err(layout)?);
        let identifier = fields.byte().map_err(layout)?;
        let algorithm = Algorithm::try_from(identifier)
            .map_err(|_| layout(LayoutError::Value { what: "the algorithm", value: identifier.into() }))?;
        Ok(Self { state, key_version, algorithm })
    }
}

/// The identifiers of the data groupings.
pub mod dgi {
    /// The PPSE's proprietary template.
    pub const DIRECTORY: u16 = 0x0100;
    /// EF15.
    pub const PUBLIC_INFORMATION: u16 = 0xB001;
    /// EF16.
    pub const HOLDER: u16 = 0xB002;
    /// EF17.
    pub const MANAGEMENT: u16 = 0xB003;
    /// 3DES keys.
    pub const KEYS_3DES: u16 = 0xB0A0;
    /// Second 3DES load key.
    pub const SECOND_LOAD_KEY_3DES: u16 = 0xB0A5;
    /// SM4 keys.
    pub const KEYS_SM4: u16 = 0xB1A0;
    /// Second SM4 load key.
    pub const SECOND_LOAD_KEY_SM4: u16 = 0xB1A5;
    /// Amounts, counters, key version, algorithm.
    pub const PURSE_START: u16 = 0xD001;
    /// Records of EF18.
    pub const LOG: u16 = 0xD002;
    /// Records of EF1E.
    pub const HISTORY: u16 = 0xD003;
    /// The PIN.
    pub const PIN: u16 = 0xD004;
    /// Record 0 of EF1A, so to say: record nn is this plus nn.
    pub const TRANSIT_RECORD: u16 = 0xD100;
}

/// One data grouping, understood. A card that gets groupings one by one stores each as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurseGrouping {
    /// 0100.
    Directory(Directory),
    /// B001.
    PublicInformation(PublicInformation),
    /// B002.
    Holder(Holder),
    /// B003.
    Management(Management),
    /// B0A0, B1A0.
    Keys(Algorithm, EncipheredKeySet),
    /// B0A5, B1A5.
    SecondLoadKey(Algorithm, EncipheredKey),
    /// D001.
    Start(PurseStart),
    /// D002, newest first.
    Log(Vec<LogRecord>),
    /// D003, newest first.
    History(Vec<HistoryRecord>),
    /// D004.
    Pin(EncipheredPin),
    /// D1nn.
    TransitRecord(TransitRecord),
}

impl PurseGrouping {
    /// The grouping's identifier.
    pub fn id(&self) -> u16 {
        match self {
            Self::Directory(_) => dgi::DIRECTORY,
            Self::PublicInformation(_) => dgi::PUBLIC_INFORMATION,
            Self::Holder(_) => dgi::HOLDER,
            Self::Management(_) => dgi::MANAGEMENT,
            Self::Keys(Algorithm::TripleDes, _) => dgi::KEYS_3DES,
            Self::Keys(Algorithm::Sm4, _) => dgi::KEYS_SM4,
            Self::SecondLoadKey(Algorithm::TripleDes, _) => dgi::SECOND_LOAD_KEY_3DES,
            Self::SecondLoadKey(Algorithm::Sm4, _) => dgi::SECOND_LOAD_KEY_SM4,
            Self::Start(_) => dgi::PURSE_START,
            Self::Log(_) => dgi::LOG,
            Self::History(_) => dgi::HISTORY,
            Self::Pin(_) => dgi::PIN,
            Self::TransitRecord(record) => dgi::TRANSIT_RECORD + u16::from(record.head().id.number()),
        }
    }

    /// As a data grouping.
    pub fn encode(&self) -> DataGrouping {
        let data = match self {
            Self::Directory(directory) => directory.encode_grouping(),
            Self::PublicInformation(file) => file.encode().to_vec(),
            Self::Holder(file) => file.encode().to_vec(),
            Self::Management(file) => file.encode().to_vec(),
            Self::Keys(_, keys) => keys.encode(),
            Self::SecondLoadKey(_, key) => {
                let mut out = Vec::with_capacity(EncipheredKey::LENGTH);
                key.encode(&mut out);
                out
            }
            Self::Start(start) => start.encode(),
            Self::Log(records) => records.iter().flat_map(LogRecord::encode).collect(),
            Self::History(records) => records.iter().flat_map(HistoryRecord::encode).collect(),
            Self::Pin(pin) => {
                let mut out = vec![pin.tries];
                out.extend(pin.cryptogram);
                out
            }
            Self::TransitRecord(record) => record.encode(),
        };
        DataGrouping { id: self.id(), data }
    }

    /// Understands a data grouping.
    pub fn decode(grouping: &DataGrouping) -> Result<Self, PersonalizationError> {
        let (id, data) = (grouping.id, grouping.data.as_slice());
        match id {
            dgi::DIRECTORY => {
                Directory::decode_grouping(data).map(Self::Directory).map_err(PersonalizationError::Directory)
            }
            dgi::PURSE_START => PurseStart::decode(data).map(Self::Start),
            _ => Self::decode_layout(id, data)
                .map_err(|source| PersonalizationError::Layout { id, source })?
                .ok_or(PersonalizationError::Unknown(id)),
        }
    }

    fn decode_layout(id: u16, data: &[u8]) -> Result<Option<Self>, LayoutError> {
        Ok(Some(match id {
            dgi::PUBLIC_INFORMATION => Self::PublicInformation(PublicInformation::decode(data)?),
            dgi::HOLDER => Self::Holder(Holder::decode(data)?),
            dgi::MANAGEMENT => Self::Management(Management::decode(data)?),
            dgi::KEYS_3DES => Self::Keys(Algorithm::TripleDes, EncipheredKeySet::decode(data)?),
            dgi::KEYS_SM4 => Self::Keys(Algorithm::Sm4, EncipheredKeySet::decode(data)?),
            dgi::SECOND_LOAD_KEY_3DES => Self::SecondLoadKey(Algorithm::TripleDes, second_load_key(data)?),
            dgi::SECOND_LOAD_KEY_SM4 => Self::SecondLoadKey(Algorithm::Sm4, second_load_key(data)?),
            dgi::LOG => Self::Log(records(data, LogRecord::LENGTH, LOG_RECORDS, LogRecord::decode)?),
            dgi::HISTORY => {
                Self::History(records(data, HistoryRecord::LENGTH, HISTORY_RECORDS, HistoryRecord::decode)?)
            }
            dgi::PIN => {
                let mut fields = Fields::exact("the PIN data grouping", data, 17)?;
                Self::Pin(EncipheredPin { tries: fields.byte()?, cryptogram: fields.array()? })
            }
            0xD101..=0xD112 => {
                let record = TransitRecord::decode(data)?;
                let stated = dgi::TRANSIT_RECORD + u16::from(record.head().id.number());
                if stated != id {
                    return Err(LayoutError::Value { what: "a transit record's id", value: stated.into() });
                }
                Self::TransitRecord(record)
            }
            _ => return Ok(None),
        }))
    }
}

fn second_load_key(data: &[u8]) -> Result<EncipheredKey, LayoutError> {
    EncipheredKey::decode(&mut Fields::exact("the second load key", data, EncipheredKey::LENGTH)?)
}

fn records<R>(
    data: &[u8],
    length: usize,
    most: usize,
    decode: fn(&[u8]) -> Result<R, LayoutError>,
) -> Result<Vec<R>, LayoutError> {
    if data.len() > length * most || !data.len().is_multiple_of(length) {
        return Err(LayoutError::Length {
            what: "a list of records",
            expected: length * most,
            found: data.len(),
        });
    }
    data.chunks_exact(length).map(decode).collect()
}

/// Everything that makes a purse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalizationData {
    /// EF15.
    pub public_information: PublicInformation,
    /// EF16.
    pub holder: Holder,
    /// EF17.
    pub management: Management,
    /// The 3DES keys.
    pub keys_3des: Option<EncipheredKeySet>,
    /// The SM4 keys.
    pub keys_sm4: Option<EncipheredKeySet>,
    /// Second load keys.
    pub second_load_keys: Vec<(Algorithm, EncipheredKey)>,
    /// Amounts, counters, and the keys in use.
    pub start: PurseStart,
    /// Records of EF18, newest first, at most ten.
    pub log: Vec<LogRecord>,
    /// Records of EF1E, newest first, at most thirty.
    pub history: Vec<HistoryRecord>,
    /// Records of EF1A; those that are missing are empty.
    pub transit_records: Vec<TransitRecord>,
    /// The PIN, of a card that has one.
    pub pin: Option<EncipheredPin>,
}

impl PersonalizationData {
    /// A new card: empty purse, no records, no PIN, one key set.
    pub fn new_card(
        public_information: PublicInformation,
        management: Management,
        algorithm: Algorithm,
        keys: EncipheredKeySet,
    ) -> Self {
        let (keys_3des, keys_sm4) = match algorithm {
            Algorithm::TripleDes => (Some(keys), None),
            Algorithm::Sm4 => (None, Some(keys)),
        };
        Self {
            public_information,
            holder: Holder::ANONYMOUS,
            management,
            keys_3des,
            keys_sm4,
            second_load_keys: Vec::new(),
            start: PurseStart::empty(algorithm),
            log: Vec::new(),
            history: Vec::new(),
            transit_records: Vec::new(),
            pin: None,
        }
    }

    /// The data groupings in the order in which they are stored: keys before what uses them, D001 last,
    /// so that a purse that has it is complete.
    pub fn groupings(&self) -> Vec<DataGrouping> {
        let mut groupings = vec![
            PurseGrouping::PublicInformation(self.public_information),
            PurseGrouping::Holder(self.holder),
            PurseGrouping::Management(self.management),
        ];
        groupings.extend(self.keys_3des.map(|keys| PurseGrouping::Keys(Algorithm::TripleDes, keys)));
        groupings.extend(self.keys_sm4.map(|keys| PurseGrouping::Keys(Algorithm::Sm4, keys)));
        groupings.extend(
            self.second_load_keys
                .iter()
                .map(|(algorithm, key)| PurseGrouping::SecondLoadKey(*algorithm, *key)),
        );
        groupings.extend(self.pin.map(PurseGrouping::Pin));
        if !self.log.is_empty() {
            groupings.push(PurseGrouping::Log(self.log.clone()));
        }
        if !self.history.is_empty() {
            groupings.push(PurseGrouping::History(self.history.clone()));
        }
        groupings.extend(self.transit_records.iter().cloned().map(PurseGrouping::TransitRecord));
        groupings.push(PurseGrouping::Start(self.start));
        groupings.iter().map(PurseGrouping::encode).collect()
    }

    /// Puts a complete set together; 0100 is the PPSE's and is passed over.
    pub fn from_groupings(groupings: &[DataGrouping]) -> Result<Self, PersonalizationError> {
        let mut seen = Vec::new();
        let mut parts = Parts::default();
        for grouping in groupings {
            if seen.contains(&grouping.id) {
                return Err(PersonalizationError::Duplicate(grouping.id));
            }
            seen.push(grouping.id);
            parts.put(PurseGrouping::decode(grouping)?);
        }
        parts.finish()
    }
}

/// A set that is being put together.
#[derive(Default)]
struct Parts {
    public_information: Option<PublicInformation>,
    holder: Option<Holder>,
    management: Option<Management>,
    keys_3des: Option<EncipheredKeySet>,
    keys_sm4: Option<EncipheredKeySet>,
    second_load_keys: Vec<(Algorithm, EncipheredKey)>,
    start: Option<PurseStart>,
    log: Vec<LogRecord>,
    history: Vec<HistoryRecord>,
    transit_records: Vec<TransitRecord>,
    pin: Option<EncipheredPin>,
}

impl Parts {
    fn put(&mut self, grouping: PurseGrouping) {
        match grouping {
            PurseGrouping::Directory(_) => {}
            PurseGrouping::PublicInformation(file) => self.public_information = Some(file),
            PurseGrouping::Holder(file) => self.holder = Some(file),
            PurseGrouping::Management(file) => self.management = Some(file),
            PurseGrouping::Keys(Algorithm::TripleDes, keys) => self.keys_3des = Some(keys),
            PurseGrouping::Keys(Algorithm::Sm4, keys) => self.keys_sm4 = Some(keys),
            PurseGrouping::SecondLoadKey(algorithm, key) => self.second_load_keys.push((algorithm, key)),
            PurseGrouping::Start(start) => self.start = Some(start),
            PurseGrouping::Log(records) => self.log = records,
            PurseGrouping::History(records) => self.history = records,
            PurseGrouping::Pin(pin) => self.pin = Some(pin),
            PurseGrouping::TransitRecord(record) => self.transit_records.push(record),
        }
    }

    fn finish(self) -> Result<PersonalizationData, PersonalizationError> {
        let start = self.start.ok_or(PersonalizationError::Missing(dgi::PURSE_START))?;
        let (keys_in_use, id) = match start.algorithm {
            Algorithm::TripleDes => (self.keys_3des, dgi::KEYS_3DES),
            Algorithm::Sm4 => (self.keys_sm4, dgi::KEYS_SM4),
        };
        keys_in_use.ok_or(PersonalizationError::Missing(id))?;
        let missing = PersonalizationError::Missing;
        Ok(PersonalizationData {
            public_information: self.public_information.ok_or(missing(dgi::PUBLIC_INFORMATION))?,
            holder: self.holder.ok_or(missing(dgi::HOLDER))?,
            management: self.management.ok_or(missing(dgi::MANAGEMENT))?,
            keys_3des: self.keys_3des,
            keys_sm4: self.keys_sm4,
            second_load_keys: self.second_load_keys,
            start,
            log: self.log,
            history: self.history,
            transit_records: self.transit_records,
            pin: self.pin,
        })
    }
}

#[cfg(test)]
mod tests;
