//! Whether a purchase of a card is known: for a terminal that could not see the end of its own (B-7.3.1). And what
//! the card itself proves of a purchase that was reported with another TAC than its own.

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

/// Which proofs a card is to be asked for.
pub const WANTED_PROOFS: Endpoint<CardQuery, WantedProofs> = Endpoint::get(
    "/peer/v1/purchases/proofs/wanted",
    Access::Peer,
    "The purchases of a card that were reported with a wrong TAC or none: whoever speaks with the card next \
     asks it for them. For the card's issuer and for those who reported them.",
);
/// A card gave its proof again.
pub const CARD_PROOF: Endpoint<CardProof, CardProofReply> = Endpoint::post(
    "/peer/v1/purchases/proofs",
    Access::Peer,
    "The TAC that a card gave when it was asked for the proof of a purchase. What it proves is recorded, once.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![PURCHASE.describe(), WANTED_PROOFS.describe(), CARD_PROOF.describe()]
}

/// Asks about a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardQuery {
    /// The card.
    pub card: HexBytes,
}

/// A proof that is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WantedProof {
    /// The offline counter after the purchase, which GET TRANSACTION PROOF names.
    pub counter: u16,
    /// The transaction's type.
    pub transaction_type: u8,
}

/// The proofs that are wanted of a card, latest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WantedProofs {
    /// The proofs.
    pub proofs: Vec<WantedProof>,
}

/// What a card gave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardProof {
    /// The card.
    pub card: HexBytes,
    /// Which purchase.
    pub purchase: WantedProof,
    /// Its TAC.
    pub tac: HexBytes,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofVerdict {
    /// It proves the purchase, which is recorded.
    Recorded,
    /// It proves no purchase that was reported.
    ProvesNothing,
}

/// The answer to a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardProofReply {
    /// What came of it.
    pub verdict: ProofVerdict,
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
    /// A terminal of the caller, and two people decided that it is not booked.
    Dismissed,
}

/// What is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PurchaseAnswer {
    /// Who has reported it.
    pub reported: ReportedBy,
}
