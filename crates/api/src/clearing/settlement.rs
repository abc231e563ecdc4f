//! The centre's days: settlements and their files, reconciliation and its differences.
//!
//! An institution sees what it issues or operates. Only the centre's own desk closes and reconciles days and
//! pays operators out. A difference is resolved by two people, each logged in: one proposes, another approves.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::HexBytes;
use crate::clearing::lists::Decision;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Closes a day.
pub const CLOSE_DAY: Endpoint<Nothing, DayRecord> = Endpoint::post(
    "/peer/v1/days/{day}/close",
    Access::Peer,
    "Closes a day that is over and settles it; repeating it changes nothing. For the centre's desk.",
);
/// Reconciles a day.
pub const RECONCILE_DAY: Endpoint<Nothing, DayRecord> = Endpoint::post(
    "/peer/v1/days/{day}/reconcile",
    Access::Peer,
    "Holds payment statement, ledger and card transactions of a settled day together. For the centre's desk.",
);
/// The closed days.
pub const DAYS: Endpoint<Nothing, Days> =
    Endpoint::get("/peer/v1/days", Access::Peer, "The closed days, newest first.");
/// A day's settlements.
pub const SETTLEMENTS: Endpoint<Nothing, Settlements> = Endpoint::get(
    "/peer/v1/days/{day}/settlements",
    Access::Peer,
    "A day's settlements in which the caller is issuer or operator.",
);
/// An operator's files.
pub const FILES: Endpoint<Nothing, Files> = Endpoint::get(
    "/peer/v1/days/{day}/files",
    Access::Peer,
    "The files of the caller's terminals' cleared transactions of a day, with their digests.",
);
/// One file.
pub const FILE: Endpoint<Nothing, FileText> = Endpoint::get(
    "/peer/v1/days/{day}/files/{number}",
    Access::Peer,
    "One file of the caller's terminals' cleared transactions (JT/T 978.4 CL).",
);
/// Proposes to pay an operator out.
pub const PROPOSE_PAYOUT: Endpoint<NewPayout, OperatorPayout> = Endpoint::post(
    "/peer/v1/days/{day}/payouts",
    Access::Peer,
    "A person of the centre's desk proposes to pay an operator out for a settled day; one waits at a time.",
);
/// Decides it.
pub const DECIDE_PAYOUT: Endpoint<PayoutDecision, OperatorPayout> = Endpoint::post(
    "/peer/v1/days/{day}/payouts/decision",
    Access::Peer,
    "Another person of the centre's desk approves or refuses a payout; an approved one is booked once.",
);
/// The payouts of a day.
pub const PAYOUTS: Endpoint<Nothing, OperatorPayouts> = Endpoint::get(
    "/peer/v1/days/{day}/payouts",
    Access::Peer,
    "What was proposed and decided about paying operators out for a day. For the centre's desk.",
);
/// The payouts that wait.
pub const WAITING_PAYOUTS: Endpoint<Nothing, OperatorPayouts> = Endpoint::get(
    "/peer/v1/payouts",
    Access::Peer,
    "The payouts to operators that wait for a second person. For the centre's desk.",
);
/// The differences.
pub const DIFFERENCES: Endpoint<DifferenceQuery, Differences> = Endpoint::get(
    "/peer/v1/differences",
    Access::Peer,
    "The differences about the caller's cards, by day, state and cause; all for the centre's desk.",
);
/// One difference.
pub const DIFFERENCE: Endpoint<Nothing, DifferenceRecord> =
    Endpoint::get("/peer/v1/differences/{difference}", Access::Peer, "One difference.");
/// Proposes what to do.
pub const PROPOSE: Endpoint<NewProposal, DifferenceRecord> = Endpoint::post(
    "/peer/v1/differences/{difference}/proposals",
    Access::Peer,
    "The person who is logged in proposes what to do about a difference.",
);
/// Approves it.
pub const APPROVE: Endpoint<Nothing, DifferenceRecord> = Endpoint::post(
    "/peer/v1/differences/{difference}/approvals",
    Access::Peer,
    "The person who is logged in approves what another one proposed; it is done in the same step.",
);
/// Sends it back.
pub const REJECT: Endpoint<Nothing, DifferenceRecord> = Endpoint::post(
    "/peer/v1/differences/{difference}/rejections",
    Access::Peer,
    "The person who is logged in sends a proposal back; the difference is open again.",
);

/// Every endpoint of settlement and reconciliation.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        CLOSE_DAY.describe(),
        RECONCILE_DAY.describe(),
        DAYS.describe(),
        SETTLEMENTS.describe(),
        FILES.describe(),
        FILE.describe(),
        PROPOSE_PAYOUT.describe(),
        DECIDE_PAYOUT.describe(),
        PAYOUTS.describe(),
        WAITING_PAYOUTS.describe(),
        DIFFERENCES.describe(),
        DIFFERENCE.describe(),
        PROPOSE.describe(),
        APPROVE.describe(),
        REJECT.describe(),
    ]
}

/// A closed day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DayRecord {
    /// The day, like 2026-11-21: a calendar day of China.
    pub day: String,
    /// When it was closed.
    #[schema(value_type = String, format = DateTime)]
    pub closed_at: Timestamp,
    /// When its settlement was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub settled_at: Option<Timestamp>,
    /// When its reconciliation was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reconciled_at: Option<Timestamp>,
    /// Lines of its payment statements.
    #[serde(default)]
    pub statement_lines: u64,
    /// Payment statements that never came, and without which two people let the day be reconciled.
    #[serde(default)]
    pub statements_missing: u64,
    /// Rides whose fares were worked out once more and compared with the fare table.
    #[serde(default)]
    pub rides_judged: u64,
    /// Rides whose fares depend on something that the centre does not know; they were not judged.
    #[serde(default)]
    pub rides_not_judged: u64,
}

/// Closed days.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Days {
    /// The days.
    pub days: Vec<DayRecord>,
}

/// The settlement of an issuer and an operator. All amounts are fen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SettlementRecord {
    /// The issuer of the cards.
    pub issuer: String,
    /// The operator of the terminals.
    pub operator: String,
    /// Transactions.
    pub number: u64,
    /// Their sum.
    pub gross_fen: u64,
    /// The whole fee.
    pub fee_fen: u64,
    /// The issuer's share of it.
    pub issuer_share_fen: u64,
    /// The operator's share of it.
    pub acquirer_share_fen: u64,
    /// What the operator gets.
    pub net_fen: u64,
    /// What the issuer has to pay.
    pub due_from_issuer_fen: u64,
    /// Whether the operator was paid.
    pub paid: bool,
}

/// Settlements of a day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Settlements {
    /// The settlements.
    pub settlements: Vec<SettlementRecord>,
}

/// A file of cleared transactions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileRecord {
    /// Its number, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Records.
    pub records: u64,
    /// Their sum.
    pub gross_fen: u64,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: HexBytes,
}

/// An operator's files of a day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Files {
    /// The files.
    pub files: Vec<FileRecord>,
}

/// A file with its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct FileText {
    /// What it is.
    pub file: FileRecord,
    /// Its text.
    pub text: String,
}

/// A payout to propose.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewPayout {
    /// The operator.
    pub operator: String,
    /// Why, in words.
    #[serde(deserialize_with = "crate::text::line")]
    pub note: String,
}

/// A decision about the payout that waits.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PayoutDecision {
    /// The operator.
    pub operator: String,
    /// How much is paid, as the person has read it.
    pub amount_fen: u64,
    /// The decision.
    pub decision: Decision,
}

/// A payout to an operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperatorPayout {
    /// The day.
    pub day: String,
    /// The operator.
    pub operator: String,
    /// Its number among those of day and operator, from 1: each but the last was refused.
    pub number: u32,
    /// How much.
    pub amount_fen: u64,
    /// Why.
    pub note: String,
    /// Who proposed it.
    pub proposed_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub proposed_at: Timestamp,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

/// Payouts to operators.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperatorPayouts {
    /// The payouts, in order of day and operator.
    pub payouts: Vec<OperatorPayout>,
}

/// Which differences to list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DifferenceQuery {
    /// Of this day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// In this state: `waiting`, `open`, `proposed`, `resolved`, `explained`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of this cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// After this difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Uuid>,
}

/// A person who acts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkRecord {
    /// The institution.
    pub institution: String,
    /// The person.
    pub person: String,
}

/// What is done about a difference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Book what the other side says.
    Book,
    /// Owe it to the rider.
    Refund,
    /// Write it off.
    WriteOff,
    /// Nothing, for the reason in the note.
    Ignore,
    /// Freeze the card for value.
    FreezeCard,
    /// Let the frozen card move value again: it was examined.
    ReleaseCard,
    /// Reconcile the day without the statement that is missing.
    GoOnWithout,
}

/// A proposal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewProposal {
    /// What to do.
    pub action: ActionKind,
    /// The card, where the difference does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<HexBytes>,
    /// Why.
    #[serde(deserialize_with = "crate::text::line")]
    pub note: String,
}

/// A difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DifferenceRecord {
    /// Its identity.
    pub difference: Uuid,
    /// The day whose reconciliation found it.
    pub day: String,
    /// The cause, a stable word.
    pub cause: String,
    /// The cause in English.
    pub cause_en: String,
    /// The cause in Chinese.
    pub cause_zh: String,
    /// What is proposed, in English.
    pub proposal_en: String,
    /// What is proposed, in Chinese.
    pub proposal_zh: String,
    /// The order or purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Uuid>,
    /// The card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<HexBytes>,
    /// What the books say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours_fen: Option<u64>,
    /// What the other side says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs_fen: Option<u64>,
    /// What else is known.
    pub text: String,
    /// Where it stands: `waiting`, `open`, `proposed`, `resolved`, `explained`.
    pub state: String,
    /// What was proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionKind>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Who proposed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<ClerkRecord>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<ClerkRecord>,
}

/// A page of differences.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Differences {
    /// The differences, in order of day.
    pub differences: Vec<DifferenceRecord>,
}
