//! The clearing centre: card accounts, credits, consumption (B-7.2.1.c, B-7.3.1, B-7.4.1.c).

pub mod card_incidents;
pub mod clerks;
pub mod closing;
pub mod collection;
pub mod evidence;
pub mod fares;
pub mod freezes;
pub mod kept;
pub mod lists;
pub mod payments;
pub mod purchases;
pub mod settlement;
pub mod watch;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{AccountId, OrderId};

/// Opens an account.
pub const OPEN_ACCOUNT: Endpoint<NewAccount, AccountRecord> = Endpoint::post(
    "/peer/v1/accounts",
    Access::Peer,
    "Opens the account of a card; repeating it gets the same account.",
);
/// Reports a payment.
pub const PAYMENT: Endpoint<OrderReport, Nothing> = Endpoint::post(
    "/peer/v1/payments",
    Access::Peer,
    "Reports a payment for a card that the payment platform confirmed; repeating it changes nothing.",
);
/// Reports a cancellation.
pub const CANCELLATION: Endpoint<OrderReport, Nothing> = Endpoint::post(
    "/peer/v1/cancellations",
    Access::Peer,
    "Reports that a paid order was cancelled, as the card proved; the money is to be given back.",
);
/// Reports a refund.
pub const REFUND: Endpoint<OrderReport, Nothing> =
    Endpoint::post("/peer/v1/refunds", Access::Peer, "Reports that a cancelled order's money went back.");
/// Reports a credit.
pub const CREDIT: Endpoint<CreditReport, CreditReceipt> = Endpoint::post(
    "/peer/v1/credits",
    Access::Peer,
    "Reports money that a card took in; each credit is recorded once.",
);
/// Reports consumption.
pub const CONSUMPTION: Endpoint<ConsumptionReport, ConsumptionReceipt> = Endpoint::post(
    "/peer/v1/consumptions",
    Access::Peer,
    "Reports a batch of a terminal's transactions; each is recorded once and its TAC verified.",
);
/// Account query.
pub const ACCOUNT: Endpoint<Nothing, AccountRecord> =
    Endpoint::get("/peer/v1/accounts/{card}", Access::Peer, "The account of a card.");
/// The money equation.
pub const BOOKS: Endpoint<Nothing, Books> = Endpoint::get(
    "/peer/v1/books",
    Access::Peer,
    "The money equation over all cards of the caller's institution.",
);

/// Every endpoint of the role.
pub fn endpoints() -> Vec<EndpointInfo> {
    let mut all = vec![
        OPEN_ACCOUNT.describe(),
        PAYMENT.describe(),
        CANCELLATION.describe(),
        REFUND.describe(),
        CREDIT.describe(),
        CONSUMPTION.describe(),
        ACCOUNT.describe(),
        BOOKS.describe(),
    ];
    all.extend(closing::endpoints());
    all.extend(freezes::endpoints());
    all.extend(card_incidents::endpoints());
    all.extend(payments::endpoints());
    all.extend(purchases::endpoints());
    all.extend(collection::endpoints());
    all.extend(lists::endpoints());
    all.extend(fares::endpoints());
    all.extend(evidence::endpoints());
    all.extend(settlement::endpoints());
    all.extend(watch::endpoints());
    all.extend(kept::endpoints());
    all.extend(clerks::endpoints());
    all
}

/// A new account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewAccount {
    /// The application serial number of the card.
    pub card: HexBytes,
    /// The secure element that holds it.
    pub se_id: HexBytes,
    /// The application.
    pub aid: HexBytes,
}

/// How a card stands at the centre.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// Being opened.
    Opening,
    /// In use.
    Live,
    /// Being closed.
    Closing,
    /// Its data are parked for a migration.
    Parked,
    /// Closed, money to be given back.
    RefundPayable,
    /// Closed, money given back.
    Refunded,
}

/// A card account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AccountRecord {
    /// The account.
    pub account: AccountId,
    /// The card.
    pub card: HexBytes,
    /// How it stands.
    pub state: AccountState,
    /// All credits.
    pub credited_fen: u64,
    /// All verified consumption.
    pub spent_fen: u64,
    /// The last balance that the card proved.
    pub proven_balance_fen: u32,
    /// The last online counter recorded.
    pub online_counter: u16,
    /// Why no value may move, while it may not: somebody has to look at the card first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
}

/// What became of the money of an order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderReport {
    /// The order, which is booked once for each kind of report.
    pub order: OrderId,
    /// The card.
    pub card: HexBytes,
    /// How much.
    pub amount_fen: u32,
}

/// A credit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreditReport {
    /// The order, which is recorded once.
    pub order: OrderId,
    /// The card.
    pub card: HexBytes,
    /// How much.
    pub amount_fen: u32,
    /// The balance after it.
    pub balance_fen: u32,
    /// The online counter after the credit.
    pub counter: u16,
    /// The terminal number used for this attempt.
    pub terminal: HexBytes,
    /// The date of the transaction, as on the card.
    pub date: HexBytes,
    /// The time of the transaction, as on the card.
    pub time: HexBytes,
    /// The TAC; absent when the card had overwritten it before it could be fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tac: Option<HexBytes>,
    /// Where the money came from.
    #[serde(default)]
    pub means: CreditMeans,
}

/// Where the money of a credit came from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum CreditMeans {
    /// A confirmed payment.
    #[default]
    Payment,
    /// Cash that a terminal took.
    Cash {
        /// The terminal that took it.
        terminal: HexBytes,
    },
}

/// The centre's word that a credit is recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreditReceipt {
    /// The order.
    pub order: OrderId,
    /// When it was first recorded.
    #[schema(value_type = String, format = DateTime)]
    pub recorded_at: Timestamp,
}

/// A batch of a terminal's transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConsumptionReport {
    /// The terminal.
    pub terminal: HexBytes,
    /// The transactions.
    pub transactions: Vec<Consumption>,
}

/// One transaction of a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Consumption {
    /// The card.
    pub card: HexBytes,
    /// How much; 0 for an entry.
    pub amount_fen: u32,
    /// The balance after it.
    pub balance_fen: u32,
    /// The card's offline counter after the transaction.
    pub offline_counter: u16,
    /// The terminal's transaction counter.
    pub terminal_counter: u32,
    /// The transaction type byte.
    pub transaction_type: u8,
    /// The date of the transaction, as on the card.
    pub date: HexBytes,
    /// The time of the transaction, as on the card.
    pub time: HexBytes,
    /// The TAC. Without it nothing is booked: the purchase is kept aside until its card proves it, or two people
    /// decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tac: Option<HexBytes>,
}

/// What became of each transaction, in the order of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConsumptionReceipt {
    /// The verdicts.
    pub verdicts: Vec<ConsumptionVerdict>,
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsumptionVerdict {
    /// Verified and recorded.
    Recorded,
    /// Recorded before.
    Duplicate,
    /// The TAC is wrong; kept aside, moves no money.
    TacWrong,
    /// There is no TAC; kept aside until the card proves it, or two people decide.
    Unproven,
    /// No account has this card.
    UnknownCard,
    /// Another transaction with this card and counter is recorded; kept aside, moves no money.
    Contradicts,
    /// Verified, and more than the books show on the card: a credit is still on its way. Report it again.
    NotYet,
    /// A field cannot be read.
    Malformed,
}

/// The money equation: `paid_in` and `cash_in` equal the sum of all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Books {
    /// Paid in, as the payment platform confirmed.
    pub paid_in_fen: u64,
    /// Taken in cash and proven to be on a card.
    #[serde(default)]
    pub cash_in_fen: u64,
    /// The last proven balances of all purses.
    pub purses_fen: u64,
    /// Confirmed and not yet proven on a card.
    pub in_flight_fen: u64,
    /// Parked for migrations.
    pub parked_fen: u64,
    /// To be given back.
    pub refund_payable_fen: u64,
    /// Spent, by verified TACs.
    pub spent_fen: u64,
    /// Kept as fees.
    #[serde(default)]
    pub fees_fen: u64,
    /// Held as deposits.
    #[serde(default)]
    pub deposits_fen: u64,
    /// Written off, less what was lost.
    #[serde(default)]
    pub write_offs_fen: i64,
    /// Settled and owed to operators.
    #[serde(default)]
    pub operator_payable_fen: u64,
    /// Paid to operators.
    #[serde(default)]
    pub operator_paid_fen: u64,
    /// Given back.
    pub refunded_fen: u64,
}
