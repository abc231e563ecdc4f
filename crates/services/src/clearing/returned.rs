//! Refunds of returned cards (B-7.5.1.b and c): the parked balance is owed once, and paid out in parts that
//! are booked once each.

use std::sync::Arc;

use serde_json::json;
use tsm_api::clearing::closing::{ClosingRecord, RefundPayment, RefundRequest, RefundWay};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{Closing, ClosingStage, RefundPart};
use tsm_domain::{Fen, OperationId, OrderId};

use super::Clearing;
use super::access::Institution;
use super::closing::{Decided, operation_from_wire, refused};
use crate::purse::card_from_wire;
use crate::server::Call;

/// Orders the refund of a parked card.
pub(super) async fn order_refund(
    centre: Arc<Clearing>,
    call: Call<Institution, RefundRequest>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let card = card_from_wire(&call.request.card)?;
    centre.check_issuer(&institution, card)?;
    let refund = operation_from_wire(call.request.operation);
    let closings = centre.closings(card).await?;
    let ordered = closings.iter().find(|closing| is_refunded_by(closing, refund));
    let parked = || closings.iter().find(|closing| matches!(closing.stage, ClosingStage::Parked(_)));
    let newest = || closings.first();
    let closing = ordered.or_else(parked).or_else(newest).ok_or_else(|| {
        Problem::because(ProblemCode::StateForbids, both("The card is not parked.", "卡片未寄存。"))
    })?;
    centre
        .step_closing(&institution, card, closing.operation, |_, known| {
            let known = known.ok_or(ProblemCode::StateForbids)?;
            let made = known.order_refund(refund).map_err(refused)?;
            let detail = json!({ "refund": refund });
            Ok(made.map(|made| Decided::new(made, "refund-ordered", detail)))
        })
        .await
}

/// A part of a refund went back.
pub(super) async fn refund_paid(
    centre: Arc<Clearing>,
    call: Call<Institution, RefundPayment>,
) -> Result<ClosingRecord, Problem> {
    let Institution(institution, _) = call.caller;
    let RefundPayment { card, operation, refund, amount_fen, way } = call.request;
    let (card, operation) = (card_from_wire(&card)?, operation_from_wire(operation));
    centre.check_issuer(&institution, card)?;
    let closings = centre.closings(card).await?;
    let closing = closings.iter().find(|closing| is_refunded_by(closing, operation));
    let closing = closing.ok_or_else(|| {
        Problem::because(
            ProblemCode::StateForbids,
            both("No refund with this number is ordered.", "没有此编号的退款。"),
        )
    })?;
    let part = RefundPart { refund: operation_from_wire(refund), amount: Fen::new(amount_fen.into()) };
    let (order, words) = match &way {
        RefundWay::Payment { payment } => (Some(OrderId::from_uuid(payment.0)), format!("payment {payment}")),
        RefundWay::Hall { clerk } => (None, format!("a hall, by {clerk}")),
    };
    centre
        .step_closing(&institution, card, closing.operation, |_, known| {
            let known = known.ok_or(ProblemCode::StateForbids)?;
            let made = known.pay(part).map_err(refused)?;
            let detail = json!({ "refund": part.refund, "amount_fen": part.amount, "way": words });
            Ok(made.map(|made| Decided {
                own: Some(part.refund),
                order,
                ..Decided::new(made, "refund-paid", detail)
            }))
        })
        .await
}

fn is_refunded_by(closing: &Closing, number: OperationId) -> bool {
    matches!(&closing.stage, ClosingStage::Refunding { refund, .. } if *refund == number)
}
