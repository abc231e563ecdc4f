//! The lease of a secure element: which server may act on it, with a fencing epoch that rises each time
//! the lease changes hands, so that a server that lost it cannot write any more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tsm_api::ids::ConversationId;
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

/// Who asks for a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The secure element.
    pub se: SeId,
    /// The conversation.
    pub conversation: ConversationId,
    /// What it does, in a word.
    pub purpose: &'static str,
}

/// Where leases are kept.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease of a secure element for a conversation. The conversation's row is durable before
    /// any command leaves.
    async fn acquire(&self, holder: &Holder) -> Result<Epoch, LeaseError>;

    /// Gives it back. A lease that is not given back ends by itself.
    async fn release(&self, holder: &Holder, epoch: Epoch, outcome: &'static str);
}

/// Leases of a role that runs as one process.
#[derive(Debug, Default)]
pub struct MemoryLeases(Mutex<HashMap<SeId, u64>>);

#[async_trait]
impl Leases for MemoryLeases {
    async fn acquire(&self, holder: &Holder) -> Result<Epoch, LeaseError> {
        let mut epochs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = epochs.entry(holder.se).or_default();
        *epoch += 1;
        Ok(Epoch(*epoch))
    }

    async fn release(&self, _holder: &Holder, _epoch: Epoch, _outcome: &'static str) {}
}
