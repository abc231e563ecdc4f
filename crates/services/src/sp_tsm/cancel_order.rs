//! Cancelling an order. One for a card is given up while nothing of that card is in use (`cancel_opening`). A
//! top-up that is not paid is closed; a paid one gives its payment back, and only when the card has proved that
//! nothing was credited or no attempt was ever made. While an attempt is open, nothing goes back.

use std::sync::Arc;

use serde_json::json;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::OrderId as WireOrder;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_api::sp_tsm::wallet::OrderRecord;
use tsm_domain::OrderId;
use tsm_storage::StorageError;
use tsm_storage::sp_tsm::{TopUpOrderState, With};

use super::access::Caller;
use super::orders::{card_record, top_up_record};
use super::stop::Stop;
use super::{SpTsm, reports};
use crate::server::Call;
use crate::stored;

/// Cancels an own order.
pub(super) async fn cancel_order(
    tsm: Arc<SpTsm>,
    call: Call<Caller, Nothing>,
) -> Result<OrderRecord, Problem> {
    let order: WireOrder = call.parameter()?;
    let se = call.caller.wallet()?.se;
    let order = OrderId::from_uuid(order.0);
    let problem = |error: StorageError| stored::problem(&error);
    let card = tsm.store.card_order(order).await.map_err(problem)?.filter(|known| known.se == se);
    if let Some(card) = card {
        let ended = tsm.cancel_opening(card).await.map_err(Stop::into_problem)?;
        return Ok(card_record(&ended));
    }
    let known = tsm.store.top_up(order).await.map_err(problem)?.filter(|known| known.se == se);
    let known = known.ok_or(ProblemCode::UnknownId)?;
    match &known.state {
        TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => {
            // The platform closes it too, so that nobody pays in vain. Whoever was faster gets the payment back.
            let close = reports::close(order, tsm.now());
            tsm.store.put_delivery(close).await.map_err(problem)?;
            tsm.store.close_top_up(order).await.map_err(problem)?;
            tsm.outbox.kick();
        }
        TopUpOrderState::Paid { payment, .. } if payment.is_cash() => {
            let reason = both(
                "It was paid with cash, which a terminal or a hall gives back.",
                "该订单以现金支付，请在终端或营业厅退款。",
            );
            return Err(Problem::because(ProblemCode::StateForbids, reason));
        }
        TopUpOrderState::Paid { payment, .. } => {
            let now = tsm.now();
            let note = tsm.note(known.card, "top-up-cancelled", &json!({ "order": order }));
            let with = With {
                deliveries: vec![
                    reports::cancelled(order, known.card, known.amount, now),
                    reports::refund(order, payment, known.card, known.amount, now),
                ],
                notes: vec![note],
                ..With::default()
            };
            if let Err(error) = tsm.store.cancel_top_up(order, with).await {
                let refusal = problem(error);
                if refusal.code == ProblemCode::OutcomeUnknown {
                    tsm.tell_cancel_in_doubt(order).await.map_err(problem)?;
                }
                return Err(refusal);
            }
            tsm.outbox.kick();
        }
    }
    let now = tsm.store.top_up(order).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    let card = tsm.store.card(now.card).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
    Ok(top_up_record(&now, card.instance.into()))
}
