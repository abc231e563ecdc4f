//! Where requests and the task of a conversation meet: the last reply, and the answer to it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tsm_api::conversation::{CardFault, ConversationReply, TurnRequest};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_iso7816::ResponseApdu;

use super::wire::responses_from_wire;

/// What the wallet brought, with the way to tell it that it does not fit.
#[derive(Debug)]
pub(super) struct Delivery {
    pub answer: Answer,
    pub verdict: oneshot::Sender<Result<(), Problem>>,
}

/// What the wallet brought.
#[derive(Debug)]
pub(super) enum Answer {
    Responses(Vec<ResponseApdu>),
    Fault(CardFault),
}

/// The last reply and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// The turn that the reply asks to answer. A final reply has the turn after the last answered one.
    pub turn: u32,
    pub reply: Option<Arc<ConversationReply>>,
    pub state: SaidState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SaidState {
    /// Nothing was said yet.
    Silent,
    /// Waits for the turn's answer.
    Open,
    /// The answer is with the task.
    Answered,
    /// Nothing more will be said.
    Final,
}

/// The requests' end.
#[derive(Debug)]
pub(super) struct Slot {
    said: watch::Sender<Said>,
    inbox: mpsc::Sender<Delivery>,
}

impl Slot {
    pub(super) fn new() -> (Self, mpsc::Receiver<Delivery>) {
        let (said, _) = watch::channel(Said { turn: 0, reply: None, state: SaidState::Silent });
        let (inbox, deliveries) = mpsc::channel(1);
        (Self { said, inbox }, deliveries)
    }

    /// Says the next thing.
    pub(super) fn say(&self, state: SaidState, make: impl FnOnce(u32) -> ConversationReply) {
        self.said.send_modify(|said| {
            said.turn += 1;
            said.reply = Some(Arc::new(make(said.turn)));
            said.state = state;
        });
    }

    /// The conversation's first reply.
    pub(super) async fn first(&self) -> Option<Arc<ConversationReply>> {
        self.after(0).await
    }

    /// The first reply that answers a turn later than `turn`.
    async fn after(&self, turn: u32) -> Option<Arc<ConversationReply>> {
        let mut said = self.said.subscribe();
        let said = said.wait_for(|said| said.turn > turn).await.ok()?;
        said.reply.clone()
    }

    /// Takes the wallet's answer to a turn and waits for what is said next. Repeating an answer gets the
    /// same reply and does nothing again.
    pub(super) async fn turn(&self, request: TurnRequest) -> Result<Arc<ConversationReply>, Problem> {
        let turn = request.turn;
        let answer = match request.fault {
            Some(fault) => Answer::Fault(fault),
            None => Answer::Responses(responses_from_wire(&request.responses)?),
        };
        let now = self.said.borrow().clone();
        match (now.state, now.reply) {
            (SaidState::Final, Some(reply)) => return Ok(reply),
            (_, Some(reply)) if turn + 1 == now.turn => return Ok(reply),
            _ if turn > now.turn => {
                return Err(Problem::because(ProblemCode::MalformedRequest, "No such turn was given out."));
            }
            _ if turn < now.turn => return Err(ProblemCode::StaleTurn.into()),
            _ => {}
        }
        if self.claim(turn) {
            self.deliver(turn, answer).await?;
        }
        // The sender lives in this slot, so there is always a next reply or a final one.
        self.after(turn).await.ok_or_else(|| ProblemCode::Internal.into())
    }

    /// Whether this request is the one that answers the turn.
    fn claim(&self, turn: u32) -> bool {
        self.said.send_if_modified(|said| {
            let open = said.turn == turn && said.state == SaidState::Open;
            if open {
                said.state = SaidState::Answered;
            }
            open
        })
    }

    async fn deliver(&self, turn: u32, answer: Answer) -> Result<(), Problem> {
        let (verdict, told) = oneshot::channel();
        if self.inbox.send(Delivery { answer, verdict }).await.is_err() {
            // The task has ended; what it said last is coming.
            return Ok(());
        }
        let Ok(Err(problem)) = told.await else { return Ok(()) };
        self.said.send_if_modified(|said| {
            let ours = said.turn == turn && said.state == SaidState::Answered;
            if ours {
                said.state = SaidState::Open;
            }
            ours
        });
        Err(problem)
    }
}
