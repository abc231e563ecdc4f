//! The lease of a secure element: which server may act on it, with a fencing epoch that rises each time
//! the lease changes hands, so that a server that lost it cannot write any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tsm_domain::SeId;

/// The number of a lease; every write names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Epoch(pub u64);

/// Why there is no lease.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another server holds it.
    #[error("another server is working on this secure element")]
    Held,
    /// The store could not say.
    #[error("the lease could not be taken: {0}")]
    Store(String),
}

/// Where leases are kept.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease of a secure element.
    async fn acquire(&self, se: &SeId) -> Result<Epoch, LeaseError>;

    /// Gives it back. A lease that is not given back ends by itself.
    async fn release(&self, se: &SeId, epoch: Epoch);
}

/// Leases of a role that runs as one process.
#[derive(Debug, Default)]
pub struct MemoryLeases(Mutex<HashMap<SeId, u64>>);

#[async_trait]
impl Leases for MemoryLeases {
    async fn acquire(&self, se: &SeId) -> Result<Epoch, LeaseError> {
        let mut epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epochs.entry(*se).or_default();
        *epoch += 1;
        Ok(Epoch(*epoch))
    }

    async fn release(&self, _se: &SeId, _epoch: Epoch) {}
}
