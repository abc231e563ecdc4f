//! What an issuer tells the centre about its cards that moves no money and freezes nothing, so that it stands in the
//! reconciliation view: what a phone tried, and what the issuer refused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::OrderId;

/// Reports what a phone tried.
pub const CARD_INCIDENT: Endpoint<CardIncident, Nothing> = Endpoint::post(
    "/peer/v1/card-incidents",
    Access::Peer,
    "Reports what a phone tried with a card and its issuer refused; the reconciliation view shows it. Repeating it \
     changes nothing.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![CARD_INCIDENT.describe()]
}

/// What a phone tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardIncidentKind {
    /// It asked for a parked card that another phone had claimed.
    ClaimedTwice,
    /// It said that the card had done something, without the card's proof.
    ProofMissing,
    /// It asked an order back whose outcome only the card knew.
    CancelInDoubt,
    /// The card shows the credit of an order that was cancelled on its own word.
    CreditAfterCancel,
}

/// One report. It moves no money and freezes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardIncident {
    /// Its number; reporting it again changes nothing.
    pub incident: Uuid,
    /// What it is.
    pub kind: CardIncidentKind,
    /// The card.
    pub card: HexBytes,
    /// The order that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The amount of that order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_fen: Option<u32>,
    /// What happened, in words.
    pub text: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}
