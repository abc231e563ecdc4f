//! The collection of terminal transactions: files that come in pieces, rows that are taken in chunks, what
//! was kept aside, what is missing, which cards have to be examined.
//!
//! A file is recorded whole before a row of it is taken. [`Collection::take_rows`] takes a chunk in one step,
//! with the file's progress in the same step, so a crash anywhere leaves exactly the rest to be taken.

mod files;
mod taking;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::{CardTransaction, Doubt, Numbering, Transfer};
use tsm_domain::{AsideId, CardNumber, InstitutionId, TerminalNumber};

use super::Books;
use super::lists::LockRow;
use crate::error::{Result, StorageError};
use crate::shared::Note;

pub use files::{BatchOf, FileBegun, FileKey, FilePart, FileRow, FileStage};
pub(crate) use files::{Begun, Needed, advanced, appended, begun, moved, piece, restarted, same_file};
pub(crate) use taking::{Purchased, Taking, books_of, graver};

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
}
