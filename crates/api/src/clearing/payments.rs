//! What an issuer tells the centre about payments that fit no order: those that contradict its records, for
//! reconciliation, and those that nobody could use and that went back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::OrderId;

/// Reports an incident.
pub const PAYMENT_INCIDENT: Endpoint<PaymentIncident, Nothing> = Endpoint::post(
    "/peer/v1/payment-incidents",
    Access::Peer,
    "Reports a notification or payment that contradicts an order; reconciliation lists it.",
);

/// Reports a payment that nobody could use.
pub const STRAY_PAYMENT: Endpoint<StrayPayment, Nothing> = Endpoint::post(
    "/peer/v1/stray-payments",
    Access::Peer,
    "Reports a payment that its order could not use any more and that went back as a whole; the centre books \
     both. Repeating it changes nothing.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![PAYMENT_INCIDENT.describe(), STRAY_PAYMENT.describe()]
}

/// A payment that came when its order was closed or paid otherwise, and that went back as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StrayPayment {
    /// The order.
    pub order: OrderId,
    /// The card that the order was for.
    pub card: HexBytes,
    /// The platform's reference of the payment.
    pub payment: String,
    /// How much was paid, and given back.
    pub amount_fen: u32,
}

/// A notification or payment that contradicts an order. It moves no money.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentIncident {
    /// Its number; reporting it again changes nothing.
    pub incident: Uuid,
    /// Its kind, stable.
    pub kind: String,
    /// What happened, in words.
    pub text: String,
    /// The card of the order that it is about, where that order is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<HexBytes>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}
