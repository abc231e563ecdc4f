//! What a terminal must not forget, bounded, and written down before every debit.

use serde::{Deserialize, Serialize};
use tsm_epurse::file::ApplicationSerial;

use crate::{
    psam::PsamState,
    record::{Pending, RecordProof, RefusalRecord, TerminalRecord},
};

/// How much a terminal keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Records that the centre has not taken; when they are as many, the terminal stops serving.
    pub records: usize,
    /// Debits without an answer; the oldest then becomes a record of unknown outcome.
    pub pending: usize,
    /// Refusals; the oldest is then forgotten.
    pub refusals: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { records: 20_000, pending: 64, refusals: 256 }
    }
}

/// The state of a terminal and its PSAM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TerminalState {
    /// The PSAM's numbers.
    pub psam: PsamState,
    next_record: u64,
    records: Vec<TerminalRecord>,
    pending: Vec<Pending>,
    refusals: Vec<RefusalRecord>,
    forgotten_refusals: u64,
}

impl TerminalState {
    /// The records that the centre has not taken, oldest first.
    pub fn records(&self) -> &[TerminalRecord] {
        &self.records
    }

    /// The debits without an answer.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// The refusals kept, oldest first.
    pub fn refusals(&self) -> &[RefusalRecord] {
        &self.refusals
    }

    /// How many refusals had to be forgotten.
    pub const fn forgotten_refusals(&self) -> u64 {
        self.forgotten_refusals
    }

    /// Forgets the records up to and including `number`: the centre has them.
    pub fn acknowledge(&mut self, number: u64) {
        self.records.retain(|record| record.number > number);
    }

    /// Gives up on debits whose card has not come back: they become records of unknown outcome, which
    /// the centre settles from the card's next transactions.
    pub fn abandon_pending(&mut self) {
        for pending in core::mem::take(&mut self.pending) {
            self.push_record(TerminalRecord { proof: RecordProof::Unknown, ..pending.record });
        }
    }

    /// Whether another purchase can be kept, even if all pending ones become records.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.records.len() + self.pending.len() < limits.records
    }

    pub(crate) fn push_record(&mut self, record: TerminalRecord) -> u64 {
        let number = self.next_record + 1;
        self.next_record = number;
        self.records.push(TerminalRecord { number, ..record });
        number
    }

    pub(crate) fn push_pending(&mut self, pending: Pending, limits: &Limits) {
        if self.pending.len() >= limits.pending.max(1) {
            let oldest = self.pending.remove(0);
            self.push_record(TerminalRecord { proof: RecordProof::Unknown, ..oldest.record });
        }
        self.pending.push(pending);
    }

    pub(crate) fn pending_of(&self, card: ApplicationSerial) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.record.card == card)
    }

    pub(crate) fn take_pending(&mut self, card: ApplicationSerial) -> Option<Pending> {
        let index = self.pending.iter().position(|pending| pending.record.card == card)?;
        Some(self.pending.remove(index))
    }

    pub(crate) fn push_refusal(&mut self, refusal: RefusalRecord, limits: &Limits) {
        if self.refusals.len() >= limits.refusals.max(1) {
            self.refusals.remove(0);
            self.forgotten_refusals += 1;
        }
        self.refusals.push(refusal);
    }
}

/// The state could not be written down.
#[derive(Debug, thiserror::Error)]
#[error("the terminal's state could not be stored")]
pub struct PersistenceError(#[source] pub Box<dyn core::error::Error + Send + Sync>);

/// Writes a terminal's state down so that it survives power loss.
pub trait Persistence {
    /// Stores `state` in place of what was there before, entirely or not at all.
    fn store(&mut self, state: &TerminalState) -> Result<(), PersistenceError>;
}

/// A state that lives as long as the process: for demonstrations and tests.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    /// What was stored last.
    pub stored: Option<TerminalState>,
}

impl Persistence for InMemory {
    fn store(&mut self, state: &TerminalState) -> Result<(), PersistenceError> {
        self.stored = Some(state.clone());
        Ok(())
    }
}

impl<P: Persistence + ?Sized> Persistence for Box<P> {
    fn store(&mut self, state: &TerminalState) -> Result<(), PersistenceError> {
        (**self).store(state)
    }
}
