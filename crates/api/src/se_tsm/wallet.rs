//! SE-TSM, as the wallet sees it: registration, login, catalogue, conversations.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::conversation::{ApplicationState, ConversationReply, IfBusy, StartOptions, TurnRequest};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};
use crate::ids::{RequestId, TaskId};
use crate::{HexBytes, Problem};

/// The utilisation protocol that must be accepted before registration.
pub const AGREEMENT: Endpoint<Nothing, Agreement> =
    Endpoint::get("/wallet/v1/agreement", Access::Public, "The utilisation protocol in its current version.");
/// Starts a registration; the token and the number are written to the card in its conversation.
pub const REGISTER: Endpoint<RegistrationRequest, ConversationReply> =
    Endpoint::post("/wallet/v1/registrations", Access::Public, "Registers a secure element.");
/// Certifies the wallet and tells it all it needs for its first interface. One request.
pub const LOGIN: Endpoint<LoginRequest, LoginReply> =
    Endpoint::post("/wallet/v1/login", Access::Public, "Certifies a registered secure element by its token.");
/// Ends the session.
pub const LOGOUT: Endpoint<Nothing, Nothing> =
    Endpoint::post("/wallet/v1/logout", Access::Wallet, "Ends the session.");
/// The catalogue.
pub const APPLICATIONS: Endpoint<CatalogueQuery, CataloguePage> = Endpoint::get(
    "/wallet/v1/applications",
    Access::Wallet,
    "One page of a list of the catalogue, with tickets.",
);
/// One application in detail.
pub const APPLICATION: Endpoint<Nothing, ApplicationDetails> =
    Endpoint::get("/wallet/v1/applications/{aid}", Access::Wallet, "Everything about one application.");
/// The four lists of operations possible now.
pub const LISTS: Endpoint<Nothing, OperationLists> = Endpoint::get(
    "/wallet/v1/lists",
    Access::Wallet,
    "What can be downloaded, deleted, locked and unlocked on this secure element.",
);
/// The record of this secure element.
pub const ELEMENT: Endpoint<Nothing, ElementSummary> =
    Endpoint::get("/wallet/v1/element", Access::Wallet, "What the platform knows of this secure element.");
/// Starts an operation.
pub const START: Endpoint<StartRequest, ConversationReply> =
    Endpoint::post("/wallet/v1/conversations", Access::Wallet, "Starts an operation on the secure element.");
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
/// Running and waiting operations of this secure element.
pub const TASKS: Endpoint<Nothing, TaskList> =
    Endpoint::get("/wallet/v1/tasks", Access::Wallet, "The running operation and those waiting behind it.");

/// Every endpoint for the wallet.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![
        AGREEMENT.describe(),
        REGISTER.describe(),
        LOGIN.describe(),
        LOGOUT.describe(),
        APPLICATIONS.describe(),
        APPLICATION.describe(),
        LISTS.describe(),
        ELEMENT.describe(),
        START.describe(),
        TURN.describe(),
        CANCEL.describe(),
        TASKS.describe(),
    ]
}

/// The utilisation protocol.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Agreement {
    /// Its version.
    pub version: String,
    /// Its text in English.
    pub text_en: String,
    /// Its text in Chinese.
    pub text_zh: String,
}

/// A registration (W-6.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegistrationRequest {
    /// Chosen by the wallet: the same number gets the same conversation.
    pub request: RequestId,
    /// The version of the utilisation protocol that was accepted.
    pub agreement_version: String,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    /// The SE-ID, read from the card by the wallet.
    pub se_id: HexBytes,
    /// The mobile number, when the phone or its bearer knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// A digest of the IMSI, when there is a subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imsi_digest: Option<HexBytes>,
}

/// A login (W-6.2.a).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginRequest {
    /// The SE-ID, read from the card.
    pub se_id: HexBytes,
    /// The token that registration gave.
    pub token: HexBytes,
    /// The mobile number in the phone now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
}

/// The token stays out of every log.
impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").field("se_id", &self.se_id).finish_non_exhaustive()
    }
}

/// The answer to a login.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginReply {
    /// The bearer of the session.
    pub session: String,
    /// The SE-TSM's signed word about this session, which is the bearer at SP-TSMs; absent when the
    /// session may only query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// What the session may do.
    pub rights: SessionRights,
    /// What the person should be told first.
    pub prompts: Vec<Problem>,
    /// The applications on the card.
    pub installed: Vec<InstalledApplication>,
    /// Applications that will be deleted now, because they were unsubscribed.
    pub pending_deletions: Vec<HexBytes>,
    /// What must be done on the card before anything else: locks of a lost card, a new token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Box<ConversationReply>>,
    /// What this phone has to do for migrations that were ordered elsewhere, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<super::migrations::DueMigration>,
}

/// What a session may do (S.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionRights {
    /// Everything.
    Full,
    /// Queries only: the element is bound to another number that is in the network.
    QueryOnly,
    /// Nothing but the locks that the server sends.
    LockOnly,
}

/// An application on the card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct InstalledApplication {
    /// Its AID.
    pub aid: HexBytes,
    /// Its name.
    pub name: String,
    /// Its version on the card.
    pub version: String,
    /// Its state.
    pub state: ApplicationState,
    /// Whether a newer version can be had.
    pub update: UpdateMark,
    /// The companion application on the handset, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub companion: Option<Companion>,
}

/// Whether there is a newer version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpdateMark {
    /// This is the newest.
    Current,
    /// A newer one is published.
    Updatable,
}

/// The companion application on the handset.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Companion {
    /// Its package name.
    pub package: String,
    /// Where it is fetched.
    pub url: String,
}

/// A list of the catalogue (W-6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogueList {
    /// What the platform recommends, in the operator's order.
    #[default]
    Recommendation,
    /// All, newest release first.
    Latest,
    /// All, most downloads first.
    Hottest,
    /// Those of one class.
    Classification,
}

/// What of the catalogue is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CatalogueQuery {
    /// The list.
    #[serde(default)]
    pub list: CatalogueList,
    /// The class, for the classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The page, from 0.
    #[serde(default)]
    pub page: u32,
}

/// One page of the catalogue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CataloguePage {
    /// The entries.
    pub entries: Vec<CatalogueEntry>,
    /// The page, from 0.
    pub page: u32,
    /// How many pages there are.
    pub pages: u32,
}

/// The five basics of an entry (W-6.4.1.g), with what a download needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct CatalogueEntry {
    /// The application.
    pub aid: HexBytes,
    /// Its name.
    pub name: String,
    /// Its icon, as a data URL of an SVG, or empty.
    pub icon: String,
    /// How liked it is, 0 to 100.
    pub popularity: u8,
    /// What it costs, in words.
    pub charging: String,
    /// Whether it can be installed on this secure element.
    pub condition: InstallationCondition,
    /// What a download must show (B-8.5.2.a); absent when it cannot be installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// Whether an application can be installed on this secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "condition", rename_all = "snake_case")]
pub enum InstallationCondition {
    /// Not installed, and can be.
    NotInstalled,
    /// A download was interrupted and will be continued.
    Interrupted {
        /// How far it came.
        state: ApplicationState,
    },
    /// Installed in the newest version.
    Installed,
    /// Installed, and a newer version can be had.
    Updatable,
    /// Cannot be installed.
    NotEligible {
        /// Why.
        problem: Problem,
    },
}

/// An application in detail (W-6.4.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApplicationDetails {
    /// The basics.
    #[serde(flatten)]
    pub entry: CatalogueEntry,
    /// Its version.
    pub version: String,
    /// What it does.
    pub introduction: String,
    /// Its size on the card, in bytes.
    pub size_bytes: u32,
    /// When it was released.
    #[schema(value_type = String, format = DateTime)]
    pub released_at: Timestamp,
    /// Who provides it.
    pub provider: String,
    /// How often it was downloaded.
    pub downloads: u64,
    /// Its class.
    pub class: String,
    /// The companion application, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub companion: Option<Companion>,
}

/// An application in a list of operations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedApplication {
    /// The application.
    pub aid: HexBytes,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ApplicationState,
    /// What the operation must show.
    pub ticket: String,
}

/// The four lists of S.2.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OperationLists {
    /// What can be downloaded.
    pub download: Vec<ListedApplication>,
    /// What can be deleted.
    pub delete: Vec<ListedApplication>,
    /// What can be locked.
    pub lock: Vec<ListedApplication>,
    /// What can be unlocked.
    pub unlock: Vec<ListedApplication>,
}

/// The wallet's view of its own secure element.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ElementSummary {
    /// The SE-ID.
    pub se_id: HexBytes,
    /// The bound number, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msisdn: Option<String>,
    /// Free space as last observed, in bytes.
    pub free_bytes: u32,
    /// The applications on it.
    pub installed: Vec<InstalledApplication>,
}

/// An operation of the SE-TSM on a secure element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Registration.
    Register,
    /// Creates what is missing, loads, installs and hands over for personalisation.
    Download,
    /// Deletes an application.
    Delete,
    /// Locks an application.
    Lock,
    /// Unlocks an application.
    Unlock,
    /// Compares the records with the card.
    Synchronise,
    /// Writes a new token.
    RenewToken,
    /// Deletes an empty security domain.
    DeleteDomain,
}

/// Starts an operation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StartRequest {
    /// How it starts.
    #[serde(flatten)]
    pub options: StartOptions,
    /// What to do.
    pub operation: Operation,
    /// On which application. With a synchronisation: the one whose provider waits to hear that it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<HexBytes>,
    /// The ticket of the list it was chosen from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The order at the SP-TSM that the download belongs to, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

impl StartRequest {
    /// An operation on an application.
    pub fn on(operation: Operation, aid: HexBytes, ticket: String, request: RequestId) -> Self {
        Self {
            options: StartOptions { request, if_busy: IfBusy::Ask },
            operation,
            aid: Some(aid),
            ticket: Some(ticket),
            order: None,
        }
    }
}

/// Running and waiting operations.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// First the running one, then those that wait, in order.
    pub tasks: Vec<TaskSummary>,
}

/// A task, for a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// The task.
    pub task: TaskId,
    /// What it does.
    pub operation: String,
    /// On which application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aid: Option<HexBytes>,
    /// How it stands, in a word.
    pub state: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How it ended, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}
