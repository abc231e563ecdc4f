//! The engine: starts conversations, takes their turns, stops them, forgets them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tsm_api::conversation::{ConversationReply, IfBusy, RestartReason, TurnRequest};
use tsm_api::ids::{ConversationId, RequestId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::SeId;

use super::lease::Leases;
use super::queue::Lines;
use super::slot::Slot;
use super::task::{Conversation, Flow, StopReason, Task, restart};
use crate::runtime::Environment;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a conversation waits for the wallet.
    pub idle: Duration,
    /// How long the last reply of an ended conversation is kept.
    pub kept: Duration,
    /// Conversations at once; more are refused.
    pub conversations: usize,
    /// Conversations waiting at one secure element; more are refused.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(120),
            kept: Duration::from_secs(300),
            conversations: 100_000,
            waiting: 8,
        }
    }
}

/// What is started.
pub struct Start {
    /// On which secure element.
    pub se: SeId,
    /// The wallet's number for this request.
    pub request: RequestId,
    /// The task's number.
    pub task: TaskId,
    /// What it does, in a word.
    pub operation: &'static str,
    /// What to do when the card is busy.
    pub if_busy: IfBusy,
    /// The flow.
    pub flow: Flow,
}

/// A running or waiting conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunningTask {
    /// The conversation.
    pub conversation: ConversationId,
    /// The task.
    pub task: TaskId,
    /// What it does, in a word.
    pub operation: &'static str,
    /// When it was asked for.
    pub started_at: Timestamp,
}

/// The engine of one role.
#[derive(Clone)]
pub struct Engine {
    environment: Environment,
    leases: Arc<dyn Leases>,
    limits: Limits,
    lines: Arc<Lines>,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    conversations: HashMap<ConversationId, Entry>,
    requests: HashMap<(SeId, RequestId), ConversationId>,
}

#[derive(Clone)]
struct Entry {
    conversation: Arc<Conversation>,
    running: RunningTask,
}

impl Engine {
    /// An engine without conversations.
    pub fn new(environment: Environment, leases: Arc<dyn Leases>, limits: Limits) -> Self {
        Self { environment, leases, limits, lines: Arc::default(), table: Arc::default() }
    }

    /// Starts a conversation and waits for its first reply. The same request number gets the same
    /// conversation; its flow is not started again.
    pub async fn start(&self, start: Start) -> Result<ConversationReply, Problem> {
        if let Some(entry) = self.requested(&start.se, start.request) {
            return self.first_reply(&entry.conversation).await;
        }
        let conversation = self.spawn(start)?;
        self.first_reply(&conversation).await
    }

    /// Starts a conversation without waiting for its first reply.
    pub fn start_in_background(&self, start: Start) -> Result<ConversationId, Problem> {
        match self.requested(&start.se, start.request) {
            Some(entry) => Ok(entry.conversation.id),
            None => Ok(self.spawn(start)?.id),
        }
    }

    /// Takes a turn's answer and waits for the next reply. `se` limits the caller to its own
    /// conversations; a conversation id alone is unguessable and enough where the endpoint says so.
    pub async fn turn(
        &self,
        id: ConversationId,
        se: Option<&SeId>,
        request: TurnRequest,
    ) -> Result<ConversationReply, Problem> {
        let Some(entry) = self.find(id, se) else {
            return Ok(restart(RestartReason::UnknownConversation));
        };
        let reply = entry.conversation.slot.turn(request).await?;
        Ok((*reply).clone())
    }

    /// Asks a conversation to stop: before it began, or between two lists.
    pub fn stop(&self, id: ConversationId, se: Option<&SeId>, reason: StopReason) -> Result<(), Problem> {
        let entry = self.find(id, se).ok_or(ProblemCode::UnknownId)?;
        entry.conversation.stop.send_replace(Some(reason));
        Ok(())
    }

    /// Asks the conversation of a task to stop.
    pub fn stop_task(&self, task: TaskId, reason: StopReason) -> Result<(), Problem> {
        let id = self.table(|table| {
            table
                .conversations
                .values()
                .find(|entry| entry.running.task == task)
                .map(|entry| entry.conversation.id)
        });
        self.stop(id.ok_or(ProblemCode::UnknownId)?, None, reason)
    }

    /// The running conversation of a secure element and those that wait, in order (P-5.8.8.e).
    pub fn tasks(&self, se: &SeId) -> Vec<RunningTask> {
        let line = self.lines.at(se);
        self.table(|table| {
            line.iter()
                .filter_map(|id| table.conversations.get(id))
                .map(|entry| entry.running.clone())
                .collect()
        })
    }

    /// Every conversation that holds its secure element now.
    pub fn running(&self) -> Vec<(SeId, RunningTask)> {
        let all: Vec<_> = self.table(|table| {
            let entries = table.conversations.values();
            entries.map(|entry| (entry.conversation.se, entry.running.clone())).collect()
        });
        let holds = |(se, task): &(SeId, RunningTask)| self.lines.at(se).first() == Some(&task.conversation);
        all.into_iter().filter(holds).collect()
    }

    fn requested(&self, se: &SeId, request: RequestId) -> Option<Entry> {
        self.table(|table| {
            let id = table.requests.get(&(*se, request))?;
            table.conversations.get(id).cloned()
        })
    }

    fn find(&self, id: ConversationId, se: Option<&SeId>) -> Option<Entry> {
        let entry = self.table(|table| table.conversations.get(&id).cloned())?;
        match se {
            Some(se) if entry.conversation.se != *se => None,
            _ => Some(entry),
        }
    }

    async fn first_reply(&self, conversation: &Conversation) -> Result<ConversationReply, Problem> {
        let reply = conversation.slot.first().await.ok_or(ProblemCode::Internal)?;
        Ok((*reply).clone())
    }

    fn spawn(&self, start: Start) -> Result<Arc<Conversation>, Problem> {
        self.admit(&start)?;
        let id = ConversationId(self.environment.uuid());
        let (slot, deliveries) = Slot::new();
        let conversation = Arc::new(Conversation { id, se: start.se, slot, stop: watch::channel(None).0 });
        let running = RunningTask {
            conversation: id,
            task: start.task,
            operation: start.operation,
            started_at: self.environment.now(),
        };
        let entry = Entry { conversation: conversation.clone(), running };
        self.table(|table| {
            table.conversations.insert(id, entry);
            table.requests.insert((start.se, start.request), id);
        });
        let task = Task {
            conversation: conversation.clone(),
            place: self.lines.join(start.se, id),
            deliveries,
            flow: start.flow,
            purpose: start.operation,
            leases: self.leases.clone(),
            timer: self.environment.timer.clone(),
            idle: self.limits.idle,
        };
        let (engine, se, request) = (self.clone(), start.se, start.request);
        let life = async move {
            task.run().await;
            engine.environment.timer.sleep(engine.limits.kept).await;
            engine.table(|table| {
                table.conversations.remove(&id);
                table.requests.remove(&(se, request));
            });
        };
        self.environment.spawner.spawn(life.boxed());
        Ok(conversation)
    }

    /// Whether there is room, and what becomes of the conversation that holds the card.
    fn admit(&self, start: &Start) -> Result<(), Problem> {
        if self.table(|table| table.conversations.len()) >= self.limits.conversations {
            return Err(ProblemCode::TooManyRequests.into());
        }
        let line = self.lines.at(&start.se);
        match (line.as_slice(), start.if_busy) {
            ([], _) => Ok(()),
            (waiting, _) if waiting.len() > self.limits.waiting => Err(ProblemCode::TooManyRequests.into()),
            (_, IfBusy::Queue) => Ok(()),
            (all, IfBusy::Replace) => {
                for id in all {
                    self.stop(*id, None, StopReason::Replaced)?;
                }
                Ok(())
            }
            ([running, ..], IfBusy::Ask) => {
                let operation =
                    self.table(|table| table.conversations.get(running).map(|entry| entry.running.operation));
                Err(Problem::because(
                    ProblemCode::Busy,
                    format_args!("It is: {}.", operation.unwrap_or("unknown")),
                ))
            }
        }
    }

    fn table<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
