//! The person pays or declines (B-7.4.1.a). The merchant's notification goes into the outbox with the payment.

use std::sync::Arc;

use tsm_api::ids::PaymentId;
use tsm_api::payment::{Pay, PayChoice, PaymentNotification, PaymentRecord, PaymentState};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::PaymentState as State;
use tsm_domain::{OrderId, PayerId, PaymentReference, TransferId};
use tsm_storage::payment::{PaymentRow, Refund};
use tsm_storage::shared::Delivery;

use super::access::Caller;
use super::faults::{Heard, Raced};
use super::{PaymentSandbox, notifications};
use crate::names;
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
    /// Takes the payer's money for an order.
    pub(super) async fn take_payment(&self, row: PaymentRow) -> Result<PaymentRow, Problem> {
        let now = self.now();
        if row.order.state == State::Created && row.expires_at <= now {
            self.store
                .close_order(row.order.order, row.expires_at)
                .await
                .map_err(|error| stored::problem(&error))?;
            return Err(Problem::because(
                ProblemCode::StateForbids,
                both("The payment has expired.", "支付已过期。"),
            ));
        }
        let payment = PaymentId(row.order.order.as_uuid());
        let reference: PaymentReference =
            payment.to_string().parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
        let payer: PayerId = PAYER.parse().map_err(|_| Problem::new(ProblemCode::Internal))?;
        let faults = self.faults.get();
        if row.order.state == State::Closed && faults.raced == Raced::TakenAndGivenBack {
            return self.take_and_give_back(row, payer, reference).await;
        }
        let said = PaymentRecord { state: PaymentState::Paid, changed_at: now, ..self.record(&row).await? };
        let word = PaymentNotification { payment: said };
        let messages = notifications::messages(&row.notify_url, &word, now, &faults);
        let (order, amount) = (row.order.order, row.order.amount);
        let paid = self.store.pay(order, payer, reference, amount, now, messages.clone()).await;
        let paid = paid.map_err(|error| stored::problem(&error))?;
        self.tell(&messages, faults.heard).await;
        Ok(paid)
    }

    async fn take_and_give_back(
        &self,
        row: PaymentRow,
        payer: PayerId,
        reference: PaymentReference,
    ) -> Result<PaymentRow, Problem> {
        let now = self.now();
        let order = row.order.order;
        let refund = Refund {
            id: TransferId::from_uuid(names::derived(&["paid-after-close", &order.to_string()])),
            order,
            amount: row.order.amount,
            at: now,
        };
        let record = self.record(&row).await?;
        let refunded_fen = record.amount_fen;
        let said = PaymentRecord { state: PaymentState::Refunded, refunded_fen, changed_at: now, ..record };
        let word = PaymentNotification { payment: said };
        let faults = self.faults.get();
        let messages = notifications::messages(&row.notify_url, &word, now, &faults);
        let back = self.store.pay_after_close(payer, reference, refund, messages.clone()).await;
        let back = back.map_err(|error| stored::problem(&error))?;
        self.tell(&messages, faults.heard).await;
        Ok(back)
    }

    async fn tell(&self, messages: &[Delivery], heard: Heard) {
        match heard {
            Heard::InTurn => self.outbox.kick(),
            Heard::BeforePayReply | Heard::BeforeCreateReply => self.outbox.send_now(messages).await,
        }
    }
}
