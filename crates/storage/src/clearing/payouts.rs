//! Payouts to operators for settled days: proposed by one person, made when another approves.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{Fen, InstitutionId, OperatorId};

use super::Books;
use super::lists::{ProposalDecided, ProposalVerdict};
use crate::error::{Result, StorageError};

/// What a row is called in errors.
pub(crate) const WHAT: &str = "payout to an operator";

/// A payout to an operator for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayoutRow {
    /// The day.
    pub day: BusinessDay,
    /// The operator.
    pub operator: InstitutionId,
    /// Its number among those of day and operator, from 1: each but the last was refused.
    pub number: u32,
    /// How much.
    pub amount: Fen,
    /// Why, in words.
    pub note: String,
    /// Who proposed it.
    pub by: OperatorId,
    /// When.
    pub at: jiff::Timestamp,
    /// The decision.
    pub decided: Option<ProposalDecided>,
}

impl PayoutRow {
    /// Whether nothing will come of it.
    pub fn is_refused(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| decided.verdict == ProposalVerdict::Refused)
    }
}

/// The payouts to operators.
#[async_trait]
pub trait OperatorPayouts: Send + Sync {
    /// Keeps a proposed payout under the next number. While one of the same day and operator waits or was approved,
    /// it gives that one instead and stores nothing.
    async fn propose_payout(&self, row: PayoutRow, books: Books) -> Result<PayoutRow>;
    /// Another person decides, and an approved payout is booked in the same step. The same decision again changes
    /// nothing; another one is a conflict, and so is one by the person who proposed.
    async fn decide_payout(
        &self,
        day: BusinessDay,
        operator: &InstitutionId,
        number: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<PayoutRow>;
    /// A day's payouts, in order of operator and number.
    async fn payouts(&self, day: BusinessDay) -> Result<Vec<PayoutRow>>;
    /// Payouts that nobody has decided, in order of day and operator.
    async fn waiting_payouts(&self, limit: usize) -> Result<Vec<PayoutRow>>;
}

/// The payout to keep, or the one that stands already.
pub(crate) enum Proposed {
    Known(PayoutRow),
    New(PayoutRow),
}

/// What becomes of a proposal beside the earlier ones of its day and operator, in order.
pub(crate) fn proposed(earlier: &[PayoutRow], row: PayoutRow) -> Proposed {
    match earlier.last() {
        Some(last) if !last.is_refused() => Proposed::Known(last.clone()),
        last => Proposed::New(PayoutRow {
            number: last.map_or(0, |last| last.number).saturating_add(1),
            decided: None,
            ..row
        }),
    }
}

/// A payout after a decision; none when it was decided so before.
pub(crate) fn decide(row: &PayoutRow, decided: ProposalDecided) -> Result<Option<PayoutRow>> {
    let conflict = || StorageError::conflict(WHAT, format!("{} {}", row.day, row.operator));
    let is_new = decided.is_new(&row.by, row.decided.as_ref()).ok_or_else(conflict)?;
    Ok(is_new.then(|| PayoutRow { decided: Some(decided), ..row.clone() }))
}

/// What was said of a payout that is not there.
pub(crate) fn unknown(day: BusinessDay, operator: &InstitutionId) -> StorageError {
    StorageError::unknown(WHAT, format!("{day} {operator}"))
}
