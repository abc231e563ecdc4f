//! Where a terminal writes down what it must not forget: append-only, chained and authenticated, so that it
//! survives power loss at any write and a change or a missing tail is noticed.
//!
//! A [`TerminalState`] is the fold of its [`Line`]s. A line is durable before what it says is acted
//! upon, and before the state in memory has it. The formats are in [`log`] (the journal), [`anchor`] (the
//! mark that shows a missing tail) and [`FileStore`] (how they lie in a [`Medium`]).
//!
//! What it never does: give up an undelivered record by itself.

pub mod anchor;
mod file;
pub mod log;
mod medium;
mod memory;

pub use file::{FileStore, FileStoreError, OnLoss, Opened, Remark};
pub use log::StoreKey;
pub use medium::{Folder, Medium, MediumError};
pub use memory::{Cut, InMemory, MemoryMedium};

use serde::{Deserialize, Serialize};
use tsm_domain::money::fare::FareBook;

use crate::{
    black_list::ListInUse,
    cash::CashChange,
    psam::PsamState,
    record::{LockRecord, Locking, Pending, RefusalRecord, TerminalRecord},
    state::{ClockJump, StoreLoss, TerminalState},
};

/// What is written at once: several changes, all or none, and where the PSAM stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The PSAM's numbers.
    pub psam: PsamState,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// One change of a terminal's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A debit is about to be sent.
    Debiting(Pending),
    /// A debit did not happen.
    DidNotHappen {
        /// The PSAM's number of it.
        terminal_sequence: u32,
    },
    /// A transaction is recorded; it is pending no more.
    Booked(TerminalRecord),
    /// A card is about to be locked.
    Locking(Locking),
    /// A card is locked.
    Locked(LockRecord),
    /// A card was not served.
    Refused {
        /// Why, and which.
        record: RefusalRecord,
        /// How many refusals are kept.
        keep: usize,
    },
    /// A batch is about to be delivered: the records up to and including this one.
    Batched {
        /// The batch's number.
        sequence: u64,
        /// The last record's number.
        up_to: u64,
    },
    /// The centre has the batch: its records are forgotten.
    Delivered {
        /// The batch's number.
        sequence: u64,
    },
    /// The clock jumped.
    Clock(ClockJump),
    /// Lines were missing when the store was opened, and a person let the terminal go on.
    Lost(StoreLoss),
    /// Cash was taken, kept or given back.
    Cash(CashChange),
}

/// The terminal could not write. Nothing that was to be written is acted upon.
#[derive(Debug, thiserror::Error)]
#[error("the terminal's store could not be written")]
pub struct StoreError(#[source] pub Box<dyn core::error::Error + Send + Sync>);

/// Keeps a terminal's lines, its list of cards and its fares.
pub trait TerminalStore {
    /// Appends `line`, durably when it returns. After an error nobody knows whether the line is there: the
    /// terminal stops, and goes on from what the store gives when it is opened again.
    fn append(&mut self, line: &Line) -> Result<(), StoreError>;

    /// Whether the lines have become so many that [`Self::compact`] is due.
    fn wants_compaction(&self) -> bool;

    /// Puts `state` in the place of all lines that led to it, entirely or not at all.
    fn compact(&mut self, state: &TerminalState) -> Result<(), StoreError>;

    /// Keeps `list` in place of the one before, entirely or not at all.
    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError>;

    /// Keeps the versions of the fare table in place of those before, entirely or not at all.
    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError>;
}

impl<S: TerminalStore + ?Sized> TerminalStore for Box<S> {
    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        (**self).append(line)
    }

    fn wants_compaction(&self) -> bool {
        (**self).wants_compaction()
    }

    fn compact(&mut self, state: &TerminalState) -> Result<(), StoreError> {
        (**self).compact(state)
    }

    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError> {
        (**self).keep_list(list)
    }

    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError> {
        (**self).keep_fares(fares)
    }
}
