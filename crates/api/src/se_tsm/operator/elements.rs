//! Secure elements and the audit trail, as the staff sees them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::desk::Listing;
use crate::HexBytes;
use crate::conversation::ApplicationState;
use crate::ids::BatchId;

/// A secure element, for the staff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ElementRecord {
    /// The SE-ID.
    pub se_id: HexBytes,
    /// The batch.
    pub batch: BatchId,
    /// The bound number, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// The number that it will be bound to, once the card shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing_to: Option<String>,
    /// Whether it is on the loss list.
    pub loss: Listing,
    /// How often it was put on the loss list or taken off.
    pub loss_changes: u64,
    /// Free space as last observed, in bytes.
    pub free_bytes: u32,
    /// When it was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub registered_at: Option<Timestamp>,
    /// The security domains on it.
    pub domains: Vec<HexBytes>,
    /// The load files on it.
    pub load_files: Vec<HexBytes>,
    /// The applications on it.
    pub applications: Vec<ElementApplication>,
}

/// An application on a secure element, for the staff.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ElementApplication {
    /// The application.
    pub aid: HexBytes,
    /// Its state.
    pub state: ApplicationState,
}

/// A loss report or its withdrawal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LossReport {
    /// On or off.
    pub listing: Listing,
    /// Which change this is: one more than the record counts. The same change again changes nothing, and one that
    /// was overtaken by another is refused.
    pub change: u64,
    /// The reason.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}

/// What became of a bound number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberStanding {
    /// In the network.
    InNetwork,
    /// Cancelled.
    Cancelled,
}

/// The state of a bound number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NumberState {
    /// What became of it.
    pub standing: NumberStanding,
}

/// A change of a user's number, as the carrier's business system reports it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NumberChange {
    /// The number that the secure element is bound to.
    pub old: String,
    /// The user's number from now on.
    pub new: String,
}

/// Which entries of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditQuery {
    /// The chain of one person's actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The chain of what happened to one secure element.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_id: Option<HexBytes>,
    /// Entries after this number.
    #[serde(default)]
    pub after: u64,
}

/// Some entries of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
}

/// One entry of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it ended.
    pub result: String,
    /// The hash of the entry, which the next one carries on.
    pub hash: HexBytes,
}
