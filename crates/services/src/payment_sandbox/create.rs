//! A merchant opens a payment for its order. Repeating it gets the same payment.

use std::sync::Arc;

use tsm_api::payment::{NewPayment, PaymentRecord};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::PaymentOrder;
use tsm_domain::{Fen, OrderId};
use tsm_storage::payment::PaymentRow;

use super::PaymentSandbox;
use super::access::Caller;
use crate::server::Call;
use crate::stored;

/// The longest subject that is kept.
const LONGEST_SUBJECT: usize = 200;

/// Opens a payment.
pub(super) async fn create(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, NewPayment>,
) -> Result<PaymentRecord, Problem> {
    let merchant = call.caller.merchant()?;
    let NewPayment { order, amount_fen, subject } = call.request;
    if amount_fen == 0 || subject.len() > LONGEST_SUBJECT {
        return Err(ProblemCode::ValueRefused.into());
    }
    let now = sandbox.now();
    let row = PaymentRow {
        order: PaymentOrder::create(OrderId::from_uuid(order.0), Fen::new(amount_fen.into())),
        notify_url: merchant.clone(),
        merchant,
        subject,
        payer: None,
        created_at: now,
        expires_at: now.saturating_add(sandbox.lifetime).unwrap_or(now),
        paid_at: None,
        closed_at: None,
    };
    let row = sandbox.store.create_order(row).await.map_err(|error| stored::problem(&error))?;
    sandbox.record(&row).await
}
