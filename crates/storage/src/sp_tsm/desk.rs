//! The cases of the issuer's desk.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId, SeId};

use super::With;
use crate::error::{Result, StorageError};

/// The SE-TSM's word about the loss of an SE, and what follows from it at the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossWord {
    /// The SE.
    pub se: SeId,
    /// Which change of the loss list about it the word is.
    pub change: u64,
    /// The cases that it opens.
    pub opened: Vec<DeskCase>,
    /// The cases that it decides, before and after.
    pub decided: Vec<(DeskCase, DeskCase)>,
    /// What goes with them.
    pub with: With,
}

/// Whether a word was followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LossFollowed {
    /// It is, from now on.
    Now,
    /// This or a newer one was followed before. Nothing changed.
    Before,
}

/// The cases of the issuer's desk.
#[async_trait]
pub trait DeskCases: Send + Sync {
    /// Opens a case. Run again, or with a number that is taken, it gives the case that is there, and stores
    /// nothing with it.
    async fn open_case(&self, case: DeskCase, with: With) -> Result<DeskCase>;
    /// A case.
    async fn desk_case(&self, id: OperationId) -> Result<Option<DeskCase>>;
    /// The cases of a card, newest first.
    async fn cases_of(&self, card: CardNumber) -> Result<Vec<DeskCase>>;
    /// Decides a case that still is as `before` says; a conflict when it is not. Run again, it changes
    /// nothing.
    async fn decide_case(&self, before: &DeskCase, after: DeskCase, with: With) -> Result<()>;
    /// Which change of the loss list about an SE was followed last.
    async fn loss_followed(&self, se: SeId) -> Result<Option<u64>>;
    /// Follows a word about the loss of an SE as a whole, unless this or a newer one was followed. A case that is
    /// not as the word supposes is a conflict.
    async fn follow_loss(&self, word: LossWord) -> Result<LossFollowed>;
}

impl LossWord {
    /// Whether it is newer than what was followed.
    pub(crate) fn is_newer_than(&self, followed: Option<u64>) -> bool {
        followed.is_none_or(|followed| followed < self.change)
    }
}

/// A case that is opened must have a number of its own.
pub(crate) fn check_opens(known: Option<&DeskCase>, new: &DeskCase) -> Result<()> {
    if known.is_some() { Err(StorageError::conflict("case", new.id)) } else { Ok(()) }
}

/// Whether the decision is still to be stored.
pub(crate) fn decides(known: Option<DeskCase>, before: &DeskCase, after: &DeskCase) -> Result<bool> {
    let known = known.ok_or_else(|| StorageError::unknown("case", before.id))?;
    if known == *after {
        return Ok(false);
    }
    if known == *before && before.id == after.id {
        Ok(true)
    } else {
        Err(StorageError::conflict("case", before.id))
    }
}
