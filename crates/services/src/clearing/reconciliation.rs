//! Reconciling a day three ways: the payment statement, the ledger, the cards' transactions.
//!
//! Each bucket of the day is read as three lists in order of reference, page by page, and merged: whatever
//! has one reference is judged together. What does not meet becomes a difference, whose identity follows from
//! day, cause and subject; what an earlier day waited for explains that day's difference. Doing it again finds
//! the same.
//!
//! A day that went on without a statement is compared again when it comes (`late_statements.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use tsm_domain::money::reconciliation::{
    Cause, Difference, DifferenceState, Finding, Group, Judgement, judge,
};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{DifferenceId, Fen, OrderId};
use tsm_storage::clearing::Books;
use tsm_storage::clearing::settlement::{
    BUCKETS, DayEntry, DayRow, DayTransaction, Place, StatementHead, StatementRow,
};
use tsm_storage::{ClearingStore, StorageError};

use super::Clearing;
use super::fare_check::FareCheck;
use crate::names;
use crate::payment::StatementFailure;

/// Rows read at once from each list.
const PAGE: usize = 4096;
/// Differences kept in one step.
const DIFFERENCES_PER_STEP: usize = 256;

/// Why a day is not reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconciliationError {
    /// It is not closed and settled.
    #[error("{0} is not closed and settled")]
    NotSettled(BusinessDay),
    /// A platform gave no statement.
    #[error("the payment statement is missing: {0}")]
    Statement(#[from] StatementFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StorageError),
}

/// What a reconciliation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// References judged.
    pub references: u64,
    /// Rows of the three lists.
    pub rows: u64,
    /// Differences that were new.
    pub found: u64,
    /// Earlier differences that were explained.
    pub explained: u64,
}

impl Clearing {
    /// Reconciles a settled day: fetches its statements, merges, keeps what does not meet.
    pub async fn reconcile_day(&self, day: BusinessDay) -> Result<(DayRow, Reconciled), ReconciliationError> {
        let row = self.store.day(day).await?.filter(|row| row.settled_at.is_some());
        let mut row = row.ok_or(ReconciliationError::NotSettled(day))?;
        let head = match &row.statement {
            None => {
                let wait = self.wait_for_statements(day).await?;
                Some(self.take_statements(day, wait).await?)
            }
            Some(head) => self.take_late(day, head).await?,
        };
        if let Some(head) = head {
            // With what came late the whole day is compared again, also when this process ends here.
            row = DayRow { statement: Some(head), reconciled_at: None, ..row };
            self.store.put_day(row.clone()).await?;
        }
        Ok(self.compare(row).await?)
    }

    /// Asks once more for what a reconciled day went on without, and compares the day again when some of it came.
    pub(super) async fn ask_again(&self, row: DayRow) -> Result<(), StorageError> {
        let Some(head) = &row.statement else { return Ok(()) };
        let Some(head) = self.take_late(row.day, head).await? else { return Ok(()) };
        let row = DayRow { statement: Some(head), reconciled_at: None, ..row };
        self.store.put_day(row.clone()).await?;
        self.compare(row).await.map(drop)
    }

    /// Merges a day whose statements are here, or are not waited for.
    async fn compare(&self, row: DayRow) -> Result<(DayRow, Reconciled), StorageError> {
        let day = row.day;
        let head = row.statement.clone().unwrap_or_default();
        if head.missing == 0 {
            self.statements_have_come(day).await?;
        }
        let mut done = Reconciled::default();
        let mut found = Vec::new();
        let mut fares = self.fare_check().await?;
        for bucket in 0..BUCKETS {
            self.merge(Place { bucket, day }, &head, &mut fares, &mut found, &mut done).await?;
            found.extend(fares.judge(day).await?);
            if found.len() >= DIFFERENCES_PER_STEP {
                self.keep(&mut found, &mut done).await?;
            }
        }
        self.keep(&mut found, &mut done).await?;
        let (new, explained) = self.take_suspicions(day).await?;
        done.found += new;
        done.explained += explained;
        self.store.ripen(day).await?;
        let row = DayRow { reconciled_at: Some(self.now()), fares: fares.tally(), ..row };
        self.store.put_day(row.clone()).await?;
        tracing::info!(%day, references = done.references, found = done.found, "a day was reconciled");
        Ok((row, done))
    }

    async fn merge(
        &self,
        place: Place,
        head: &StatementHead,
        fares: &mut FareCheck<'_>,
        found: &mut Vec<Difference>,
        done: &mut Reconciled,
    ) -> Result<(), StorageError> {
        let store = &self.store;
        let mut statement = Cursor::<StatementRow>::new(store, place);
        let mut ledger = Cursor::<DayEntry>::new(store, place);
        let mut cards = Cursor::<DayTransaction>::new(store, place);
        let (mut lines, mut entries, mut transactions) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let heads = [statement.peek().await?, ledger.peek().await?, cards.peek().await?];
            let Some(reference) = heads.into_iter().flatten().min() else { return Ok(()) };
            lines.clear();
            entries.clear();
            transactions.clear();
            while statement.peek().await? == Some(reference) {
                let row = statement.next().filter(|row| head.counts(row));
                lines.extend(row.map(|row| row.line));
            }
            while ledger.peek().await? == Some(reference) {
                entries.extend(ledger.next().map(|entry| entry.item));
            }
            while cards.peek().await? == Some(reference) {
                transactions.extend(cards.next().map(|row| {
                    fares.note(&row);
                    row.item
                }));
            }
            done.references += 1;
            done.rows += (lines.len() + entries.len() + transactions.len()) as u64;
            let group = Group { statement: &lines, ledger: &entries, cards: &transactions };
            let judgement = judge(group);
            let judgement = if head.missing == 0 { judgement } else { judgement.without_statement() };
            let judgement = match head.late {
                0 => judgement,
                _ => self.settle_late(place.day, reference, judgement, done).await?,
            };
            self.keep_judgement(place.day, reference, judgement, found, done).await?;
        }
    }

    async fn keep_judgement(
        &self,
        day: BusinessDay,
        reference: OrderId,
        judgement: Judgement,
        found: &mut Vec<Difference>,
        done: &mut Reconciled,
    ) -> Result<(), StorageError> {
        if !judgement.needs_history() {
            return Ok(());
        }
        let known = self.store.differences_of(reference).await?;
        let earlier: Vec<_> = known.into_iter().filter(|known| known.day < day).collect();
        for known in &earlier {
            if let Some(by) = known.explanation(&judgement.arrivals) {
                let explained = known.clone().explained(day, by);
                self.store.change_difference(known, explained, Books::default()).await?;
                done.explained += 1;
            }
        }
        let new = judgement.findings.into_iter();
        let new = new.filter(|finding| !earlier.iter().any(|known| known.accounts_for(finding)));
        found.extend(new.map(|finding| self.difference_of(day, reference, finding)));
        Ok(())
    }

    fn difference_of(&self, day: BusinessDay, reference: OrderId, finding: Finding) -> Difference {
        let Finding { cause, card, transaction, ours, theirs } = finding;
        let state = match cause {
            Cause::InFlightTooLong => {
                DifferenceState::Waiting { until: day.plus(self.duties.in_flight_days) }
            }
            _ => DifferenceState::Open,
        };
        let id = identity(day, cause, &reference.to_string());
        let (reference, found_at) = (Some(reference), self.now());
        let (text, evidence) = (String::new(), None);
        Difference {
            id,
            day,
            cause,
            reference,
            card,
            transaction,
            ours,
            theirs,
            text,
            evidence,
            found_at,
            state,
        }
    }

    /// A difference about purchases that belong to no operator.
    pub(super) fn unassigned_difference(
        &self,
        day: BusinessDay,
        subject: &str,
        gross: Fen,
        text: String,
    ) -> Difference {
        let cause = Cause::TerminalWithoutOperator;
        Difference {
            id: identity(day, cause, subject),
            day,
            cause,
            reference: None,
            card: None,
            transaction: None,
            ours: Some(gross),
            theirs: None,
            text,
            evidence: None,
            found_at: self.now(),
            state: DifferenceState::Open,
        }
    }

    async fn keep(&self, found: &mut Vec<Difference>, done: &mut Reconciled) -> Result<(), StorageError> {
        for chunk in found.chunks(DIFFERENCES_PER_STEP) {
            done.found += self.store.put_differences(chunk.to_vec()).await? as u64;
        }
        found.clear();
        Ok(())
    }
}

pub(super) fn identity(day: BusinessDay, cause: Cause, subject: &str) -> DifferenceId {
    DifferenceId::from_uuid(names::derived(&["difference", &day.to_string(), cause.name(), subject]))
}

/// A row of one of the three lists.
trait Listed: Sized {
    fn reference(&self) -> OrderId;
    fn page(
        store: &dyn ClearingStore,
        place: Place,
        after: Option<&Self>,
    ) -> impl Future<Output = Result<Vec<Self>, StorageError>> + Send;
}

impl Listed for StatementRow {
    fn reference(&self) -> OrderId {
        self.line.order
    }

    async fn page(
        store: &dyn ClearingStore,
        place: Place,
        after: Option<&Self>,
    ) -> Result<Vec<Self>, StorageError> {
        store.statement_lines(place, after, PAGE).await
    }
}

impl Listed for DayEntry {
    fn reference(&self) -> OrderId {
        self.item.reference
    }

    async fn page(
        store: &dyn ClearingStore,
        place: Place,
        after: Option<&Self>,
    ) -> Result<Vec<Self>, StorageError> {
        store.day_entries(place, after, PAGE).await
    }
}

impl Listed for DayTransaction {
    fn reference(&self) -> OrderId {
        self.item.reference
    }

    async fn page(
        store: &dyn ClearingStore,
        place: Place,
        after: Option<&Self>,
    ) -> Result<Vec<Self>, StorageError> {
        store.day_transactions(place, after.map(|row| &row.item), PAGE).await
    }
}

/// One list, a page at a time.
struct Cursor<'a, T> {
    store: &'a Arc<dyn ClearingStore>,
    place: Place,
    rows: VecDeque<T>,
    is_last_page: bool,
}

impl<'a, T: Listed + Clone + Send + Sync> Cursor<'a, T> {
    const fn new(store: &'a Arc<dyn ClearingStore>, place: Place) -> Self {
        Self { store, place, rows: VecDeque::new(), is_last_page: false }
    }

    /// The reference of the next row. The last row of a page stays until the next page has been read after it.
    async fn peek(&mut self) -> Result<Option<OrderId>, StorageError> {
        if self.rows.len() <= 1 && !self.is_last_page {
            let page = T::page(&**self.store, self.place, self.rows.back()).await?;
            self.is_last_page = page.len() < PAGE;
            self.rows.extend(page);
        }
        Ok(self.rows.front().map(Listed::reference))
    }

    fn next(&mut self) -> Option<T> {
        self.rows.pop_front()
    }
}
