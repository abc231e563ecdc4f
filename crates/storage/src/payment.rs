//! The store of the payment platform's sandbox.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::online_purchase::PurseOffer;
use tsm_domain::money::{CentreWord, PayerToken, PaymentOrder, PurchaseBegun, PurseAttempt, PurseCard, Tac};
use tsm_domain::{CardNumber, DeliveryId, Fen, OrderId, PayerId, PaymentReference, TransferId};

use crate::error::Result;
use crate::shared::{Conversations, Delivery, Incident, Incidents, Outbox};

/// A payment order at the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRow {
    /// The order and its state.
    pub order: PaymentOrder,
    /// The merchant.
    pub merchant: String,
    /// What it is for.
    pub subject: String,
    /// Who paid.
    pub payer: Option<PayerId>,
    /// Where the merchant wants to be notified.
    pub notify_url: String,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// When it closes unpaid.
    pub expires_at: jiff::Timestamp,
    /// When it was paid.
    pub paid_at: Option<jiff::Timestamp>,
    /// When it was closed unpaid.
    #[serde(default)]
    pub closed_at: Option<jiff::Timestamp>,
    /// The attempts to pay it from a transit card, where the merchant offers that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purse: Option<PurseOffer>,
    /// To whom the merchant addressed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressed_to: Option<PayerToken>,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The merchant's number for it; the same one is done once.
    pub id: TransferId,
    /// The order.
    pub order: OrderId,
    /// The amount.
    pub amount: Fen,
    /// When.
    pub at: jiff::Timestamp,
}

/// What proves a debit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DebitProof {
    /// The card did, here. Its TAC is for the centre, and the message brings it there.
    Card(Tac, Delivery),
    /// The centre has booked it.
    Centre,
}

/// A proven debit, and what is stored with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenDebit {
    /// The order.
    pub order: OrderId,
    /// The attempt.
    pub number: u32,
    /// Who proved it.
    pub proof: DebitProof,
    /// The message that was to be due if nobody had settled it: it is not sent any more.
    pub watch: DeliveryId,
    /// The platform's reference of the payment.
    pub payment: PaymentReference,
    /// When.
    pub at: jiff::Timestamp,
    /// Says to the merchant that the order is paid.
    pub notifications: Vec<Delivery>,
    /// Put when the order was closed meanwhile: the card was debited for nothing, and somebody has to see to
    /// it.
    pub for_nothing: Incident,
}

/// Orders that are paid from a transit card.
#[async_trait]
pub trait OnlinePurchases: Send + Sync {
    /// What is kept of a card; of one that was never here, that.
    async fn purse_card(&self, card: CardNumber) -> Result<PurseCard>;
    /// Opens an attempt: durable before MAC1 exists, and with it the message that is due should nobody have settled it
    /// by then. Run again it gives the same attempt.
    async fn intend_purchase(
        &self,
        order: OrderId,
        begun: PurchaseBegun,
        at: jiff::Timestamp,
        watch: Delivery,
    ) -> Result<PurseAttempt>;
    /// The attempt did not debit the card, and cannot any more. Its watch is over, unless the centre may have heard of it:
    /// then it may still find that the card was debited. Run again it changes nothing.
    async fn give_attempt_up(&self, order: OrderId, number: u32, watch: DeliveryId) -> Result<PaymentRow>;
    /// The debit is proven: the order is paid by it, the merchant hears of it, and the centre does where it was the
    /// card that proved it. Run again it changes nothing.
    async fn prove_debit(&self, proven: ProvenDebit) -> Result<PaymentRow>;
    /// The centre answered about a debit. An incident, if there is one, is recorded with it.
    async fn debit_was_told(
        &self,
        order: OrderId,
        number: u32,
        word: CentreWord,
        incident: Option<Incident>,
    ) -> Result<()>;
    /// The orders that are addressed to a payer and neither paid nor closed.
    async fn orders_addressed_to(&self, payer: PayerToken, limit: usize) -> Result<Vec<PaymentRow>>;
}

/// The store of the payment platform's sandbox.
#[async_trait]
pub trait PaymentStore: Outbox + Conversations + Incidents + OnlinePurchases {
    /// Makes an order, or gives the one that is there. The same number with another amount or merchant is a
    /// conflict.
    async fn create_order(&self, row: PaymentRow) -> Result<PaymentRow>;
    /// An order.
    async fn order(&self, order: OrderId) -> Result<Option<PaymentRow>>;
    /// The payer pays, and the notification goes into the outbox with it. Paying again by the same payment
    /// changes nothing.
    async fn pay(
        &self,
        order: OrderId,
        payer: PayerId,
        payment: PaymentReference,
        amount: Fen,
        at: jiff::Timestamp,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow>;
    /// Closes an order that is not paid. Closing it again changes nothing.
    async fn close_order(&self, order: OrderId, at: jiff::Timestamp) -> Result<PaymentRow>;
    /// Pays back, once for each refund number.
    async fn refund(&self, refund: Refund, notifications: Vec<Delivery>) -> Result<PaymentRow>;
    /// The refunds of an order, oldest first.
    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>>;
    /// Orders paid from `from` up to `to`, for the day's statement.
    async fn paid_between(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<Vec<PaymentRow>>;
    /// Refunds from `from` up to `to`, for the day's statement, with their orders.
    async fn refunds_between(
        &self,
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<Vec<(Refund, PaymentRow)>>;
    /// A payment that was under way when its order was closed: it is taken and, in the same step, given back
    /// by `refund`, which is for the whole amount. Run again, it changes nothing.
    async fn pay_after_close(
        &self,
        payer: PayerId,
        payment: PaymentReference,
        refund: Refund,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow>;
    /// Orders that are open and whose time was over at `now`, those first that ended first.
    async fn expired_orders(&self, now: jiff::Timestamp, limit: usize) -> Result<Vec<OrderId>>;
    /// When the time of the next open order is over.
    async fn next_expiry(&self) -> Result<Option<jiff::Timestamp>>;
}

impl PaymentRow {
    /// When it closes by itself, if it does: not while nobody knows whether a card has paid it.
    pub(crate) fn open_until(&self) -> Option<jiff::Timestamp> {
        (self.is_unpaid() && !self.has_open_attempt()).then_some(self.expires_at)
    }

    /// Whose it is to pay, while it is to be paid.
    pub(crate) fn waits_for(&self) -> Option<PayerToken> {
        self.addressed_to.filter(|_| self.is_unpaid())
    }

    fn is_unpaid(&self) -> bool {
        self.order.state == tsm_domain::money::PaymentState::Created
    }

    /// Whether it is unknown if a card has paid it.
    pub fn has_open_attempt(&self) -> bool {
        self.purse.as_ref().is_some_and(|purse| purse.open().is_some())
    }

    /// The attempt that debited a card for it.
    pub fn debited(&self) -> Option<&PurseAttempt> {
        self.purse.as_ref().and_then(PurseOffer::debited)
    }
}

/// A refund number names one refund.
pub(crate) fn check_same_refund(known: &Refund, again: &Refund) -> Result<()> {
    if known.order == again.order && known.amount == again.amount {
        Ok(())
    } else {
        Err(crate::StorageError::conflict("refund", again.id))
    }
}
