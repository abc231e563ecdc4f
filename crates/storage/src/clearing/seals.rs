//! The seals over the centre's journals, and what a check of the journals reads beside them.

use async_trait::async_trait;
use tsm_domain::money::Transfer;
use tsm_domain::money::journal::{SealedHead, SignedSeal};

use crate::error::{Result, StorageError};
use crate::shared::ChainKey;

/// A seal that stands over an entry, and the head through which it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealOver {
    /// The seal's number.
    pub seal: u64,
    /// The head: the entry itself or a later one of its chain.
    pub head: SealedHead,
}

/// The seals over the journals.
#[async_trait]
pub trait Seals: Send + Sync {
    /// The last entries of chains that grew since they were sealed, in order of chain.
    async fn unsealed_heads(&self, limit: usize) -> Result<Vec<SealedHead>>;
    /// Keeps a seal and the heads that it is over. Keeping it again changes nothing; another seal of that
    /// number is a conflict.
    async fn put_seal(&self, seal: SignedSeal, heads: Vec<SealedHead>) -> Result<()>;
    /// The last seal.
    async fn last_seal(&self) -> Result<Option<SignedSeal>>;
    /// The seals after number `after`, in order.
    async fn seals(&self, after: u64, limit: usize) -> Result<Vec<SignedSeal>>;
    /// The heads that a seal is over, in order of chain.
    async fn sealed_heads(&self, seal: u64) -> Result<Vec<SealedHead>>;
    /// The transfers about no card of one day (UTC), in order.
    async fn control_transfers_on(&self, day: jiff::civil::Date) -> Result<Vec<Transfer>>;
    /// The first seal over entry `number` of a chain.
    async fn seal_over(&self, chain: ChainKey, number: u64) -> Result<Option<SealOver>>;
}

/// Whether a seal is new, was kept before, or contradicts the one of its number.
pub(crate) fn is_new_seal(stored: Option<&SignedSeal>, seal: &SignedSeal) -> Result<bool> {
    match stored {
        None => Ok(true),
        Some(stored) if stored == seal => Ok(false),
        Some(_) => Err(StorageError::conflict("seal", seal.seal.number)),
    }
}

/// The first moment of a day and of the next.
pub(crate) fn bounds(day: jiff::civil::Date) -> Result<(jiff::Timestamp, jiff::Timestamp)> {
    let corrupt = |error: jiff::Error| StorageError::corrupt("day", error);
    let start = |day: jiff::civil::Date| day.to_zoned(jiff::tz::TimeZone::UTC).map(|at| at.timestamp());
    Ok((start(day).map_err(corrupt)?, day.tomorrow().and_then(start).map_err(corrupt)?))
}
