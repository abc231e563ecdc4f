//! The payment platform's signed word that an order is paid (B-7.4.1.b).
//!
//! The word counts once: repeating it changes nothing, and one that contradicts the order changes nothing
//! and is refused with its reason and an incident. Before anything is decided about an order that is not
//! known here, the platform is asked. A payment that nobody may use any more goes back.

use std::sync::Arc;

use serde_json::json;
use tracing::warn;
use tsm_api::endpoint::Nothing;
use tsm_api::payment::PaymentNotification;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::{Fen, IncidentId};
use tsm_storage::shared::Incident;
use tsm_storage::sp_tsm::{PaymentConfirmed, TopUpOrderState, With};

use super::access::Caller;
use super::{SpTsm, reports};
use crate::names;
use crate::payment::{
    IncomingMessage, Notification, NotificationError, PaymentError, PlatformOrder, PlatformState,
};
use crate::server::{Call, Credentials};
use crate::stored;

/// Takes the platform's word. What it says was read where its signature was checked.
pub(super) async fn payment_notification(
    tsm: Arc<SpTsm>,
    call: Call<Caller, PaymentNotification>,
) -> Result<Nothing, Problem> {
    let Notification { order } = call.caller.payment()?;
    tsm.take_word(&order).await.map(|()| Nothing {})
}

impl SpTsm {
    /// The platform's notification, if the message is one: signed, fresh, taken once, for this merchant.
    pub(super) async fn notified(&self, credentials: &Credentials<'_>) -> Result<Notification, Problem> {
        let message = IncomingMessage {
            method: credentials.verb.name(),
            path: credentials.path,
            headers: credentials.headers,
            body: credentials.body,
        };
        match self.links.payment.verify_notification(&message).await {
            Ok(notification) => Ok(notification),
            Err(error) => Err(self.not_taken(&error).await),
        }
    }

    /// A message that is not the platform's leaves one incident for each reason and hour, however many come.
    async fn not_taken(&self, error: &NotificationError) -> Problem {
        warn!(%error, "a payment notification was not taken");
        let (kind, code) = match error {
            NotificationError::Forged(_) => ("payment-forged", ProblemCode::SignatureWrong),
            NotificationError::Stale => ("payment-stale", ProblemCode::SignatureStale),
            NotificationError::Replayed => ("payment-replayed", ProblemCode::SignatureReplayed),
            NotificationError::AnotherMerchant(_) => ("payment-misdirected", ProblemCode::NotAllowed),
            NotificationError::Unreadable(_) => ("payment-unreadable", ProblemCode::MalformedRequest),
            NotificationError::NotNow(_) => return ProblemCode::Unavailable.into(),
        };
        let hour = (self.now().as_second() / 3600).to_string();
        match self.payment_incident(kind, &hour, error.to_string()).await {
            Ok(()) => Problem::new(code),
            Err(problem) => problem,
        }
    }

    /// What the platform says of an order, under its signature: in a notification or as an answer.
    pub(super) async fn take_word(&self, order: &PlatformOrder) -> Result<(), Problem> {
        match order.state {
            PlatformState::Paid => self.confirm(order).await,
            // The rider may still pay.
            PlatformState::Open => Ok(()),
            PlatformState::Closed => self.close_unpaid(order).await,
            // Given back as a whole: by us, or because the payment came after the order was closed.
            PlatformState::Refunded => self.close_unpaid(order).await,
            PlatformState::PartlyRefunded { .. } => Ok(()),
        }
    }

    /// Nothing can be paid for the order any more.
    async fn close_unpaid(&self, order: &PlatformOrder) -> Result<(), Problem> {
        let problem = |error| stored::problem(&error);
        let known = self.store.top_up(order.order).await.map_err(problem)?;
        if known.is_some_and(|known| known.state == TopUpOrderState::AwaitingPayment) {
            self.store.close_top_up(order.order).await.map_err(problem)?;
        }
        Ok(())
    }

    async fn confirm(&self, paid: &PlatformOrder) -> Result<(), Problem> {
        let PlatformOrder { order, payment, amount, .. } = paid;
        let problem = |error| stored::problem(&error);
        let Some(known) = self.store.top_up(*order).await.map_err(problem)? else {
            return Err(self.unknown_order(paid).await?);
        };
        let now = self.now();
        let note = self.note(known.card, "payment-confirmed", &json!({ "order": order, "payment": payment }));
        let with = With {
            deliveries: vec![reports::paid(*order, known.card, known.amount, now)],
            notes: vec![note],
            ..With::default()
        };
        match self.store.confirm_payment(*order, payment.clone(), *amount, with).await.map_err(problem)? {
            PaymentConfirmed::Now(_) => {
                self.confirmed.send_replace(());
                self.outbox.kick();
                Ok(())
            }
            PaymentConfirmed::Before(_) => Ok(()),
            PaymentConfirmed::WrongAmount { expected } => Err(self.wrong_amount(paid, expected).await?),
            PaymentConfirmed::PaidByAnother(_) => {
                self.give_back(paid).await?;
                let reason = "Another payment paid the order.";
                self.contradiction("payment-twice", paid, reason).await?;
                Err(Problem::because(ProblemCode::OrderUsed, reason))
            }
            PaymentConfirmed::Closed => {
                self.give_back(paid).await?;
                let reason = "The order was closed before it was paid.";
                Err(Problem::because(ProblemCode::OrderUsed, reason))
            }
        }
    }

    async fn wrong_amount(&self, paid: &PlatformOrder, expected: Fen) -> Result<Problem, Problem> {
        let reason = format!("The order is for {expected} yuan and the payment is {} yuan.", paid.amount);
        self.contradiction("payment-wrong-amount", paid, &reason).await?;
        Ok(Problem::because(ProblemCode::AmountRefused, reason))
    }

    /// A payment for an order that is not ours, as far as we know: the platform is asked before anything is
    /// said about it, and a person looks at what it confirms.
    async fn unknown_order(&self, paid: &PlatformOrder) -> Result<Problem, Problem> {
        let reason = match self.links.payment.query(paid.order).await {
            Ok(order) if order.was_paid() => {
                "The platform holds a payment for an order that is not known here."
            }
            Ok(_) => "The platform's answer does not confirm its notification.",
            Err(PaymentError::Refused(_)) => "The platform does not know the order that it notified.",
            Err(error @ (PaymentError::NotSent(_) | PaymentError::Unknown(_))) => {
                return Ok(Problem::because(ProblemCode::Unavailable, error));
            }
        };
        self.contradiction("payment-unknown-order", paid, reason).await?;
        Ok(Problem::because(ProblemCode::UnknownId, reason))
    }

    async fn give_back(&self, paid: &PlatformOrder) -> Result<(), Problem> {
        let back = reports::stray_payment(paid, self.now());
        self.store.put_delivery(back).await.map_err(|error| stored::problem(&error))?;
        self.outbox.kick();
        Ok(())
    }

    async fn contradiction(&self, kind: &str, paid: &PlatformOrder, reason: &str) -> Result<(), Problem> {
        warn!(order = %paid.order, kind, reason, "a payment contradicts the records");
        let key = format!("{}/{}/{}", paid.order, paid.payment, paid.amount.get());
        let text = format!("{reason} Order {}, payment {}.", paid.order, paid.payment);
        self.payment_incident(kind, &key, text).await
    }

    /// Leaves an incident, once for each kind and key, and tells the centre, whose reconciliation lists it.
    async fn payment_incident(&self, kind: &str, key: &str, text: String) -> Result<(), Problem> {
        let problem = |error| stored::problem(&error);
        let id = IncidentId::from_uuid(names::derived(&["payment-incident", kind, key]));
        let at = self.now();
        let report = reports::incident(id, kind, &text, at);
        let incident = Incident { id, se: None, card: None, kind: kind.into(), text, at, closed: None };
        self.store.record_incident(incident).await.map_err(problem)?;
        self.store.put_delivery(report).await.map_err(problem)?;
        self.outbox.kick();
        Ok(())
    }
}
