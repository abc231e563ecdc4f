//! The operators' fare tables: proposed by one person, published by another.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::fare::FareHead;
use tsm_domain::{InstitutionId, OperatorId};

use super::Books;
use super::lists::{ProposalDecided, ProposalVerdict};
use crate::error::{Result, StorageError};

/// A version of an operator's fare table, without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareRow {
    /// Whose fares they are.
    pub operator: InstitutionId,
    /// Version, validity, digest.
    pub head: FareHead,
    /// Who proposed it.
    pub by: OperatorId,
    /// When.
    pub at: jiff::Timestamp,
    /// The decision.
    pub decided: Option<ProposalDecided>,
}

impl FareRow {
    /// Whether terminals may have it.
    pub fn is_published(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| decided.verdict == ProposalVerdict::Approved)
    }
}

/// The fare tables.
#[async_trait]
pub trait Fares: Send + Sync {
    /// Keeps a proposed version with its text. The same again changes nothing; another content under a known
    /// version is a conflict.
    async fn propose_fares(&self, row: FareRow, text: String) -> Result<FareRow>;
    /// Another person decides. The same decision again changes nothing; another one is a conflict, and so is one by
    /// the person who proposed, and one that publishes a version that does not come after all published ones.
    async fn decide_fares(
        &self,
        operator: &InstitutionId,
        version: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<FareRow>;
    /// An operator's versions, in order.
    async fn fares(&self, operator: &InstitutionId) -> Result<Vec<FareRow>>;
    /// A version with its text.
    async fn fare_text(&self, operator: &InstitutionId, version: u32) -> Result<Option<(FareRow, String)>>;
}

/// A version that was proposed before must be the same.
pub(crate) fn same_fares(stored: FareRow, again: &FareRow) -> Result<FareRow> {
    let same = (&stored.head, &stored.by) == (&again.head, &again.by);
    if same { Ok(stored) } else { Err(StorageError::conflict("fare table", again.head.version)) }
}

/// A version after a decision; none when it was decided so before.
pub(crate) fn decide(row: &FareRow, all: &[FareRow], decided: ProposalDecided) -> Result<Option<FareRow>> {
    let conflict = || StorageError::conflict("fare table", row.head.version);
    if !decided.is_new(&row.by, row.decided.as_ref()).ok_or_else(conflict)? {
        return Ok(None);
    }
    if decided.verdict == ProposalVerdict::Approved {
        let mut published = all.iter().filter(|one| one.is_published());
        let follows = |one: &FareRow| one.head.version < row.head.version && row.head.fits(&one.head).is_ok();
        if !published.all(follows) {
            return Err(conflict());
        }
    }
    Ok(Some(FareRow { decided: Some(decided), ..row.clone() }))
}

/// What was said of a version that is not there.
pub(crate) fn unknown(version: u32) -> StorageError {
    StorageError::unknown("fare table", version)
}
