//! A merchant asks how its payment stands. For a while after a change the platform may not know.

use std::sync::Arc;

use jiff::SignedDuration;
use tsm_api::endpoint::Nothing;
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentRecord;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::OrderId;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;

/// How a merchant's own payment stands.
pub(super) async fn query(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Nothing>,
) -> Result<PaymentRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    let merchant = call.caller.merchant()?;
    let row = sandbox.own_payment(OrderId::from_uuid(payment.0), &merchant).await?;
    let record = sandbox.record(&row).await?;
    let unknown_for = SignedDuration::from_millis(sandbox.faults.get().unknown_for_ms.into());
    if sandbox.now().duration_since(record.changed_at) < unknown_for {
        return Err(Problem::because(
            ProblemCode::OutcomeUnknown,
            both("The bank has not answered yet.", "银行尚未答复。"),
        ));
    }
    Ok(record)
}
