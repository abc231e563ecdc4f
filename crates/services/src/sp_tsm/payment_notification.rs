//! The payment platform's signed word that an order is paid (B-7.4.1.b).
//!
//! The word counts once: repeating it changes nothing, and one that contradicts the order changes nothing
//! and is refused with its reason. A payment that nobody may use any more goes back.

use std::sync::Arc;

use serde_json::json;
use tracing::warn;
use tsm_api::endpoint::Nothing;
use tsm_api::payment::{PaymentNotification, PaymentRecord, PaymentState};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::{Fen, OrderId, PaymentReference};
use tsm_storage::sp_tsm::{PaymentConfirmed, With};

use super::access::Caller;
use super::{SpTsm, reports};
use crate::server::Call;
use crate::stored;

/// Takes the platform's word.
pub(super) async fn payment_notification(
    tsm: Arc<SpTsm>,
    call: Call<Caller, PaymentNotification>,
) -> Result<Nothing, Problem> {
    call.caller.require_payment()?;
    let record = call.request.payment;
    match record.state {
        PaymentState::Paid => tsm.confirm(record).await.map(|()| Nothing {}),
        // The rider may still pay or order anew; nothing of ours depends on it.
        PaymentState::Open | PaymentState::Declined | PaymentState::Refunded => Ok(Nothing {}),
    }
}

impl SpTsm {
    async fn confirm(&self, record: PaymentRecord) -> Result<(), Problem> {
        let order = OrderId::from_uuid(record.order.0);
        let payment: PaymentReference =
            record.payment.to_string().parse().map_err(|_| ProblemCode::ValueRefused)?;
        let problem = |error| stored::problem(&error);
        let known = self.store.top_up(order).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
        let now = self.now();
        let note = self.note(known.card, "payment-confirmed", &json!({ "order": order, "payment": payment }));
        let with = With {
            deliveries: vec![reports::paid(order, known.card, known.amount, now)],
            notes: vec![note],
            ..With::default()
        };
        let amount = Fen::new(record.amount_fen.into());
        match self.store.confirm_payment(order, payment, amount, with).await.map_err(problem)? {
            PaymentConfirmed::Now(_) => {
                self.confirmed.send_replace(());
                self.outbox.kick();
                Ok(())
            }
            PaymentConfirmed::Before(_) => Ok(()),
            PaymentConfirmed::WrongAmount { expected } => Err(refused(
                &record,
                ProblemCode::AmountRefused,
                format!("The order is for {expected} yuan."),
            )),
            PaymentConfirmed::PaidByAnother(_) => {
                self.give_back(&record).await?;
                Err(refused(&record, ProblemCode::OrderUsed, "Another payment paid the order.".into()))
            }
            PaymentConfirmed::Closed => {
                self.give_back(&record).await?;
                Err(refused(
                    &record,
                    ProblemCode::OrderUsed,
                    "The order was closed before it was paid.".into(),
                ))
            }
        }
    }

    async fn give_back(&self, record: &PaymentRecord) -> Result<(), Problem> {
        let back = reports::stray_payment(record, self.now());
        self.store.put_delivery(back).await.map_err(|error| stored::problem(&error))?;
        self.outbox.kick();
        Ok(())
    }
}

fn refused(record: &PaymentRecord, code: ProblemCode, reason: String) -> Problem {
    warn!(order = %record.order, ?code, reason, "a payment notification was refused");
    Problem::because(code, reason)
}
