//! A store in four files: the journal, its anchor, the list of cards, and the fares.

use serde::{Deserialize, Serialize};
use tsm_domain::money::fare::FareBook;
use tsm_epurse::TerminalNumber;

use super::{
    Line, Medium, MediumError, StoreError, TerminalStore,
    anchor::{Anchor, SLOT},
    log::{self, LogError, LogWriter, StoreKey},
};
use crate::{
    black_list::ListInUse,
    state::{StoreLoss, TerminalState},
};

const JOURNAL: &str = "journal";
const ANCHOR: &str = "anchor";
const LIST: &str = "list";
const FARES: &str = "fares";

/// After so many bytes of lines a snapshot takes their place.
const COMPACT_AFTER: u64 = 4 << 20;

/// A terminal's store in files.
#[derive(Debug)]
pub struct FileStore<M> {
    medium: M,
    key: StoreKey,
    terminal: TerminalNumber,
    writer: LogWriter,
    length: u64,
    snapshot_length: u64,
}

/// What to do when lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// Open nothing: a person has to look.
    Refuse,
    /// Go on with what is there; the loss is written down and stays visible.
    GoOn,
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened<M> {
    /// The store.
    pub store: FileStore<M>,
    /// The state to go on from.
    pub state: TerminalState,
    /// The list of cards, if there is one that can be used.
    pub list: Option<ListInUse>,
    /// The versions of the fare table, if there are any that can be used.
    pub fares: Option<FareBook>,
    /// What was found.
    pub remarks: Vec<Remark>,
}

/// Something found on opening that is no reason to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remark {
    /// A write had been torn by a power failure; so many bytes were cut off. Nothing rested on it.
    TornWrite {
        /// How many.
        bytes: u64,
    },
    /// Lines were missing; the terminal goes on because it was told to.
    LinesMissing(StoreLoss),
    /// The list of cards could not be used; the terminal needs a new one.
    ListDamaged,
    /// The fare tables were damaged; the terminal needs them again.
    FaresDamaged,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FileStoreError {
    /// The disk failed.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The journal cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Lines are missing: the tail was cut off, or something in the middle was changed.
    #[error("{} lines of the journal were written and only {} are there; its end is missing or was changed", .0.written, .0.found)]
    LinesMissing(StoreLoss),
    /// The journal is there and its anchor is not: nobody knows whether lines are missing.
    #[error("the journal's anchor is missing or was changed")]
    NoAnchor,
    /// The anchor names another line than the journal has.
    #[error("the journal was replaced by another one")]
    AnotherJournal,
    /// A line holds together and cannot be read.
    #[error("a line of the journal cannot be read")]
    Line(#[source] serde_json::Error),
}

impl From<MediumError> for StoreError {
    fn from(error: MediumError) -> Self {
        Self(Box::new(error))
    }
}

impl<M: Medium> FileStore<M> {
    /// Opens the store of `terminal`, or begins one where there is none.
    pub fn open(
        medium: M,
        key: StoreKey,
        terminal: TerminalNumber,
        on_loss: OnLoss,
    ) -> Result<Opened<M>, FileStoreError> {
        let slots = medium.read(ANCHOR)?.unwrap_or_default();
        let anchor = Anchor::read(&slots, &key, terminal);
        let Some(bytes) = medium.read(JOURNAL)? else {
            // A store begins with the first slot of its anchor, so this may be where its power failed.
            let written = match anchor {
                Some(anchor) => anchor.index,
                None if slots.len() <= SLOT => 0,
                None => 1,
            };
            if written == 0 {
                return Self::begin(medium, key, terminal, 0, Vec::new());
            }
            let remark = loss(StoreLoss { written, found: 0 }, on_loss)?;
            return Self::begin(medium, key, terminal, written.saturating_add(1), vec![remark]);
        };
        let read = log::read(&bytes, &key, terminal)?;
        let mut remarks = check_anchor(&read, anchor, on_loss)?;
        let mut state: TerminalState = payload(read.payloads[0])?;
        for line in &read.payloads[1..] {
            state.apply(&payload::<Line>(line)?);
        }
        let torn = (bytes.len() - read.whole) as u64;
        if torn > 0 {
            remarks.push(Remark::TornWrite { bytes: torn });
        }
        let (length, writer) = (read.whole as u64, read.writer(key.clone()));
        let snapshot_length = (log::HEADER + log::OVERHEAD + read.payloads[0].len()) as u64;
        let list = read_sealed(&medium, LIST, &key, terminal)?;
        if list == Sealed::Damaged {
            remarks.push(Remark::ListDamaged);
        }
        let fares = read_sealed(&medium, FARES, &key, terminal)?;
        if fares == Sealed::Damaged {
            remarks.push(Remark::FaresDamaged);
        }
        let mut store = Self { medium, key, terminal, writer, length, snapshot_length };
        // From here on the anchor names what was found.
        store.write_anchor()?;
        Ok(Opened { store, state, list: list.whole(), fares: fares.whole(), remarks })
    }

    fn begin(
        medium: M,
        key: StoreKey,
        terminal: TerminalNumber,
        index: u64,
        remarks: Vec<Remark>,
    ) -> Result<Opened<M>, FileStoreError> {
        let state = TerminalState::default();
        let snapshot = serde_json::to_vec(&state).map_err(FileStoreError::Line)?;
        let (writer, bytes) = LogWriter::begin(key.clone(), terminal, index, &snapshot);
        let length = bytes.len() as u64;
        let mut store = Self { medium, key, terminal, writer, length, snapshot_length: length };
        store.write_anchor()?;
        store.medium.replace(JOURNAL, &bytes)?;
        Ok(Opened { store, state, list: None, fares: None, remarks })
    }

    fn write_anchor(&mut self) -> Result<(), MediumError> {
        let anchor = Anchor { index: self.writer.index(), chain: self.writer.chain() };
        let slot = anchor.encode(&self.key, self.terminal);
        self.medium.write_at(ANCHOR, anchor.place(), &slot)
    }
}

impl<M: Medium> TerminalStore for FileStore<M> {
    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        let payload = serde_json::to_vec(line).map_err(|error| StoreError(Box::new(error)))?;
        let frame = self.writer.frame(&payload);
        self.medium.append(JOURNAL, self.length, &frame)?;
        self.length += frame.len() as u64;
        Ok(self.write_anchor()?)
    }

    fn wants_compaction(&self) -> bool {
        self.length - self.snapshot_length > COMPACT_AFTER.max(self.snapshot_length)
    }

    fn compact(&mut self, state: &TerminalState) -> Result<(), StoreError> {
        let snapshot = serde_json::to_vec(state).map_err(|error| StoreError(Box::new(error)))?;
        let index = self.writer.index().saturating_add(1);
        let (writer, bytes) = LogWriter::begin(self.key.clone(), self.terminal, index, &snapshot);
        self.medium.replace(JOURNAL, &bytes)?;
        self.writer = writer;
        self.length = bytes.len() as u64;
        self.snapshot_length = self.length;
        Ok(self.write_anchor()?)
    }

    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError> {
        self.keep_sealed(LIST, list)
    }

    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError> {
        self.keep_sealed(FARES, fares)
    }
}

impl<M: Medium> FileStore<M> {
    fn keep_sealed(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), StoreError> {
        let content = serde_json::to_vec(value).map_err(|error| StoreError(Box::new(error)))?;
        let seal = self.key.mac(&[name.as_bytes(), &self.terminal.to_bytes(), &content]);
        Ok(self.medium.replace(name, &[&seal[..], &content].concat())?)
    }
}

/// What a file under the store's key holds.
#[derive(Debug, PartialEq, Eq)]
enum Sealed<T> {
    Missing,
    Damaged,
    Whole(T),
}

impl<T> Sealed<T> {
    fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Missing | Self::Damaged => None,
        }
    }
}

fn check_anchor(
    read: &log::ReadLog<'_>,
    anchor: Option<Anchor>,
    on_loss: OnLoss,
) -> Result<Vec<Remark>, FileStoreError> {
    let anchor = match (anchor, on_loss) {
        (Some(anchor), _) => anchor,
        (None, OnLoss::Refuse) => return Err(FileStoreError::NoAnchor),
        (None, OnLoss::GoOn) => {
            let found = read.last();
            return Ok(vec![Remark::LinesMissing(StoreLoss { written: found, found })]);
        }
    };
    if anchor.index > read.last() {
        let missing = StoreLoss { written: anchor.index, found: read.last() };
        return Ok(vec![loss(missing, on_loss)?]);
    }
    match read.chain_at(anchor.index) {
        Some(chain) if chain != anchor.chain && on_loss == OnLoss::Refuse => {
            Err(FileStoreError::AnotherJournal)
        }
        // An older line than the snapshot is part of it.
        Some(_) | None => Ok(Vec::new()),
    }
}

fn loss(missing: StoreLoss, on_loss: OnLoss) -> Result<Remark, FileStoreError> {
    match on_loss {
        OnLoss::Refuse => Err(FileStoreError::LinesMissing(missing)),
        OnLoss::GoOn => Ok(Remark::LinesMissing(missing)),
    }
}

fn read_sealed<M: Medium, T: for<'de> Deserialize<'de>>(
    medium: &M,
    name: &'static str,
    key: &StoreKey,
    terminal: TerminalNumber,
) -> Result<Sealed<T>, MediumError> {
    let Some(bytes) = medium.read(name)? else { return Ok(Sealed::Missing) };
    let value = bytes.split_first_chunk::<{ log::CHAIN }>().and_then(|(seal, content)| {
        let expected = key.mac(&[name.as_bytes(), &terminal.to_bytes(), content]);
        if expected != *seal {
            return None;
        }
        serde_json::from_slice(content).ok()
    });
    Ok(value.map_or(Sealed::Damaged, Sealed::Whole))
}

fn payload<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, FileStoreError> {
    serde_json::from_slice(bytes).map_err(FileStoreError::Line)
}
