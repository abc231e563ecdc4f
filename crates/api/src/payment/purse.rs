//! Paying an order from a transit card over the network (B-7.3.1): the wallet carries the platform's commands
//! to the card in a conversation, and the platform forwards the card's proof to the clearing centre.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PaymentRecord;
use crate::HexBytes;
use crate::conversation::{ConversationReply, StartOptions, TurnRequest};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Begins, goes on, or gives up.
pub const PAY_FROM_CARD: Endpoint<CardPayment, ConversationReply> = Endpoint::post(
    "/user/v1/payments/{payment}/card",
    Access::Conversation,
    "The person pays from a transit card, or gives that up; what an earlier attempt came to is found out first. \
     The unguessable payment number is the right to do so.",
);
/// Answers a turn.
pub const TURN: Endpoint<TurnRequest, ConversationReply> = Endpoint::post(
    "/user/v1/conversations/{conversation}/turns",
    Access::Conversation,
    "The wallet's answer to a turn; repeating it gets the same reply.",
);
/// What is addressed to a payer.
pub const ADDRESSED: Endpoint<Nothing, AddressedPayments> = Endpoint::get(
    "/user/v1/payers/{payer}/payments",
    Access::Conversation,
    "What merchants have addressed to a payer and is neither paid nor closed; the payer's unguessable token is \
     the right to ask.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![PAY_FROM_CARD.describe(), TURN.describe(), ADDRESSED.describe()]
}

/// What the person wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardChoice {
    /// Pay.
    Pay,
    /// Not to pay any more: the order is closed, unless the card proves that it has paid.
    GiveUp,
}

/// A payment from a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardPayment {
    /// Request number and what to do when the order is busy.
    #[serde(flatten)]
    pub options: StartOptions,
    /// The purse's application.
    pub aid: HexBytes,
    /// What is wanted.
    pub choice: CardChoice,
}

/// How payment of an order from a transit card stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardOffer {
    /// It may be paid so.
    Offered,
    /// Whether a card has paid it is not known yet.
    Unknown,
    /// A card has paid it.
    Paid,
}

/// What merchants have addressed to a payer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AddressedPayments {
    /// Oldest first.
    pub payments: Vec<PaymentRecord>,
}
