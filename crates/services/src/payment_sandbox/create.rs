//! A merchant opens a payment for its order. Repeating it gets the same payment.

use std::sync::Arc;

use tsm_api::payment::{NewPayment, PaymentMeans, PaymentRecord};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{PaymentOrder, PurseOffer};
use tsm_domain::{Fen, OrderId};
use tsm_storage::payment::PaymentRow;

use super::PaymentSandbox;
use super::access::Caller;
use super::cards::token;
use super::faults::Heard;
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
    let NewPayment { order, amount_fen, subject, expires_at, means, payer } = call.request;
    if amount_fen == 0 || subject.len() > LONGEST_SUBJECT {
        return Err(ProblemCode::ValueRefused.into());
    }
    let purse = match means {
        PaymentMeans::Account => None,
        PaymentMeans::AccountOrCard => {
            sandbox.cards()?;
            Some(PurseOffer::default())
        }
    };
    let addressed_to = payer.as_ref().map(token).transpose()?;
    let now = sandbox.now();
    let longest = now.saturating_add(sandbox.lifetime).unwrap_or(now);
    let row = PaymentRow {
        order: PaymentOrder::create(OrderId::from_uuid(order.0), Fen::new(amount_fen.into())),
        notify_url: merchant.clone(),
        merchant,
        subject,
        payer: None,
        created_at: now,
        expires_at: expires_at.map_or(longest, |wanted| wanted.min(longest)),
        paid_at: None,
        closed_at: None,
        purse,
        addressed_to,
    };
    let mut row = sandbox.store.create_order(row).await.map_err(|error| stored::problem(&error))?;
    sandbox.expiry.send_replace(());
    if sandbox.faults.get().heard == Heard::BeforeCreateReply {
        row = sandbox.take_payment(row).await?;
    }
    sandbox.record(&row).await
}
