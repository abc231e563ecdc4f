//! A card on a hall's own reader: unlocked, returned, or parked to migrate, by a person who stands in the journal
//! (B-7.5.1, B-7.6.1; D-5).
//!
//! What the rider's phone may do the hall may do as well. Beyond that, a hall lifts a lock in the same visit, and
//! parks a card that cannot prove its content. The hall's system answers the turns as a wallet does.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::json;
use tsm_api::conversation::{ConversationReply, IfBusy};
use tsm_api::ids::TaskId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::desk::{HallSession, HallWork};
use tsm_domain::card::{CardRecord, CardState, LockChange};

use super::SpTsm;
use super::access::Caller;
use super::begin::Proofs;
use super::closing_card::Place;
use super::desk::{AtDesk, HALL, problem};
use crate::conversation::{Flow, Start};
use crate::server::Call;

/// Begins a conversation with a card on the hall's reader.
pub(super) async fn begin(
    tsm: Arc<SpTsm>,
    call: Call<Caller, HallSession>,
) -> Result<ConversationReply, Problem> {
    let HallSession { matter, work } = call.request;
    let at = tsm.at_desk(&call.caller, &matter, HALL).await?;
    if at.card.frozen.is_some() {
        return Err(ProblemCode::SuspiciousCard.into());
    }
    let card = at.card.clone();
    let said = json!({ "work": work, "reason": at.reason });
    let note = tsm.note_by(&at.clerk, card.card, "card-in-hall", &said);
    tsm.store.append(note).await.map_err(problem)?;
    tsm.permit_what_it_needs(at, &matter.request, work).await?;
    let start = Start {
        se: card.se,
        request: matter.request,
        task: TaskId(tsm.environment.uuid()),
        operation: "hall",
        // The card is on the hall's reader: whatever a phone had begun with it is over.
        if_busy: IfBusy::Replace,
        flow: tsm.clone().hall_flow(&card, work),
    };
    tsm.engine.start(start).await
}

impl SpTsm {
    /// A person who has card and rider before him allows the unlock that the work begins with.
    async fn permit_what_it_needs(
        &self,
        at: AtDesk,
        request: &tsm_api::ids::RequestId,
        work: HallWork,
    ) -> Result<(), Problem> {
        let is_wanted = match work {
            HallWork::Unlock => true,
            HallWork::Return | HallWork::MigrateOut => at.card.state == CardState::Locked,
        };
        if is_wanted { self.permit_unlock(at, request).await.map(drop) } else { Ok(()) }
    }

    fn hall_flow(self: Arc<Self>, card: &CardRecord, work: HallWork) -> Flow {
        let (se, application) = (card.se, card.instance);
        match work {
            HallWork::Unlock => self.lock_flow(se, application, LockChange::Unlock),
            HallWork::Return => self.linked(
                (se, application),
                ("return in a hall", Proofs::First),
                move |tsm, session, fence| {
                    tsm.return_card(session, fence, (se, application, Place::Hall)).boxed()
                },
            ),
            HallWork::MigrateOut => self.linked(
                (se, application),
                ("migration in a hall", Proofs::First),
                move |tsm, session, fence| {
                    tsm.migrate_out(session, fence, (se, application, Place::Hall)).boxed()
                },
            ),
        }
    }
}
