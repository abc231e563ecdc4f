//! A merchant asks how its payment stands.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentRecord;
use tsm_api::problem::Problem;
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
    sandbox.record(&row).await
}
