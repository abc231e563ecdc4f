//! The payment platform: orders, payment, query, close, refund, signed notification, statement (B-7.4).
//!
//! Merchants and the platform sign every request, reply and notification ([`crate::Access::Payment`]);
//! payers have the unguessable number of their payment.

pub mod purse;
pub mod signing;
pub mod statement;
pub mod statement_stream;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{OrderId, PaymentId, RefundId};
use crate::problem::ProblemCode as Code;

/// New payment order.
pub const CREATE: Endpoint<NewPayment, PaymentRecord> =
    Endpoint::post("/merchant/v1/payments", Access::Payment, "Opens a payment for a merchant's order.")
        .refusing(&[Code::ValueRefused, Code::StateForbids, Code::OutcomeUnknown]);
/// Query by the merchant.
pub const QUERY: Endpoint<Nothing, PaymentRecord> = Endpoint::get(
    "/merchant/v1/payments/{payment}",
    Access::Payment,
    "How a merchant's own payment stands; the answer may be that this is not known yet.",
)
.refusing(&[Code::UnknownId, Code::OutcomeUnknown]);
/// Closes.
pub const CLOSE: Endpoint<Nothing, PaymentRecord> = Endpoint::post(
    "/merchant/v1/payments/{payment}/close",
    Access::Payment,
    "Closes a payment that nobody has paid, for good; one that is paid is refused.",
)
.refusing(&[Code::UnknownId, Code::StateForbids, Code::OutcomeUnknown]);
/// Refund.
pub const REFUND: Endpoint<Refund, RefundRecord> = Endpoint::post(
    "/merchant/v1/payments/{payment}/refunds",
    Access::Payment,
    "Gives back a part of what was paid, or all of it; repeating a refund's number gives nothing more.",
)
.refusing(&[
    Code::UnknownId,
    Code::ValueRefused,
    Code::AmountRefused,
    Code::Duplicate,
    Code::StateForbids,
    Code::OutcomeUnknown,
]);
/// The day's statement.
pub const STATEMENT: Endpoint<StatementQuery, StatementFile> = Endpoint::get(
    "/merchant/v1/statements",
    Access::Payment,
    "The merchant's payments and refunds of a day that is over, with digest and signature.",
)
.refusing(&[Code::ValueRefused, Code::StateForbids]);
/// A piece of a day's statement.
pub const STATEMENT_PIECE: Endpoint<StatementPieceQuery, StatementPiece> = Endpoint::get(
    "/merchant/v1/statements/pieces",
    Access::Payment,
    "A piece of the statement of a day that is over; the last one carries the digest and signature of the whole.",
)
.refusing(&[Code::ValueRefused, Code::StateForbids]);
/// The platform's keys.
pub const PLATFORM_KEYS: Endpoint<Nothing, PlatformKeys> = Endpoint::get(
    "/merchant/v1/platform-keys",
    Access::Payment,
    "The public keys with which the platform signs now; the reply is signed with the key that the merchant has.",
)
.refusing(&[]);
/// The person pays (sandbox).
pub const PAY: Endpoint<Pay, PaymentRecord> = Endpoint::post(
    "/user/v1/payments/{payment}/confirmation",
    Access::Conversation,
    "The person pays, or declines; the unguessable payment number is the right to do so.",
)
.refusing(&[Code::UnknownId, Code::StateForbids, Code::OutcomeUnknown]);
/// The person looks.
pub const SHOW: Endpoint<Nothing, PaymentRecord> = Endpoint::get(
    "/user/v1/payments/{payment}",
    Access::Conversation,
    "What is to be paid; the unguessable payment number is the right to ask.",
)
.refusing(&[Code::UnknownId]);

/// Every endpoint of the role.
pub fn endpoints() -> Vec<EndpointInfo> {
    let mut all = vec![
        CREATE.describe(),
        QUERY.describe(),
        CLOSE.describe(),
        REFUND.describe(),
        STATEMENT.describe(),
        STATEMENT_PIECE.describe(),
        PLATFORM_KEYS.describe(),
        PAY.describe(),
        SHOW.describe(),
    ];
    all.extend(purse::endpoints());
    all
}

/// A new payment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewPayment {
    /// The merchant's order; repeating it gets the same payment.
    pub order: OrderId,
    /// How much.
    pub amount_fen: u32,
    /// What for, in words for the payer: one line of at most 200 bytes.
    #[serde(deserialize_with = "crate::text::line")]
    pub subject: String,
    /// Until when it can be paid; the platform may end it earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// With what it may be paid.
    #[serde(default, skip_serializing_if = "PaymentMeans::is_usual")]
    pub means: PaymentMeans,
    /// The token of the payer whom it is addressed to, 16 bytes, as his wallet showed it to the merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<HexBytes>,
}

/// With what an order may be paid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMeans {
    /// The payer's account at the platform.
    #[default]
    Account,
    /// That, or a transit card; what a card pays is settled by the clearing centre.
    AccountOrCard,
}

impl PaymentMeans {
    const fn is_usual(&self) -> bool {
        matches!(self, Self::Account)
    }
}

/// What the person does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pay {
    /// Pays or declines.
    pub choice: PayChoice,
}

/// Pays or declines.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayChoice {
    /// Pays.
    Pay,
    /// Declines.
    Decline,
}

/// A refund.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Refund {
    /// The merchant's number for it; the same one is carried out once.
    pub refund: RefundId,
    /// How much; all refunds together at most what was paid.
    pub amount_fen: u32,
    /// Why, on one line.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}

/// A refund that was carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefundRecord {
    /// The refund.
    pub refund: RefundId,
    /// How much.
    pub amount_fen: u32,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The payment after it.
    pub payment: PaymentRecord,
}

/// How a payment stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Waits for the person.
    Open,
    /// Paid.
    Paid,
    /// Closed unpaid: declined, expired, or closed by the merchant.
    Closed,
    /// Paid, and a part given back.
    PartlyRefunded,
    /// Paid, and all of it given back.
    Refunded,
}

/// A payment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentRecord {
    /// The payment.
    pub payment: PaymentId,
    /// The merchant's order.
    pub order: OrderId,
    /// The merchant.
    pub merchant: String,
    /// How much.
    pub amount_fen: u32,
    /// What was given back of it.
    pub refunded_fen: u32,
    /// What for.
    pub subject: String,
    /// How it stands.
    pub state: PaymentState,
    /// When it came to stand so.
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: Timestamp,
    /// How payment from a transit card stands, where it is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<purse::CardOffer>,
}

/// The platform's signed word to the merchant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PaymentNotification {
    /// The payment as it stands.
    pub payment: PaymentRecord,
}

/// Which statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatementQuery {
    /// The day, in China.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
}

/// Which piece of a day's statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatementPieceQuery {
    /// The day, in China.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// Where the piece begins, as the one before it said; the first piece without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
}

/// A piece of a statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatementPiece {
    /// The merchant.
    pub merchant: String,
    /// The day.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// The text from where the piece before it ended; see [`statement`].
    pub text: String,
    /// Where the next piece begins; none after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// With the last piece: digest and signature of the whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<StatementSeal>,
}

/// What the platform signs of a statement's text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatementSeal {
    /// SHA-256 of the text.
    pub sha256: HexBytes,
    /// The platform's key.
    pub serial: String,
    /// The platform's signature over merchant, day and digest.
    pub signature: HexBytes,
}

/// A statement as it is downloaded and kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatementFile {
    /// The merchant.
    pub merchant: String,
    /// The day.
    #[schema(value_type = String, format = Date)]
    pub day: Date,
    /// The lines and their summary; see [`statement`].
    pub text: String,
    /// SHA-256 of the text.
    pub sha256: HexBytes,
    /// The platform's key.
    pub serial: String,
    /// The platform's signature over merchant, day and digest.
    pub signature: HexBytes,
}

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentSignature {
    /// RSA of 2048 bits, PKCS#1 v1.5, SHA-256.
    RsaSha256,
    /// SM2 with SM3 and the default distinguishing identifier (GB/T 32918.2, GB/T 35276).
    Sm2Sm3,
}

/// A public key of the platform.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlatformKey {
    /// Its serial, made from the key itself: 20 upper-case hexadecimal digits, the first 10 bytes of SHA-256 over
    /// `key` followed by `exponent`.
    pub serial: String,
    /// How it signs.
    pub scheme: PaymentSignature,
    /// An RSA key's modulus, or an SM2 key's uncompressed point.
    pub key: HexBytes,
    /// An RSA key's public exponent; empty for SM2.
    pub exponent: HexBytes,
}

/// The platform's keys.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlatformKeys {
    /// Newest last.
    pub keys: Vec<PlatformKey>,
}
