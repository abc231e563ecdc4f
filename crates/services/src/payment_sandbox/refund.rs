//! A merchant gives back a part of what was paid, or all of it. Repeating a refund's number gives nothing more.

use std::sync::Arc;

use tsm_api::ids::PaymentId;
use tsm_api::payment::{Refund as WireRefund, RefundRecord};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::PaymentRefusal;
use tsm_domain::{Fen, OrderId, TransferId};
use tsm_storage::StorageError;
use tsm_storage::payment::Refund;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;
use crate::stored;

/// Gives back.
pub(super) async fn refund(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, WireRefund>,
) -> Result<RefundRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    let merchant = call.caller.merchant()?;
    let WireRefund { refund, amount_fen, .. } = call.request;
    if amount_fen == 0 {
        return Err(ProblemCode::ValueRefused.into());
    }
    let order = OrderId::from_uuid(payment.0);
    sandbox.own_payment(order, &merchant).await?;
    let back = Refund {
        id: TransferId::from_uuid(refund.0),
        order,
        amount: Fen::new(amount_fen.into()),
        at: sandbox.now(),
    };
    let row = sandbox.store.refund(back, Vec::new()).await.map_err(|error| refused(&error))?;
    let known = sandbox.store.refunds_of(order).await.map_err(|error| stored::problem(&error))?;
    let known = known.into_iter().find(|known| known.id.as_uuid() == refund.0);
    let at = known.ok_or(ProblemCode::Internal)?.at;
    Ok(RefundRecord { refund, amount_fen, at, payment: sandbox.record(&row).await? })
}

fn refused(error: &StorageError) -> Problem {
    match error {
        StorageError::Payment(PaymentRefusal::ExceedsPaid { .. }) => {
            Problem::because(ProblemCode::AmountRefused, format_args!("In detail: {error}."))
        }
        StorageError::Conflict { .. } => Problem::because(
            ProblemCode::Duplicate,
            both(
                "The refund's number was used for another amount or payment.",
                "该退款号已用于其他金额或支付。",
            ),
        ),
        other => stored::problem(other),
    }
}
