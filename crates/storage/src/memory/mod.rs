//! Stores in memory: deterministic, and able to fail at a chosen commit.
//!
//! A [`Memory`] keeps what a disk would keep. [`Faults`] counts commits and can stop the world before or
//! after one of them: from then on every step answers that the store is unavailable, until
//! [`Faults::restart`], as after a crash of the process. Steps check before they change anything, so a
//! refused step changes nothing.

mod clearing;
mod clerks;
mod payment;
mod se_tsm;
mod shared;
mod sp_tsm;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use clearing::ClearingState;
pub use payment::PaymentState;
pub use se_tsm::SeTsmState;
pub use sp_tsm::SpTsmState;

use crate::error::{Result, StorageError};

/// The SE-TSM's store in memory.
pub type MemorySeTsm = Memory<SeTsmState>;
/// The SP-TSM's store in memory.
pub type MemorySpTsm = Memory<SpTsmState>;
/// The clearing centre's store in memory.
pub type MemoryClearing = Memory<ClearingState>;
/// The payment sandbox's store in memory.
pub type MemoryPayment = Memory<PaymentState>;

/// Where a crash happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Crash {
    /// Before the commit: the step is not stored.
    BeforeCommit,
    /// After the commit: the step is stored, and its caller never hears of it.
    AfterCommit,
}

/// Counts the commits of one or more stores, and stops them at a chosen one.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<FaultState>,
}

#[derive(Debug, Default)]
struct FaultState {
    commits: u64,
    plan: Option<(u64, Crash)>,
    down: bool,
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct Memory<S> {
    state: Mutex<S>,
    faults: Arc<Faults>,
}

impl Faults {
    /// Plans a crash at the commit that will be number `commit`, counting from 1 since the beginning.
    pub fn crash_at(&self, commit: u64, crash: Crash) {
        self.lock().plan = Some((commit, crash));
    }

    /// How many commits there were.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Whether the world stands still.
    pub fn is_down(&self) -> bool {
        self.lock().down
    }

    /// Starts again after a crash. The plan is forgotten.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.down = false;
        state.plan = None;
    }

    // A panic elsewhere in a test must not hide its own message behind a poisoned lock.
    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bug put into a store on purpose, to see that whoever watches the services finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlantedBug {
    /// Now and then a step is stored without its journal entries.
    SkippedJournal,
    /// A card gets the same terminal number for each of its loads.
    RepeatedTerminalNumber,
    /// A plain and a composite purchase are both recorded for one number in a card's count, and paid.
    PaidContradiction,
}

impl<S: shared::HasShared> Memory<S> {
    /// Plants a bug.
    pub fn plant(&self, bug: PlantedBug) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.shared_mut().planted = Some(bug);
    }
}

impl<S: Default> Memory<S> {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that counts its commits in `faults`, together with others of the same process.
    pub fn with_faults(faults: Arc<Faults>) -> Self {
        Self { state: Mutex::default(), faults }
    }
}

impl<S: Clone> Memory<S> {
    /// All that it keeps, as a backup of the disk.
    pub fn backup(&self) -> S {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps this instead of what it kept.
    pub fn restore(&self, state: S) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl<S> Memory<S> {
    /// The fault plan.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    fn lock(&self) -> Result<MutexGuard<'_, S>> {
        if self.faults.is_down() {
            return Err(down());
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads.
    pub(crate) fn read<T>(&self, step: impl FnOnce(&S) -> Result<T>) -> Result<T> {
        step(&*self.lock()?)
    }

    /// Writes: one commit. Refused steps count too, so that a plan means the same step in every run.
    pub(crate) fn write<T>(&self, step: impl FnOnce(&mut S) -> Result<T>) -> Result<T> {
        let mut state = self.lock()?;
        let crash = {
            let mut faults = self.faults.lock();
            faults.commits += 1;
            let planned = faults.plan.filter(|(commit, _)| *commit == faults.commits).map(|(_, crash)| crash);
            faults.down = planned.is_some();
            planned
        };
        match crash {
            Some(Crash::BeforeCommit) => Err(down()),
            Some(Crash::AfterCommit) => {
                let _ = step(&mut state);
                Err(down())
            }
            None => step(&mut state),
        }
    }
}

fn down() -> StorageError {
    StorageError::Unavailable("the process has stopped".into())
}
