//! What an institution gets back for a file: CL, what was cleared; FB, what was kept aside; LD, that the file
//! was processed.

use tsm_api::clearing_files::{self, ProcessedFile, Record, RejectRecord, TransactionRecord};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::bytes::Sha256Digest;
use tsm_storage::clearing::collection::{AsideReason, FileKey, FileRow, FileStage, RowOutcome};

use super::problem;
use super::take::first_row;
use crate::clearing::Clearing;
use crate::purse::card_time;

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
        let (mut cleared, mut rejected) = (Vec::new(), Vec::new());
        let mut serial: u64 = 0;
        for (chunk, outcomes) in (0u64..).zip(outcomes.chunks(LINES)) {
            let from = first_row(file) + chunk * (LINES * LINE) as u64;
            let bytes = self.store.file_bytes(file.key.clone(), from, outcomes.len() * LINE).await;
            let bytes = bytes.map_err(problem)?;
            for (line, outcome) in bytes.chunks(LINE).zip(outcomes) {
                serial += 1;
                // A line that cannot be read has no record to send back; LD counts it.
                let line = line.strip_suffix(b"\n").unwrap_or(line);
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

    async fn make<R: Record>(&self, of: &FileRow, name: String, records: &[R]) -> Result<(), Problem> {
        let day = hex::encode(card_time(of.begun_at).date.to_bytes());
        let receiver: String = of.key.institution.as_str().chars().take(11).collect();
        let text = clearing_files::write_file(day.parse().unwrap_or_default(), &receiver, records);
        let text = text.map_err(|error| {
            tracing::error!(%error, "a result file cannot be written");
            Problem::new(ProblemCode::Internal)
        })?;
        let content = text.into_bytes();
        let row = FileRow {
            key: FileKey { institution: of.key.institution.clone(), name },
            batch: None,
            size: content.len() as u64,
            digest: Sha256Digest::of(&content),
            held: content.len() as u64,
            stage: FileStage::Made,
            rows: records.len() as u64,
            taken: 0,
            begun_at: self.now(),
        };
        self.store.record_file(row, content).await.map(drop).map_err(problem)
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
