//! What an issuer tells the centre about payments that contradict its records, for reconciliation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Reports an incident.
pub const PAYMENT_INCIDENT: Endpoint<PaymentIncident, Nothing> = Endpoint::post(
    "/peer/v1/payment-incidents",
    Access::Peer,
    "Reports a notification or payment that contradicts an order; reconciliation lists it.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![PAYMENT_INCIDENT.describe()]
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
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}
