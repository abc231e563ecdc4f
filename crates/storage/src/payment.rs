//! The store of the payment platform's sandbox.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::PaymentOrder;
use tsm_domain::{Fen, OrderId, PayerId, PaymentReference, TransferId};

use crate::error::Result;
use crate::shared::{Delivery, Outbox};

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

/// The store of the payment platform's sandbox.
#[async_trait]
pub trait PaymentStore: Outbox {
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
    /// Until when it can be paid, while it can.
    pub(crate) fn open_until(&self) -> Option<jiff::Timestamp> {
        (self.order.state == tsm_domain::money::PaymentState::Created).then_some(self.expires_at)
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
