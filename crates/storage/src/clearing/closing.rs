//! The closings of cards: one row for each, changed together with the card's account and the books.

use async_trait::async_trait;
use tsm_domain::money::{CardAccount, CardAccountEvent, Closing};
use tsm_domain::{CardNumber, OperationId};

use super::Books;
use crate::error::Result;

/// A closing's step, as the rules decided it from the row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingStep {
    /// The row that the step was decided from; none for the first step. When the stored row is another one the
    /// step is refused as a conflict, and decided again.
    pub before: Option<Closing>,
    /// The row after it. When it is stored already the step was made before, and changes nothing.
    pub after: Closing,
    /// What happens to the card's account, in order.
    pub events: Vec<CardAccountEvent>,
    /// What goes with it.
    pub books: Books,
}

/// The closings of cards.
#[async_trait]
pub trait Closings: Send + Sync {
    /// One closing.
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>>;
    /// A card's closings, newest first.
    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>>;
    /// Makes a step, with what it does to the account and the books.
    async fn step_closing(&self, step: ClosingStep) -> Result<CardAccount>;
}

/// Whether a step is to be made on the row that is stored.
pub(crate) fn is_new(step: &ClosingStep, stored: Option<&Closing>) -> Result<bool> {
    if stored == Some(&step.after) {
        return Ok(false);
    }
    if stored != step.before.as_ref() {
        return Err(crate::error::StorageError::conflict("closing", step.after.operation));
    }
    Ok(true)
}
