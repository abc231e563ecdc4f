//! The issuer's record of a card, for its holder.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::conversation::ApplicationState;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::wallet::{CardRecord as WireCard, CreditRecord};
use tsm_domain::Fen;
use tsm_domain::card::CardState;
use tsm_domain::money::TopUpStage;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::SpTsm;
use super::access::Caller;
use super::orders::state_of;
use super::stop::Stop;
use crate::purse::{aid_from_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// Credits that are shown.
const CREDITS: usize = 10;

/// The record of an own card.
pub(super) async fn card(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<WireCard, Problem> {
    let aid =
        call.parameters.first().and_then(|text| hex::decode(text).ok()).ok_or(ProblemCode::UnknownId)?;
    let application = aid_from_wire(&HexBytes(aid)).map_err(|_| ProblemCode::UnknownId)?;
    let se = call.caller.wallet()?.se;
    let card = tsm.card_on(se, application).await.map_err(Stop::into_problem)?;
    let card = card.ok_or(ProblemCode::UnknownId)?;
    let top_ups = tsm.store.top_ups_of(card.card, CREDITS).await;
    let top_ups = top_ups.map_err(|error| stored::problem(&error))?;
    Ok(WireCard {
        aid: application.into(),
        card_number: card.card.to_string(),
        state: match card.state {
            CardState::Issuing => ApplicationState::Instantiated,
            CardState::Active | CardState::Closing => ApplicationState::Useable,
            CardState::Locked => ApplicationState::Locked,
            CardState::Parked | CardState::Closed => ApplicationState::Ready,
        },
        proven_balance_fen: to_wire(card.proven.map_or(Fen::ZERO, |proven| proven.balance)),
        proven_at: card.proven.map_or(card.issued_at, |proven| proven.at),
        credits: top_ups.iter().map(credit).collect(),
    })
}

fn credit(top_up: &TopUpOrder) -> CreditRecord {
    let attempt = match &top_up.state {
        TopUpOrderState::Paid {
            stage: TopUpStage::Loaded(attempt, _) | TopUpStage::Told(attempt, _),
            ..
        } => Some(attempt),
        _ => None,
    };
    CreditRecord {
        order: OrderId(top_up.order.as_uuid()),
        amount_fen: to_wire(top_up.amount),
        counter: attempt.map_or(0, |attempt| attempt.counter.0.saturating_add(1)),
        state: state_of(&top_up.state),
        at: top_up.created_at,
    }
}
