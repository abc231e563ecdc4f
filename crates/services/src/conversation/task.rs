//! The task of a conversation: waits its turn at the card, runs the flow, passes lists to and fro.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use tsm_api::conversation::{
    ConversationReply, Outcome, OutcomeResult, Party, Progress, RestartReason, Stage, Step as WireStep,
};
use tsm_api::ids::ConversationId;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::relay::{DeliverError, RelayChannel, RelayPort, relay};
use tsm_domain::SeId;

use super::lease::{Epoch, Holder, LeaseError, Leases};
use super::queue::Place;
use super::slot::{Answer, Delivery, SaidState, Slot};
use super::wire::steps_to_wire;
use crate::runtime::Timer;

/// What a flow is given.
pub struct Session {
    /// The card, at the far end of the wallet's requests.
    pub card: RelayChannel,
    /// The lease; every durable write names it.
    pub epoch: Epoch,
    /// Where the flow says how far it is.
    pub progress: ProgressHandle,
    /// The conversation.
    pub conversation: ConversationId,
}

/// A flow: the durable story of one operation, with card procedures between its points.
pub type Flow = Box<dyn FnOnce(Session) -> BoxFuture<'static, Ending> + Send>;

/// How a flow ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With an outcome.
    Outcome(Box<Outcome>),
    /// Another party goes on.
    Handover(Box<Handover>),
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

/// How another party goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handover {
    /// Who goes on.
    pub party: Party,
    /// The conversation there.
    pub conversation: ConversationId,
    /// What the wallet shows there.
    pub ticket: String,
    /// The turn to answer there.
    pub turn: u32,
    /// The steps.
    pub steps: Vec<WireStep>,
    /// How far it is.
    pub progress: Progress,
}

/// Where a flow says how far it is. The percentage never falls.
#[derive(Clone, Debug)]
pub struct ProgressHandle(Arc<Mutex<Progress>>);

impl ProgressHandle {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Progress { stage: Stage::Observing, percent: 0 })))
    }

    /// Says what is being done and how far the operation is.
    pub fn say(&self, stage: Stage, percent: u8) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = Progress { stage, percent: percent.min(100).max(progress.percent) };
    }

    /// How far it is.
    pub fn read(&self) -> Progress {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a conversation is stopped from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The person cancelled.
    Cancelled,
    /// The operator terminated the task.
    Terminated,
    /// A newer operation took its place.
    Replaced,
    /// Nothing was heard for too long.
    Expired,
}

/// One conversation, as its requests see it.
pub(super) struct Conversation {
    pub id: ConversationId,
    pub se: SeId,
    pub slot: Slot,
    pub stop: watch::Sender<Option<StopReason>>,
}

pub(super) struct Task {
    pub conversation: Arc<Conversation>,
    pub place: Place,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub flow: Flow,
    pub purpose: &'static str,
    pub leases: Arc<dyn Leases>,
    pub timer: Arc<dyn Timer>,
    pub idle: Duration,
}

impl Task {
    /// Runs the conversation to its end and says the final reply.
    pub(super) async fn run(mut self) {
        let (id, se) = (self.conversation.id, self.conversation.se);
        let holder = Holder { se, conversation: id, purpose: self.purpose };
        let mut stopped = self.conversation.stop.subscribe();
        if self.place.ahead() > 0 {
            let ahead = u32::try_from(self.place.ahead()).unwrap_or(u32::MAX);
            // Asking this turn again waits at the server until the card is free.
            self.conversation.slot.say(SaidState::Answered, |turn| ConversationReply::Queued {
                conversation: id,
                turn,
                ahead,
            });
        }
        tokio::select! {
            // Whoever was stopped while waiting does not begin.
            biased;
            reason = stop_reason(&mut stopped) => return self.conversation.end(stopped_before(reason)),
            () = self.place.first() => {}
        }
        let epoch = match self.leases.acquire(&holder).await {
            Ok(epoch) => epoch,
            Err(refusal) => return self.conversation.end(no_lease(refusal)),
        };
        let ending = self.converse(epoch, stopped).await;
        self.leases.release(&holder, epoch, ending.name()).await;
        info!(conversation = %id, se = %se, ending = ending.name(), "conversation ended");
        // The next in line may go before the wallet has fetched this ending.
        let conversation = self.conversation.clone();
        drop(self);
        conversation.end(ending);
    }

    /// Passes lists and answers between the flow and the wallet until the flow ends.
    async fn converse(&mut self, epoch: Epoch, mut stopped: watch::Receiver<Option<StopReason>>) -> Ending {
        let (card, mut port) = relay();
        let progress = ProgressHandle::new();
        let session = Session { card, epoch, progress: progress.clone(), conversation: self.conversation.id };
        let flow = std::mem::replace(&mut self.flow, Box::new(|_| unreachable_flow()));
        let flow = AssertUnwindSafe(async move { flow(session).await }).catch_unwind();
        tokio::pin!(flow);
        loop {
            let steps = tokio::select! {
                biased;
                ending = &mut flow => return sound(ending),
                steps = port.next_steps() => steps,
            };
            let Some(steps) = steps else { return sound(flow.await) };
            let steps = steps_to_wire(&steps);
            let conversation = self.conversation.id;
            let progress = progress.read();
            self.conversation.slot.say(SaidState::Open, |turn| ConversationReply::Steps {
                conversation,
                turn,
                steps,
                progress,
            });
            if let Err(reason) = self.answer(&mut port, &mut stopped).await {
                warn!(%conversation, ?reason, "the card is out of reach for this conversation");
                drop(port);
                // The flow now learns that the card is gone, and says what is known.
                let ending = sound(flow.await);
                return if reason == StopReason::Replaced {
                    Ending::Outcome(Box::new(cancelled(reason)))
                } else {
                    ending
                };
            }
        }
    }

    /// Waits for an answer that fits the list.
    async fn answer(
        &mut self,
        port: &mut RelayPort,
        stopped: &mut watch::Receiver<Option<StopReason>>,
    ) -> Result<(), StopReason> {
        let idle = self.timer.sleep(self.idle);
        tokio::pin!(idle);
        loop {
            let delivery = tokio::select! {
                // A stop that came before the answer counts before it.
                biased;
                reason = stop_reason(stopped) => return Err(reason),
                delivery = self.deliveries.recv() => delivery,
                () = &mut idle => return Err(StopReason::Expired),
            };
            let Some(Delivery { answer, verdict }) = delivery else { return Err(StopReason::Expired) };
            let result = match answer {
                Answer::Fault(fault) => {
                    info!(conversation = %self.conversation.id, ?fault, "the wallet lost the card");
                    let _ = verdict.send(Ok(()));
                    return Err(StopReason::Cancelled);
                }
                Answer::Responses(responses) => port.deliver(responses),
            };
            match result {
                Ok(()) => {
                    let _ = verdict.send(Ok(()));
                    return Ok(());
                }
                Err(error) => {
                    warn!(conversation = %self.conversation.id, %error, "impossible responses were refused");
                    let _ = verdict.send(Err(refusal(&error)));
                }
            }
        }
    }
}

impl Conversation {
    /// Says the final reply.
    fn end(&self, ending: Ending) {
        let conversation = self.id;
        self.slot.say(SaidState::Final, |_| match ending {
            Ending::Outcome(outcome) => ConversationReply::Outcome { conversation, outcome: *outcome },
            Ending::Handover(handover) => {
                let Handover { party, conversation, ticket, turn, steps, progress } = *handover;
                ConversationReply::Handover { party, conversation, ticket, turn, steps, progress }
            }
        });
    }
}

impl Ending {
    fn name(&self) -> &'static str {
        match self {
            Self::Outcome(outcome) => match outcome.result {
                OutcomeResult::Done => "done",
                OutcomeResult::Refused => "refused",
                OutcomeResult::Failed => "failed",
                OutcomeResult::Cancelled => "cancelled",
                OutcomeResult::Unknown => "unknown",
            },
            Self::Handover(_) => "handed over",
        }
    }
}

async fn stop_reason(stopped: &mut watch::Receiver<Option<StopReason>>) -> StopReason {
    match stopped.wait_for(Option::is_some).await {
        Ok(reason) => reason.unwrap_or(StopReason::Expired),
        Err(_) => StopReason::Expired,
    }
}

fn stopped_before(reason: StopReason) -> Ending {
    cancelled(reason).into()
}

fn cancelled(reason: StopReason) -> Outcome {
    let why = match reason {
        StopReason::Cancelled => both("The person cancelled it.", "用户已取消。"),
        StopReason::Terminated => both("The operator terminated it.", "运营方已终止。"),
        StopReason::Replaced => both("A newer operation took its place.", "已被较新的操作取代。"),
        StopReason::Expired => both("Nothing was heard for too long.", "长时间没有响应。"),
    };
    Outcome {
        result: OutcomeResult::Cancelled,
        ..Outcome::failed(Problem::because(ProblemCode::CardUnreachable, why))
    }
}

fn no_lease(error: LeaseError) -> Ending {
    let code = match error {
        LeaseError::Held => ProblemCode::Busy,
        LeaseError::Store(_) => ProblemCode::Unavailable,
    };
    Outcome::refused(Problem::because(code, error)).into()
}

fn refusal(error: &DeliverError) -> Problem {
    Problem::because(ProblemCode::MalformedRequest, error)
}

/// A flow that panicked leaves its outcome unknown: its intention is durable and says the same.
fn sound(ending: Result<Ending, Box<dyn std::any::Any + Send>>) -> Ending {
    ending.unwrap_or_else(|_| {
        error!("a flow panicked");
        Outcome::unknown(ProblemCode::Internal.into()).into()
    })
}

fn unreachable_flow() -> BoxFuture<'static, Ending> {
    async { Outcome::unknown(ProblemCode::Internal.into()).into() }.boxed()
}

/// What an unknown conversation is answered.
pub(super) const fn restart(reason: RestartReason) -> ConversationReply {
    ConversationReply::Restart { reason }
}
