//! The payment platform: orders, payment, query, refund, signed notification (B-7.4).

pub mod statement;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{OrderId, PaymentId};

/// New payment order.
pub const CREATE: Endpoint<NewPayment, PaymentRecord> =
    Endpoint::post("/peer/v1/payments", Access::Peer, "Opens a payment for a merchant's order.");
/// Query by the merchant.
pub const QUERY: Endpoint<Nothing, PaymentRecord> =
    Endpoint::get("/peer/v1/payments/{payment}", Access::Peer, "How a merchant's own payment stands.");
/// Refund.
pub const REFUND: Endpoint<Refund, PaymentRecord> = Endpoint::post(
    "/peer/v1/payments/{payment}/refund",
    Access::Peer,
    "Gives back what was paid; repeating it gives nothing more.",
);
/// The person pays (sandbox).
pub const PAY: Endpoint<Pay, PaymentRecord> = Endpoint::post(
    "/user/v1/payments/{payment}/confirmation",
    Access::Conversation,
    "The person pays, or declines; the unguessable payment number is the right to do so.",
);
/// The person looks.
pub const SHOW: Endpoint<Nothing, PaymentRecord> = Endpoint::get(
    "/user/v1/payments/{payment}",
    Access::Conversation,
    "What is to be paid; the unguessable payment number is the right to ask.",
);

/// Every endpoint of the role.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![CREATE.describe(), QUERY.describe(), REFUND.describe(), PAY.describe(), SHOW.describe()]
}

/// A new payment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewPayment {
    /// The merchant's order; repeating it gets the same payment.
    pub order: OrderId,
    /// How much.
    pub amount_fen: u32,
    /// What for, in words for the payer.
    pub subject: String,
}

/// What the person does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pay {
    /// Pays or declines.
    pub choice: PayChoice,
}

/// Pays or declines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayChoice {
    /// Pays.
    Pay,
    /// Declines.
    Decline,
}

/// A refund.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Refund {
    /// How much; at most what was paid.
    pub amount_fen: u32,
    /// Why.
    pub reason: String,
}

/// How a payment stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Waits for the person.
    Open,
    /// Paid.
    Paid,
    /// Declined.
    Declined,
    /// Paid and given back.
    Refunded,
}

/// A payment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentRecord {
    /// The payment.
    pub payment: PaymentId,
    /// The merchant's order.
    pub order: OrderId,
    /// How much.
    pub amount_fen: u32,
    /// What for.
    pub subject: String,
    /// How it stands.
    pub state: PaymentState,
    /// When it came to stand so.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
}

/// The platform's signed word to the merchant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentNotification {
    /// The payment as it stands.
    pub payment: PaymentRecord,
}
