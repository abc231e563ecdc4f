//! What terminals signed of an upload. A file with rows of a terminal whose key is registered is taken only when a
//! file of signatures stands beside it, in which the terminal has signed these rows: all of them, in this order, and
//! none that is not there. It is brought before the upload. Rows of terminals without keys need none, so that the
//! files of a settlement partner go as the standard says (JT/T 978.4-2015).

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest as _, Sha256};
use tsm_api::clearing::collection::BatchHeader;
use tsm_api::clearing_files::{Kind, RECORDS_BEGIN, Record as _, SignedRows, TransactionRecord, read_file};
use tsm_api::signature::MessageVerifier;
use tsm_domain::TerminalNumber;
use tsm_storage::Result;
use tsm_storage::clearing::collection::{FileKey, FileRow, FileStage};

use super::file_key;
use crate::clearing::Clearing;

/// The largest file of signatures: those of four thousand batches.
pub(super) const LARGEST: u64 = 1 << 20;
/// Lines that are read at once.
const LINES: u64 = 2_000;
const LINE: u64 = TransactionRecord::LENGTH as u64 + 1;

/// What a file's terminals say of it.
pub(super) enum Signed {
    /// They have signed it, or need not.
    Fits,
    /// Nobody has brought what they signed.
    Missing,
    /// It is not what they signed.
    Wrong(String),
}

/// The upload that a file of signatures is about.
pub(super) fn upload_of(signatures: &FileKey) -> Option<FileKey> {
    let rest = signatures.name.strip_prefix(Kind::Signatures.letters())?;
    Some(file_key(&signatures.institution, &format!("{}{rest}", Kind::Upload.letters())))
}

impl Clearing {
    /// What its terminals say of an upload whose bytes are all here.
    pub(super) async fn signed_rows(&self, file: &FileRow, rows: u64) -> Result<Signed> {
        let operator = file.key.institution.as_str();
        // Whose terminals have no keys is not asked for them, and its files are read once less.
        if !self.terminals.has_keys(operator) {
            return Ok(Signed::Fits);
        }
        let brought = self.signatures_beside(&file.key).await?;
        let is_missing = brought.is_none();
        let mut told = match Told::read(brought.unwrap_or_default()) {
            Ok(told) => told,
            Err(wrong) => return Ok(Signed::Wrong(wrong)),
        };
        let mut done = 0;
        while done < rows {
            let some = LINES.min(rows - done);
            let from = RECORDS_BEGIN as u64 + done * LINE;
            let bytes = self.store.file_bytes(file.key.clone(), from, (some * LINE) as usize).await?;
            done += some;
            for line in bytes.chunks(LINE as usize) {
                // What cannot be read is nobody's row, and is kept aside as such.
                let record = TransactionRecord::decode(line.strip_suffix(b"\n").unwrap_or(line));
                let Ok(record) = record else { continue };
                let registered = self.terminals.of_operator(operator, record.terminal);
                let Some(key) = registered.and_then(|terminal| terminal.key.as_ref()) else { continue };
                if is_missing {
                    return Ok(Signed::Missing);
                }
                if let Err(wrong) = told.row(&record, line, key) {
                    return Ok(Signed::Wrong(wrong));
                }
            }
        }
        Ok(told.end().map_or(Signed::Fits, Signed::Wrong))
    }

    async fn signatures_beside(&self, upload: &FileKey) -> Result<Option<Vec<u8>>> {
        let Some(name) = Kind::Signatures.beside(&upload.name) else { return Ok(None) };
        let key = file_key(&upload.institution, &name);
        match self.store.file(key.clone()).await? {
            Some(FileRow { stage: FileStage::Received | FileStage::Taken, size, .. }) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                self.store.file_bytes(key, 0, size).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Why a file of signatures, whose bytes are all here, is none.
    pub(super) async fn unreadable_signatures(&self, file: &FileRow) -> Result<Option<String>> {
        if file.size > LARGEST {
            return Ok(Some("a file of signatures is smaller".into()));
        }
        let bytes = self.store.file_bytes(file.key.clone(), 0, LARGEST as usize).await?;
        Ok(read_file::<SignedRows>(&bytes).err().map(|error| error.to_string()))
    }
}

/// What is still to come of each terminal's rows.
struct Told(BTreeMap<TerminalNumber, VecDeque<Batch>>);

/// One batch, as far as its rows have come.
struct Batch {
    signed: SignedRows,
    rows: u32,
    sum_fen: u64,
    digest: Sha256,
}

impl Told {
    fn read(brought: Vec<u8>) -> std::result::Result<Self, String> {
        let mut told: BTreeMap<TerminalNumber, VecDeque<Batch>> = BTreeMap::new();
        if brought.is_empty() {
            return Ok(Self(told));
        }
        let (_, all) = read_file::<SignedRows>(&brought).map_err(|error| error.to_string())?;
        for signed in all {
            let batch = Batch { signed, rows: 0, sum_fen: 0, digest: Sha256::new() };
            told.entry(batch.signed.terminal).or_default().push_back(batch);
        }
        Ok(Self(told))
    }

    /// The next row of a terminal with this key.
    fn row(
        &mut self,
        record: &TransactionRecord,
        line: &[u8],
        key: &MessageVerifier,
    ) -> std::result::Result<(), String> {
        let terminal = record.terminal;
        let batches = self.0.entry(terminal).or_default();
        let Some(batch) = batches.front_mut() else {
            return Err(format!("terminal {terminal} has not signed all of its rows"));
        };
        batch.digest.update(line);
        batch.rows += 1;
        batch.sum_fen += u64::from(record.amount_fen);
        if batch.rows < batch.signed.rows {
            return Ok(());
        }
        let header = batch.signed.to_header();
        let digest: [u8; 32] = std::mem::take(&mut batch.digest).finalize().into();
        let is_same = (batch.rows, batch.sum_fen) == (batch.signed.rows, batch.signed.sum_fen)
            && batch.signed.digest.0 == digest;
        batches.pop_front();
        if !is_same {
            return Err(format!("the rows of terminal {terminal} are not those that it has signed"));
        }
        is_signed(&header, key)
            .then_some(())
            .ok_or_else(|| format!("terminal {terminal} has not signed its rows"))
    }

    /// What was signed and is not there.
    fn end(self) -> Option<String> {
        let left = self.0.into_iter().find(|(_, batches)| !batches.is_empty());
        left.map(|(terminal, _)| format!("rows that terminal {terminal} has signed are not there"))
    }
}

fn is_signed(header: &BatchHeader, key: &MessageVerifier) -> bool {
    let signature = header.signature.as_ref();
    signature.is_some_and(|signature| key.verify(&header.signed_bytes(), signature.as_bytes()).is_ok())
}
