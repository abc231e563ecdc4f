//! SP-TSM, as top-up terminals see it: topping up with cash (B-7.4).
//!
//! The terminal takes the cash, asks here, and carries the steps of the conversation to the card as a wallet
//! does, with the wallet's own turns. One operation credits once, whatever is repeated or lost; cash goes
//! back to the rider only after the SP-TSM has answered that the operation is cancelled, which it does only
//! when the card proved that nothing was credited or no attempt was ever made.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::{ConversationReply, TurnRequest};
use crate::endpoint::{Access, Endpoint, EndpointInfo};
use crate::ids::{ConversationId, OperationId, OrderId, RequestId};
use crate::{HexBytes, Nothing};

/// Begins a top-up with cash, or goes on with it.
pub const BEGIN: Endpoint<CashTopUpRequest, CashTopUpReply> = Endpoint::post(
    "/peer/v1/cash-top-ups",
    Access::Peer,
    "Begins a top-up with cash that a terminal has taken, or goes on with it; one operation credits once.",
);
/// How a top-up with cash stands.
pub const STATUS: Endpoint<Nothing, CashTopUpRecord> =
    Endpoint::get("/peer/v1/cash-top-ups/{operation}", Access::Peer, "How a top-up with cash stands.");
/// Cancels a top-up with cash.
pub const CANCEL: Endpoint<CashTopUpRequest, CashTopUpRecord> = Endpoint::post(
    "/peer/v1/cash-cancellations",
    Access::Peer,
    "Cancels a top-up with cash, known here or not, so that the terminal may give the cash back; while its \
     outcome is not known nothing is cancelled.",
);
/// A turn of the conversation, the same as the wallet's.
pub const TURN: Endpoint<TurnRequest, ConversationReply> = super::wallet::TURN;

/// Every endpoint for terminals that no other group has.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![BEGIN.describe(), STATUS.describe(), CANCEL.describe()]
}

/// Cash for a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CashTopUpRequest {
    /// The terminal's number for the cash it took; repeating it takes no other cash.
    pub operation: OperationId,
    /// The number of this attempt: repeating it finds the same conversation.
    pub request: RequestId,
    /// The terminal that took the cash.
    pub terminal: HexBytes,
    /// The application serial number of the card.
    pub card: HexBytes,
    /// How much.
    pub amount_fen: u32,
}

/// How the operation stands, and the conversation that carries it on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CashTopUpReply {
    /// How it stands.
    pub record: CashTopUpRecord,
    /// The conversation, unless it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationReply>,
    /// Cash that was taken for the card before and is not on it: each may be begun again, at any terminal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<CashTopUpRecord>,
}

/// A top-up with cash.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CashTopUpRecord {
    /// The operation.
    pub operation: OperationId,
    /// The order that it is in the issuer's records; none when nothing was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The terminal that took the cash.
    pub terminal: HexBytes,
    /// The card.
    pub card: HexBytes,
    /// How much.
    pub amount_fen: u32,
    /// How far it has come.
    pub state: CashTopUpState,
}

/// How far a top-up with cash has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CashTopUpState {
    /// Taken, and not on the card: as the card proved, or because there was no attempt.
    Waiting,
    /// An attempt was made and its outcome is not known: the cash stays where it is until the card has been
    /// asked.
    InFlight,
    /// On the card, as the card proved. The cash is the institution's.
    Credited,
    /// Cancelled. The cash goes back to the rider.
    Cancelled,
    /// The card contradicts the records; a person decides.
    Suspicious,
}

/// The conversation that a reply carries, if it can be answered.
impl CashTopUpReply {
    /// The conversation's number.
    pub const fn conversation_id(&self) -> Option<ConversationId> {
        match &self.conversation {
            Some(
                ConversationReply::Steps { conversation, .. }
                | ConversationReply::Queued { conversation, .. }
                | ConversationReply::Outcome { conversation, .. }
                | ConversationReply::Handover { conversation, .. },
            ) => Some(*conversation),
            Some(ConversationReply::Restart { .. }) | None => None,
        }
    }
}
