//! Operations that a wallet starts at the SP-TSM, and the turns of all conversations (W-6.6).

use std::sync::Arc;

use futures_util::FutureExt as _;
use tsm_api::conversation::{ConversationReply, TurnRequest};
use tsm_api::endpoint::Nothing;
use tsm_api::ids::{ConversationId, TaskId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::wallet::{CANCEL, Operation, StartRequest, TURN};
use tsm_domain::card::LockChange;
use tsm_domain::{OrderId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::SpTsmStore;

use super::SpTsm;
use super::access::Caller;
use super::begin::Proofs;
use super::closing_card::Place;
use super::top_up::TopUpRequest;
use crate::conversation::{Ending, Flow, Start};
use crate::purse::aid_from_wire;
use crate::server::Call;
use crate::siblings::Elsewhere;

/// Starts an operation.
pub(super) async fn start(
    tsm: Arc<SpTsm>,
    call: Call<Caller, StartRequest>,
) -> Result<ConversationReply, Problem> {
    let se = call.caller.wallet()?.se;
    let StartRequest { options, operation, aid, order } = call.request;
    let application = aid_from_wire(&aid)?;
    if tsm.settings.product(&application).is_none() {
        return Err(ProblemCode::UnknownId.into());
    }
    let order = order.map(|order| OrderId::from_uuid(order.0));
    let (word, flow) = tsm.clone().flow(operation, se, application, order)?;
    let start = Start {
        se,
        request: options.request,
        task: TaskId(tsm.environment.uuid()),
        operation: word,
        if_busy: options.if_busy,
        flow,
    };
    tsm.engine.start(start).await
}

/// Takes a turn.
pub(super) async fn turn(
    tsm: Arc<SpTsm>,
    call: Call<Caller, TurnRequest>,
) -> Result<ConversationReply, Problem> {
    let conversation: ConversationId = call.parameter()?;
    tsm.tickets.check(conversation, call.request.ticket.as_deref())?;
    tsm.elsewhere().turn(&tsm.engine, &TURN, conversation, call.request).await
}

/// Stops a conversation between two lists.
pub(super) async fn cancel(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let conversation: ConversationId = call.parameter()?;
    let wallet = call.caller.wallet()?;
    let caller = (&wallet.se, &wallet.bearer);
    tsm.elsewhere().cancel(&tsm.engine, &CANCEL, conversation, caller).await
}

impl SpTsm {
    fn elsewhere(&self) -> Elsewhere<'_, dyn SpTsmStore> {
        Elsewhere { siblings: self.siblings.as_deref(), store: &*self.store }
    }

    fn flow(
        self: Arc<Self>,
        operation: Operation,
        se: SeId,
        application: Aid,
        order: Option<OrderId>,
    ) -> Result<(&'static str, Flow), Problem> {
        let flow = match operation {
            Operation::TopUp => {
                let order = order.ok_or_else(|| {
                    Problem::because(
                        ProblemCode::ValueRefused,
                        both("A top-up carries out an order.", "充值须对应一个订单。"),
                    )
                })?;
                let request = TopUpRequest { se, application, order };
                self.top_up_flow(request)
            }
            Operation::Lock => self.lock_flow(se, application, LockChange::Lock),
            Operation::Unlock => self.lock_flow(se, application, LockChange::Unlock),
            Operation::Synchronise => {
                self.linked((se, application), ("synchronise", Proofs::Beside), move |tsm, session, fence| {
                    tsm.synchronise(session, fence, se, application).boxed()
                })
            }
            Operation::Return => {
                self.linked((se, application), ("return", Proofs::First), move |tsm, session, fence| {
                    tsm.return_card(session, fence, (se, application, Place::Phone)).boxed()
                })
            }
            Operation::MigrateOut => self.linked(
                (se, application),
                ("migration out", Proofs::First),
                move |tsm, session, fence| {
                    tsm.migrate_out(session, fence, (se, application, Place::Phone)).boxed()
                },
            ),
            Operation::GiveUpMigrationIn => self.linked(
                (se, application),
                ("give up migration", Proofs::First),
                move |tsm, session, fence| tsm.give_up_migration(session, fence, se, application).boxed(),
            ),
            Operation::Repersonalise => self.linked(
                (se, application),
                ("repersonalise", Proofs::Beside),
                move |tsm, session, fence| tsm.repersonalise(session, fence, se, application).boxed(),
            ),
            Operation::CancelClosing => self.linked(
                (se, application),
                ("cancel closing", Proofs::First),
                move |tsm, session, fence| tsm.cancel_closing(session, fence, se, application).boxed(),
            ),
            Operation::Personalise => Box::new(move |session| {
                async move { Ending::from(self.personalise(session, se, application).await) }.boxed()
            }),
        };
        Ok((word_of(operation), flow))
    }

    /// Carries an order out.
    pub(super) fn top_up_flow(self: Arc<Self>, request: TopUpRequest) -> Flow {
        self.linked(
            (request.se, request.application),
            ("top-up", Proofs::Beside),
            move |tsm, session, fence| tsm.top_up(session, fence, request).boxed(),
        )
    }

    pub(super) fn lock_flow(self: Arc<Self>, se: SeId, application: Aid, change: LockChange) -> Flow {
        self.linked((se, application), ("lock", Proofs::First), move |tsm, session, fence| {
            tsm.change_lock(session, fence, se, application, change).boxed()
        })
    }
}

/// What an operation is called in the list of tasks.
const fn word_of(operation: Operation) -> &'static str {
    match operation {
        Operation::TopUp => "top-up",
        Operation::Lock => "lock",
        Operation::Unlock => "unlock",
        Operation::Synchronise => "synchronise",
        Operation::Return => "return",
        Operation::MigrateOut => "migrate-out",
        Operation::GiveUpMigrationIn => "give-up-migration",
        Operation::Repersonalise => "repersonalise",
        Operation::CancelClosing => "cancel-closing",
        Operation::Personalise => "personalise",
    }
}
