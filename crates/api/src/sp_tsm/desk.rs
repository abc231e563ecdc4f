//! SP-TSM, as the issuer's own halls and customer service see it: what people decide about a card.
//!
//! The desk's system shows a certificate of its own and signs; that says which desk it is and nothing about a person.
//! Each person logs in ([`super::clerks`]), shows the session with every request, and stands in the card's journal
//! under the name that the session has. No request names anybody.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HexBytes;
use crate::conversation::ConversationReply;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{OperationId, RequestId};
use crate::sp_tsm::migration::MigrationRecord;

/// Proposes a payout.
pub const PROPOSE_PAYOUT: Endpoint<CardMatter, PayoutRecord> = Endpoint::post(
    "/desk/v1/payouts",
    Access::Peer,
    "Proposes to pay out in cash what no payment takes back of a returned card; repeating it gives the same payout.",
);
/// Approves a payout.
pub const APPROVE_PAYOUT: Endpoint<Nothing, PayoutRecord> = Endpoint::post(
    "/desk/v1/payouts/{payout}/approval",
    Access::Peer,
    "Approves a payout that another person proposed; it is booked at the centre, once.",
);
/// Rejects a payout.
pub const REJECT_PAYOUT: Endpoint<Nothing, PayoutRecord> = Endpoint::post(
    "/desk/v1/payouts/{payout}/rejection",
    Access::Peer,
    "Rejects a proposed payout; nothing is paid.",
);
/// A payout.
pub const PAYOUT: Endpoint<Nothing, PayoutRecord> = Endpoint::get(
    "/desk/v1/payouts/{payout}",
    Access::Peer,
    "A payout, and whether the centre has booked it.",
);
/// A card is lost.
pub const REPORT_LOST: Endpoint<CardMatter, DeskRecord> = Endpoint::post(
    "/desk/v1/lost-cards",
    Access::Peer,
    "Records that a card is lost: it is put on the black list, and only a hall lets it be unlocked.",
);
/// A card may be unlocked.
pub const ALLOW_UNLOCK: Endpoint<CardMatter, DeskRecord> = Endpoint::post(
    "/desk/v1/unlocks",
    Access::Peer,
    "A hall allows a card to be unlocked once, within the hour; a lost card is found by it and leaves the list.",
);
/// Releases a dead claim.
pub const RELEASE_CLAIM: Endpoint<CardMatter, MigrationRecord> = Endpoint::post(
    "/desk/v1/claims/release",
    Access::Peer,
    "Gives back a parked card that a phone claimed and never got; one that may be on the phone is frozen instead.",
);
/// Proposes that a card is returned whose claim may be live.
pub const PROPOSE_CLAIM_RETURN: Endpoint<CardMatter, DeskRecord> = Endpoint::post(
    "/desk/v1/claims/returns",
    Access::Peer,
    "Proposes to give back the balance of a parked card whose data were sent to a phone that is gone: the card \
     is on the black list of every terminal, and nothing was spent of it since it was parked.",
);
/// Approves it.
pub const APPROVE_CLAIM_RETURN: Endpoint<Nothing, DeskRecord> = Endpoint::post(
    "/desk/v1/claims/returns/{case}/approval",
    Access::Peer,
    "Approves it, as another person; the centre is asked for its evidence once more.",
);
/// Rejects it.
pub const REJECT_CLAIM_RETURN: Endpoint<Nothing, DeskRecord> =
    Endpoint::post("/desk/v1/claims/returns/{case}/rejection", Access::Peer, "Rejects it; nothing moves.");
/// A card lies on the hall's own reader.
pub const HALL_SESSION: Endpoint<HallSession, ConversationReply> = Endpoint::post(
    "/desk/v1/sessions",
    Access::Peer,
    "Begins a conversation with a card on the hall's own reader; its turns are a wallet's.",
);
/// What was decided about a card.
pub const CASES: Endpoint<CasesQuery, DeskRecords> =
    Endpoint::get("/desk/v1/cases", Access::Peer, "What the desk decided about a card, newest first.");
/// The rider reports a card of his as lost.
pub const REPORT_OWN_LOST: Endpoint<LostCard, DeskRecord> = Endpoint::post(
    "/wallet/v1/lost-cards",
    Access::Wallet,
    "The rider reports a card of his number as lost, from this phone or another one of his.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        PROPOSE_PAYOUT.describe(),
        APPROVE_PAYOUT.describe(),
        REJECT_PAYOUT.describe(),
        PAYOUT.describe(),
        REPORT_LOST.describe(),
        ALLOW_UNLOCK.describe(),
        RELEASE_CLAIM.describe(),
        PROPOSE_CLAIM_RETURN.describe(),
        APPROVE_CLAIM_RETURN.describe(),
        REJECT_CLAIM_RETURN.describe(),
        HALL_SESSION.describe(),
        CASES.describe(),
        REPORT_OWN_LOST.describe(),
    ]
}

/// A person decides something about a card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CardMatter {
    /// Chosen by the desk: the same number gets the same case.
    pub request: RequestId,
    /// The card.
    pub card: HexBytes,
    /// Why.
    #[serde(deserialize_with = "crate::text::line")]
    pub reason: String,
}

/// What is done with a card in a hall.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HallWork {
    /// It is unlocked; a lost card is found by it.
    Unlock,
    /// It is returned; one that cannot prove its content is unlocked first, if need be.
    Return,
    /// It is parked to migrate, whether or not it can prove its content.
    MigrateOut,
}

/// A card lies on the hall's reader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct HallSession {
    /// Who does it to which card, and why.
    pub matter: CardMatter,
    /// What.
    pub work: HallWork,
}

/// A card that its rider lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LostCard {
    /// Chosen by the wallet: the same number gets the same report.
    pub request: RequestId,
    /// The application.
    pub aid: HexBytes,
    /// Which card, masked as it is shown; the only one, when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_number: Option<String>,
}

/// Which card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CasesQuery {
    /// The card.
    pub card: HexBytes,
}

/// How a payout stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// It waits for a second person.
    Proposed,
    /// Approved: pay it out. The centre learns of it as soon as it can be reached.
    Approved,
    /// The centre has booked it.
    Booked,
    /// Rejected: nothing is paid.
    Rejected,
}

/// A payout.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PayoutRecord {
    /// The payout; its number on the receipt too.
    pub payout: OperationId,
    /// The card number, masked.
    pub card_number: String,
    /// How much is paid out.
    pub amount_fen: u32,
    /// How it stands.
    pub state: PayoutState,
    /// Who proposed it.
    pub proposed_by: String,
    /// Who decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

/// What a case is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeskMatterKind {
    /// Cash is paid out.
    Payout,
    /// The card is lost.
    Lost,
    /// The card may be unlocked.
    Unlock,
    /// A card is returned whose claim may be live.
    ClaimReturned,
}

/// How a case stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeskState {
    /// It waits; the card is lost; the permission was not used.
    Open,
    /// Carried out; found; used.
    Done,
    /// Nothing came of it.
    Refused,
}

/// A case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeskRecord {
    /// Its number.
    pub case: OperationId,
    /// The card number, masked.
    pub card_number: String,
    /// What it is about.
    pub matter: DeskMatterKind,
    /// Who opened it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// How it stands.
    pub state: DeskState,
    /// Until when a permission counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Cases.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DeskRecords {
    /// The cases.
    pub cases: Vec<DeskRecord>,
}
