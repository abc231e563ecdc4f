//! The payment platform's signed word that an order is paid (B-7.4.1.b).
//!
//! The word counts once: repeating it changes nothing, and one that contradicts the order changes nothing
//! and is refused with its reason and an incident that has the order's card. Before anything is decided about an
//! order that is not known here, or about a payment whose reference is not the order's own number, the platform is
//! asked. A payment that its order cannot use any more goes back, when the platform confirms that it is one.

use std::sync::Arc;

use serde_json::json;
use tracing::warn;
use tsm_api::endpoint::Nothing;
use tsm_api::payment::PaymentNotification;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::{CardNumber, Fen, OrderId};
use tsm_storage::sp_tsm::{PaymentConfirmed, TopUpOrder, TopUpOrderState, With};

use super::access::Caller;
use super::payment_incidents::Contradiction;
use super::{SpTsm, reports};
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
            Err(error) => {
                let named = self.links.payment.named_order(&message);
                Err(self.not_taken(&error, named).await.unwrap_or_else(|problem| problem))
            }
        }
    }

    /// A message that is not the platform's leaves one incident for each reason and hour, however many come. One
    /// that names an order of ours, whose numbers nobody guesses, leaves one for that order's card.
    async fn not_taken(&self, error: &NotificationError, named: Option<OrderId>) -> Result<Problem, Problem> {
        warn!(%error, "a payment notification was not taken");
        let (kind, code) = match error {
            NotificationError::Forged(_) => ("payment-forged", ProblemCode::SignatureWrong),
            NotificationError::Stale => ("payment-stale", ProblemCode::SignatureStale),
            NotificationError::Replayed => ("payment-replayed", ProblemCode::SignatureReplayed),
            NotificationError::AnotherMerchant(_) => ("payment-misdirected", ProblemCode::NotAllowed),
            NotificationError::Unreadable(_) => ("payment-unreadable", ProblemCode::MalformedRequest),
            NotificationError::NotNow(_) => return Ok(ProblemCode::Unavailable.into()),
        };
        let problem = |error| stored::problem(&error);
        let known = match named {
            Some(order) => self.store.top_up(order).await.map_err(problem)?,
            None => None,
        };
        let mut key = (self.now().as_second() / 3600).to_string();
        let mut text = error.to_string();
        if let Some(known) = &known {
            key = format!("{key}/{}", known.order);
            text = format!("{text}; it names order {}", known.order);
        }
        let card = known.map(|known| known.card);
        self.payment_incident(Contradiction { kind, key, text, card }).await?;
        Ok(Problem::new(code))
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

    /// Nothing can be paid for the order any more. What was paid and went back without having been used is booked.
    async fn close_unpaid(&self, order: &PlatformOrder) -> Result<(), Problem> {
        let problem = |error| stored::problem(&error);
        let Some(known) = self.store.top_up(order.order).await.map_err(problem)? else { return Ok(()) };
        match known.state {
            TopUpOrderState::AwaitingPayment => {
                self.store.close_top_up(order.order).await.map_err(problem)?;
            }
            TopUpOrderState::Closed => {}
            TopUpOrderState::Paid { .. } => return Ok(()),
        }
        if order.was_paid() { self.give_back(order).await } else { Ok(()) }
    }

    async fn confirm(&self, paid: &PlatformOrder) -> Result<(), Problem> {
        let PlatformOrder { order, payment, amount, .. } = paid;
        let problem = |error| stored::problem(&error);
        let Some(known) = self.store.top_up(*order).await.map_err(problem)? else {
            return Err(self.unknown_order(paid).await?);
        };
        self.check_payment(paid, &known).await?;
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
            PaymentConfirmed::WrongAmount { expected } => {
                Err(self.wrong_amount(paid, expected, known.card).await?)
            }
            PaymentConfirmed::UsedFor(other) => Err(self.used_for(paid, other, known.card).await?),
            PaymentConfirmed::PaidByAnother(_) => {
                self.give_back(paid).await?;
                Err(Problem::because(ProblemCode::OrderUsed, "Another payment paid the order."))
            }
            PaymentConfirmed::Closed => {
                self.give_back(paid).await?;
                let reason = "The order was closed before it was paid.";
                Err(Problem::because(ProblemCode::OrderUsed, reason))
            }
        }
    }

    /// A payment whose reference is not its order's own number may be anybody's: neither the records nor the
    /// platform, which is asked, may know it as another order's.
    async fn check_payment(&self, paid: &PlatformOrder, known: &TopUpOrder) -> Result<(), Problem> {
        let is_known = match &known.state {
            TopUpOrderState::Paid { payment, .. } => *payment == paid.payment,
            TopUpOrderState::AwaitingPayment | TopUpOrderState::Closed => false,
        };
        if is_known || paid.payment.as_str() == paid.order.to_string() {
            return Ok(());
        }
        let used = self.store.order_paid_by(&paid.payment).await.map_err(|error| stored::problem(&error))?;
        if let Some(other) = used.filter(|other| *other != paid.order) {
            return Err(self.used_for(paid, other, known.card).await?);
        }
        let (kind, code, reason) = match self.links.payment.query_payment(&paid.payment).await {
            Ok(said) if said.order != paid.order => {
                ("payment-of-another-order", ProblemCode::OrderUsed, "The payment is another order's.")
            }
            Ok(said) if said.payment == paid.payment && said.amount == paid.amount && said.was_paid() => {
                return Ok(());
            }
            Ok(_) => (
                "payment-contradicts",
                ProblemCode::OrderUsed,
                "The platform's answer does not confirm its notification.",
            ),
            Err(PaymentError::Refused(_)) => {
                ("payment-unknown", ProblemCode::UnknownId, "The platform does not know the payment.")
            }
            Err(error @ (PaymentError::NotSent(_) | PaymentError::Unknown(_))) => {
                return Err(Problem::because(ProblemCode::Unavailable, error));
            }
        };
        self.contradiction(kind, paid, reason, Some(known.card)).await?;
        Err(Problem::because(code, reason))
    }

    /// One payment pays one order, and it does not go back when another order is named with it.
    async fn used_for(
        &self,
        paid: &PlatformOrder,
        other: OrderId,
        card: CardNumber,
    ) -> Result<Problem, Problem> {
        let reason = format!("The payment paid order {other}.");
        self.contradiction("payment-of-another-order", paid, &reason, Some(card)).await?;
        Ok(Problem::because(ProblemCode::OrderUsed, "The payment paid another order."))
    }

    async fn wrong_amount(
        &self,
        paid: &PlatformOrder,
        expected: Fen,
        card: CardNumber,
    ) -> Result<Problem, Problem> {
        let reason = format!("The order is for {expected} yuan and the payment is {} yuan.", paid.amount);
        self.contradiction("payment-wrong-amount", paid, &reason, Some(card)).await?;
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
        self.contradiction("payment-unknown-order", paid, reason, None).await?;
        Ok(Problem::because(ProblemCode::UnknownId, reason))
    }

    async fn give_back(&self, paid: &PlatformOrder) -> Result<(), Problem> {
        let back = reports::stray_payment(paid, self.now());
        self.store.put_delivery(back).await.map_err(|error| stored::problem(&error))?;
        self.outbox.kick();
        Ok(())
    }

    async fn contradiction(
        &self,
        kind: &str,
        paid: &PlatformOrder,
        reason: &str,
        card: Option<CardNumber>,
    ) -> Result<(), Problem> {
        warn!(order = %paid.order, kind, reason, "a payment contradicts the records");
        let key = format!("{}/{}/{}", paid.order, paid.payment, paid.amount.get());
        let text = format!("{reason} Order {}, payment {}.", paid.order, paid.payment);
        self.payment_incident(Contradiction { kind, key, text, card }).await
    }

    /// Leaves an incident and tells the centre.
    async fn payment_incident(&self, contradiction: Contradiction<'_>) -> Result<(), Problem> {
        let kept = contradiction.keep(&*self.store, self.now()).await;
        kept.map_err(|error| stored::problem(&error))?;
        self.outbox.kick();
        Ok(())
    }
}
