//! A merchant closes a payment that nobody has paid. It stays closed: a payment that was under way goes back.

use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentRecord;
use tsm_api::problem::Problem;
use tsm_domain::OrderId;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;
use crate::stored;

/// Closes.
pub(super) async fn close(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Nothing>,
) -> Result<PaymentRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    let merchant = call.caller.merchant()?;
    let row = sandbox.own_payment(OrderId::from_uuid(payment.0), &merchant).await?;
    let closed = sandbox.store.close_order(row.order.order, sandbox.now()).await;
    sandbox.record(&closed.map_err(|error| stored::problem(&error))?).await
}
