//! What was interrupted on a secure element, and what its holder may choose (W-9.3.b and d): the server's own
//! rows tell, whatever the phone remembers.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId as WireOrder;
use tsm_api::problem::Problem;
use tsm_api::sp_tsm::wallet::{InterruptedWork, InterruptedWorks, WorkKind};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::{CardOrderState, CardRecord, CardState, ClosingProgress, LockChange};
use tsm_domain::money::{ClosingPurpose, TopUpStage};
use tsm_domain::se_application::UnlockPolicy;
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::{HolderData, TopUpOrder, TopUpOrderState};

use super::SpTsm;
use super::access::Caller;
use crate::purse::to_wire;
use crate::server::Call;
use crate::stored;

/// The interrupted work of the caller's secure element.
pub(super) async fn interrupted(
    tsm: Arc<SpTsm>,
    call: Call<Caller, Nothing>,
) -> Result<InterruptedWorks, Problem> {
    let se = call.caller.wallet()?.se;
    let problem = |error: StorageError| stored::problem(&error);
    let cards = tsm.store.cards_on(se).await.map_err(problem)?;
    let mut works: Vec<InterruptedWork> = cards.iter().filter_map(closing).collect();
    for card in &cards {
        works.extend(tsm.lock_of(card));
        let open = tsm.store.open_top_ups(card.card).await.map_err(problem)?;
        works.extend(open.iter().filter_map(|order| top_up(card, order)));
        let holder = tsm.store.holder(card.card).await.map_err(problem)?;
        let due = holder.is_some_and(|holder| holder.data == HolderData::Due);
        works.extend((due && card.state == CardState::Active).then(|| repersonalisation(card)));
    }
    for product in tsm.settings.products.iter().filter(|product| product.purse().is_some()) {
        let open = tsm.store.open_card_order(se, product.application).await.map_err(problem)?;
        let Some(order) = open.filter(|order| order.state != CardOrderState::Opened) else { continue };
        works.push(InterruptedWork {
            kind: WorkKind::Opening,
            aid: order.application.into(),
            order: Some(WireOrder(order.order.as_uuid())),
            amount_fen: None,
            may_continue: true,
            // What is on the card of it is deleted; nothing of value can be there.
            may_cancel: true,
            needs_card: order.state == CardOrderState::PersonalisationIntended,
            since: order.created_at,
        });
    }
    for product in tsm.settings.products.iter().filter(|product| product.purse().is_some()) {
        let open = tsm.store.open_arrival(se, product.application).await.map_err(problem)?;
        works.extend(open.iter().filter_map(arrival));
    }
    works.sort_by_key(|work| work.since);
    Ok(InterruptedWorks { works })
}

impl SpTsm {
    /// A lock or unlock whose end nobody saw. Cancelling it is the other of the two, which asks the card first.
    fn lock_of(&self, card: &CardRecord) -> Option<InterruptedWork> {
        let intention = card.lock.filter(|_| matches!(card.state, CardState::Active | CardState::Locked))?;
        let product = self.settings.product(&card.instance)?;
        let at_hall = product.purse().is_none_or(|purse| purse.unlock == UnlockPolicy::HallOnly);
        let may = |change| card.frozen.is_none() && (change == LockChange::Lock || !at_hall);
        Some(InterruptedWork {
            kind: match intention.change {
                LockChange::Lock => WorkKind::Lock,
                LockChange::Unlock => WorkKind::Unlock,
            },
            aid: card.instance.into(),
            order: None,
            amount_fen: None,
            may_continue: may(intention.change),
            may_cancel: may(match intention.change {
                LockChange::Lock => LockChange::Unlock,
                LockChange::Unlock => LockChange::Lock,
            }),
            needs_card: true,
            since: intention.begun_at,
        })
    }
}

fn repersonalisation(card: &CardRecord) -> InterruptedWork {
    InterruptedWork {
        kind: WorkKind::Repersonalisation,
        aid: card.instance.into(),
        order: None,
        amount_fen: None,
        may_continue: card.frozen.is_none(),
        may_cancel: false,
        needs_card: true,
        since: card.proven.map_or(card.issued_at, |proven| proven.at),
    }
}

fn arrival(arrival: &Arrival) -> Option<InterruptedWork> {
    let is_given_up = matches!(arrival.state, ArrivalState::GivingUp | ArrivalState::Cleared);
    (arrival.state != ArrivalState::Opened).then(|| InterruptedWork {
        kind: WorkKind::MigrationIn,
        aid: arrival.application.into(),
        order: Some(WireOrder(arrival.operation.as_uuid())),
        amount_fen: None,
        may_continue: !is_given_up,
        may_cancel: true,
        needs_card: is_given_up || arrival.state == ArrivalState::Writing,
        since: arrival.created_at,
    })
}

fn closing(card: &CardRecord) -> Option<InterruptedWork> {
    let closing = card.open_closing()?;
    let is_parked = matches!(closing.progress, ClosingProgress::Parked(_) | ClosingProgress::Told(_));
    Some(InterruptedWork {
        kind: match closing.purpose {
            ClosingPurpose::Return => WorkKind::Return,
            ClosingPurpose::Migration => WorkKind::MigrationOut,
        },
        aid: card.instance.into(),
        order: None,
        amount_fen: card.proven.map(|proven| to_wire(proven.balance)),
        may_continue: card.frozen.is_none(),
        may_cancel: card.frozen.is_none() && !is_parked,
        needs_card: matches!(closing.progress, ClosingProgress::Asked | ClosingProgress::Debiting(_)),
        since: closing.begun_at,
    })
}

fn top_up(card: &CardRecord, order: &TopUpOrder) -> Option<InterruptedWork> {
    let stage = order.paid()?.stage;
    let is_cash = matches!(&order.state, TopUpOrderState::Paid { payment, .. } if payment.is_cash());
    let open = match stage {
        TopUpStage::Paid | TopUpStage::Intended(_) => true,
        // While the card is frozen, people have it in hand and not the rider.
        TopUpStage::Suspicious(..) => card.frozen.is_none(),
        TopUpStage::Loaded(..) | TopUpStage::Told(..) | TopUpStage::Cancelled => false,
    };
    let usable = card.frozen.is_none() && card.state == CardState::Active;
    open.then(|| InterruptedWork {
        kind: WorkKind::TopUp,
        aid: card.instance.into(),
        order: Some(WireOrder(order.order.as_uuid())),
        amount_fen: Some(to_wire(order.amount)),
        may_continue: usable,
        // While its outcome is unknown the card must prove first that nothing was credited.
        may_cancel: !is_cash && (usable || stage == TopUpStage::Paid),
        needs_card: stage.attempt_in_doubt().is_some(),
        since: order.created_at,
    })
}
