//! Repository traits of the four services, and their stores in memory and on SQLite.
//!
//! One method is one atomic step that may be run again: it has no card, no network, no clock and no
//! randomness inside, so a store may group many steps into one commit, and a caller who does not know
//! whether a step was stored runs it again. Each service has a trait and a store of its own; no service
//! opens another's.
//!
//! Keys lead with the SE or the card, and no step spans two cards or hangs on a global sequence, so the
//! same shape fits a store that is spread over many machines. Rows of money (accounts, transfers, card
//! transactions) are columns; records that only one owner changes are stored as documents beside the columns
//! they are looked up by.
//!
//! The stores: [`memory`] is deterministic and can be made to fail or crash at a chosen commit; [`sqlite`]
//! keeps one file per service, with one writer thread that commits many steps at once; `postgres`, behind the
//! feature of that name, lets many processes share one store. The same contract tests run on all.

pub mod clearing;
pub mod clerks;
mod columns;
pub mod error;
pub mod memory;
pub mod payment;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rules;
pub mod se_tsm;
pub mod shared;
pub mod sp_tsm;
pub mod sqlite;

pub use clearing::ClearingStore;
pub use clerks::Clerks;
pub use error::{Result, StorageError};
pub use payment::{OnlinePurchases, PaymentStore};
pub use se_tsm::SeTsmStore;
pub use shared::{Chains, Conversations, Incidents, Outbox, Sessions};
pub use sp_tsm::SpTsmStore;
