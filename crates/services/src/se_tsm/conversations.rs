//! The wallet's conversations: start, turn, cancel, list.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tsm_api::conversation::{ConversationReply, TurnRequest};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ConversationId, TaskId};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::wallet::{CANCEL, Operation, StartRequest, TURN, TaskList, TaskSummary};
use tsm_card::lock::LockChange;
use tsm_domain::SeId;
use tsm_domain::se_application::Actor;
use tsm_iso7816::Aid;
use tsm_storage::SeTsmStore;

use super::access::Caller;
use super::stop::{field, stored};
use super::tickets::{Allows, Tickets};
use super::{SeTsm, convert, deletion, download, locks, synchronisation, token_renewal};
use crate::conversation::{Flow, Start};
use crate::server::Call;
use crate::siblings::{Bearer, Elsewhere};

/// POST /wallet/v1/conversations
pub(super) async fn start(
    tsm: Arc<SeTsm>,
    call: Call<Caller, StartRequest>,
) -> Result<ConversationReply, Problem> {
    let wallet = call.caller.full_wallet()?;
    let request = call.request;
    let (operation, flow) = tsm.flow(wallet.se, &request)?;
    let start = Start {
        se: wallet.se,
        request: request.options.request,
        task: TaskId(tsm.environment.uuid()),
        operation,
        if_busy: request.options.if_busy,
        flow,
    };
    tsm.engine.start(start).await
}

/// POST /wallet/v1/conversations/{conversation}
pub(super) async fn turn(
    tsm: Arc<SeTsm>,
    call: Call<Caller, TurnRequest>,
) -> Result<ConversationReply, Problem> {
    let id: ConversationId = call.parameter()?;
    tsm.elsewhere().turn(&tsm.engine, &TURN, id, call.request).await
}

/// POST /wallet/v1/conversations/{conversation}/cancellation
pub(super) async fn cancel(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let id: ConversationId = call.parameter()?;
    let wallet = call.caller.wallet()?;
    let bearer = Bearer::new(&wallet.session.to_string());
    tsm.elsewhere().cancel(&tsm.engine, &CANCEL, id, (&wallet.se, &bearer)).await
}

/// GET /wallet/v1/tasks
pub(super) async fn tasks(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<TaskList, Problem> {
    let wallet = call.caller.wallet()?;
    Ok(TaskList { tasks: tsm.running(&wallet.se) })
}

impl SeTsm {
    fn elsewhere(&self) -> Elsewhere<'_, dyn SeTsmStore> {
        Elsewhere { siblings: self.siblings.as_deref(), store: &*self.store }
    }

    /// The flow of an operation, once its ticket is checked.
    fn flow(self: &Arc<Self>, se: SeId, request: &StartRequest) -> Result<(&'static str, Flow), Problem> {
        let tsm = self.clone();
        let flow: (&'static str, Flow) = match request.operation {
            Operation::Download => {
                let aid = self.ticketed(se, request, Allows::Download)?;
                let order = request.order.clone();
                ("download", Box::new(move |session| download::run(tsm, session, se, aid, order).boxed()))
            }
            Operation::Delete => {
                let aid = self.ticketed(se, request, Allows::Delete)?;
                ("delete", Box::new(move |session| deletion::run(tsm, session, se, aid, Actor::User).boxed()))
            }
            Operation::Lock => {
                let aid = self.ticketed(se, request, Allows::Lock)?;
                let run =
                    move |session| locks::run(tsm, session, se, aid, LockChange::Lock, Actor::User).boxed();
                ("lock", Box::new(run))
            }
            Operation::Unlock => {
                let aid = self.ticketed(se, request, Allows::Unlock)?;
                let run =
                    move |session| locks::run(tsm, session, se, aid, LockChange::Unlock, Actor::User).boxed();
                ("unlock", Box::new(run))
            }
            Operation::Synchronise => {
                let aid = request.aid.as_ref().map(convert::aid).transpose()?;
                ("synchronise", Box::new(move |session| synchronisation::run(tsm, session, se, aid).boxed()))
            }
            Operation::RenewToken => {
                ("renew token", Box::new(move |session| token_renewal::run(tsm, session, se).boxed()))
            }
            Operation::Register => return Err(field("A registration is started at its own address.")),
            Operation::DeleteDomain => {
                return Err(field("A domain goes with its last application, by its rule."));
            }
        };
        Ok(flow)
    }

    fn ticketed(&self, se: SeId, request: &StartRequest, allows: Allows) -> Result<Aid, Problem> {
        let aid = request.aid.as_ref().ok_or_else(|| field("The operation names no application."))?;
        let aid = convert::aid(aid)?;
        let ticket = request.ticket.as_deref().ok_or(ProblemCode::TicketWrong)?;
        self.tickets().check(ticket, &se, &aid, allows, self.now())?;
        Ok(aid)
    }

    /// A ticket for one operation on one application of one secure element.
    pub(super) fn ticket(&self, se: &SeId, aid: &Aid, allows: Allows) -> Result<String, Problem> {
        let now = self.now();
        let until = now.checked_add(self.settings.ticket_lifetime).unwrap_or(now);
        self.tickets().issue(se, aid, allows, until).map_err(|error| {
            tracing::error!(%error, "the key service refused");
            ProblemCode::Internal.into()
        })
    }

    fn tickets(&self) -> Tickets<'_> {
        Tickets { keys: &*self.keys, key: &self.settings.sealing_key }
    }

    /// The running operation and those that wait (P-5.8.8.e).
    pub(super) fn running(&self, se: &SeId) -> Vec<TaskSummary> {
        let line = self.engine.tasks(se).into_iter().enumerate();
        line.map(|(index, task)| TaskSummary {
            task: task.task,
            operation: task.operation.to_owned(),
            aid: None,
            state: if index == 0 { "running" } else { "waiting" }.to_owned(),
            started_at: task.started_at,
            result: None,
        })
        .collect()
    }

    /// Ended conversations, explained.
    pub(super) async fn history(&self, se: SeId) -> Result<Vec<TaskSummary>, Problem> {
        let past = self.store.conversations_of(se, 50).await.map_err(stored)?;
        let open = self.store.open_intentions(se).await.map_err(stored)?;
        Ok(past
            .into_iter()
            .map(|conversation| {
                let unsettled =
                    open.iter().filter(|intention| intention.conversation == conversation.id).count();
                let ended = conversation.ended.as_ref().map(|end| end.outcome.clone());
                let result = match (&ended, unsettled) {
                    (None, 0) => "It is under way, or its server was stopped.".to_owned(),
                    (Some(outcome), 0) => format!("It ended: {outcome}."),
                    (_, count) => format!(
                        "{count} of its steps are unknown; the next contact with the card settles them."
                    ),
                };
                TaskSummary {
                    task: TaskId(conversation.id.as_uuid()),
                    operation: conversation.purpose,
                    aid: None,
                    state: if ended.is_some() { "ended" } else { "open" }.to_owned(),
                    started_at: conversation.started_at,
                    result: Some(result),
                }
            })
            .collect())
    }
}
