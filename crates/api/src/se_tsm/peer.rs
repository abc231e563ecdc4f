//! SE-TSM, as an SP-TSM sees it: results, notices and state, over mutual TLS with signed messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::{ApplicationState, OutcomeResult};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::OperationId;
use crate::{HexBytes, Problem};

/// The result of an operation that was handed over.
pub const RESULT: Endpoint<OperationResult, StateReply> = Endpoint::post(
    "/peer/v1/results",
    Access::Peer,
    "Reports how an operation at the SP-TSM ended; repeating the report changes nothing.",
);
/// Open notice.
pub const OPEN_NOTICE: Endpoint<Notice, StateReply> =
    Endpoint::post("/peer/v1/open-notices", Access::Peer, "Opens a personalised application for use.");
/// Unsubscribe notice.
pub const UNSUBSCRIBE_NOTICE: Endpoint<Notice, StateReply> = Endpoint::post(
    "/peer/v1/unsubscribe-notices",
    Access::Peer,
    "Ends the subscription; the application may then be deleted.",
);
/// State of one application.
pub const STATE: Endpoint<StateQuery, StateReply> =
    Endpoint::post("/peer/v1/states", Access::Peer, "The state of one own application on a secure element.");
/// Connection test.
pub const PING: Endpoint<Nothing, PeerGreeting> =
    Endpoint::get("/peer/v1/self", Access::Peer, "Which institution the caller is.");

/// Every endpoint for SP-TSMs.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        RESULT.describe(),
        OPEN_NOTICE.describe(),
        UNSUBSCRIBE_NOTICE.describe(),
        STATE.describe(),
        PING.describe(),
    ]
}

/// Which institution the caller is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PeerGreeting {
    /// The institution number.
    pub institution: String,
    /// Its name.
    pub name: String,
}

/// How an operation ended at the SP-TSM (B-8.5.4, B-8.5.5).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct OperationResult {
    /// The operation.
    pub operation: OperationId,
    /// The secure element.
    pub se_id: HexBytes,
    /// The application.
    pub aid: HexBytes,
    /// What was done.
    pub kind: OperationKind,
    /// How it ended.
    pub result: OutcomeResult,
    /// Why, unless it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// What the card showed of the domain at the end, under R-MAC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<DomainObservation>,
    /// The secure element that the application has left for this one, when it migrated (P-5.5.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<HexBytes>,
    /// The report's place among all results and notices about this application on this secure element: the one with
    /// the higher number is the later, whichever arrives first. Without it they count as they arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// An operation that both TSMs take part in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Download.
    Download,
    /// Personalisation.
    Personalise,
    /// Deletion.
    Delete,
    /// Lock.
    Lock,
    /// Unlock.
    Unlock,
    /// Synchronisation.
    Synchronise,
}

/// What a domain holds on the card, as the card itself says under R-MAC.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct DomainObservation {
    /// Load files.
    pub load_files: Vec<HexBytes>,
    /// Applications with their life-cycle byte.
    pub applications: Vec<ObservedApplication>,
    /// Free space, in bytes, when the domain can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u32>,
}

/// An application as the card's registry shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ObservedApplication {
    /// Its AID.
    pub aid: HexBytes,
    /// Its life-cycle byte.
    pub life_cycle: u8,
}

/// A notice about one application on one secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// The notice's own number, so that repeating it changes nothing.
    pub operation: OperationId,
    /// The secure element.
    pub se_id: HexBytes,
    /// The application.
    pub aid: HexBytes,
    /// With the end of a subscription: what became of the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<CardEnd>,
    /// The notice's place among all results and notices about this application on this secure element, as in
    /// [`OperationResult::number`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// What became of a card that a phone is to delete.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CardEnd {
    /// It is parked, and another phone may fetch it.
    Parked,
    /// It was returned: nobody fetches it any more.
    Returned,
}

/// Which application on which secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateQuery {
    /// The secure element.
    pub se_id: HexBytes,
    /// The application.
    pub aid: HexBytes,
}

/// The state of an application on a secure element.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StateReply {
    /// The state.
    pub state: ApplicationState,
}
