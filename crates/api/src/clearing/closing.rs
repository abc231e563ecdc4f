//! Closing a card at the centre (B-7.5.1.b, B-7.6.1.c, B-7.6.1.f): the intention to close it, its parked data,
//! what is owed to the rider, and who may bring it to another secure element.
//!
//! Every request names the operation that it belongs to, and repeating it changes nothing. At most one copy
//! of a card can spend: a card is parked only after it was blocked and read, and one secure element alone can
//! claim it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AccountState;
use crate::HexBytes;
use crate::conversation::RefundStanding;
use crate::endpoint::{Access, Endpoint, EndpointInfo};
use crate::ids::OperationId;

/// Begins a closing.
pub const BEGIN_CLOSING: Endpoint<BeginClosing, ClosingRecord> = Endpoint::post(
    "/peer/v1/closings",
    Access::Peer,
    "Says that a card is about to be blocked for a return or a migration.",
);
/// Undoes a closing.
pub const UNDO_CLOSING: Endpoint<UndoClosing, ClosingRecord> = Endpoint::post(
    "/peer/v1/closings/undo",
    Access::Peer,
    "Puts a card back to use whose closing was begun and which proved that it is not blocked.",
);
/// Parks a card.
pub const PARK: Endpoint<ParkedCard, ClosingRecord> = Endpoint::post(
    "/peer/v1/parked-cards",
    Access::Peer,
    "Parks a card that was blocked and read: its balance leaves the purse, its data are kept sealed.",
);
/// Orders a refund.
pub const ORDER_REFUND: Endpoint<RefundRequest, ClosingRecord> = Endpoint::post(
    "/peer/v1/parked-cards/refund",
    Access::Peer,
    "Orders the refund of a parked card; from then on no secure element can claim it.",
);
/// Reports a payment of a refund.
pub const REFUND_PAID: Endpoint<RefundPayment, ClosingRecord> = Endpoint::post(
    "/peer/v1/parked-cards/refund/payments",
    Access::Peer,
    "Reports that a part of a refund, or all of it, went back to the rider.",
);
/// Claims a parked card.
pub const CLAIM_PARKED: Endpoint<ClaimParked, ClaimedCard> = Endpoint::post(
    "/peer/v1/parked-cards/claims",
    Access::Peer,
    "Claims a parked card for a secure element and reads its data; a second secure element is refused.",
);
/// Releases a claim.
pub const RELEASE_CLAIM: Endpoint<ReleaseClaim, ClosingRecord> = Endpoint::post(
    "/peer/v1/parked-cards/claims/release",
    Access::Peer,
    "Gives a claimed card back, because it was never written to the secure element.",
);
/// Reads the newest closing of a card.
pub const CLOSING: Endpoint<ClosingQuery, ClosingRecord> =
    Endpoint::get("/peer/v1/closings", Access::Peer, "The newest closing of a card, or a named one.");

/// What stands against a copy of a parked card on a phone that is gone.
pub const CLAIM_EVIDENCE: Endpoint<ClaimQuery, ClaimEvidence> = Endpoint::get(
    "/peer/v1/parked-cards/claims/evidence",
    Access::Peer,
    "Whether terminals refuse a claimed card, and whether anything was spent of it since it was parked.",
);

/// Every endpoint of this file.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        BEGIN_CLOSING.describe(),
        UNDO_CLOSING.describe(),
        PARK.describe(),
        ORDER_REFUND.describe(),
        REFUND_PAID.describe(),
        CLAIM_PARKED.describe(),
        RELEASE_CLAIM.describe(),
        CLAIM_EVIDENCE.describe(),
        CLOSING.describe(),
    ]
}

/// Why a card is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosingPurpose {
    /// The rider returns it for a refund.
    Return,
    /// It moves to another secure element.
    Migration,
}

/// How far a closing has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosingStage {
    /// Begun: whether the card is blocked is not proven.
    Begun,
    /// Undone: the card is in use.
    Undone,
    /// The blocked card was read; its value and data are at the centre.
    Parked,
    /// One secure element has claimed it.
    Claimed,
    /// It is in use on the secure element that claimed it.
    Arrived,
    /// Its balance is owed to the rider.
    RefundOrdered,
    /// Its balance was given back.
    Refunded,
}

/// A closing that is about to begin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct BeginClosing {
    /// The card.
    pub card: HexBytes,
    /// The secure element that carries it.
    pub se_id: HexBytes,
    /// Why.
    pub purpose: ClosingPurpose,
    /// The closing's number.
    pub operation: OperationId,
}

/// What the card proved before a closing is undone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum UndoEvidence {
    /// The card was never asked to block itself.
    NeverSent,
    /// An online transaction was begun, which a blocked card refuses; MAC1 proved it.
    NotBlocked {
        /// The balance under MAC1.
        balance_fen: u32,
        /// The online counter under MAC1.
        online_counter: u16,
    },
}

/// A closing that is undone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UndoClosing {
    /// The card.
    pub card: HexBytes,
    /// The closing.
    pub operation: OperationId,
    /// Why it is safe.
    pub evidence: UndoEvidence,
}

/// How the card proved what it held when it could no longer spend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ParkingProof {
    /// It was blocked, then read, and every answer carried the card's MAC.
    Read,
    /// It has no such MAC: its whole balance was debited online, and MAC3 proved it.
    Unloaded {
        /// The terminal number of the debit.
        terminal: HexBytes,
        /// The date of the debit, as on the card.
        date: HexBytes,
        /// The time of the debit, as on the card.
        time: HexBytes,
    },
}

/// A card that was blocked and read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParkedCard {
    /// The card.
    pub card: HexBytes,
    /// The secure element that carried it.
    pub se_id: HexBytes,
    /// Why.
    pub purpose: ClosingPurpose,
    /// The closing.
    pub operation: OperationId,
    /// The balance that the card proved; for a debit, what was debited.
    pub balance_fen: u32,
    /// The online counter that the card proved.
    pub online_counter: u16,
    /// The offline counter that the card proved; none when only a debit could be proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_counter: Option<u16>,
    /// How it proved them.
    pub proof: ParkingProof,
    /// All data of the card, needed for a migration; kept sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<HexBytes>,
}

/// A refund that is ordered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefundRequest {
    /// The card.
    pub card: HexBytes,
    /// The refund's number: the closing's own, or a later one for a card that was parked to migrate.
    pub operation: OperationId,
}

/// By which way money goes back to the rider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum RefundWay {
    /// To the payment of one of the card's orders.
    Payment {
        /// The payment.
        payment: crate::ids::PaymentId,
    },
    /// In cash at a hall.
    Hall {
        /// Who paid it out.
        clerk: String,
    },
}

/// A part of a refund that went back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefundPayment {
    /// The card.
    pub card: HexBytes,
    /// The refund, as it was ordered.
    pub operation: OperationId,
    /// This payment's own number; it is booked once.
    pub refund: OperationId,
    /// How much.
    pub amount_fen: u32,
    /// Which way.
    pub way: RefundWay,
}

/// A claim of a parked card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimParked {
    /// The card.
    pub card: HexBytes,
    /// The secure element that it goes to.
    pub se_id: HexBytes,
    /// The claim's number.
    pub operation: OperationId,
}

/// A parked card and all its data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimedCard {
    /// The card.
    pub card: HexBytes,
    /// The closing that parked it.
    pub closing: OperationId,
    /// Its balance.
    pub balance_fen: u32,
    /// Its online counter.
    pub online_counter: u16,
    /// Its offline counter.
    pub offline_counter: u16,
    /// Its data, as they were parked.
    pub image: HexBytes,
}

/// A claim that is given up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReleaseClaim {
    /// The card.
    pub card: HexBytes,
    /// The secure element that had claimed it, and does not hold it.
    pub se_id: HexBytes,
    /// The claim.
    pub operation: OperationId,
}

/// Which closing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClosingQuery {
    /// The card.
    pub card: HexBytes,
    /// The closing; the newest when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
}

/// A closing as the centre keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClosingRecord {
    /// The card.
    pub card: HexBytes,
    /// The closing.
    pub operation: OperationId,
    /// Why.
    pub purpose: ClosingPurpose,
    /// How far it has come.
    pub stage: ClosingStage,
    /// How the card's account stands.
    pub state: AccountState,
    /// What the card proved, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_fen: Option<u32>,
    /// What of it was given back.
    pub refunded_fen: u32,
    /// Whether anything of it moves on by itself.
    #[serde(default, skip_serializing_if = "RefundStanding::is_on_its_way")]
    pub standing: RefundStanding,
}

/// Which card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimQuery {
    /// The card.
    pub card: HexBytes,
}

/// What the centre knows of a card that is parked or claimed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimEvidence {
    /// How the card is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<super::lists::WireListKind>,
    /// Terminals that have told which list they use, and use one that does not have the card.
    pub terminals_behind: u32,
    /// The offline counter at which the card was parked.
    pub parked_counter: u16,
    /// The last offline counter that anybody reported of the card, believed or not.
    pub last_counter: u16,
}

impl ClaimEvidence {
    /// Whether a copy of the card, wherever it is, has spent nothing and can spend nothing.
    pub fn is_harmless(&self) -> bool {
        self.listed == Some(super::lists::WireListKind::Black)
            && self.terminals_behind == 0
            && self.last_counter <= self.parked_counter
    }
}
