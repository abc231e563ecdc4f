//! What a step may fail with.

use tsm_domain::SeId;
use tsm_domain::arrival::ArrivalRefusal;
use tsm_domain::card::CardRefusal;
use tsm_domain::money::{CardAccountRefusal, PaymentRefusal, TopUpRefusal, TransferRefusal};
use tsm_domain::se::BatchError;

use crate::shared::Epoch;

/// A step's result.
pub type Result<T> = std::result::Result<T, StorageError>;

/// Why a step was not done.
///
/// Only [`Self::Unavailable`] leaves open whether the step was stored; running it again settles that.
/// Every other variant says that nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The store did not answer. Whether the step was stored is not known.
    #[error("the store did not answer, and whether the step was stored is not known: {0}")]
    Unavailable(String),
    /// A stored row cannot be read.
    #[error("a stored {what} cannot be read: {reason}")]
    Corrupt {
        /// What it is.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The row that the step names is not there.
    #[error("there is no {what} {key}")]
    Unknown {
        /// What.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// Something else has that key already, or the row was changed meanwhile.
    #[error("{what} {key} exists already or was changed meanwhile")]
    Conflict {
        /// What.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// Another conversation has taken the SE over.
    #[error("the link to SE {se} was taken over; epoch {held} is not {current}")]
    Fenced {
        /// The SE.
        se: SeId,
        /// The caller's epoch.
        held: Epoch,
        /// The epoch now.
        current: Epoch,
    },
    /// The rules of top-ups refuse it.
    #[error(transparent)]
    TopUp(#[from] TopUpRefusal),
    /// The rules of payments refuse it.
    #[error(transparent)]
    Payment(#[from] PaymentRefusal),
    /// The rules of card accounts refuse it.
    #[error(transparent)]
    CardAccount(#[from] CardAccountRefusal),
    /// The rules of cards refuse it.
    #[error(transparent)]
    Card(#[from] CardRefusal),
    /// The rules of migrations refuse it.
    #[error(transparent)]
    Arrival(#[from] ArrivalRefusal),
    /// The ledger refuses it.
    #[error(transparent)]
    Transfer(#[from] TransferRefusal),
    /// The rules of batches refuse it.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl StorageError {
    /// A row that is not there.
    pub fn unknown(what: &'static str, key: impl ToString) -> Self {
        Self::Unknown { what, key: key.to_string() }
    }

    /// A key that is taken or a row that was changed.
    pub fn conflict(what: &'static str, key: impl ToString) -> Self {
        Self::Conflict { what, key: key.to_string() }
    }

    /// A row that cannot be read.
    pub fn corrupt(what: &'static str, reason: impl ToString) -> Self {
        Self::Corrupt { what, reason: reason.to_string() }
    }

    /// Whether running the step again may help.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
