//! The person looks at what is to be paid.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentRecord;
use tsm_api::problem::Problem;
use tsm_domain::OrderId;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;

/// Shows a payment.
pub(super) async fn show(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Nothing>,
) -> Result<PaymentRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    sandbox.record(&sandbox.payment(OrderId::from_uuid(payment.0)).await?).await
}
