//! The person pays or declines (B-7.4.1.a). The merchant's notification goes into the outbox with the payment.

use std::sync::Arc;

use tsm_api::ids::PaymentId;
use tsm_api::payment::{Pay, PayChoice, PaymentNotification, PaymentRecord, PaymentState};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::PaymentState as State;
use tsm_domain::{OrderId, PayerId, PaymentReference};
use tsm_storage::payment::PaymentRow;
use tsm_storage::shared::Delivery;

use super::access::Caller;
use super::{PaymentSandbox, Repetition, notifications};
use crate::server::Call;
use crate::stored;

/// The one payer of the sandbox, who can always pay.
const PAYER: &str = "sandbox-payer";

/// Pays or declines.
pub(super) async fn pay(
    sandbox: Arc<PaymentSandbox>,
    call: Call<Caller, Pay>,
) -> Result<PaymentRecord, Problem> {
    let payment: PaymentId = call.parameter()?;
    let row = sandbox.payment(OrderId::from_uuid(payment.0)).await?;
    let row = match call.request.choice {
        PayChoice::Pay => sandbox.take_payment(row).await?,
        PayChoice::Decline => {
            let closed = sandbox.store.close_order(row.order.order, sandbox.now()).await;
            closed.map_err(|error| stored::problem(&error))?
        }
    };
    sandbox.record(&row).await
}

impl PaymentSandbox {
    async fn take_payment(&self, row: PaymentRow) -> Result<PaymentRow, Problem> {
        let now = self.now();
        if row.order.state == State::Created && row.expires_at <= now {
            self.store
                .close_order(row.order.order, row.expires_at)
                .await
                .map_err(|error| stored::problem(&error))?;
            return Err(Problem::because(ProblemCode::StateForbids, "The payment has expired."));
        }
        let payment = PaymentId(row.order.order.as_uuid());
        let reference: PaymentReference =
            payment.to_string().parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
        let payer: PayerId = PAYER.parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
        let word = PaymentNotification {
            payment: PaymentRecord { state: PaymentState::Paid, changed_at: now, ..self.record(&row).await? },
        };
        let messages = self.messages(&row, &word);
        let (order, amount) = (row.order.order, row.order.amount);
        let paid = self.store.pay(order, payer, reference, amount, now, messages).await;
        let paid = paid.map_err(|error| stored::problem(&error))?;
        self.outbox.kick();
        Ok(paid)
    }

    fn messages(&self, row: &PaymentRow, word: &PaymentNotification) -> Vec<Delivery> {
        let now = self.now();
        let count = match self.repetition {
            Repetition::Once => 1,
            Repetition::Twice => 2,
        };
        (0..count).map(|copy| notifications::message(&row.notify_url, copy, word, now)).collect()
    }
}
