//! Collection of terminal transactions at the centre: batches of a terminal, files of an institution, what
//! was kept aside and what is missing (B-7.3.1).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ConsumptionVerdict;
use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// A terminal's batch.
pub const BATCH: Endpoint<TerminalBatch, BatchReceipt> = Endpoint::post(
    "/peer/v1/batches",
    Access::Peer,
    "Delivers a batch of a terminal; it is recorded whole before it is taken, and taken once.",
);
/// What became of a batch.
pub const BATCH_STATE: Endpoint<Nothing, BatchReceipt> = Endpoint::get(
    "/peer/v1/batches/{batch}",
    Access::Peer,
    "What became of a terminal's batch, named terminal, hyphen, sequence number.",
);
/// A piece of a file.
pub const FILE_PIECE: Endpoint<FilePiece, FileRecord> = Endpoint::post(
    "/peer/v1/files",
    Access::Peer,
    "Uploads a piece of a file; the answer says from which byte to go on.",
);
/// What became of a file.
pub const FILE: Endpoint<Nothing, FileRecord> =
    Endpoint::get("/peer/v1/files/{name}", Access::Peer, "What became of an uploaded file.");
/// A piece of a file from the centre.
pub const FILE_CONTENT: Endpoint<FileContentQuery, FileContent> = Endpoint::get(
    "/peer/v1/results/{name}",
    Access::Peer,
    "A piece of a file that the centre made for the caller.",
);
/// The centre's files for the caller.
pub const RESULTS: Endpoint<Nothing, ResultList> = Endpoint::get(
    "/peer/v1/results",
    Access::Peer,
    "The files that the centre made for the caller: cleared, rejected, processed, listed.",
);
/// What was kept aside.
pub const QUARANTINE: Endpoint<PageQuery, QuarantinePage> = Endpoint::get(
    "/peer/v1/quarantine",
    Access::Peer,
    "The caller's transactions that were kept aside, each with its reason.",
);
/// What is missing.
pub const GAPS: Endpoint<PageQuery, GapPage> = Endpoint::get(
    "/peer/v1/gaps",
    Access::Peer,
    "The numbers that are missing between records of the caller's terminals.",
);

/// Every endpoint of the collection.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        BATCH.describe(),
        BATCH_STATE.describe(),
        FILE_PIECE.describe(),
        FILE.describe(),
        FILE_CONTENT.describe(),
        RESULTS.describe(),
        QUARANTINE.describe(),
        GAPS.describe(),
    ]
}

/// What stands before a terminal's batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchHeader {
    /// The terminal.
    pub terminal: HexBytes,
    /// The batch's number at this terminal, from 1, without a gap.
    pub sequence: u64,
    /// How many rows.
    pub count: u32,
    /// The sum of the rows' amounts.
    pub sum_fen: u64,
    /// SHA-256 of the rows, each as its line in an upload file
    /// ([`crate::clearing_files::rows_digest`]).
    pub digest: HexBytes,
    /// The signature of the terminal's store over [`Self::signed_bytes`]; a terminal that is registered with
    /// a key must sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<HexBytes>,
}

/// A batch of a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TerminalBatch {
    /// The header.
    pub header: BatchHeader,
    /// The rows, in order of number.
    pub rows: Vec<BatchRow>,
}

/// One record of a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchRow {
    /// The record's number in this terminal, from 1, without a gap.
    pub number: u64,
    /// The application serial number of the card.
    pub card: HexBytes,
    /// 06 simple, 09 composite purchase, 0A the terminal locked the card.
    pub transaction_type: u8,
    /// How much; 0 for an entry or a lock.
    pub amount_fen: u32,
    /// The balance after it.
    pub balance_fen: u32,
    /// The card's offline counter after the transaction; 0 for a lock.
    pub offline_counter: u16,
    /// The PSAM's transaction number; 0 for a lock.
    pub terminal_counter: u32,
    /// The date, as on the card.
    pub date: HexBytes,
    /// The time, as on the card.
    pub time: HexBytes,
    /// The TAC; absent for a lock, and when the answer of the card was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tac: Option<HexBytes>,
}

/// How far a batch or file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileStage {
    /// Bytes are missing.
    Receiving,
    /// Recorded whole; being taken.
    Received,
    /// Every row has its verdict.
    Taken,
    /// Refused as a whole.
    Refused,
}

/// What became of a batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchReceipt {
    /// The terminal.
    pub terminal: HexBytes,
    /// The batch's number.
    pub sequence: u64,
    /// How far it is. When it is received, the terminal may forget its records.
    pub stage: FileStage,
    /// The verdict on each row, in order, when it is taken.
    pub verdicts: Vec<RowVerdict>,
}

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowVerdict {
    /// Verified and recorded.
    Recorded,
    /// Recorded before.
    Duplicate,
    /// The lock is recorded.
    LockRecorded,
    /// The TAC is wrong.
    TacWrong,
    /// No account has this card.
    UnknownCard,
    /// No terminal of the reporting institution has this number.
    UnknownTerminal,
    /// Another transaction with this card and counter is recorded, or this TAC under another counter.
    Contradicts,
    /// Verified, and more than the books show on the card; the centre takes it when the credit comes.
    NotYet,
    /// It has no TAC: only the card's next transactions can tell.
    Unproven,
    /// A field cannot be read.
    Malformed,
}

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FilePiece {
    /// The file's name. It begins with UP; what terminals signed of it comes before it, in the file whose name begins
    /// with SG and ends as it does.
    pub name: String,
    /// The size of the whole file.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub digest: HexBytes,
    /// Where this piece begins.
    pub offset: u64,
    /// The bytes.
    pub content: HexBytes,
}

/// An uploaded file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileRecord {
    /// The file's name.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// Bytes that the centre has.
    pub held: u64,
    /// How far it is.
    pub stage: FileStage,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Rows that have their verdict.
    pub rows_taken: u64,
    /// How many rows got each verdict.
    pub counts: Vec<VerdictCount>,
}

/// How many rows got a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerdictCount {
    /// The verdict.
    pub verdict: RowVerdict,
    /// How many rows.
    pub rows: u64,
}

/// Which piece of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileContentQuery {
    /// From which byte on.
    pub offset: u64,
}

/// A piece of a file that the centre made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileContent {
    /// The size of the whole file.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub digest: HexBytes,
    /// The bytes from the offset on, at most a megabyte; none at the end.
    pub content: HexBytes,
}

/// The files that the centre made for the caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultList {
    /// In order of name.
    pub files: Vec<ResultFile>,
}

/// A file that the centre made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResultFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: u64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
}

/// Which page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PageQuery {
    /// After this entry, as the last page gave it; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A page of what was kept aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantinePage {
    /// The entries, oldest first.
    pub entries: Vec<QuarantineEntry>,
    /// Where the next page begins; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A transaction that was kept aside.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct QuarantineEntry {
    /// Its identity.
    pub id: String,
    /// Why.
    pub reason: RowVerdict,
    /// The terminal that reported it, where that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<HexBytes>,
    /// The batch or file in which it came; absent for a notice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The row as it was reported, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<BatchRow>,
    /// The line of its file, from 1, of a row that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The field of it that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When it came first.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Whose numbers are missing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapSubject {
    /// Record numbers of a terminal.
    Terminal(HexBytes),
    /// Batch numbers of a terminal.
    Batches(HexBytes),
}

/// Missing numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// Whose.
    pub subject: GapSubject,
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub to: u64,
    /// Since when that is known.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A page of missing numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct GapPage {
    /// The gaps, in order of subject and number.
    pub gaps: Vec<Gap>,
    /// Where the next page begins; absent after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl BatchHeader {
    /// The bytes that the terminal's store signs.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let Self { terminal, sequence, count, sum_fen, digest, signature: _ } = self;
        format!("OPENTSM-BATCH-1\n{terminal}\n{sequence}\n{count}\n{sum_fen}\n{digest}\n").into_bytes()
    }
}

impl RowVerdict {
    /// All verdicts, in order.
    pub const ALL: [Self; 10] = [
        Self::Recorded,
        Self::Duplicate,
        Self::LockRecorded,
        Self::TacWrong,
        Self::UnknownCard,
        Self::UnknownTerminal,
        Self::Contradicts,
        Self::NotYet,
        Self::Unproven,
        Self::Malformed,
    ];
}

impl From<RowVerdict> for ConsumptionVerdict {
    /// What a notice is told, which is never one of a lock.
    fn from(verdict: RowVerdict) -> Self {
        match verdict {
            RowVerdict::Recorded | RowVerdict::LockRecorded => Self::Recorded,
            RowVerdict::Duplicate => Self::Duplicate,
            RowVerdict::TacWrong => Self::TacWrong,
            RowVerdict::UnknownCard => Self::UnknownCard,
            RowVerdict::Contradicts => Self::Contradicts,
            RowVerdict::NotYet => Self::NotYet,
            RowVerdict::Unproven => Self::Unproven,
            RowVerdict::UnknownTerminal | RowVerdict::Malformed => Self::Malformed,
        }
    }
}
