//! What the card issuer can show: a rider's receipts, a card explained with what the issuer knows, and what is
//! being done now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clearing::evidence::{CardFacts, CardQuery, ReceiptPage};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// The receipts of an own card.
pub const RECEIPTS: Endpoint<AfterEntry, ReceiptPage> = Endpoint::get(
    "/wallet/v1/cards/{aid}/receipts",
    Access::Wallet,
    "The clearing centre's signed receipts of the own card.",
);
/// A card explained.
pub const EXPLANATION: Endpoint<CardQuery, CardFacts> = Endpoint::post(
    "/peer/v1/explanations",
    Access::Peer,
    "What centre and issuer know of a card and its money; for the issuer's own staff and tools.",
);
/// What is being done.
pub const FLOWS: Endpoint<Nothing, Flows> = Endpoint::get(
    "/peer/v1/flows",
    Access::Peer,
    "What the issuer is doing on secure elements now; for the issuer's own staff and tools.",
);

/// Every endpoint of the issuer's evidence.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![RECEIPTS.describe(), EXPLANATION.describe(), FLOWS.describe()]
}

/// Where to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AfterEntry {
    /// The entry of the journal after which to go on; 0 for the first.
    #[serde(default)]
    pub after: u64,
}

/// What is being done now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Flows {
    /// The flows, oldest first.
    pub flows: Vec<FlowLine>,
}

/// One flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FlowLine {
    /// The secure element, masked.
    pub se: String,
    /// What is being done, a stable word.
    pub operation: String,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
}
