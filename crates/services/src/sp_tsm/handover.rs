//! The hand-over: the SE-TSM passes the card's answer to the SP-TSM's INITIALIZE UPDATE, and the SP-TSM
//! goes on with the conversation (B-8.5.5).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq as _;
use tsm_api::client::SpTsmPeer;
use tsm_api::conversation::{ConversationReply, IfBusy, Outcome, TurnRequest};
use tsm_api::ids::{ConversationId, RequestId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::peer::OperationKind;
use tsm_api::sp_tsm::peer::{HandoverReply, HandoverRequest};
use tsm_domain::ConversationId as StoredConversation;
use tsm_iso7816::ResponseApdu;
use tsm_storage::sp_tsm::ConsentTo;

use super::SpTsm;
use super::access::Caller;
use super::opening::{HandedOver, Opening};
use crate::conversation::{Ending, Flow, Start};
use crate::server::Call;
use crate::stored;

/// How long a ticket is kept after its conversation began.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// What wallets show with the turns of conversations that were handed over to here.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<ConversationId, (String, Timestamp)>>);

impl Tickets {
    /// The conversation's ticket, made now or before.
    fn of(&self, conversation: ConversationId, fresh: String, now: Timestamp) -> String {
        self.with(|tickets| {
            tickets.retain(|_, (_, at)| now.duration_since(*at) < KEPT);
            tickets.entry(conversation).or_insert((fresh, now)).0.clone()
        })
    }

    /// Whether a wallet may take a turn: a conversation that was handed over needs its ticket.
    pub(super) fn check(&self, conversation: ConversationId, shown: Option<&str>) -> Result<(), Problem> {
        let known = self.with(|tickets| tickets.get(&conversation).map(|(ticket, _)| ticket.clone()));
        let Some(ticket) = known else { return Ok(()) };
        match shown {
            Some(shown) if bool::from(shown.as_bytes().ct_eq(ticket.as_bytes())) => Ok(()),
            _ => Err(ProblemCode::TicketWrong.into()),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<ConversationId, (String, Timestamp)>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes a conversation over.
pub(super) async fn handover(
    tsm: Arc<SpTsm>,
    call: Call<Caller, HandoverRequest>,
) -> Result<HandoverReply, Problem> {
    call.caller.require_se_tsm()?;
    let operation = call.request.operation;
    let conversation = StoredConversation::from_uuid(operation.0);
    let consent = tsm.store.consent(conversation, ConsentTo::Download).await;
    let consent = consent.map_err(|error| stored::problem(&error))?.ok_or(ProblemCode::UnknownId)?;
    if let Some(reason) = consent.refused {
        return Err(Problem::because(ProblemCode::ProviderRefused, reason));
    }
    if let (Some(server), Some(siblings)) = (&consent.server, &tsm.siblings)
        && server != siblings.here()
    {
        // The process that consented has prepared the session.
        let sibling = SpTsmPeer::new(siblings.at(server).await?);
        return sibling.handover(&call.request).await.map_err(|error| error.to_problem());
    }
    let HandoverRequest { initialize_update, observation, progress, .. } = call.request;
    let answer = ResponseApdu::parse(initialize_update.as_bytes())
        .map_err(|error| Problem::because(ProblemCode::MalformedRequest, error))?;
    let opening = Opening {
        operation,
        kind: OperationKind::Download,
        se: consent.se,
        application: consent.application,
        observation,
    };
    // Taken by the first hand-over; repeating it finds the conversation that it began.
    let pending = tsm.prepared.take_session(operation);
    let handed = HandedOver { session: pending, answer, progress, opening };
    let flow: Flow = {
        let tsm = tsm.clone();
        Box::new(move |session| async move { Ending::from(tsm.open(session, handed).await) }.boxed())
    };
    let start = Start {
        se: consent.se,
        request: RequestId(operation.0),
        task: TaskId(operation.0),
        operation: "opening",
        // The wallet holds one conversation per SE, and it is with this one now.
        if_busy: IfBusy::Replace,
        flow,
    };
    let reply = tsm.engine.start(start).await?;
    tsm.first_steps(reply).await
}

impl SpTsm {
    /// The first steps of a conversation that was handed over, once the card's line is free for it.
    async fn first_steps(&self, mut reply: ConversationReply) -> Result<HandoverReply, Problem> {
        loop {
            reply = match reply {
                ConversationReply::Steps { conversation, turn, steps, progress } => {
                    let fresh = hex::encode(self.environment.random::<16>());
                    let ticket = self.tickets.of(conversation, fresh, self.now());
                    return Ok(HandoverReply { conversation, ticket, turn, steps, progress });
                }
                ConversationReply::Queued { conversation, turn, .. } => {
                    let empty = TurnRequest { turn, ..TurnRequest::default() };
                    self.engine.turn(conversation, None, empty).await?
                }
                ConversationReply::Outcome { outcome, .. } => return Err(refusal(outcome)),
                ConversationReply::Restart { .. } | ConversationReply::Handover { .. } => {
                    return Err(ProblemCode::OutcomeUnknown.into());
                }
            };
        }
    }
}

/// A conversation that ended before its first steps.
fn refusal(outcome: Outcome) -> Problem {
    outcome.problem.unwrap_or_else(|| ProblemCode::StateForbids.into())
}
