//! The cases of the issuer's desk.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId};

use super::With;
use crate::error::{Result, StorageError};

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
