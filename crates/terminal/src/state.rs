//! What a terminal must not forget, bounded: the fold of the lines of its [store](crate::store).

use serde::{Deserialize, Serialize};
use tsm_epurse::{DateTime, file::ApplicationSerial};

use crate::{
    cash::CashBox,
    hex_field,
    psam::PsamState,
    record::{LockRecord, Locking, Pending, RecordProof, RefusalRecord, TerminalRecord},
    store::{Change, Line},
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

/// How many jumps of the clock and losses of the store are kept.
const MOST_REMARKS: usize = 64;

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
    #[serde(default)]
    locks: Vec<LockRecord>,
    #[serde(default)]
    locking: Vec<Locking>,
    #[serde(default)]
    batches: Batches,
    #[serde(default)]
    clock: Clock,
    #[serde(default)]
    losses: Vec<StoreLoss>,
    #[serde(default)]
    cash: CashBox,
    /// The purchase of the last line, until another line follows.
    #[serde(default)]
    just_booked: Option<Pending>,
}

/// The batches of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batches {
    /// The number of the last batch, delivered or not.
    pub last: u64,
    /// The batch that is being delivered: the records up to and including this one.
    pub open: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Clock {
    #[serde(with = "hex_field::option", default)]
    latest: Option<DateTime>,
    jumps: Vec<ClockJump>,
}

/// The terminal's clock showed an earlier time than before, or a much later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockJump {
    /// What it showed at the last tap.
    #[serde(with = "hex_field")]
    pub before: DateTime,
    /// What it showed then.
    #[serde(with = "hex_field")]
    pub after: DateTime,
}

/// Lines that were written and not found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreLoss {
    /// The last line that was written.
    pub written: u64,
    /// The last line that was found.
    pub found: u64,
}

impl TerminalState {
    /// The purchases that the centre has not taken, oldest first.
    pub fn records(&self) -> &[TerminalRecord] {
        &self.records
    }

    /// The locks that the centre has not taken, oldest first.
    pub fn locks(&self) -> &[LockRecord] {
        &self.locks
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

    /// The batches.
    pub const fn batches(&self) -> Batches {
        self.batches
    }

    /// The jumps of the clock, oldest first.
    pub fn clock_jumps(&self) -> &[ClockJump] {
        &self.clock.jumps
    }

    /// What the clock showed last.
    pub const fn latest(&self) -> Option<DateTime> {
        self.clock.latest
    }

    /// Lines that were missing when the store was opened.
    pub fn losses(&self) -> &[StoreLoss] {
        &self.losses
    }

    /// The cash.
    pub const fn cash(&self) -> &CashBox {
        &self.cash
    }

    /// How many records the centre has not taken.
    pub fn undelivered(&self) -> usize {
        self.records.len() + self.locks.len()
    }

    /// Takes a line that is durable.
    pub fn apply(&mut self, line: &Line) {
        self.psam = line.psam;
        self.just_booked = None;
        for change in &line.changes {
            self.apply_change(change);
        }
    }

    fn apply_change(&mut self, change: &Change) {
        match change {
            Change::Debiting(pending) => {
                self.clock.latest = Some(pending.record.at);
                self.pending.push(pending.clone());
            }
            Change::DidNotHappen { terminal_sequence } => self.drop_pending(*terminal_sequence),
            Change::Booked(record) => {
                let pending = self.pending.iter().find(|pending| pending.is(record.terminal_sequence));
                self.just_booked =
                    pending.map(|pending| Pending { record: record.clone(), purpose: pending.purpose });
                self.drop_pending(record.terminal_sequence);
                self.next_record = self.next_record.max(record.number);
                self.records.push(record.clone());
            }
            Change::Locking(locking) => {
                self.locking.retain(|known| known.card != locking.card);
                self.locking.push(locking.clone());
            }
            Change::Locked(lock) => {
                self.locking.retain(|known| known.card != lock.locking.card);
                self.next_record = self.next_record.max(lock.number);
                self.locks.push(lock.clone());
            }
            Change::Refused { record, keep } => self.push_refusal(record, *keep),
            Change::Batched { sequence, up_to } => {
                self.batches = Batches { last: *sequence, open: Some(*up_to) };
            }
            Change::Delivered { sequence } => {
                if self.batches.last == *sequence
                    && let Some(up_to) = self.batches.open.take()
                {
                    self.records.retain(|record| record.number > up_to);
                    self.locks.retain(|lock| lock.number > up_to);
                }
            }
            Change::Clock(jump) => {
                self.clock.latest = Some(jump.after);
                push_bounded(&mut self.clock.jumps, *jump, MOST_REMARKS);
            }
            Change::Lost(loss) => {
                push_bounded(&mut self.losses, *loss, MOST_REMARKS);
            }
            Change::Cash(change) => self.cash.apply(change),
        }
    }

    fn drop_pending(&mut self, terminal_sequence: u32) {
        self.pending.retain(|pending| !pending.is(terminal_sequence));
    }

    fn push_refusal(&mut self, record: &RefusalRecord, keep: usize) {
        let forgotten = push_bounded(&mut self.refusals, record.clone(), keep.max(1));
        self.forgotten_refusals += forgotten as u64;
    }

    /// Whether another purchase can be kept, even if all pending ones become records.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.undelivered() + self.pending.len() < limits.records
    }

    /// The number of the record that comes after `written` others.
    pub(crate) const fn record_number(&self, written: u64) -> u64 {
        self.next_record + 1 + written
    }

    /// The purchase that the last line recorded: if the terminal stopped then, nobody was told of it.
    pub(crate) const fn just_booked(&self) -> Option<&Pending> {
        self.just_booked.as_ref()
    }

    pub(crate) fn pending_of(&self, card: ApplicationSerial) -> Option<&Pending> {
        self.pending.iter().find(|pending| pending.record.card == card)
    }

    pub(crate) fn locking_of(&self, card: ApplicationSerial) -> Option<&Locking> {
        self.locking.iter().find(|locking| locking.card == card)
    }

    /// Pending debits become records of unknown outcome, all or the oldest of them.
    pub(crate) fn giving_up(&self, most: usize) -> Vec<Change> {
        let pending = self.pending.iter().take(most).zip(0..);
        pending
            .map(|(pending, written)| {
                Change::Booked(TerminalRecord {
                    number: self.record_number(written),
                    proof: RecordProof::Unknown,
                    ..pending.record.clone()
                })
            })
            .collect()
    }
}

/// Pushes, and drops the oldest beyond `most`; how many were dropped.
fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize) -> usize {
    list.push(item);
    let dropped = list.len().saturating_sub(most);
    list.drain(..dropped);
    dropped
}
