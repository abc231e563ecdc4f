//! A payment order at the payment platform, and what may happen to it.

use serde::{Deserialize, Serialize};

use crate::amount::{Fen, OfflineCounter};
use crate::id::{OrderId, PaymentReference};

/// Where a payment order stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentState {
    /// Created and not paid.
    Created,
    /// Paid. The platform's reference names the payment.
    Paid(PaymentReference),
    /// Closed unpaid; a payment that arrives later is given back.
    Closed,
    /// Some of it is being or was given back.
    Refunded {
        /// The payment.
        payment: PaymentReference,
        /// The sum of all refunds.
        refunded: Fen,
    },
}

/// A payment order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentOrder {
    /// The merchant's order.
    pub order: OrderId,
    /// The amount.
    pub amount: Fen,
    /// Where it stands.
    pub state: PaymentState,
}

/// What happens to a payment order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    /// The payer paid this much.
    Paid {
        /// The platform's reference.
        payment: PaymentReference,
        /// What was paid.
        amount: Fen,
    },
    /// The payer's bank paid this much while the order was being closed: it goes back as a whole.
    PaidAfterClose {
        /// The platform's reference.
        payment: PaymentReference,
        /// What was paid.
        amount: Fen,
    },
    /// The merchant or the period closed it.
    Closed,
    /// The merchant gives this much back.
    Refund(Fen),
}

/// Why an event is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// The amount differs from the order's.
    #[error("the order is for {expected} yuan and {found} were paid")]
    WrongAmount {
        /// The order's amount.
        expected: Fen,
        /// What was paid.
        found: Fen,
    },
    /// Paid twice.
    #[error("the order was paid already by another payment")]
    AlreadyPaid,
    /// Closed.
    #[error("the order is closed")]
    Closed,
    /// Not paid.
    #[error("the order is not paid")]
    NotPaid,
    /// More is asked back than is left.
    #[error("{asked} yuan are asked back and {left} are left")]
    ExceedsPaid {
        /// What is asked.
        asked: Fen,
        /// What is left of the payment.
        left: Fen,
    },
    /// The merchant did not offer payment from a transit card.
    #[error("the order cannot be paid from a transit card")]
    PurseNotOffered,
    /// An attempt to pay it from a card is open.
    #[error("whether a transit card has paid the order is not known yet; the card must be read first")]
    AttemptOpen,
    /// The card has an open attempt on another order.
    #[error("whether the card has paid another order is not known yet; the card must be read first")]
    CardHasOpenAttempt,
    /// The attempt is not the order's, or not this card's.
    #[error("this answer belongs to another attempt")]
    AnotherAttempt,
    /// It was tried too often.
    #[error("paying the order from a transit card was tried too often")]
    TooManyAttempts,
    /// The card can make no more purchases.
    #[error("the card's offline counter is at its limit and the card can pay no more")]
    CounterExhausted,
    /// The card says to stand before what it proved.
    #[error("the card's offline counter is said to be {said}, and the card proved {proven}")]
    CounterWentBack {
        /// What it proved.
        proven: OfflineCounter,
        /// What is said now.
        said: OfflineCounter,
    },
    /// The payer's money came from a transit card.
    #[error(
        "the order was paid from a transit card, and such payments are given back by the merchant itself"
    )]
    PaidFromPurse,
}

impl PaymentOrder {
    /// A new order.
    pub const fn create(order: OrderId, amount: Fen) -> Self {
        Self { order, amount, state: PaymentState::Created }
    }

    /// What is paid and not given back.
    pub fn held(&self) -> Fen {
        match &self.state {
            PaymentState::Created | PaymentState::Closed => Fen::ZERO,
            PaymentState::Paid(_) => self.amount,
            PaymentState::Refunded { refunded, .. } => {
                self.amount.checked_sub(*refunded).unwrap_or(Fen::ZERO)
            }
        }
    }

    /// The order after `event`. A repeated notification of the same payment changes nothing.
    pub fn apply(self, event: PaymentEvent) -> Result<Self, PaymentRefusal> {
        match event {
            PaymentEvent::Paid { payment, amount } => self.pay(payment, amount),
            PaymentEvent::PaidAfterClose { payment, amount } => self.pay_after_close(payment, amount),
            PaymentEvent::Closed => match self.state {
                PaymentState::Created | PaymentState::Closed => {
                    Ok(Self { state: PaymentState::Closed, ..self })
                }
                PaymentState::Paid(_) | PaymentState::Refunded { .. } => Err(PaymentRefusal::AlreadyPaid),
            },
            PaymentEvent::Refund(asked) => self.refund(asked),
        }
    }

    fn pay(self, payment: PaymentReference, amount: Fen) -> Result<Self, PaymentRefusal> {
        if amount != self.amount {
            return Err(PaymentRefusal::WrongAmount { expected: self.amount, found: amount });
        }
        match &self.state {
            PaymentState::Created => Ok(Self { state: PaymentState::Paid(payment), ..self }),
            PaymentState::Paid(known) | PaymentState::Refunded { payment: known, .. } => {
                if *known == payment { Ok(self) } else { Err(PaymentRefusal::AlreadyPaid) }
            }
            PaymentState::Closed => Err(PaymentRefusal::Closed),
        }
    }

    fn pay_after_close(self, payment: PaymentReference, amount: Fen) -> Result<Self, PaymentRefusal> {
        if amount != self.amount {
            return Err(PaymentRefusal::WrongAmount { expected: self.amount, found: amount });
        }
        match &self.state {
            PaymentState::Closed => {
                Ok(Self { state: PaymentState::Refunded { payment, refunded: amount }, ..self })
            }
            PaymentState::Refunded { payment: known, .. } if *known == payment => Ok(self),
            PaymentState::Created => Err(PaymentRefusal::NotPaid),
            PaymentState::Paid(_) | PaymentState::Refunded { .. } => Err(PaymentRefusal::AlreadyPaid),
        }
    }

    fn refund(self, asked: Fen) -> Result<Self, PaymentRefusal> {
        let left = self.held();
        let (payment, before) = match self.state {
            PaymentState::Paid(payment) => (payment, Fen::ZERO),
            PaymentState::Refunded { payment, refunded } => (payment, refunded),
            PaymentState::Created => return Err(PaymentRefusal::NotPaid),
            PaymentState::Closed => return Err(PaymentRefusal::Closed),
        };
        let refunded = before.checked_add(asked).filter(|sum| *sum <= self.amount);
        let refunded = refunded.ok_or(PaymentRefusal::ExceedsPaid { asked, left })?;
        Ok(Self { state: PaymentState::Refunded { payment, refunded }, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> PaymentOrder {
        PaymentOrder::create(OrderId::from_uuid(uuid::Uuid::nil()), Fen::new(500))
    }

    fn paid(reference: &str, amount: u64) -> PaymentEvent {
        PaymentEvent::Paid { payment: reference.parse().unwrap(), amount: Fen::new(amount) }
    }

    #[test]
    fn paid_once_whatever_is_notified() {
        let once = order().apply(paid("P1", 500)).unwrap();
        assert_eq!(once.held(), Fen::new(500));
        assert_eq!(once.clone().apply(paid("P1", 500)), Ok(once.clone()), "a repeated notification");
        assert_eq!(once.clone().apply(paid("P2", 500)), Err(PaymentRefusal::AlreadyPaid));
        assert_eq!(
            order().apply(paid("P1", 499)),
            Err(PaymentRefusal::WrongAmount { expected: Fen::new(500), found: Fen::new(499) })
        );
        assert_eq!(once.apply(PaymentEvent::Closed), Err(PaymentRefusal::AlreadyPaid));
        let closed = order().apply(PaymentEvent::Closed).unwrap();
        assert_eq!(closed.apply(paid("P1", 500)), Err(PaymentRefusal::Closed));
    }

    #[test]
    fn a_payment_that_raced_the_close_is_given_back_whole() {
        let raced = |amount| PaymentEvent::PaidAfterClose {
            payment: "P1".parse().unwrap(),
            amount: Fen::new(amount),
        };
        assert_eq!(order().apply(raced(500)), Err(PaymentRefusal::NotPaid), "it is not closed");
        let closed = order().apply(PaymentEvent::Closed).unwrap();
        assert!(matches!(closed.clone().apply(raced(499)), Err(PaymentRefusal::WrongAmount { .. })));
        let back = closed.apply(raced(500)).unwrap();
        assert_eq!(back.held(), Fen::ZERO);
        assert_eq!(back.clone().apply(raced(500)), Ok(back.clone()), "once");
        let more = back.clone().apply(PaymentEvent::Refund(Fen::new(1)));
        assert!(matches!(more, Err(PaymentRefusal::ExceedsPaid { .. })), "nothing is left to give back");
        let other = PaymentEvent::PaidAfterClose { payment: "P2".parse().unwrap(), amount: Fen::new(500) };
        assert_eq!(back.apply(other), Err(PaymentRefusal::AlreadyPaid));
    }

    #[test]
    fn refunds_never_exceed_the_payment() {
        assert_eq!(order().apply(PaymentEvent::Refund(Fen::new(1))), Err(PaymentRefusal::NotPaid));
        let part =
            order().apply(paid("P1", 500)).unwrap().apply(PaymentEvent::Refund(Fen::new(300))).unwrap();
        assert_eq!(part.held(), Fen::new(200));
        let more = part.clone().apply(PaymentEvent::Refund(Fen::new(201)));
        assert_eq!(more, Err(PaymentRefusal::ExceedsPaid { asked: Fen::new(201), left: Fen::new(200) }));
        assert_eq!(part.apply(PaymentEvent::Refund(Fen::new(200))).unwrap().held(), Fen::ZERO);
    }
}
