//! The closings of cards: one row for each, changed together with the card's account and the books.

use async_trait::async_trait;
use tsm_domain::money::{CardAccount, CardAccountEvent, CardTransaction, Closing};
use tsm_domain::{CardNumber, Fen, OperationId};

use super::{AccountRow, Books};
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

/// What the books have of a card at one moment, for judging what it proves. Rows that are read one after the other
/// contradict each other when a step comes between, and an honest card would pay for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardBooks {
    /// Its account.
    pub row: AccountRow,
    /// Its closings, newest first.
    pub closings: Vec<Closing>,
    /// Its transactions, newest first.
    pub transactions: Vec<CardTransaction>,
    /// What is posted on its purse.
    pub purse: Fen,
}

impl CardBooks {
    /// How many purchases a card that is on no SE has proved that it made before it was blocked; none while one
    /// carries it, and where that is not known.
    pub fn blocked_after(&self) -> Option<u16> {
        let is_carried = self.row.account.state.carrier().is_some();
        let parking = self.closings.iter().find_map(|closing| closing.stage.parking());
        parking.filter(|_| !is_carried)?.offline
    }
}

/// The closings of cards.
#[async_trait]
pub trait Closings: Send + Sync {
    /// One closing.
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>>;
    /// A card's closings, newest first.
    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>>;
    /// What the books have of a card, read at one moment; none without an account.
    async fn card_books(&self, card: CardNumber) -> Result<Option<CardBooks>>;
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
