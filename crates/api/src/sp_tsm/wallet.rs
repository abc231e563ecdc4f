//! SP-TSM, as the wallet sees it: orders, conversations, card records.
//!
//! The wallet shows the SE-TSM's signed word about its session ([`crate::signature::Assertion`]) as
//! its bearer: one login serves both organisations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::conversation::{ApplicationState, ConversationReply, IfBusy, StartOptions, TurnRequest};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{OrderId, PaymentId, RequestId};

/// Order to open a card.
pub const ORDER_CARD: Endpoint<OpenCardOrder, OrderRecord> =
    Endpoint::post("/wallet/v1/orders/cards", Access::Wallet, "Orders a card on the secure element.");
/// Order to top up.
pub const ORDER_TOP_UP: Endpoint<TopUpOrder, OrderRecord> =
    Endpoint::post("/wallet/v1/orders/top-ups", Access::Wallet, "Orders a top-up and opens its payment.");
/// One order.
pub const ORDER: Endpoint<Nothing, OrderRecord> =
    Endpoint::get("/wallet/v1/orders/{order}", Access::Wallet, "How an own order stands.");
/// Cancels an order.
pub const CANCEL_ORDER: Endpoint<Nothing, OrderRecord> = Endpoint::post(
    "/wallet/v1/orders/{order}/cancellation",
    Access::Wallet,
    "Cancels an own order: a top-up that is paid only when nothing of it can reach the card any more, a card \
     only while nothing of it is on the secure element.",
);
/// Starts an operation.
pub const START: Endpoint<StartRequest, ConversationReply> =
    Endpoint::post("/wallet/v1/conversations", Access::Wallet, "Starts an operation on the card.");
/// Answers a turn.
pub const TURN: Endpoint<TurnRequest, ConversationReply> = Endpoint::post(
    "/wallet/v1/conversations/{conversation}",
    Access::Conversation,
    "Brings the card's answers and fetches the next steps.",
);
/// Cancels a conversation.
pub const CANCEL: Endpoint<Nothing, Nothing> = Endpoint::post(
    "/wallet/v1/conversations/{conversation}/cancellation",
    Access::Wallet,
    "Stops an operation between two lists.",
);
/// The card's record.
pub const CARD: Endpoint<Nothing, CardRecord> = Endpoint::get(
    "/wallet/v1/cards/{aid}",
    Access::Wallet,
    "The issuer's record of the card, with its last credits.",
);

/// Interrupted work.
pub const INTERRUPTED: Endpoint<Nothing, InterruptedWorks> = Endpoint::get(
    "/wallet/v1/interrupted",
    Access::Wallet,
    "What was interrupted on the secure element, and whether it can be continued or cancelled.",
);

/// Every endpoint for the wallet.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        ORDER_CARD.describe(),
        ORDER_TOP_UP.describe(),
        ORDER.describe(),
        CANCEL_ORDER.describe(),
        START.describe(),
        TURN.describe(),
        CANCEL.describe(),
        CARD.describe(),
        INTERRUPTED.describe(),
    ]
}

/// An operation of the SP-TSM on a card.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Personalises an installed application (normally by hand-over from the SE-TSM).
    Personalise,
    /// Adds paid money.
    TopUp,
    /// Locks at the holder's wish.
    Lock,
    /// Unlocks what the holder locked.
    Unlock,
    /// Compares the issuer's records with the card and settles what was unknown.
    Synchronise,
    /// Returns the card: it is closed and its balance goes back.
    Return,
    /// Parks the card at the centre, for another phone.
    MigrateOut,
    /// Cancels a return or migration that was interrupted.
    CancelClosing,
    /// Writes what the card holds about its holder again, after a change of number.
    Repersonalise,
    /// Gives up a migration in whose data were sent: the card is asked whether it holds them.
    GiveUpMigrationIn,
}

/// Starts an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StartRequest {
    /// How it starts.
    #[serde(flatten)]
    pub options: StartOptions,
    /// What to do.
    pub operation: Operation,
    /// On which application.
    pub aid: HexBytes,
    /// The order it carries out, where one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
}

impl StartRequest {
    /// An operation on an application.
    pub fn on(operation: Operation, aid: HexBytes, order: Option<OrderId>, request: RequestId) -> Self {
        Self { options: StartOptions { request, if_busy: IfBusy::Ask }, operation, aid, order }
    }
}

/// An order for a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OpenCardOrder {
    /// Chosen by the wallet: the same number gets the same order.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// The kind of card: ordinary, student and so on, as the issuer names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_kind: Option<String>,
}

/// An order for a top-up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopUpOrder {
    /// Chosen by the wallet: the same number gets the same order.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// How much.
    pub amount_fen: u32,
}

/// How an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Waits for the payment.
    Unpaid,
    /// Paid (or free), not yet carried out.
    Paid,
    /// Being carried out; the card has not yet proved the result.
    InFlight,
    /// Done.
    Done,
    /// Cancelled before anything reached the card.
    Cancelled,
    /// The money goes back to the payer.
    Refunding,
    /// The money went back.
    Refunded,
}

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderRecord {
    /// The order.
    pub order: OrderId,
    /// The application.
    pub aid: HexBytes,
    /// How it stands.
    pub state: OrderState,
    /// What it costs.
    pub amount_fen: u32,
    /// Its payment at the payment platform, when something must be paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentId>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// The issuer's record of a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardRecord {
    /// The application.
    pub aid: HexBytes,
    /// The card number, masked.
    pub card_number: String,
    /// Its state.
    pub state: ApplicationState,
    /// The last balance that the card proved.
    pub proven_balance_fen: u32,
    /// When it proved it.
    #[schema(value_type = String, format = DateTime)]
    pub proven_at: Timestamp,
    /// The last credits, newest first.
    pub credits: Vec<CreditRecord>,
}

/// A credit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreditRecord {
    /// The order.
    pub order: OrderId,
    /// How much.
    pub amount_fen: u32,
    /// The card's online transaction counter after it; 0 while the card has not proved it.
    pub counter: u16,
    /// How it stands.
    pub state: OrderState,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// What kind of work was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Opening a card.
    Opening,
    /// A paid top-up.
    TopUp,
    /// A return.
    Return,
    /// A migration out.
    MigrationOut,
    /// A migration in.
    MigrationIn,
    /// Writing the holder's data again.
    Repersonalisation,
    /// Locking a card.
    Lock,
    /// Unlocking a card.
    Unlock,
}

/// Work that was interrupted (W-9.3).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct InterruptedWork {
    /// What.
    pub kind: WorkKind,
    /// On which application.
    pub aid: HexBytes,
    /// The order that it carries out, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// The amount that it is about, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_fen: Option<u32>,
    /// Whether the same operation goes on with it.
    pub may_continue: bool,
    /// Whether it can be cancelled.
    pub may_cancel: bool,
    /// Whether only the card knows how far it came, so that either way needs it.
    pub needs_card: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// The interrupted work of a secure element, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct InterruptedWorks {
    /// The work.
    pub works: Vec<InterruptedWork>,
}
