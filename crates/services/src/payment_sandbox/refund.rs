//! A merchant gives back what was paid. Repeating it gives nothing more.

use std::sync::Arc;

use tsm_api::ids::PaymentId;
use tsm_api::payment::{PaymentRecord, Refund as WireRefund};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::PaymentRefusal;
use tsm_domain::{Fen, OrderId, TransferId};
use tsm_storage::StorageError;
use tsm_storage::payment::Refund;

use super::PaymentSandbox;
use super::access::Caller;
use crate::names;
use crate::server::Call;
use crate::stored;

/// Gives back.
pub(super) async fn refund(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, WireRefund>,
) -> Result<PaymentRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    let merchant = call.caller.merchant()?;
    if call.request.amount_fen == 0 {
        return Err(ProblemCode::ValueRefused.into());
    }
    let order = OrderId::from_uuid(payment.0);
    sandbox.own_payment(order, &merchant).await?;
    let refund = Refund {
        // One refund for each payment: its number follows from the payment's.
        id: TransferId::from_uuid(names::derived(&["refund", &payment.to_string()])),
        order,
        amount: Fen::new(call.request.amount_fen.into()),
        at: sandbox.now(),
    };
    let row = sandbox.store.refund(refund, Vec::new()).await.map_err(|error| refused(&error))?;
    sandbox.record(&row).await
}

fn refused(error: &StorageError) -> Problem {
    match error {
        StorageError::Payment(PaymentRefusal::ExceedsPaid { .. }) => {
            Problem::because(ProblemCode::AmountRefused, format_args!("In detail: {error}."))
        }
        StorageError::Conflict { .. } => {
            Problem::because(ProblemCode::Duplicate, "The payment was given back with another amount.")
        }
        other => stored::problem(other),
    }
}
