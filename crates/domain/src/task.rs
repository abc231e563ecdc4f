//! Tasks and their queue: one link per SE, the others wait (P-5.8.6, P-5.8.8).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

use crate::id::{SeId, TaskId};
use crate::se_application::Actor;

/// What a task does on the SE (P-5.8.5.2.d).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Download an application, with its security domain where that is missing.
    Download(Aid),
    /// Delete an application.
    Delete(Aid),
    /// Lock an application.
    Lock(Aid),
    /// Unlock an application.
    Unlock(Aid),
    /// Personalise an application.
    Personalise(Aid),
    /// Read the SE's registry and space.
    Synchronise,
    /// Create a security domain.
    CreateDomain(Aid),
    /// Delete a security domain.
    DeleteDomain(Aid),
    /// Renew a security domain's keys.
    UpdateDomainKeys(Aid),
    /// Write number and TOKEN into the SE.
    WriteRegistration,
    /// Several in order, for example an upgrade: delete, then download.
    Sequence(Vec<Operation>),
}

/// When a task starts (P-5.8.6.b).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartMode {
    /// At once: a delay of nothing.
    Immediate,
    /// After so many seconds.
    DelayedSeconds(u32),
    /// At this time.
    Scheduled(jiff::Timestamp),
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// It waits.
    Waiting,
    /// It has the link.
    Running,
    /// Done.
    Done,
    /// Failed, for this reason; with the card's status word where that was it.
    Failed {
        /// The reason.
        reason: String,
        /// The card's status word.
        status_word: Option<u16>,
    },
    /// Ended by the user or an operator.
    Terminated(String),
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its identity.
    pub id: TaskId,
    /// The SE.
    pub se: SeId,
    /// What it does.
    pub operation: Operation,
    /// On whose behalf.
    pub actor: Actor,
    /// When it was asked for.
    pub created_at: jiff::Timestamp,
    /// When it may start.
    pub due_at: jiff::Timestamp,
    /// Where it stands.
    pub state: TaskState,
}

/// Why the queue refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueRefusal {
    /// Another task has the link.
    #[error("task {0} has the link to this SE; others wait")]
    LinkTaken(TaskId),
    /// A key update is first.
    #[error("a key update is under way on this SE; everything else waits until it is finished")]
    KeyUpdateFirst(TaskId),
    /// Not running.
    #[error("task {0} does not have the link")]
    NotRunning(TaskId),
}

/// The tasks of one SE: at most one runs.
#[derive(Debug, Clone, Default)]
pub struct TaskQueue {
    running: Option<Task>,
    waiting: VecDeque<Task>,
}

impl StartMode {
    /// When a task asked for at `now` may start.
    pub fn due(self, now: jiff::Timestamp) -> jiff::Timestamp {
        match self {
            Self::Immediate => now,
            Self::DelayedSeconds(seconds) => now
                .checked_add(jiff::SignedDuration::from_secs(i64::from(seconds)))
                .unwrap_or(jiff::Timestamp::MAX),
            Self::Scheduled(at) => at,
        }
    }
}

impl Operation {
    /// Whether nothing else may run before it is finished (P-5.8.3.2.1.d).
    pub fn holds_others(&self) -> bool {
        match self {
            Self::UpdateDomainKeys(_) => true,
            Self::Sequence(operations) => operations.iter().any(Self::holds_others),
            Self::Download(_)
            | Self::Delete(_)
            | Self::Lock(_)
            | Self::Unlock(_)
            | Self::Personalise(_)
            | Self::Synchronise
            | Self::CreateDomain(_)
            | Self::DeleteDomain(_)
            | Self::WriteRegistration => false,
        }
    }
}

impl TaskQueue {
    /// The queue of tasks as a store kept them: those that wait in the given order, and the one that runs.
    pub fn of(tasks: impl IntoIterator<Item = Task>) -> Self {
        let mut queue = Self::default();
        for task in tasks {
            match task.state {
                TaskState::Running => queue.running = Some(task),
                TaskState::Waiting => queue.waiting.push_back(task),
                TaskState::Done | TaskState::Failed { .. } | TaskState::Terminated(_) => {}
            }
        }
        queue
    }

    /// Puts a task at the end.
    pub fn enqueue(&mut self, task: Task) {
        self.waiting.push_back(task);
    }

    /// Starts the first task that is due, or says which one has the link.
    pub fn start_next(&mut self, now: jiff::Timestamp) -> Result<Option<&Task>, QueueRefusal> {
        if let Some(running) = &self.running {
            return Err(if running.operation.holds_others() {
                QueueRefusal::KeyUpdateFirst(running.id)
            } else {
                QueueRefusal::LinkTaken(running.id)
            });
        }
        let due = |task: &Task| task.due_at <= now;
        // An unfinished key update goes before everything that waits.
        let keys = self.waiting.iter().position(|task| due(task) && task.operation.holds_others());
        let Some(index) = keys.or_else(|| self.waiting.iter().position(due)) else {
            return Ok(None);
        };
        let task = self.waiting.remove(index).expect("the index was just found");
        Ok(Some(self.running.insert(Task { state: TaskState::Running, ..task })))
    }

    /// The running task ends, however it ended.
    pub fn finish(&mut self, id: TaskId, state: TaskState) -> Result<Task, QueueRefusal> {
        match self.running.take_if(|task| task.id == id) {
            Some(task) => Ok(Task { state, ..task }),
            None => Err(QueueRefusal::NotRunning(id)),
        }
    }

    /// Takes a waiting task out.
    pub fn withdraw(&mut self, id: TaskId) -> Option<Task> {
        let index = self.waiting.iter().position(|task| task.id == id)?;
        self.waiting.remove(index)
    }

    /// The running task and those that wait, in order (P-5.8.8.e).
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.running.iter().chain(&self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn task(n: u128, operation: Operation, due: i64) -> Task {
        Task {
            id: TaskId::from_uuid(uuid::Uuid::from_u128(n)),
            se: SeId::new(&[1]).unwrap(),
            operation,
            actor: Actor::User,
            created_at: at(0),
            due_at: at(due),
            state: TaskState::Waiting,
        }
    }

    fn aid() -> Aid {
        Aid::constant(b"APPLI")
    }

    /// req: P-5.8.8.e
    #[test]
    fn one_runs_and_the_others_wait_in_order() {
        let mut queue = TaskQueue::default();
        for n in 1..=3 {
            queue.enqueue(task(n, Operation::Download(aid()), 0));
        }
        let first = queue.start_next(at(0)).unwrap().unwrap().id;
        assert_eq!(queue.start_next(at(0)), Err(QueueRefusal::LinkTaken(first)));
        let listed: Vec<_> = queue.tasks().map(|task| task.id.as_uuid().as_u128()).collect();
        assert_eq!(listed, [1, 2, 3]);
        queue.finish(first, TaskState::Done).unwrap();
        assert_eq!(queue.finish(first, TaskState::Done), Err(QueueRefusal::NotRunning(first)));
        assert_eq!(queue.start_next(at(0)).unwrap().unwrap().id.as_uuid().as_u128(), 2);
    }

    /// req: P-5.8.3.2.1.d
    #[test]
    fn a_key_update_holds_everything_else() {
        let mut queue = TaskQueue::default();
        queue.enqueue(task(1, Operation::Download(aid()), 0));
        queue.enqueue(task(2, Operation::UpdateDomainKeys(aid()), 0));
        let keys = queue.start_next(at(0)).unwrap().unwrap().id;
        assert_eq!(keys.as_uuid().as_u128(), 2, "it goes first");
        assert_eq!(queue.start_next(at(0)), Err(QueueRefusal::KeyUpdateFirst(keys)));
    }

    /// req: P-5.8.6.b
    #[test]
    fn scheduled_delayed_and_immediate() {
        assert_eq!(StartMode::Immediate.due(at(100)), StartMode::DelayedSeconds(0).due(at(100)));
        assert_eq!(StartMode::DelayedSeconds(60).due(at(100)), at(160));
        assert_eq!(StartMode::Scheduled(at(7)).due(at(100)), at(7));
        let mut queue = TaskQueue::default();
        queue.enqueue(task(1, Operation::Synchronise, 160));
        assert_eq!(queue.start_next(at(159)), Ok(None));
        assert!(queue.start_next(at(160)).unwrap().is_some());
    }

    proptest! {
        /// Whatever is asked, never two tasks run, and none is lost.
        #[test]
        fn never_two_links(steps in prop::collection::vec((0..4u8, 0..50i64), 0..100)) {
            let mut queue = TaskQueue::default();
            let (mut entered, mut left) = (0, 0);
            for (n, (step, second)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        queue.enqueue(task(n as u128, Operation::Synchronise, second));
                        entered += 1;
                    }
                    2 => {
                        let _ = queue.start_next(at(second));
                    }
                    _ => {
                        let running = queue.tasks().find(|task| task.state == TaskState::Running).map(|task| task.id);
                        if let Some(id) = running {
                            queue.finish(id, TaskState::Done).unwrap();
                            left += 1;
                        }
                    }
                }
                prop_assert!(queue.tasks().filter(|task| task.state == TaskState::Running).count() <= 1);
                prop_assert_eq!(queue.tasks().count(), entered - left);
            }
        }
    }
}
