//! Taking the rows of what was recorded: in chunks, each with the file's progress, until none is left.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tsm_api::clearing_files::{RECORDS_BEGIN, Record as _, TransactionRecord};
use tsm_api::problem::Problem;
use tsm_domain::InstitutionId;
use tsm_domain::money::TransactionKey;
use tsm_storage::StorageError;
use tsm_storage::clearing::collection::{
    AsideReason, FileKey, FileRow, FileStage, Judged, RowOutcome, RowStep, TakeStep,
};

use super::judge::{Judge, Row};
use super::problem;
use crate::clearing::Clearing;

/// Rows of one step. A step is one commit; more rows share its cost, and hold other steps up longer.
const CHUNK: u64 = 200;
/// Rows kept aside that one look at the store gives.
const AGAIN: usize = 1_000;
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_secs(30);
/// The length of a row with its line end.
const LINE: u64 = TransactionRecord::LENGTH as u64 + 1;

impl Clearing {
    /// Takes, for as long as the process runs, what was recorded and not taken when it began, and looks again at
    /// what waits for other reports.
    pub fn start_collection(self: &Arc<Self>) {
        let centre = Arc::downgrade(self);
        let environment = self.environment.clone();
        let timer = environment.timer.clone();
        let rounds = async move {
            loop {
                match centre.upgrade() {
                    Some(centre) => {
                        if let Err(error) = centre.collect().await {
                            tracing::warn!(%error, "a round of the collection ended early");
                        }
                    }
                    None => return,
                }
                timer.sleep(PAUSE).await;
            }
        };
        environment.spawner.spawn(rounds.boxed());
    }

    /// One round: files that are not taken, rows that may be taken by now, cards to examine.
    pub async fn collect(&self) -> Result<(), Problem> {
        for file in self.store.files_to_take(usize::MAX).await.map_err(problem)? {
            // What hinders one file holds up no other.
            if let Err(error) = self.take_file(&file.key).await {
                let FileKey { institution, name } = &file.key;
                tracing::warn!(%institution, name, %error, "a file is not taken yet");
            }
        }
        self.take_again().await?;
        self.examine_doubts().await
    }

    /// Takes the rows of a file that was received, to the last.
    pub(super) async fn take_file(&self, key: &FileKey) -> Result<FileRow, Problem> {
        loop {
            let file = self.store.file(key.clone()).await.map_err(problem)?;
            let Some(file) = file else {
                return Err(problem(StorageError::unknown("file", &key.name)));
            };
            if file.stage != FileStage::Received {
                return Ok(file);
            }
            if file.taken == file.rows {
                self.make_results(&file).await?;
                self.file_has_come(&file).await.map_err(problem)?;
                return self.store.move_file(&file, FileStage::Taken, 0).await.map_err(problem);
            }
            self.take_chunk(&file).await?;
        }
    }

    async fn take_chunk(&self, file: &FileRow) -> Result<(), Problem> {
        let rows = CHUNK.min(file.rows - file.taken);
        let from = first_row(file) + file.taken * LINE;
        let bytes = self.store.file_bytes(file.key.clone(), from, (rows * LINE) as usize).await;
        let bytes = bytes.map_err(problem)?;
        let numbered = (first_line(file) + file.taken..).zip(bytes.chunks(LINE as usize));
        let rows: Vec<Row> = numbered.map(|(number, line)| of_line(line, number)).collect();
        let progress = Some((file.key.clone(), file.taken));
        match self.take(&file.key.institution, progress, Some(&file.key.name), &rows).await {
            Ok(_) => Ok(()),
            // Another process took it meanwhile; the file says how far it is.
            Err(Taken::Elsewhere) => Ok(()),
            Err(Taken::Problem(problem)) => Err(*problem),
        }
    }

    /// Judges rows and takes them in one step.
    pub(in crate::clearing) async fn take_rows(
        &self,
        institution: &InstitutionId,
        rows: &[Row],
    ) -> Result<Vec<RowOutcome>, Problem> {
        match self.take(institution, None, None, rows).await {
            Ok(outcomes) => Ok(outcomes),
            Err(Taken::Problem(problem)) => Err(*problem),
            Err(Taken::Elsewhere) => Err(tsm_api::problem::ProblemCode::Unavailable.into()),
        }
    }

    async fn take(
        &self,
        institution: &InstitutionId,
        progress: Option<(FileKey, u64)>,
        file: Option<&str>,
        rows: &[Row],
    ) -> Result<Vec<RowOutcome>, Taken> {
        let mut judge = Judge::new(self, institution, file);
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            steps.push(judge.step(row).await?);
        }
        let of_a_file = progress.is_some();
        let taken = self.store.take_rows(TakeStep { file: progress, rows: steps.clone() }).await;
        let outcomes = match taken {
            Ok(outcomes) => outcomes,
            Err(StorageError::Conflict { .. }) if of_a_file => return Err(Taken::Elsewhere),
            Err(error) => return Err(problem(error).into()),
        };
        for (step, outcome) in steps.iter().zip(&outcomes) {
            self.report_aside(step, *outcome).await?;
            if let (Judged::Purchase { transaction, .. }, RowOutcome::Recorded | RowOutcome::Duplicate) =
                (&step.judged, outcome)
                && judge.is_closing(transaction.key.card)
            {
                self.note_tap(transaction).await.map_err(problem)?;
            }
        }
        for card in judge.uncarried() {
            self.check_closed(card).await?;
        }
        Ok(outcomes)
    }

    /// What is kept aside for a reason that somebody has to look at is an incident, too.
    async fn report_aside(&self, step: &RowStep, outcome: RowOutcome) -> Result<(), Problem> {
        let (Judged::Purchase { transaction, .. } | Judged::Aside { transaction: Some(transaction), .. }) =
            &step.judged
        else {
            return Ok(());
        };
        let (key, row) = (transaction.key, step.reported.id);
        match outcome {
            RowOutcome::Aside(AsideReason::TacWrong) => {
                let terminal = transaction.terminal;
                let text = format!("terminal {terminal} reported a purchase with a wrong TAC");
                self.report_row(row, "wrong-tac", key, text).await
            }
            RowOutcome::Aside(AsideReason::Contradicts) if matches!(step.judged, Judged::Aside { .. }) => {
                match self.check_late_purchase(key).await? {
                    Some(text) => self.report_row(row, "purchase-after-block", key, text).await,
                    None => Ok(()),
                }
            }
            RowOutcome::Aside(AsideReason::Contradicts) if self.has_transaction(key).await? => {
                let text = "a purchase contradicts the one recorded for the same counter".to_owned();
                self.report_row(row, "contradicting-purchase", key, text).await
            }
            RowOutcome::Aside(AsideReason::Contradicts) => {
                let text = "a purchase carries the TAC of one recorded for another counter".to_owned();
                self.report_row(row, "repeated-tac", key, text).await
            }
            RowOutcome::Recorded
            | RowOutcome::Duplicate
            | RowOutcome::LockRecorded
            | RowOutcome::Aside(_) => Ok(()),
        }
    }

    async fn has_transaction(&self, key: TransactionKey) -> Result<bool, Problem> {
        Ok(self.store.transaction(key).await.map_err(problem)?.is_some())
    }

    /// Rows that came before the report that they need are judged again.
    async fn take_again(&self) -> Result<(), Problem> {
        let mut after = None;
        loop {
            let waiting = self.store.waiting_aside(after, AGAIN).await.map_err(problem)?;
            let Some(last) = waiting.last() else { return Ok(()) };
            after = Some(last.place());
            for row in &waiting {
                self.take_rows(&row.reported.institution, &[Row::kept(&row.reported)]).await?;
            }
        }
    }
}

/// Why a chunk was not taken here.
enum Taken {
    /// Another process took it.
    Elsewhere,
    /// It could not be.
    Problem(Box<Problem>),
}

impl From<Problem> for Taken {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

/// Where the rows of a file begin: a batch of a terminal has no header lines.
pub(super) const fn first_row(file: &FileRow) -> u64 {
    if file.batch.is_some() { 0 } else { RECORDS_BEGIN as u64 }
}

/// The line of the first row, from 1.
pub(super) const fn first_line(file: &FileRow) -> u64 {
    if file.batch.is_some() { 1 } else { 3 }
}

// A line that does not end where it should is a row that cannot be read; the next begins in its place.
fn of_line(line: &[u8], number: u64) -> Row {
    Row::of_line(line.strip_suffix(b"\n").unwrap_or(line), number)
}
