//! What an issuer asks the centre about a card that it has frozen itself: whether two people have released it since.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo};

/// Tells of a freeze, and asks what became of it.
pub const ISSUER_FREEZE: Endpoint<IssuerFreeze, FreezeStanding> = Endpoint::post(
    "/peer/v1/issuer-freezes",
    Access::Peer,
    "Tells that the issuer has frozen a card of its own, and asks whether two people have released the card since.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![ISSUER_FREEZE.describe()]
}

/// A card that its issuer has frozen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuerFreeze {
    /// The number of the freeze; telling it again asks again.
    pub freeze: Uuid,
    /// The card.
    pub card: HexBytes,
    /// Why, in words.
    pub reason: String,
}

/// What became of a freeze.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FreezeStanding {
    /// The release that came after it; none while the card stays frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<CardRelease>,
}

/// Two people released a card: one proposed it, and another approved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardRelease {
    /// Who approved it.
    pub by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}
