//! What an institution gets back for a file: CL, what was cleared; FB, what was kept aside; LD, that the file
//! was processed.

use tsm_api::clearing_files::{self, ListedRecord, ProcessedFile, Record, RejectRecord, TransactionRecord};
use tsm_api::problem::Problem;
use tsm_domain::InstitutionId;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::ListVersion;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{AsideReason, FileKey, FileRow, FileStage, RowOutcome};

use super::judge::Row;
use super::refusals::Flaw;
use super::take::{first_line, first_row};
use super::{file_key, problem};
use crate::clearing::Clearing;
use crate::purse::card_time;

/// What an LD says of a file that was refused as a whole.
const REFUSED: u8 = 3;
/// Characters of a file's own name in the name of what is made for a refused one.
const OWN_NAME: usize = 39;

/// Lines that are read at once.
const LINES: usize = 2_000;
const LINE: usize = TransactionRecord::LENGTH as usize + 1;

impl Clearing {
    /// Makes the files; making them again changes nothing.
    pub(super) async fn make_results(&self, file: &FileRow) -> Result<(), Problem> {
        let Some(rest) = file.key.name.strip_prefix("UP").filter(|_| file.batch.is_none()) else {
            return Ok(());
        };
        let outcomes = self.store.outcomes(file.key.clone()).await.map_err(problem)?;
        let (mut cleared, mut rejected, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        let mut serial: u64 = 0;
        for (chunk, outcomes) in (0u64..).zip(outcomes.chunks(LINES)) {
            let from = first_row(file) + chunk * (LINES * LINE) as u64;
            let bytes = self.store.file_bytes(file.key.clone(), from, outcomes.len() * LINE).await;
            let bytes = bytes.map_err(problem)?;
            for (line, outcome) in bytes.chunks(LINE).zip(outcomes) {
                serial += 1;
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let number = first_line(file) + serial - 1;
                if *outcome == RowOutcome::Aside(AsideReason::Malformed) {
                    let field =
                        Row::of_line(line, number).misread.map_or_else(String::new, |misread| misread.field);
                    rejected.push(rejection(line, serial, number, &field));
                    unreadable.push((number, field));
                    continue;
                }
                let Ok(record) = TransactionRecord::decode(line) else { continue };
                match outcome {
                    RowOutcome::Recorded => {
                        cleared.push(TransactionRecord { centre_serial: serial, ..record })
                    }
                    RowOutcome::Aside(reason) => {
                        let (error, text) = error_of(*reason);
                        rejected.push(RejectRecord::of(&record, serial, error, text));
                    }
                    RowOutcome::Duplicate | RowOutcome::LockRecorded => {}
                }
            }
        }
        self.report_unreadable(file, &unreadable).await.map_err(problem)?;
        let aside = outcomes.iter().filter(|outcome| matches!(outcome, RowOutcome::Aside(_))).count();
        let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let processed = ProcessedFile {
            name: file.key.name.clone(),
            digest: file.digest,
            records: narrow(outcomes.len()),
            taken: narrow(outcomes.len() - aside),
            rejected: narrow(aside),
            result: 0,
        };
        self.make(file, format!("CL{rest}"), &cleared).await?;
        self.make(file, format!("FB{rest}"), &rejected).await?;
        self.make(file, format!("LD{rest}"), &[processed]).await
    }

    /// What the institution gets for a file that was refused as a whole: an LD that says so, and an FB with the line
    /// and what is wrong in it. Their names carry the beginning of the file's digest, since the right file may still
    /// come and have its own; no name of an upload has the character before it.
    pub(super) async fn make_refusal(&self, file: &FileRow, flaw: &Flaw) -> Result<(), StorageError> {
        let Some(rest) = file.key.name.strip_prefix("UP") else { return Ok(()) };
        let own: String = rest.chars().take(OWN_NAME).collect();
        let rest = format!("{own}~{}", &file.digest.to_string()[..8]);
        let processed = ProcessedFile {
            name: file.key.name.clone(),
            digest: file.digest,
            records: 0,
            taken: 0,
            rejected: 0,
            result: REFUSED,
        };
        let why = RejectRecord::of_unreadable(0, FILE_REFUSED, &flaw.words());
        self.make_once(file, format!("FB{rest}"), &[why]).await?;
        self.make_once(file, format!("LD{rest}"), &[processed]).await
    }

    async fn make_once<R: Record>(
        &self,
        of: &FileRow,
        name: String,
        records: &[R],
    ) -> Result<(), StorageError> {
        let key = file_key(&of.key.institution, &name);
        match self.record_made(key, of.begun_at, records).await {
            // The same file was refused before, on another day.
            Ok(()) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The list of refused cards as a file for an institution (UC), one for each version at which it asks; making
    /// it again changes nothing.
    pub(super) async fn make_list_file(&self, institution: &InstitutionId) -> Result<(), Problem> {
        let version = self.store.list_version().await.map_err(problem)?;
        let name = |version: ListVersion| format!("UC{:012}", version.0);
        let known = self.store.file(file_key(institution, &name(version))).await.map_err(problem)?;
        if version == ListVersion::NONE || known.is_some() {
            return Ok(());
        }
        let list = self.card_list().await?;
        let records: Vec<_> = list.cards().map(ListedRecord::of).collect();
        let key = file_key(institution, &name(list.version()));
        match self.record_made(key, self.now(), &records).await {
            // Another process made it at another moment.
            Ok(()) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(error) => Err(problem(error)),
        }
    }

    async fn make<R: Record>(&self, of: &FileRow, name: String, records: &[R]) -> Result<(), Problem> {
        let key = file_key(&of.key.institution, &name);
        self.record_made(key, of.begun_at, records).await.map_err(problem)
    }

    async fn record_made<R: Record>(
        &self,
        key: FileKey,
        dated: jiff::Timestamp,
        records: &[R],
    ) -> Result<(), StorageError> {
        let day = hex::encode(card_time(dated).date.to_bytes());
        let receiver: String = key.institution.as_str().chars().take(11).collect();
        let text = clearing_files::write_file(day.parse().unwrap_or_default(), &receiver, records);
        let content = text.map_err(|error| StorageError::corrupt("made file", error))?.into_bytes();
        let row = FileRow {
            key,
            batch: None,
            size: content.len() as u64,
            digest: Sha256Digest::of(&content),
            held: content.len() as u64,
            stage: FileStage::Made,
            rows: records.len() as u64,
            taken: 0,
            begun_at: self.now(),
            refusals: 0,
            last_byte_at: None,
        };
        self.store.record_file(row, content).await.map(drop)
    }
}

/// The error of the record that says why a file was refused as a whole.
const FILE_REFUSED: u32 = 8;

/// What goes back of a row that cannot be read: all of it that can, and the field that cannot.
fn rejection(line: &[u8], serial: u64, number: u64, field: &str) -> RejectRecord {
    let (error, _) = error_of(AsideReason::Malformed);
    let text = format!("line {number}: {field}");
    match TransactionRecord::decode(line) {
        Ok(record) => RejectRecord::of(&record, serial, error, &text),
        Err(_) => RejectRecord::of_unreadable(serial, error, &text),
    }
}

/// The error code and words of a reason. The codes are ours.
const fn error_of(reason: AsideReason) -> (u32, &'static str) {
    match reason {
        AsideReason::TacWrong => (1, "the TAC is wrong"),
        AsideReason::UnknownCard => (2, "no account has this card"),
        AsideReason::UnknownTerminal => (3, "the terminal is not registered"),
        AsideReason::Contradicts => (4, "another transaction is recorded"),
        AsideReason::NotYet => (5, "waits for the credit of the card"),
        AsideReason::Unproven => (6, "there is no TAC"),
        AsideReason::Malformed => (7, "the record cannot be read"),
    }
}
