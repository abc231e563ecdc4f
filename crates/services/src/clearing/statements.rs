//! Taking the payment statements of a day in: piece by piece, so that a day of any size takes the same memory.
//!
//! A platform's signature covers its whole statement and can be checked only at its end. Lines are kept as they
//! come, and count for nothing until the day says that its statements are here, which is written last; those of
//! a statement that turns out not to be the platform's are forgotten again.

use std::sync::Arc;

use tsm_domain::money::StatementLine;
use tsm_domain::money::settlement::BusinessDay;
use tsm_storage::StorageError;
use tsm_storage::clearing::settlement::{BUCKETS, Place, StatementHead, StatementRow};

use super::Clearing;
use super::reconciliation::ReconciliationError;
use crate::payment::{PaymentError, PaymentPlatform, StatementFailure};

/// Lines kept in one step: some for each bucket of the sheet, so that a page of the table that is written has
/// more than one new line on it.
pub(super) const LINES_PER_STEP: usize = 16_384;
/// Each platform's lines have numbers of their own: its place in the list stands above these bits.
const PLATFORM_SHIFT: u32 = 40;

/// Whether a day waits for its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until each of them is here.
    ForAll,
    /// Two people have decided to go on without those that are missing.
    NoLonger,
}

impl Clearing {
    /// Takes the statements of every platform; the head of all of them together.
    pub(super) async fn take_statements(
        &self,
        day: BusinessDay,
        wait: Wait,
    ) -> Result<StatementHead, ReconciliationError> {
        let mut head = StatementHead::default();
        for (first, platform) in self.statement_sources() {
            let mut with = head.clone();
            let error = match self.take_statement(day, first, &**platform, &mut with).await {
                Ok(()) => {
                    head = with;
                    continue;
                }
                Err(error) => error,
            };
            if may_be_false(&error) {
                tracing::error!(%day, %error, "a payment statement is refused");
                self.forget_statement(day, first).await?;
            }
            match (wait, &error) {
                (Wait::NoLonger, ReconciliationError::Statement(_)) => {
                    // Part of a statement proves nothing: its signature covers the whole.
                    self.forget_statement(day, first).await?;
                    head.missing += 1;
                    head.absent.push(first);
                }
                _ => return Err(error),
            }
        }
        Ok(head)
    }

    /// Asks once more for the statements of a day that went on without them. Those that are here now are in the
    /// head; none when nothing came.
    pub(super) async fn take_late(
        &self,
        day: BusinessDay,
        head: &StatementHead,
    ) -> Result<Option<StatementHead>, StorageError> {
        let mut head = head.clone();
        let before = head.late;
        for (first, platform) in self.statement_sources() {
            if !head.absent.contains(&first) {
                continue;
            }
            let mut with = head.clone();
            match self.take_statement(day, first, &**platform, &mut with).await {
                Ok(()) => {
                    head = with;
                    head.absent.retain(|absent| *absent != first);
                    (head.missing, head.late) = (head.missing.saturating_sub(1), head.late + 1);
                }
                Err(error) if may_be_false(&error) => {
                    tracing::error!(%day, %error, "a payment statement that came late is refused");
                    self.forget_statement(day, first).await?;
                }
                Err(ReconciliationError::Store(error)) => return Err(error),
                Err(error) => tracing::info!(%day, %error, "a payment statement is still missing"),
            }
        }
        Ok((head.late > before).then_some(head))
    }

    /// The platforms, each with the number with which its lines begin.
    fn statement_sources(&self) -> impl Iterator<Item = (u64, &Arc<dyn PaymentPlatform>)> {
        (0_u64..).map(|index| (index << PLATFORM_SHIFT) + 1).zip(&self.duties.platforms)
    }

    async fn take_statement(
        &self,
        day: BusinessDay,
        first: u64,
        platform: &dyn PaymentPlatform,
        head: &mut StatementHead,
    ) -> Result<(), ReconciliationError> {
        let mut pieces = platform.statement_pieces(day.date()).await?;
        let mut waiting: Vec<StatementLine> = Vec::new();
        let mut number = first;
        while let Some(lines) = pieces.next().await? {
            for line in lines {
                head.lines += 1;
                head.totals.add(&line).map_err(|_| {
                    StatementFailure::Altered("its lines add up to more than can be counted".into())
                })?;
                waiting.push(line);
                if waiting.len() == LINES_PER_STEP {
                    self.keep_lines(day, &mut number, &mut waiting).await?;
                }
            }
        }
        Ok(self.keep_lines(day, &mut number, &mut waiting).await?)
    }

    async fn keep_lines(
        &self,
        day: BusinessDay,
        number: &mut u64,
        lines: &mut Vec<StatementLine>,
    ) -> Result<(), StorageError> {
        let first = *number;
        *number += lines.len() as u64;
        let rows = (first..).zip(lines.drain(..)).map(|(number, line)| StatementRow { number, line });
        self.store.put_statement(day, rows.collect()).await
    }

    async fn forget_statement(&self, day: BusinessDay, first: u64) -> Result<(), StorageError> {
        for bucket in 0..BUCKETS {
            let numbers = first..first + (1 << PLATFORM_SHIFT);
            self.store.forget_statement(Place { bucket, day }, numbers).await?;
        }
        Ok(())
    }
}

/// Whether the lines so far may be others than the platform's. A connection that broke proves nothing against
/// them: the next attempt brings the same ones, and the rest.
fn may_be_false(error: &ReconciliationError) -> bool {
    match error {
        ReconciliationError::Statement(StatementFailure::Altered(_) | StatementFailure::Text(_)) => true,
        // An earlier attempt, broken off, kept other lines than the platform now signs.
        ReconciliationError::Store(StorageError::Conflict { .. }) => true,
        ReconciliationError::Statement(StatementFailure::Platform(
            PaymentError::Refused(_) | PaymentError::NotSent(_) | PaymentError::Unknown(_),
        ))
        | ReconciliationError::Store(_)
        | ReconciliationError::NotSettled(_) => false,
    }
}
