//! What the centre can prove: receipts for riders, where a card and its money are, and that the journal tells
//! the same as the books.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AccountState;
use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{AccountId, OrderId};
use crate::receipt::SignedReceipt;

/// Receipts.
pub const RECEIPTS: Endpoint<ReceiptQuery, ReceiptPage> = Endpoint::post(
    "/peer/v1/receipts",
    Access::Peer,
    "The signed receipts of a card, one for each step of money in its journal.",
);
/// Where a card is.
pub const EXPLANATION: Endpoint<CardQuery, CardFacts> = Endpoint::post(
    "/peer/v1/explanations",
    Access::Peer,
    "What the centre knows of a card and its money, with the evidence.",
);
/// Cards.
pub const CARDS: Endpoint<CardsQuery, CardPage> =
    Endpoint::get("/peer/v1/cards", Access::Peer, "The cards of the centre in order, with what they hold.");
/// The last transactions.
pub const ACTIVITY: Endpoint<Nothing, Activity> =
    Endpoint::get("/peer/v1/activity", Access::Peer, "The last transactions of the cards that moved lately.");
/// Compares the journal with the books.
pub const COMPARISON: Endpoint<ComparisonQuery, ComparisonPage> = Endpoint::get(
    "/peer/v1/journal/comparison",
    Access::Peer,
    "Follows and replays some of the journal's chains and compares them with the books.",
);
/// Seals the journal.
pub const SEAL: Endpoint<Nothing, SealPage> = Endpoint::post(
    "/peer/v1/journal/seals",
    Access::Peer,
    "Seals the chains that grew, which the centre also does at intervals; gives the new seals.",
);
/// Seals.
pub const SEALS: Endpoint<SealsQuery, SealPage> = Endpoint::get(
    "/peer/v1/journal/seals",
    Access::Peer,
    "The seals over the journal, for whoever wants to hold the centre to them.",
);

/// Every endpoint of the centre's evidence.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        RECEIPTS.describe(),
        EXPLANATION.describe(),
        CARDS.describe(),
        ACTIVITY.describe(),
        COMPARISON.describe(),
        SEAL.describe(),
        SEALS.describe(),
    ]
}

/// Names a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardQuery {
    /// The application serial number of the card.
    pub card: HexBytes,
}

/// Asks for receipts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptQuery {
    /// The card.
    pub card: HexBytes,
    /// The entry of the journal after which to go on; 0 for the first.
    #[serde(default)]
    pub after: u64,
}

/// Some of a card's receipts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReceiptPage {
    /// The receipts, oldest first.
    pub receipts: Vec<SignedReceipt>,
    /// The key that the centre signs with, an uncompressed point on P-256.
    pub key: HexBytes,
    /// Where to go on; absent when these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Asks for cards.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CardsQuery {
    /// The card after which to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<HexBytes>,
    /// Only cards whose numbers end with these digits; at least four. A page may then be empty and not the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
}

/// Some of the centre's cards.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardPage {
    /// The cards.
    pub cards: Vec<CardLine>,
    /// Where to go on; absent when these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<HexBytes>,
}

/// One card in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardLine {
    /// The account.
    pub account: AccountId,
    /// The card.
    pub card: HexBytes,
    /// The card number, masked.
    pub masked: String,
    /// How it stands.
    pub state: AccountState,
    /// Whether it is frozen for value.
    pub frozen: bool,
    /// The SE that carries it, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se: Option<String>,
    /// What its purse holds, as last proven.
    pub purse_fen: u64,
    /// Paid and on no card yet.
    pub in_flight_fen: u64,
    /// Kept at the centre or owed.
    pub kept_fen: u64,
}

/// What happened last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// The transactions, newest first.
    pub last: Vec<RecentTransaction>,
}

/// A transaction among the last ones.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecentTransaction {
    /// The account.
    pub account: AccountId,
    /// The card number, masked.
    pub masked: String,
    /// The transaction.
    pub transaction: TransactionFact,
}

/// What a card's terminal reported and its TAC proves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TransactionFact {
    /// What it was.
    pub kind: TransactionWord,
    /// How much.
    pub amount_fen: u64,
    /// What the card held after it, where the record tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_fen: Option<u64>,
    /// The card's counter after it: of loads and debits online, or of purchases.
    pub counter: u16,
    /// The terminal.
    pub terminal: String,
    /// When, by the terminal's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whether the card's TAC proves it.
    pub proof: ProofWord,
}

/// What a transaction was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionWord {
    /// Money came in.
    Load,
    /// The whole balance went out online.
    Unload,
    /// Paid.
    Purchase,
    /// The overdraft limit was changed.
    OverdraftUpdate,
    /// Entered or left a line.
    Transit,
}

impl TransactionWord {
    /// Whether the card's online counter numbers it.
    pub const fn is_online(self) -> bool {
        match self {
            Self::Load | Self::Unload | Self::OverdraftUpdate => true,
            Self::Purchase | Self::Transit => false,
        }
    }
}

/// What proves a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofWord {
    /// Its TAC, which was verified.
    Tac,
    /// The card's counter and balance under its MAC; the TAC had been overwritten.
    Counter,
}

/// Everything that is known of one card and its money.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardFacts {
    /// The account.
    pub account: AccountId,
    /// The card number, masked.
    pub card: String,
    /// How it stands.
    pub state: AccountState,
    /// Why it is being closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<ClosingWord>,
    /// The SE that carries it, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se: Option<String>,
    /// When the account was opened.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// Why it is frozen for value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// The lists it is on, by its journal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListWord>,
    /// The terminal that locked it since it was listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockFact>,
    /// Where its money is.
    pub money: CardMoney,
    /// The last transactions, newest first.
    pub transactions: Vec<TransactionFact>,
    /// Transactions whose numbers are missing between those that came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<CounterGap>,
    /// Paid orders that are on no card yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<OrderFact>,
    /// Reports about the card that were kept aside and nobody has closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentFact>,
    /// Where its journal stands.
    pub journal: JournalFact,
    /// What the card's issuer adds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerFacts>,
}

/// Why a card is being closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosingWord {
    /// For a refund.
    Return,
    /// To move to another phone.
    Migration,
}

/// A terminal that locked a listed card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LockFact {
    /// The terminal's number.
    pub terminal: String,
    /// When it says it did.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// A list that terminals get.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListWord {
    /// Terminals lock the card.
    Black,
    /// Terminals refuse it.
    Grey,
}

/// A card's money, from its transfers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CardMoney {
    /// Paid in by payments and cash.
    pub paid_in_fen: u64,
    /// In the purse, as last proven.
    pub purse_fen: u64,
    /// Paid and on no card yet.
    pub in_flight_fen: u64,
    /// Kept at the centre for another phone or a refund.
    pub parked_fen: u64,
    /// Owed to the rider.
    pub refund_payable_fen: u64,
    /// Spent, by verified TACs.
    pub spent_fen: u64,
    /// Paid back.
    pub refunded_fen: u64,
    /// Spent at terminals that never reported it, and written off by two people.
    #[serde(default)]
    pub written_off_fen: u64,
}

/// Numbers that are missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
pub struct CounterGap {
    /// Whether they are numbers of loads; otherwise of purchases.
    pub online: bool,
    /// The first missing number.
    pub first: u16,
    /// The last missing number.
    pub last: u16,
}

/// A paid order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderFact {
    /// The order.
    pub order: OrderId,
    /// How much.
    pub amount_fen: u64,
    /// When it was confirmed.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Something that somebody has to look at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IncidentFact {
    /// Its kind, stable.
    pub kind: String,
    /// In words.
    pub text: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Where a card's journal stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct JournalFact {
    /// The number of its last entry.
    pub entries: u64,
    /// That entry's hash.
    pub hash: HexBytes,
    /// What it says, a stable word.
    pub event: String,
    /// Whether every entry follows the one before it, and together they give what the books have.
    pub holds: bool,
    /// What does not fit, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// The last seal over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<SealFact>,
}

/// The seal over a journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SealFact {
    /// The seal's number.
    pub seal: u64,
    /// The entry that it was set on.
    pub entry: u64,
}

/// What a card's issuer adds to the facts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct IssuerFacts {
    /// How the card stands at the issuer, a stable word.
    pub state: String,
    /// The last balance that the card proved to the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<ProvenFact>,
    /// Why the issuer has frozen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
    /// Its open orders: paid, and whether the card has them is not settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open_orders: Vec<OrderFact>,
    /// What is being done on its SE now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
}

/// What a card proved, online.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProvenFact {
    /// The balance.
    pub balance_fen: u64,
    /// The online counter.
    pub counter: u16,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Asks for a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ComparisonQuery {
    /// Where to go on, as the page before said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What a comparison of some chains found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ComparisonPage {
    /// Chains followed.
    pub chains: u64,
    /// Entries followed.
    pub entries: u64,
    /// Transfers replayed.
    pub transfers: u64,
    /// Card transactions replayed.
    pub transactions: u64,
    /// What the chains say was paid in.
    pub paid_in_fen: i64,
    /// What does not fit, in words; card numbers are masked.
    pub findings: Vec<String>,
    /// Where to go on; absent when these were the last chains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Asks for seals.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SealsQuery {
    /// The seal after which to go on.
    #[serde(default)]
    pub after: u64,
}

/// Some seals.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SealPage {
    /// The seals, in order.
    pub seals: Vec<SealRecord>,
    /// The key that the centre signs with.
    pub key: HexBytes,
}

/// A seal over the heads of the journals that grew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SealRecord {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The hash of the seal before it.
    pub previous: HexBytes,
    /// The Merkle root over the heads (RFC 6962 2.1).
    pub root: HexBytes,
    /// How many heads.
    pub heads: u64,
    /// The centre's signature.
    pub signature: HexBytes,
}
