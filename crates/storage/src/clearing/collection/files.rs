//! Files: how one comes in pieces, goes on after a break, and is taken row by row. The rules are the same for every
//! store.

use serde::{Deserialize, Serialize};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::{InstitutionId, TerminalNumber};

use crate::error::{Result, StorageError};

/// How a file is named: by its institution and within it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileKey {
    /// The institution that sends it, or for which the centre made it.
    pub institution: InstitutionId,
    /// Its name.
    pub name: String,
}

/// How far a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStage {
    /// Bytes are missing.
    Receiving,
    /// Recorded whole; rows are to be taken.
    Received,
    /// Every row has its outcome.
    Taken,
    /// Refused as a whole, for this reason.
    Refused(String),
    /// The centre made it for the institution.
    Made,
}

/// A batch of one terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchOf {
    /// The terminal.
    pub terminal: TerminalNumber,
    /// The batch's number, from 1.
    pub sequence: u64,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRow {
    /// Its name.
    pub key: FileKey,
    /// The terminal, when it is a batch of one.
    pub batch: Option<BatchOf>,
    /// How many bytes it has.
    pub size: u64,
    /// Their digest.
    pub digest: Sha256Digest,
    /// How many of them are here.
    pub held: u64,
    /// How far it is.
    pub stage: FileStage,
    /// How many rows it has, known when it is received.
    pub rows: u64,
    /// How many of them have their outcome.
    pub taken: u64,
    /// When it began to come.
    pub begun_at: jiff::Timestamp,
    /// How often what came under this name was refused or had to be forgotten.
    #[serde(default)]
    pub refusals: u32,
    /// When a byte of it came last; none yet, or an older version did not say.
    #[serde(default)]
    pub last_byte_at: Option<jiff::Timestamp>,
}

/// Bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// Where they begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// When they came.
    pub at: jiff::Timestamp,
}

/// What the announcement of a file finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileBegun {
    /// The file, which is new, goes on where it was, or is known whole.
    Here(FileRow),
    /// Another content is coming under its name, and a byte of that came a moment ago.
    Busy,
}

/// For how long the bytes of one content keep another from its name.
const QUIET: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);

impl FileStage {
    /// The name of the stage, as stores write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Received => "received",
            Self::Taken => "taken",
            Self::Refused(_) => "refused",
            Self::Made => "made",
        }
    }
}

/// What a file that begins to come does to the one of its name.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It is the same and goes on.
    Known(FileRow),
    /// It takes the place of one that is worth nothing; what came of that one is forgotten.
    Anew(FileRow),
    /// It has to wait.
    Busy,
}

/// Whether a received file is needed as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    /// It is.
    AsItIs,
    /// It is a file of signatures, and its upload is not received.
    NotYet,
}

impl Needed {
    /// Whether a file of signatures is, for its upload.
    pub(crate) fn by(upload: Option<FileRow>) -> Self {
        match upload.map(|upload| upload.stage) {
            Some(FileStage::Received | FileStage::Taken | FileStage::Made) => Self::AsItIs,
            Some(FileStage::Receiving | FileStage::Refused(_)) | None => Self::NotYet,
        }
    }
}

/// What a file does that begins to come to the one of its name.
pub(crate) fn begun(stored: FileRow, again: FileRow, needed: Needed) -> Result<Begun> {
    if stored.is_same(&again) {
        return Ok(Begun::Known(stored));
    }
    let anew = |refusals| Ok(Begun::Anew(FileRow { refusals, ..again.clone() }));
    let one_more = stored.refusals.saturating_add(1);
    match &stored.stage {
        FileStage::Receiving if stored.held == 0 => anew(stored.refusals),
        FileStage::Receiving if stored.is_quiet(again.begun_at) => anew(one_more),
        FileStage::Receiving => Ok(Begun::Busy),
        FileStage::Refused(_) => anew(one_more),
        FileStage::Received | FileStage::Taken if needed == Needed::NotYet => anew(one_more),
        FileStage::Received | FileStage::Taken | FileStage::Made => {
            Err(StorageError::conflict("file", &again.key.name))
        }
    }
}

impl FileRow {
    /// Since when no byte of it has come.
    pub fn idle_since(&self) -> jiff::Timestamp {
        self.last_byte_at.unwrap_or(self.begun_at)
    }

    /// Whether what another announces is this file.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.size, self.digest) == (other.size, other.digest)
    }

    // A clock that was put back must not keep a name for ever.
    fn is_quiet(&self, now: jiff::Timestamp) -> bool {
        now.duration_since(self.idle_since()).abs() >= QUIET
    }
}

/// A file that is recorded again, or goes on, must be the same; gives the row that stays.
pub(crate) fn same_file(stored: FileRow, again: &FileRow) -> Result<FileRow> {
    if stored.is_same(again) { Ok(stored) } else { Err(StorageError::conflict("file", &again.key.name)) }
}

/// A file after bytes; none when they are not the next ones.
pub(crate) fn appended(file: &FileRow, part: &FilePart) -> Option<FileRow> {
    let held = file.held.checked_add(part.bytes.len() as u64)?;
    let is_next = file.stage == FileStage::Receiving && part.offset == file.held;
    let fits = is_next && held <= file.size && !part.bytes.is_empty();
    fits.then(|| FileRow { held, last_byte_at: Some(part.at), ..file.clone() })
}

/// A file at a later stage.
pub(crate) fn moved(file: FileRow, stage: FileStage, rows: u64) -> Result<FileRow> {
    if file.stage == stage {
        return Ok(file);
    }
    let fits = match (&file.stage, &stage) {
        (FileStage::Receiving, FileStage::Received | FileStage::Refused(_))
        | (FileStage::Refused(_), FileStage::Received) => file.held == file.size,
        (FileStage::Received, FileStage::Taken) => file.taken == file.rows,
        _ => false,
    };
    if !fits {
        return Err(StorageError::conflict("file", &file.key.name));
    }
    let rows = if stage == FileStage::Received { rows } else { file.rows };
    Ok(FileRow { stage, rows, ..file })
}

/// A file whose bytes are forgotten.
pub(crate) fn restarted(file: FileRow) -> Result<FileRow> {
    match file.stage {
        FileStage::Receiving => {
            let refusals = file.refusals.saturating_add(1);
            Ok(FileRow { held: 0, refusals, last_byte_at: None, ..file })
        }
        FileStage::Received | FileStage::Taken | FileStage::Refused(_) | FileStage::Made => {
            Err(StorageError::conflict("file", &file.key.name))
        }
    }
}

/// A file after a chunk of its rows.
pub(crate) fn advanced(file: FileRow, before: u64, rows: u64) -> Result<FileRow> {
    let taken = before.saturating_add(rows);
    if file.stage != FileStage::Received || file.taken != before || taken > file.rows {
        return Err(StorageError::conflict("file", &file.key.name));
    }
    Ok(FileRow { taken, ..file })
}

/// The bytes from `from` to `to` out of parts that follow each other, each with its place.
pub(crate) fn piece(parts: Vec<(i64, Vec<u8>)>, from: i64, to: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (start, content) in parts {
        let within = |place: i64| usize::try_from(place - start).unwrap_or(0).min(content.len());
        bytes.extend_from_slice(&content[within(from)..within(to)]);
    }
    bytes
}
