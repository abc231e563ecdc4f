//! The collection of terminal transactions: files that come in pieces, rows that are taken in chunks, what
//! was kept aside, what is missing, which cards have to be examined.
//!
//! A file is recorded whole before a row of it is taken. [`Collection::take_rows`] takes a chunk in one step,
//! with the file's progress in the same step, so a crash anywhere leaves exactly the rest to be taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::journal::{Change, TransactionRecorded};
use tsm_domain::money::{Arrival, CardTransaction, Doubt, Numbering, Transfer, TransferRefusal};
use tsm_domain::{AsideId, CardNumber, InstitutionId, TerminalNumber};

use super::lists::LockRow;
use super::{Books, Recorded};
use crate::error::{Result, StorageError};
use crate::shared::{ChainKey, Note};

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

/// Why a row was kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideReason {
    /// The TAC is wrong.
    TacWrong,
    /// No account has the card.
    UnknownCard,
    /// The institution has no such terminal.
    UnknownTerminal,
    /// Another transaction has this card and counter, or this TAC another counter.
    Contradicts,
    /// More than the books show on the card: a credit is on its way.
    NotYet,
    /// There is no TAC.
    Unproven,
    /// It cannot be read.
    Malformed,
}

/// A row as it was reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedRow {
    /// Follows from the content, so that the same row that comes again is the same.
    pub id: AsideId,
    /// Who reported it.
    pub institution: InstitutionId,
    /// The terminal, where it can be read.
    pub terminal: Option<TerminalNumber>,
    /// The card, where it can be read.
    pub card: Option<CardNumber>,
    /// The file in which it came; none for a notice.
    pub file: Option<String>,
    /// The row, as text.
    pub text: String,
    /// Where in its file it stands and what of it cannot be read, for a row that cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misread: Option<Misread>,
    /// When it came.
    pub at: jiff::Timestamp,
}

/// Why a row cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misread {
    /// The line of the file, from 1.
    pub line: u64,
    /// The field.
    pub field: String,
}

/// A row that was kept aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideRow {
    /// The row, as it came first.
    pub reported: ReportedRow,
    /// Why.
    pub reason: AsideReason,
    /// How the matter was closed, when it was.
    pub closed: Option<AsideClosed>,
}

/// How a row that was kept aside was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideClosed {
    /// When.
    pub at: jiff::Timestamp,
    /// How, in words: `taken`, or what a person decided.
    pub how: String,
}

/// What the centre found out about a row before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// A purchase of a known card with the right TAC.
    Purchase {
        /// The transaction.
        transaction: CardTransaction,
        /// What it moves; nothing for an entry.
        transfer: Option<Transfer>,
        /// What the journal says.
        note: Note,
    },
    /// A terminal locked a card.
    Lock(LockRow),
    /// It is kept aside.
    Aside {
        /// Why.
        reason: AsideReason,
        /// The transaction, if it can be read and its card has an account.
        transaction: Option<CardTransaction>,
    },
}

/// A row to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowStep {
    /// As it was reported.
    pub reported: ReportedRow,
    /// Its number in its terminal, when it has one and the terminal is the institution's.
    pub number: Option<u64>,
    /// What is known of it.
    pub judged: Judged,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowOutcome {
    /// Recorded, and its money moved.
    Recorded,
    /// Recorded before.
    Duplicate,
    /// The lock is recorded.
    LockRecorded,
    /// Kept aside.
    Aside(AsideReason),
}

/// A chunk of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeStep {
    /// The file, and the number of its rows that have been taken before; none for notices.
    pub file: Option<(FileKey, u64)>,
    /// The rows, in order.
    pub rows: Vec<RowStep>,
}

/// Whose numbers are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// The offline transactions of a card.
    Card(CardNumber),
    /// The records of a terminal.
    Terminal(TerminalNumber),
    /// The batches of a terminal.
    Batches(TerminalNumber),
}

/// A card that has to be examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtRow {
    /// The card.
    pub card: CardNumber,
    /// Why.
    pub doubt: Doubt,
    /// Since when.
    pub since: jiff::Timestamp,
}

impl DoubtRow {
    /// Its place in the order of doubts.
    pub(crate) const fn place(&self) -> (jiff::Timestamp, CardNumber) {
        (self.since, self.card)
    }
}

/// The place of a row in the order in which rows were kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AsidePlace {
    /// When.
    pub at: jiff::Timestamp,
    /// Which.
    pub id: AsideId,
}

/// The collection of terminal transactions.
#[async_trait]
pub trait Collection: Send + Sync {
    /// A file begins to come, or goes on. What another content has left under its name gives way when nothing was
    /// taken of it and no byte of it came for two minutes, at once when it was refused, and for a file of signatures
    /// until `upload`, the file that it is about, is received. A content that stays is a conflict.
    async fn begin_file(&self, file: FileRow, upload: Option<FileKey>) -> Result<FileBegun>;
    /// Bytes of a file that is being received. Those that do not begin where the last ended change nothing; when
    /// another content has taken the place of `file`, that is a conflict.
    async fn append_file(&self, file: &FileRow, part: FilePart) -> Result<FileRow>;
    /// Forgets the bytes of a file that is being received: they were not what was promised. Another content in its
    /// place is a conflict.
    async fn restart_file(&self, file: &FileRow) -> Result<FileRow>;
    /// Moves a file to a later stage, or one that was refused and is looked at again to received; moving it there
    /// again changes nothing. Another content in its place is a conflict.
    async fn move_file(&self, file: &FileRow, stage: FileStage, rows: u64) -> Result<FileRow>;
    /// Records a whole file in one step. One with this name and this digest is the same and stays; one with
    /// another digest is a conflict. The number of a terminal's batch is counted.
    async fn record_file(&self, file: FileRow, content: Vec<u8>) -> Result<FileRow>;
    /// A file.
    async fn file(&self, key: FileKey) -> Result<Option<FileRow>>;
    /// Bytes of a file from `from` on, at most `length`.
    async fn file_bytes(&self, key: FileKey, from: u64, length: usize) -> Result<Vec<u8>>;
    /// Files that were announced and have not ended, oldest first.
    async fn unfinished_files(&self, limit: usize) -> Result<Vec<FileRow>>;
    /// Received files whose rows are not all taken, oldest first.
    async fn files_to_take(&self, limit: usize) -> Result<Vec<FileRow>>;
    /// An institution's files in order of name, from `after` on.
    async fn files_of(&self, institution: &InstitutionId, after: &str, limit: usize) -> Result<Vec<FileRow>>;
    /// Takes rows, in order, all in one step. When the file's progress is another one, nothing is taken and the
    /// step is refused as a conflict.
    async fn take_rows(&self, step: TakeStep) -> Result<Vec<RowOutcome>>;
    /// The outcomes of a file's rows, in order.
    async fn outcomes(&self, key: FileKey) -> Result<Vec<RowOutcome>>;
    /// Rows that were kept aside until another report comes, and are not dealt with, oldest first.
    async fn waiting_aside(&self, after: Option<AsidePlace>, limit: usize) -> Result<Vec<AsideRow>>;
    /// Rows that were kept aside and are not dealt with, oldest first, of one institution or of all.
    async fn kept_aside(
        &self,
        institution: Option<&InstitutionId>,
        after: Option<AsidePlace>,
        limit: usize,
    ) -> Result<Vec<AsideRow>>;
    /// All rows about a card that were ever kept aside, oldest first.
    async fn aside_of(&self, card: CardNumber, limit: usize) -> Result<Vec<AsideRow>>;
    /// A row that was kept aside.
    async fn aside(&self, id: AsideId) -> Result<Option<AsideRow>>;
    /// Deals with a row that was kept aside. What was done first stays.
    async fn close_aside(&self, id: AsideId, closed: AsideClosed, books: Books) -> Result<AsideRow>;
    /// What is known of a sequence.
    async fn numbering(&self, of: Counted) -> Result<Numbering>;
    /// A number of a sequence is known to have been given, though nothing came with it.
    async fn expect_number(&self, of: Counted, number: u64, at: jiff::Timestamp) -> Result<()>;
    /// Sequences with missing numbers, in order, from `after` on.
    async fn gaps(&self, after: Option<Counted>, limit: usize) -> Result<Vec<(Counted, Numbering)>>;
    /// Cards that have to be examined, longest first, from after `after` on.
    async fn doubts(&self, after: Option<DoubtRow>, limit: usize) -> Result<Vec<DoubtRow>>;
    /// Ends a doubt, and freezes the card if that is what the examination found.
    async fn settle_doubt(&self, doubt: DoubtRow, freeze: Option<String>, books: Books) -> Result<()>;
}

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

impl AsideReason {
    /// The reason in words, as files and journals write it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::TacWrong => "wrong-tac",
            Self::UnknownCard => "unknown-card",
            Self::UnknownTerminal => "unknown-terminal",
            Self::Contradicts => "contradicts",
            Self::NotYet => "not-yet",
            Self::Unproven => "unproven",
            Self::Malformed => "malformed",
        }
    }

    /// The reasons of rows that may be taken later: a report that comes first is still on its way.
    pub const WAITING: [Self; 2] = [Self::UnknownCard, Self::NotYet];

    /// Whether the reason is one of those.
    pub fn may_heal(self) -> bool {
        Self::WAITING.contains(&self)
    }
}

impl RowOutcome {
    /// All outcomes.
    pub const ALL: [Self; 10] = [
        Self::Recorded,
        Self::Duplicate,
        Self::LockRecorded,
        Self::Aside(AsideReason::TacWrong),
        Self::Aside(AsideReason::UnknownCard),
        Self::Aside(AsideReason::UnknownTerminal),
        Self::Aside(AsideReason::Contradicts),
        Self::Aside(AsideReason::NotYet),
        Self::Aside(AsideReason::Unproven),
        Self::Aside(AsideReason::Malformed),
    ];

    /// One letter, as stores write it.
    pub const fn letter(self) -> char {
        match self {
            Self::Recorded => 'R',
            Self::Duplicate => 'D',
            Self::LockRecorded => 'L',
            Self::Aside(AsideReason::TacWrong) => 'T',
            Self::Aside(AsideReason::UnknownCard) => 'U',
            Self::Aside(AsideReason::UnknownTerminal) => 'X',
            Self::Aside(AsideReason::Contradicts) => 'C',
            Self::Aside(AsideReason::NotYet) => 'N',
            Self::Aside(AsideReason::Unproven) => 'P',
            Self::Aside(AsideReason::Malformed) => 'M',
        }
    }

    /// The outcomes that letters say.
    pub(crate) fn from_letters(letters: &str) -> Result<Vec<Self>> {
        let of = |letter| Self::ALL.into_iter().find(|outcome| outcome.letter() == letter);
        let unknown = || StorageError::corrupt("outcome", "a letter that stands for none");
        letters.chars().map(|letter| of(letter).ok_or_else(unknown)).collect()
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(card) => write!(f, "card {card}"),
            Self::Terminal(terminal) => write!(f, "terminal {terminal}"),
            Self::Batches(terminal) => write!(f, "batches of terminal {terminal}"),
        }
    }
}

impl Counted {
    /// The key as stores write it. Unlike its `Display` it carries the whole card number.
    pub(crate) fn key(self) -> String {
        match self {
            Self::Card(card) => format!("card/{}", card.as_str()),
            Self::Terminal(terminal) => format!("terminal/{terminal}"),
            Self::Batches(terminal) => format!("batches/{terminal}"),
        }
    }

    /// The sequence that a key names.
    pub(crate) fn from_key(key: &str) -> Result<Self> {
        let corrupt = || StorageError::corrupt("numbering", "a key that names nothing");
        let (kind, number) = key.split_once('/').ok_or_else(corrupt)?;
        match kind {
            "card" => number.parse().map(Self::Card).map_err(|_| corrupt()),
            "terminal" => number.parse().map(Self::Terminal).map_err(|_| corrupt()),
            "batches" => number.parse().map(Self::Batches).map_err(|_| corrupt()),
            _ => Err(corrupt()),
        }
    }
}

impl AsideRow {
    /// Its place in the order.
    pub const fn place(&self) -> AsidePlace {
        AsidePlace { at: self.reported.at, id: self.reported.id }
    }

    /// The row, dealt with. What was done first stays.
    pub(crate) fn closed_by(self, closed: AsideClosed) -> Self {
        Self { closed: self.closed.or(Some(closed)), ..self }
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

/// What a chunk adds up to while its rows are taken: the same for every store.
#[derive(Debug, Default)]
pub(crate) struct Taking {
    /// The sequences that the rows are in, as they were read and as they become.
    pub(crate) numberings: BTreeMap<Counted, Numbering>,
    changed: BTreeSet<Counted>,
    /// Rows to keep aside, unless they are kept already.
    pub(crate) aside: Vec<(AsideRow, Option<Note>)>,
    /// Rows that were taken, which may have been kept aside before.
    pub(crate) healed: Vec<(AsideId, jiff::Timestamp)>,
    /// Cards to examine.
    pub(crate) doubts: Vec<DoubtRow>,
    /// What became of each row.
    pub(crate) outcomes: Vec<RowOutcome>,
}

/// How the recording of a purchase ended.
#[derive(Debug)]
pub(crate) enum Purchased {
    /// It was recorded, or had been; the purse of the books now holds this much.
    Recorded(Recorded, tsm_domain::Fen),
    /// The ledger refused its transfer.
    Refused(TransferRefusal),
}

impl Purchased {
    /// What a refusal of the ledger means; every other failure ends the step.
    pub(crate) fn of(recorded: Result<Recorded>) -> Result<std::result::Result<Recorded, TransferRefusal>> {
        match recorded {
            Ok(recorded) => Ok(Ok(recorded)),
            Err(StorageError::Transfer(
                refusal
                @ (TransferRefusal::ExistsWithDifferences(_) | TransferRefusal::ExceedsBalance { .. }),
            )) => Ok(Err(refusal)),
            Err(error) => Err(error),
        }
    }
}

impl Taking {
    /// The sequences that the rows of a step are in.
    pub(crate) fn counted(step: &TakeStep) -> BTreeSet<Counted> {
        let mut all = BTreeSet::new();
        for row in &step.rows {
            if let (Some(terminal), Some(_)) = (row.reported.terminal, row.number) {
                all.insert(Counted::Terminal(terminal));
            }
            if let Judged::Purchase { transaction, .. } = &row.judged {
                all.insert(Counted::Card(transaction.key.card));
            }
        }
        all
    }

    /// The sequences that changed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (Counted, &Numbering)> {
        self.changed.iter().filter_map(|counted| Some((*counted, self.numberings.get(counted)?)))
    }

    /// A row came, whatever it is worth.
    pub(crate) fn came(&mut self, row: &RowStep) {
        if let (Some(terminal), Some(number)) = (row.reported.terminal, row.number) {
            self.count(Counted::Terminal(terminal), number, row.reported.at);
        }
    }

    fn count(&mut self, counted: Counted, number: u64, at: jiff::Timestamp) -> Arrival {
        self.changed.insert(counted);
        self.numberings.entry(counted).or_default().take(number, at)
    }

    /// A purchase was recorded, or not.
    pub(crate) fn purchased(&mut self, row: &RowStep, transaction: &CardTransaction, ended: Purchased) {
        match ended {
            Purchased::Recorded(Recorded::New, purse) => self.is_new(row, transaction, purse),
            Purchased::Recorded(Recorded::Before, _) => self.taken(row, RowOutcome::Duplicate),
            Purchased::Recorded(Recorded::Different(known), _) => {
                self.doubt_contradiction(row, transaction, &known);
                self.keep(row, AsideReason::Contradicts, Some(transaction));
            }
            Purchased::Refused(TransferRefusal::ExceedsBalance { .. }) => {
                self.keep(row, AsideReason::NotYet, Some(transaction));
            }
            Purchased::Refused(_) => self.keep(row, AsideReason::Contradicts, Some(transaction)),
        }
    }

    fn is_new(&mut self, row: &RowStep, transaction: &CardTransaction, purse: tsm_domain::Fen) {
        let key = transaction.key;
        let counted = Counted::Card(key.card);
        // Plain and composite purchases share the counter, so a new one has a number of its own.
        if self.count(counted, key.counter.into(), row.reported.at) == Arrival::Known && key.counter > 0 {
            self.doubt(key.card, Doubt::SameCounter, row.reported.at);
        }
        let numbering = &self.numberings[&counted];
        let is_last = numbering.highest() == u64::from(key.counter);
        let closes_last_gap = !is_last && numbering.is_whole();
        if closes_last_gap || (is_last && transaction.balance_after.is_some_and(|after| after != purse)) {
            self.doubt(key.card, Doubt::Balance, row.reported.at);
        }
        self.taken(row, RowOutcome::Recorded);
    }

    // Two purchases with one counter, each with a TAC of its own: one card cannot have made both.
    fn doubt_contradiction(&mut self, row: &RowStep, new: &CardTransaction, known: &CardTransaction) {
        let highest = self.numberings.get(&Counted::Card(new.key.card)).map_or(0, Numbering::highest);
        let doubt = if u64::from(new.key.counter) < highest && new.at > known.at {
            Doubt::CounterWentBack
        } else {
            Doubt::SameCounter
        };
        self.doubt(new.key.card, doubt, row.reported.at);
    }

    fn doubt(&mut self, card: CardNumber, doubt: Doubt, since: jiff::Timestamp) {
        self.doubts.push(DoubtRow { card, doubt, since });
    }

    /// A lock was recorded.
    pub(crate) fn locked(&mut self, row: &RowStep) {
        self.taken(row, RowOutcome::LockRecorded);
    }

    fn taken(&mut self, row: &RowStep, outcome: RowOutcome) {
        self.healed.push((row.reported.id, row.reported.at));
        self.outcomes.push(outcome);
    }

    /// A row is kept aside.
    pub(crate) fn keep(&mut self, row: &RowStep, reason: AsideReason, transaction: Option<&CardTransaction>) {
        let kept = AsideRow { reported: row.reported.clone(), reason, closed: None };
        let note = transaction.map(|transaction| quarantined(&kept, transaction));
        self.aside.push((kept, note));
        self.outcomes.push(RowOutcome::Aside(reason));
    }

    /// The letters of the outcomes.
    pub(crate) fn letters(&self) -> String {
        self.outcomes.iter().map(|outcome| outcome.letter()).collect()
    }
}

/// A doubt that a card is already under stays, unless the new one proves more.
pub(crate) fn graver(known: Option<DoubtRow>, new: DoubtRow) -> DoubtRow {
    match known {
        Some(known) if known.doubt != Doubt::Balance || new.doubt == Doubt::Balance => known,
        Some(_) | None => new,
    }
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

/// What goes into the books with a purchase.
pub(crate) fn books_of(transfer: Option<&Transfer>, note: &Note) -> Books {
    Books {
        transfers: transfer.cloned().into_iter().collect(),
        notes: vec![note.clone()],
        ..Books::default()
    }
}

fn quarantined(kept: &AsideRow, transaction: &CardTransaction) -> Note {
    let change = Change::Quarantined {
        transaction: TransactionRecorded::of(transaction),
        reason: kept.reason.words().to_owned(),
    };
    let said = json!({ "file": kept.reported.file });
    Note {
        chain: ChainKey::Card(transaction.key.card),
        at: kept.reported.at,
        actor: kept.reported.institution.to_string(),
        event: change.word().to_owned(),
        detail: json!({ "changes": [change], "said": said }).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_a_letter_each() {
        let letters: String = RowOutcome::ALL.into_iter().map(RowOutcome::letter).collect();
        assert_eq!(RowOutcome::from_letters(&letters), Ok(RowOutcome::ALL.to_vec()));
        assert_eq!(letters.chars().collect::<BTreeSet<_>>().len(), letters.len());
        assert!(RowOutcome::from_letters("Z").is_err());
    }

    #[test]
    fn sequences_are_named_by_their_keys() {
        let terminal: TerminalNumber = "099900000042".parse().unwrap();
        let card = CardNumber::compose("31049900", 1).unwrap();
        for counted in [Counted::Card(card), Counted::Terminal(terminal), Counted::Batches(terminal)] {
            assert_eq!(Counted::from_key(&counted.key()), Ok(counted));
        }
        assert!(!Counted::Card(card).to_string().contains(card.as_str()), "a card prints masked");
        assert!(Counted::from_key("card/1").is_err());
    }

    #[test]
    fn a_proof_outweighs_a_balance() {
        let card = CardNumber::compose("31049900", 1).unwrap();
        let row = |doubt| DoubtRow { card, doubt, since: jiff::Timestamp::UNIX_EPOCH };
        let (balance, copy) = (row(Doubt::Balance), row(Doubt::SameCounter));
        assert_eq!(graver(None, balance), balance);
        assert_eq!(graver(Some(balance), copy), copy);
        assert_eq!(graver(Some(copy), balance), copy);
    }
}
