//! Cards that somebody has to look at: parked ones, those whose riders are owed money, and suspicious ones.
//!
//! For people who are logged in: an institution's see its own cards, those of the centre's desk all of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::clearing::AccountState;
use crate::clearing::closing::{ClosingPurpose, ClosingStage};
use crate::clearing::lists::WireStanding;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::OperationId;

/// The cards that stand so.
pub const KEPT_CARDS: Endpoint<KeptQuery, KeptPage> = Endpoint::get(
    "/peer/v1/kept-cards",
    Access::Peer,
    "The cards that are parked, owe their riders money, or are suspicious, a page at a time. For people who are logged in.",
);
/// One card with all that is known of why.
pub const KEPT_CARD: Endpoint<Nothing, KeptCard> = Endpoint::get(
    "/peer/v1/kept-cards/{card}",
    Access::Peer,
    "One card: how it stands, why it is frozen, how terminals know it, and its closings. For people who are logged in.",
);

/// Every endpoint of this module.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![KEPT_CARDS.describe(), KEPT_CARD.describe()]
}

/// Why a card is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeptStanding {
    /// It is on no phone: its value and data are at the centre.
    Parked,
    /// Money is owed to its rider.
    RefundPayable,
    /// It is frozen for value.
    Suspicious,
}

/// Which cards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptQuery {
    /// Those that stand so.
    pub standing: KeptStanding,
    /// After this card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<HexBytes>,
}

/// A page of cards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptPage {
    /// The cards, in order of number, each with its newest closing.
    pub cards: Vec<KeptCard>,
    /// Where to go on; absent when these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<HexBytes>,
}

/// A card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptCard {
    /// The card.
    pub card: HexBytes,
    /// The card number, masked.
    pub masked: String,
    /// How it stands.
    pub state: AccountState,
    /// What is kept for it or owed to its rider.
    pub kept_fen: u64,
    /// Why it is frozen for value, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// How terminals know it, where it is on a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<WireStanding>,
    /// Its closings, newest first.
    pub closings: Vec<KeptClosing>,
}

/// A closing of a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeptClosing {
    /// Its number.
    pub operation: OperationId,
    /// Why.
    pub purpose: ClosingPurpose,
    /// How far it has come.
    pub stage: ClosingStage,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Timestamp,
    /// What the card proved to hold, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_fen: Option<u32>,
    /// What was paid out of it.
    pub refunded_fen: u32,
}
