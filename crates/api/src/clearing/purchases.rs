//! Whether a purchase of a card is known: for a terminal that could not see the end of its own (B-7.3.1).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo};

/// Asks about one purchase.
pub const PURCHASE: Endpoint<PurchaseQuery, PurchaseAnswer> = Endpoint::get(
    "/peer/v1/purchases",
    Access::Peer,
    "Who has reported the purchase with which a card reached this offline counter; only what its TAC proved \
     counts.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![PURCHASE.describe()]
}

/// Which purchase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PurchaseQuery {
    /// The card.
    pub card: HexBytes,
    /// The offline counter after the purchase.
    pub counter: u16,
}

/// Who has reported a purchase.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedBy {
    /// Nobody yet; it may come.
    Nobody,
    /// A terminal of the caller.
    You,
    /// A terminal of another institution.
    Another,
}

/// What is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PurchaseAnswer {
    /// Who has reported it.
    pub reported: ReportedBy,
}
