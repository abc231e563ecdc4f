//! What riders order: cards and top-ups.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::{OrderId as WireOrder, PaymentId};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::wallet::{OpenCardOrder, OrderRecord, OrderState, TopUpOrder as WireTopUp};
use tsm_domain::card::{CardOrder, CardOrderState};
use tsm_domain::money::TopUpStage;
use tsm_domain::{Fen, OrderId, SeId};
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::SpTsm;
use super::access::Caller;
use super::stop::Stop;
use crate::names;
use crate::payment::{NewOrder, PaymentError, PaymentMeans, PlatformOrder};
use crate::purse::{aid_from_wire, to_wire};
use crate::server::Call;
use crate::stored;

/// Orders a card. The order that is under way for the application is given again.
pub(super) async fn order_card(
    tsm: Arc<SpTsm>,
    call: Call<Caller, OpenCardOrder>,
) -> Result<OrderRecord, Problem> {
    let wallet = call.caller.wallet()?;
    let application = aid_from_wire(&call.request.aid)?;
    let product = tsm.settings.product(&application).ok_or(ProblemCode::UnknownId)?;
    let purse = product.purse().ok_or(ProblemCode::UnknownId)?;
    let order = own_id(wallet.se, "card", &call.request.request.to_string());
    let known = tsm.store.card_order(order).await.map_err(|error| stored::problem(&error))?;
    if let Some(known) = known {
        return Ok(card_record(&known));
    }
    let order = tsm.card_order(wallet.se, application, purse, wallet.number, Some(order)).await;
    order.map(|order| card_record(&order)).map_err(Stop::into_problem)
}

/// Orders a top-up and opens its payment at the payment platform.
pub(super) async fn order_top_up(
    tsm: Arc<SpTsm>,
    call: Call<Caller, WireTopUp>,
) -> Result<OrderRecord, Problem> {
    let wallet = call.caller.wallet()?;
    let request = call.request;
    let application = aid_from_wire(&request.aid)?;
    let card = tsm.card_on(wallet.se, application).await.map_err(Stop::into_problem)?;
    let card = card.ok_or(ProblemCode::UnknownId)?;
    // Nobody pays for a card that is looked for: it would be refused when the money comes to it.
    if tsm.is_lost(card.card).await.map_err(Stop::into_problem)? {
        return Err(ProblemCode::CardListed.into());
    }
    card.may_move_value().map_err(|refusal| stored::problem(&StorageError::Card(refusal)))?;
    let amount = Fen::new(request.amount_fen.into());
    tsm.check_amount(amount, card.proven.map(|proven| proven.balance))?;
    let order = TopUpOrder {
        order: own_id(wallet.se, "top-up", &request.request.to_string()),
        card: card.card,
        se: wallet.se,
        amount,
        created_at: tsm.now(),
        state: TopUpOrderState::AwaitingPayment,
    };
    let order = tsm.store.order_top_up(order).await.map_err(|error| stored::problem(&error))?;
    if order.amount != amount || order.card != card.card {
        return Err(Problem::because(
            ProblemCode::Duplicate,
            both("The request number was used for another order.", "该请求号已用于其他订单。"),
        ));
    }
    if order.state == TopUpOrderState::AwaitingPayment {
        tsm.ordered.send_replace(());
        tsm.open_payment(&order).await.map_err(|error| error.to_problem())?;
    }
    Ok(top_up_record(&order, request.aid))
}

/// How an own order stands.
pub(super) async fn order(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<OrderRecord, Problem> {
    let order: WireOrder = call.parameter()?;
    let se = call.caller.wallet()?.se;
    let order = OrderId::from_uuid(order.0);
    let problem = |error: StorageError| stored::problem(&error);
    if let Some(top_up) = tsm.store.top_up(order).await.map_err(problem)?.filter(|top_up| top_up.se == se) {
        let card = tsm.store.card(top_up.card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
        return Ok(top_up_record(&top_up, card.instance.into()));
    }
    let card = tsm.store.card_order(order).await.map_err(problem)?.filter(|card| card.se == se);
    card.map(|order| card_record(&order)).ok_or_else(|| ProblemCode::UnknownId.into())
}

impl SpTsm {
    /// Opens the payment of an order. A reply that was lost is asked for again: the platform opens one payment
    /// for one order.
    async fn open_payment(&self, order: &TopUpOrder) -> Result<PlatformOrder, PaymentError> {
        let new = NewOrder {
            order: order.order,
            amount: order.amount,
            subject: "Transit card top-up".into(),
            expires_at: Self::pays_until(order),
            // A card is not topped up from a card.
            means: PaymentMeans::Account,
            payer: None,
        };
        match self.links.payment.create_order(&new).await {
            Err(PaymentError::Unknown(_)) => self.links.payment.create_order(&new).await,
            opened => opened,
        }
    }

    pub(super) fn check_amount(&self, amount: Fen, balance: Option<Fen>) -> Result<(), Problem> {
        let limits = &self.settings.top_up;
        if amount < limits.minimum || amount > limits.maximum {
            let reason = both(
                format!("Between {} and {} yuan can be topped up.", limits.minimum, limits.maximum),
                format!("可充值 {} 至 {} 元。", limits.minimum, limits.maximum),
            );
            return Err(Problem::because(ProblemCode::AmountRefused, reason));
        }
        let after = balance.unwrap_or(Fen::ZERO).checked_add(amount);
        if after.is_none_or(|after| after > limits.purse_maximum) {
            let reason = both(
                format!("A card holds at most {} yuan.", limits.purse_maximum),
                format!("卡内余额最多 {} 元。", limits.purse_maximum),
            );
            return Err(Problem::because(ProblemCode::AmountRefused, reason));
        }
        Ok(())
    }
}

/// An order's number follows from the wallet's request number, so that repeating the request finds it; it
/// is made with the SE, so that two wallets cannot meet.
fn own_id(se: SeId, kind: &str, request: &str) -> OrderId {
    OrderId::from_uuid(names::derived(&["order", kind, &se.to_string(), request]))
}

pub(super) fn card_record(order: &CardOrder) -> OrderRecord {
    OrderRecord {
        order: WireOrder(order.order.as_uuid()),
        aid: order.application.into(),
        state: match order.state {
            CardOrderState::Accepted => OrderState::Paid,
            CardOrderState::PersonalisationIntended => OrderState::InFlight,
            CardOrderState::Opened | CardOrderState::Told => OrderState::Done,
            CardOrderState::GivenUp => OrderState::Cancelled,
        },
        amount_fen: 0,
        payment: None,
        created_at: order.created_at,
    }
}

pub(super) fn top_up_record(order: &TopUpOrder, aid: tsm_api::HexBytes) -> OrderRecord {
    OrderRecord {
        order: WireOrder(order.order.as_uuid()),
        aid,
        state: state_of(&order.state),
        amount_fen: to_wire(order.amount),
        // The platform numbers a payment as the merchant numbers its order.
        payment: Some(PaymentId(order.order.as_uuid())),
        created_at: order.created_at,
    }
}

/// How a top-up stands, for its owner.
pub(super) const fn state_of(state: &TopUpOrderState) -> OrderState {
    match state {
        TopUpOrderState::AwaitingPayment => OrderState::Unpaid,
        TopUpOrderState::Closed => OrderState::Cancelled,
        TopUpOrderState::Paid { stage, .. } => match stage {
            TopUpStage::Paid => OrderState::Paid,
            TopUpStage::Intended(_) | TopUpStage::Suspicious(..) => OrderState::InFlight,
            TopUpStage::Loaded(..) | TopUpStage::Told(..) => OrderState::Done,
            TopUpStage::Cancelled => OrderState::Refunding,
        },
    }
}
