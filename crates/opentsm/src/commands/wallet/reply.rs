//! What `opentsm wallet --json` says: one object, read by scripts and by `opentsm demo --processes`.

use serde::{Deserialize, Serialize};
use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_api::payment::purse::CardOffer;
use tsm_api::payment::{PaymentRecord, PaymentState};
use tsm_api::receipt::SignedReceipt;
use tsm_api::se_tsm::wallet::CatalogueEntry;
use tsm_wallet::WalletError;

use super::words::Trouble;
use crate::report::Cost;

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It was done.
    Done,
    /// The platform refused it before anything changed.
    Refused,
    /// It broke off; the next attempt goes on from what the card holds.
    Unfinished,
    /// It could not be begun.
    Failed,
}

/// The object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// Whether it was done.
    pub ok: bool,
    /// How it ended.
    pub ending: Ending,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the login before the operation cost, with the look at the lists after it.
    pub login: Cost,
    /// What the operation itself cost.
    pub operation: Cost,
    /// What came of it.
    #[serde(default)]
    pub detail: Detail,
}

/// What came of an operation; each one fills what it knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aid: Option<HexBytes>,
    /// The last digits of the card's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_ending: Option<String>,
    /// What the card holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_fen: Option<u32>,
    /// How many transactions it remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transactions: Option<usize>,
    /// How many trip records it remembers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trips: Option<usize>,
    /// Whether the card proved that it was credited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credited: Option<bool>,
    /// The edition of the protocol that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// How many closed cards were deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<usize>,
    /// How many operations are interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<usize>,
    /// Whether the card proved that it paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<bool>,
    /// The token with which merchants address orders to this wallet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<HexBytes>,
    /// What merchants want to be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<Vec<MerchantOrder>>,
    /// The centre's receipts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Vec<SignedReceipt>>,
    /// The catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<CatalogueEntry>>,
}

/// A merchant's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MerchantOrder {
    /// The payment's number, which is the right to pay it.
    pub payment: PaymentId,
    /// The merchant.
    pub merchant: String,
    /// What for.
    pub subject: String,
    /// How much.
    pub amount_fen: u32,
    /// How it stands.
    pub state: PaymentState,
    /// How payment from a card stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardOffer>,
}

impl MerchantOrder {
    /// What a script needs of a record.
    pub fn of(record: &PaymentRecord) -> Self {
        Self {
            payment: record.payment,
            merchant: record.merchant.clone(),
            subject: record.subject.clone(),
            amount_fen: record.amount_fen,
            state: record.state,
            card: record.card,
        }
    }
}

impl Ending {
    /// How an operation ends with this error.
    pub const fn with(trouble: &Trouble) -> Self {
        let error = match trouble {
            Trouble::Wallet(error) => error,
            Trouble::NotHere(_)
            | Trouble::NothingOpen
            | Trouble::NotToBeOpened { .. }
            | Trouble::NoAmount
            | Trouble::NoOrder
            | Trouble::NoSuchOrder(_)
            | Trouble::WhichOrder(_)
            | Trouble::NoCentreKey => return Self::Failed,
        };
        match error {
            WalletError::Refused(_) => Self::Refused,
            WalletError::Failed { .. } | WalletError::Unknown | WalletError::Cancelled => Self::Unfinished,
            WalletError::Element(_)
            | WalletError::Network(_)
            | WalletError::Storage(_)
            | WalletError::Restarted(_)
            | WalletError::NotRegistered
            | WalletError::NoSession
            | WalletError::UnreadableCard(_)
            | WalletError::UnexpectedOutcome
            | WalletError::Receipt(_)
            | WalletError::NotOffered(_) => Self::Failed,
        }
    }
}
