//! The payment platform as its merchants see it (B-7.4): orders, payments, refunds, statements.
//!
//! [`PaymentPlatform`] is what a role uses; an adapter speaks one platform's protocol. Nothing here decides
//! about money: an answer that was lost stays unknown until the platform has been asked, and no timeout is
//! a failure or a reason to give money back.

pub mod message;
mod sandbox_platform;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use tsm_api::client::ClientError;
pub use tsm_api::payment::PaymentMeans;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{PayerToken, Statement, StatementLine};
use tsm_domain::{Fen, OrderId, PaymentReference, TransferId};

pub use sandbox_platform::{Parts as SandboxParts, SandboxPlatform};

/// A payment that a merchant opens for its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// The merchant's order; opening it again gives the same payment.
    pub order: OrderId,
    /// How much.
    pub amount: Fen,
    /// What for, in words for the payer.
    pub subject: String,
    /// Until when it can be paid.
    pub expires_at: Timestamp,
    /// With what it may be paid.
    pub means: PaymentMeans,
    /// The payer whom it is addressed to.
    pub payer: Option<PayerToken>,
}

/// How an order stands at the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlatformState {
    /// Nobody has paid it.
    Open,
    /// Paid.
    Paid,
    /// Closed unpaid, for good.
    Closed,
    /// Paid, and a part given back.
    PartlyRefunded {
        /// The sum of all refunds.
        refunded: Fen,
    },
    /// Paid, and all of it given back.
    Refunded,
}

/// An order at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformOrder {
    /// The merchant's order.
    pub order: OrderId,
    /// The platform's reference of the payment.
    pub payment: PaymentReference,
    /// How much it is for.
    pub amount: Fen,
    /// How it stands.
    pub state: PlatformState,
    /// When it came to stand so.
    pub changed_at: Timestamp,
}

/// A refund that a merchant wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    /// The merchant's order.
    pub order: OrderId,
    /// The payment that paid it.
    pub payment: PaymentReference,
    /// The merchant's number for the refund; the same one is carried out once.
    pub refund: TransferId,
    /// How much: a part of the payment, or all of it. More than is left of it is refused.
    pub amount: Fen,
    /// Why, in words for the payer.
    pub reason: String,
}

/// A refund that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundDone {
    /// The refund.
    pub refund: TransferId,
    /// How much.
    pub amount: Fen,
    /// When.
    pub at: Timestamp,
}

/// A message that says it comes from the platform, as it came.
#[derive(Debug, Clone, Copy)]
pub struct IncomingMessage<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a hyper::HeaderMap,
    /// The body, as it was signed.
    pub body: &'a [u8],
}

/// What the platform said under its signature about an order of this merchant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The order as it stands.
    pub order: PlatformOrder,
}

/// Why a platform did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The platform refused, with its reason.
    #[error("the payment platform refused: {0}")]
    Refused(Box<Problem>),
    /// Nothing was sent.
    #[error("the payment platform was not reached: {0}")]
    NotSent(String),
    /// It may have been done: what came of it is unknown until the platform says so.
    #[error("it is unknown what the payment platform did: {0}")]
    Unknown(String),
}

/// Why a message that says it comes from the platform was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// The signature does not fit, or a part of it is missing.
    #[error("the platform's signature is missing or wrong: {0}")]
    Forged(String),
    /// Signed outside the time window.
    #[error("the message was signed outside the time window")]
    Stale,
    /// Taken before.
    #[error("the message was taken before")]
    Replayed,
    /// It is for another merchant.
    #[error("the message is for the merchant {0}")]
    AnotherMerchant(String),
    /// Signed, and not a notification.
    #[error("the signed message cannot be read: {0}")]
    Unreadable(String),
    /// The platform's keys could not be asked for; the platform repeats its message.
    #[error("the platform's keys cannot be checked now: {0}")]
    NotNow(String),
}

/// Why there is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementFailure {
    /// The platform did not give it.
    #[error(transparent)]
    Platform(#[from] PaymentError),
    /// Digest or signature do not fit the text.
    #[error("the statement was altered: {0}")]
    Altered(String),
    /// The text is not a statement.
    #[error(transparent)]
    Text(#[from] tsm_api::payment::statement::StatementError),
}

/// A payment platform, for one merchant.
#[async_trait]
pub trait PaymentPlatform: Send + Sync {
    /// Opens a payment for an order, or gives the one that is there.
    async fn create_order(&self, order: &NewOrder) -> Result<PlatformOrder, PaymentError>;
    /// How an order stands. [`PaymentError::Unknown`] also when the platform itself does not know yet.
    async fn query(&self, order: OrderId) -> Result<PlatformOrder, PaymentError>;
    /// How the order stands that a payment names, asked by the payment's own reference. Another merchant's
    /// payment does not exist.
    async fn query_payment(&self, payment: &PaymentReference) -> Result<PlatformOrder, PaymentError>;
    /// Closes an order that nobody has paid, for good. The answer says how it stands then: a payment that was
    /// faster is there. Closing again changes nothing.
    async fn close(&self, order: OrderId) -> Result<PlatformOrder, PaymentError>;
    /// Gives back a part of a payment or all of it, once for each refund number.
    async fn refund(&self, refund: &NewRefund) -> Result<RefundDone, PaymentError>;
    /// Checks a message that says it comes from the platform: signature, freshness, once, this merchant.
    async fn verify_notification(
        &self,
        message: &IncomingMessage<'_>,
    ) -> Result<Notification, NotificationError>;
    /// The order that a message names, whoever sent it: it proves nothing, and tells only whom to ask about it.
    fn named_order(&self, _message: &IncomingMessage<'_>) -> Option<OrderId> {
        None
    }
    /// The statement of a day, in China, that is over; digest, signature and totals are checked.
    async fn statement(&self, day: Date) -> Result<Statement, StatementFailure>;
    /// The same in pieces, for a day that is too large to be held at once. A platform that has no pieces gives
    /// its whole statement as one.
    async fn statement_pieces<'a>(
        &'a self,
        day: Date,
    ) -> Result<Box<dyn StatementPieces + 'a>, StatementFailure> {
        Ok(Box::new(OnePiece(Some(self.statement(day).await?.lines))))
    }
}

/// A statement on its way. The lines that it gives count only when it has come to its end: what was altered may
/// show no earlier.
#[async_trait]
pub trait StatementPieces: Send {
    /// The next lines; `None` after the last, when digest, signature and totals have been found right.
    async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, StatementFailure>;
}

/// A statement that was given whole, and checked.
struct OnePiece(Option<Vec<StatementLine>>);

#[async_trait]
impl StatementPieces for OnePiece {
    async fn next(&mut self) -> Result<Option<Vec<StatementLine>>, StatementFailure> {
        Ok(self.0.take())
    }
}

impl PaymentError {
    /// What to tell someone further on.
    pub fn to_problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => (**problem).clone(),
            Self::NotSent(_) => Problem::because(ProblemCode::Unavailable, self),
            Self::Unknown(_) => Problem::because(ProblemCode::OutcomeUnknown, self),
        }
    }

    /// The platform's code, if it refused.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            Self::NotSent(_) | Self::Unknown(_) => None,
        }
    }
}

impl From<PaymentError> for ClientError {
    fn from(error: PaymentError) -> Self {
        match error {
            PaymentError::Refused(problem) => Self::Refused(problem),
            PaymentError::NotSent(reason) => Self::NotSent(reason),
            PaymentError::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

impl PlatformOrder {
    /// Whether somebody paid it, whatever was given back since.
    pub const fn was_paid(&self) -> bool {
        match self.state {
            PlatformState::Open | PlatformState::Closed => false,
            PlatformState::Paid | PlatformState::PartlyRefunded { .. } | PlatformState::Refunded => true,
        }
    }

    /// What is paid and not given back.
    pub fn held(&self) -> Fen {
        match self.state {
            PlatformState::Open | PlatformState::Closed | PlatformState::Refunded => Fen::ZERO,
            PlatformState::Paid => self.amount,
            PlatformState::PartlyRefunded { refunded } => {
                self.amount.checked_sub(refunded).unwrap_or(Fen::ZERO)
            }
        }
    }
}
