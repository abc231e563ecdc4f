//! Payments that their order cannot use any more: it was closed, or another payment paid it. They go back, and the
//! centre books both ways.
//!
//! A signed word alone gives nothing back. The records must not have the payment as used, and the platform, asked
//! for the payment and for the order, must say the same as the word. What contradicts that leaves an incident and
//! is not asked for again; what the platform does not answer stays unknown and is.

use serde::{Deserialize, Serialize};
use tsm_api::clearing::payments::StrayPayment;
use tsm_api::client::ClientError;
use tsm_api::ids;
use tsm_api::problem::ProblemCode;
use tsm_domain::{Fen, OrderId, PaymentReference, TransferId};
use tsm_storage::StorageError;
use tsm_storage::shared::Delivery;
use tsm_storage::sp_tsm::{TopUpOrder, TopUpOrderState};

use super::payment_incidents::Contradiction;
use super::reports::{self, Reports};
use crate::names;
use crate::outbox::{Carried, is_final};
use crate::payment::{NewRefund, PaymentError, PlatformOrder};
use crate::purse::{card_to_wire, to_wire};

/// A payment that may have to go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stray {
    /// The order that was named with it.
    pub order: OrderId,
    /// The payment.
    pub payment: PaymentReference,
    /// How much.
    pub amount: Fen,
}

/// Why a payment does not go back now.
enum Kept {
    /// It is not known yet whether it may.
    Unknown(String),
    /// It never will.
    Never { kind: &'static str, reason: String },
}

impl Stray {
    /// What the platform's word says.
    pub(super) fn of(word: &PlatformOrder) -> Self {
        let PlatformOrder { order, payment, amount, .. } = word;
        Self { order: *order, payment: payment.clone(), amount: *amount }
    }

    /// The number of its refund, which follows from it, so that it is given back once.
    fn refund(&self) -> TransferId {
        let words = ["refund", "stray", &self.order.to_string(), self.payment.as_str()];
        TransferId::from_uuid(names::derived(&words))
    }

    /// What the platform says of the payment is what was said of it before.
    fn check(&self, said: &PlatformOrder) -> Result<(), Kept> {
        if said.order != self.order {
            let reason = format!("The platform says that the payment is for order {}.", said.order);
            return Err(Kept::Never { kind: "payment-of-another-order", reason });
        }
        if said.payment != self.payment || said.amount != self.amount || !said.was_paid() {
            let reason = "The platform's answer does not confirm that the payment was made.".into();
            return Err(Kept::Never { kind: "payment-contradicts", reason });
        }
        Ok(())
    }
}

impl Reports {
    /// Gives the payment back, if records and platform agree that it is a stray one.
    pub(super) async fn carry_stray(&self, sent: &Delivery, stray: Stray) -> Carried {
        let known = match self.store.top_up(stray.order).await {
            Ok(known) => known,
            Err(error) => return Carried::Later(error.to_string()),
        };
        match self.give_back(&stray, known.as_ref(), sent).await {
            Ok(()) => Carried::Delivered,
            Err(Kept::Unknown(reason)) => Carried::Later(reason),
            Err(Kept::Never { kind, reason }) => {
                let Stray { order, payment, amount } = &stray;
                let card = known.map(|known| known.card);
                let key = format!("{order}/{payment}/{}", amount.get());
                let text = format!("{reason} It was not given back. Order {order}, payment {payment}.");
                reports::stored(self.keep(Contradiction { kind, key, text, card }).await)
            }
        }
    }

    pub(super) async fn keep(&self, contradiction: Contradiction<'_>) -> tsm_storage::Result<()> {
        contradiction.keep(&*self.store, self.environment.now()).await
    }

    async fn give_back(
        &self,
        stray: &Stray,
        known: Option<&TopUpOrder>,
        sent: &Delivery,
    ) -> Result<(), Kept> {
        let Some(known) = known else {
            let reason = "The order is not known here.".into();
            return Err(Kept::Never { kind: "payment-unknown-order", reason });
        };
        match self.store.order_paid_by(&stray.payment).await? {
            // It came in time after all: the order has it.
            Some(used) if used == stray.order => return Ok(()),
            Some(used) => {
                let reason = format!("The payment paid order {used}.");
                return Err(Kept::Never { kind: "payment-of-another-order", reason });
            }
            None => {}
        }
        if known.state == TopUpOrderState::AwaitingPayment {
            return Err(Kept::Unknown("the order is neither paid nor closed yet".into()));
        }
        let payment = &self.links.payment;
        let by_payment = payment.query_payment(&stray.payment).await.map_err(unanswered)?;
        stray.check(&by_payment)?;
        let by_order = payment.query(stray.order).await.map_err(unanswered)?;
        if by_order.payment == stray.payment {
            stray.check(&by_order)?;
        } else if !is_paid_by(known, &by_order.payment) {
            let reason = format!("For its order the platform names the payment {}.", by_order.payment);
            return Err(Kept::Never { kind: "payment-contradicts", reason });
        }
        let left = by_payment.held();
        if !left.is_zero() {
            let refund = NewRefund {
                order: stray.order,
                payment: stray.payment.clone(),
                refund: stray.refund(),
                amount: left,
                reason: "the order was closed".into(),
            };
            payment.refund(&refund).await.map_err(not_given_back)?;
        }
        self.say_given_back(stray, known, sent).await
    }

    /// The centre books it; a rider's second payment for one order is looked at, too.
    async fn say_given_back(&self, stray: &Stray, known: &TopUpOrder, sent: &Delivery) -> Result<(), Kept> {
        let report = StrayPayment {
            order: ids::OrderId(stray.order.as_uuid()),
            card: card_to_wire(known.card),
            payment: stray.payment.to_string(),
            amount_fen: to_wire(stray.amount),
        };
        self.store.put_delivery(reports::stray_given_back(&report, sent.created_at)).await?;
        if matches!(known.state, TopUpOrderState::Paid { .. }) {
            let Stray { order, payment, .. } = stray;
            let text = format!(
                "Another payment paid the order; this one went back. Order {order}, payment {payment}."
            );
            let key = format!("{order}/{payment}");
            self.keep(Contradiction { kind: "payment-twice", key, text, card: Some(known.card) }).await?;
        }
        Ok(())
    }

    /// A refund that is owed and that the platform refuses: somebody has to see it. What repeating can never
    /// change is not repeated.
    pub(super) async fn refund_refused(
        &self,
        owed: &NewRefund,
        card: tsm_domain::CardNumber,
        error: PaymentError,
    ) -> Carried {
        if let PaymentError::Refused(problem) = &error
            && is_refused(problem.code)
        {
            let NewRefund { order, payment, refund, amount, .. } = owed;
            let text = format!(
                "The platform refuses a refund of {amount} yuan: {problem} Order {order}, payment {payment}."
            );
            let incident = Contradiction {
                kind: "payment-refund-refused",
                key: refund.to_string(),
                text,
                card: Some(card),
            };
            if let Err(error) = self.keep(incident).await {
                return Carried::Later(error.to_string());
            }
        }
        Carried::of::<()>(Err(ClientError::from(error)))
    }
}

impl From<StorageError> for Kept {
    fn from(error: StorageError) -> Self {
        Self::Unknown(error.to_string())
    }
}

fn is_paid_by(known: &TopUpOrder, by: &PaymentReference) -> bool {
    matches!(&known.state, TopUpOrderState::Paid { payment, .. } if payment == by)
}

/// Whether the platform has decided.
const fn is_refused(code: ProblemCode) -> bool {
    is_final(code)
        || matches!(code, ProblemCode::UnknownId | ProblemCode::StateForbids | ProblemCode::NotAllowed)
}

fn unanswered(error: PaymentError) -> Kept {
    match error {
        PaymentError::Refused(problem) if is_refused(problem.code) => {
            let reason = "The platform does not know the payment and its order.".into();
            Kept::Never { kind: "payment-unknown", reason }
        }
        other => Kept::Unknown(other.to_string()),
    }
}

fn not_given_back(error: PaymentError) -> Kept {
    match error {
        PaymentError::Refused(problem) if is_refused(problem.code) => {
            let reason = format!("The platform refuses the refund: {problem}");
            Kept::Never { kind: "payment-refund-refused", reason }
        }
        other => Kept::Unknown(other.to_string()),
    }
}
