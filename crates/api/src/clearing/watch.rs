//! What somebody at the centre has to know at once: whether the money equation holds, which alarms are open,
//! what waits in the reconciliation view, and which cards have gaps in their counters.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// How the centre stands.
pub const WATCH: Endpoint<Nothing, WatchRecord> = Endpoint::get(
    "/peer/v1/watch",
    Access::Peer,
    "Whether the books hold, the open alarms, and the open differences by cause. For the centre's desk.",
);
/// How the cards of a city stand, counted.
pub const CENSUS: Endpoint<Nothing, Census> = Endpoint::get(
    "/peer/v1/census",
    Access::Peer,
    "The cards counted by state, with what they hold: one answer, however many there are. For the centre's desk.",
);
/// Cards with missing transactions.
pub const CARD_GAPS: Endpoint<CardGapQuery, CardGapPage> = Endpoint::get(
    "/peer/v1/card-gaps",
    Access::Peer,
    "The missing offline transactions of the caller's cards; of all cards for the centre's desk.",
);

/// Every endpoint of this module.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![WATCH.describe(), CENSUS.describe(), CARD_GAPS.describe()]
}

/// How the centre stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WatchRecord {
    /// Whether the money equation holds now, over all transfers.
    pub holds: bool,
    /// What came in less what is accounted for; zero when the equation holds.
    pub gap_fen: i64,
    /// Payments and refunds that were written off because nobody made them; a loss is negative.
    pub written_off_fen: i64,
    /// When the last check card by card ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
    /// Cards checked since the centre started.
    pub cards_checked: u64,
    /// The open alarms, newest first.
    pub alarms: Vec<Alarm>,
    /// The differences that nobody has settled, by cause.
    pub differences: Vec<CauseCount>,
}

/// An alarm about the books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Alarm {
    /// Its kind, stable: `books-broken`, `ledger-imbalance`, `parked-inconsistent`, `suspicious-card`,
    /// `statement-overdue`.
    pub kind: String,
    /// In words.
    pub text: String,
    /// The card that it is about, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Differences of one cause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CauseCount {
    /// The cause, a stable word.
    pub cause: String,
    /// In English.
    pub cause_en: String,
    /// In Chinese.
    pub cause_zh: String,
    /// How many somebody has to look at.
    pub open: u64,
    /// Of these, how many wait for a second person.
    pub proposed: u64,
    /// How many may still settle themselves.
    pub waiting: u64,
}

/// Cards counted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Census {
    /// By state.
    pub states: Vec<StateCount>,
    /// All cards.
    pub cards: u64,
    /// Of them frozen for value.
    pub frozen: u64,
    /// When they were counted; counting goes on in the background and an answer may be some moments old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub counted_at: Option<Timestamp>,
}

/// Cards in one state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateCount {
    /// The state.
    pub state: super::AccountState,
    /// How many.
    pub cards: u64,
    /// What their purses hold.
    pub purses_fen: u64,
}

/// Which cards' gaps.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CardGapQuery {
    /// The card after which to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<HexBytes>,
}

/// Numbers of a card's offline transactions that have not come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardGap {
    /// The card.
    pub card: HexBytes,
    /// The card number, masked.
    pub masked: String,
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Since when a higher number is known.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// Some of the gaps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardGapPage {
    /// The gaps, in order of card.
    pub gaps: Vec<CardGap>,
    /// Where to go on; absent when these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<HexBytes>,
}
