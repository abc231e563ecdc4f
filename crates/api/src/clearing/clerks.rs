//! The people of institutions at the centre: they log in over their institution's own signed connection, so that
//! the two persons of four eyes are two people who each knew a password, and not two names.
//!
//! A session is shown as the bearer of a request that the institution signs; it counts for that institution only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clearing::lists::Decision;
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Logs in.
pub const LOGIN: Endpoint<ClerkLogin, ClerkSession> = Endpoint::post(
    "/peer/v1/clerks/login",
    Access::Peer,
    "A person of the calling institution logs in; the session is the bearer of what the person then does.",
);
/// Logs out.
pub const LOGOUT: Endpoint<Nothing, Nothing> =
    Endpoint::post("/peer/v1/clerks/logout", Access::Peer, "Ends the person's session.");
/// Changes one's own password.
pub const PASSWORD: Endpoint<ClerkPassword, Nothing> = Endpoint::post(
    "/peer/v1/clerks/password",
    Access::Peer,
    "Changes the person's own password; one that was assigned must be changed before anything else.",
);
/// Who one is.
pub const WHOAMI: Endpoint<Nothing, ClerkSelf> =
    Endpoint::get("/peer/v1/clerks/self", Access::Peer, "Whose session it is, and what the person may do.");
/// Adds a person.
pub const ADD_CLERK: Endpoint<NewClerk, ClerkLine> = Endpoint::post(
    "/peer/v1/clerks",
    Access::Peer,
    "Proposes to add a person of the institution, or to assign a new password and roles. For its administrators.",
);
/// Another administrator decides.
pub const DECIDE_CLERK: Endpoint<ClerkDecision, ClerkLine> = Endpoint::post(
    "/peer/v1/clerks/{person}/decision",
    Access::Peer,
    "Approves or refuses what another administrator proposed about a person's account.",
);
/// The institution's people.
pub const CLERKS: Endpoint<Nothing, ClerkList> =
    Endpoint::get("/peer/v1/clerks", Access::Peer, "The institution's people. For its administrators.");

/// All of them, for whoever speaks of a desk without saying which.
pub const ENDPOINTS: ClerkEndpoints = ClerkEndpoints {
    login: LOGIN,
    logout: LOGOUT,
    password: PASSWORD,
    whoami: WHOAMI,
    add: ADD_CLERK,
    decide: DECIDE_CLERK,
    list: CLERKS,
};

/// Every endpoint of this module.
pub fn endpoints() -> Vec<EndpointInfo> {
    ENDPOINTS.describe()
}

/// The endpoints of the people at a desk: those of the centre, and of the card issuer.
pub struct ClerkEndpoints {
    /// Logs in.
    pub login: Endpoint<ClerkLogin, ClerkSession>,
    /// Logs out.
    pub logout: Endpoint<Nothing, Nothing>,
    /// Changes one's own password.
    pub password: Endpoint<ClerkPassword, Nothing>,
    /// Who one is.
    pub whoami: Endpoint<Nothing, ClerkSelf>,
    /// Proposes to add a person.
    pub add: Endpoint<NewClerk, ClerkLine>,
    /// Another administrator decides.
    pub decide: Endpoint<ClerkDecision, ClerkLine>,
    /// The desk's people.
    pub list: Endpoint<Nothing, ClerkList>,
}

impl ClerkEndpoints {
    /// Each of them as the documents show it.
    pub fn describe(&self) -> Vec<EndpointInfo> {
        let Self { login, logout, password, whoami, add, decide, list } = self;
        vec![
            login.describe(),
            logout.describe(),
            password.describe(),
            whoami.describe(),
            add.describe(),
            decide.describe(),
            list.describe(),
        ]
    }
}

/// A login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClerkLogin {
    /// The person.
    pub person: String,
    /// The password.
    pub password: String,
}

/// The password stays out of every log.
impl std::fmt::Debug for ClerkLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkLogin").field("person", &self.person).finish_non_exhaustive()
    }
}

/// A session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClerkSession {
    /// What is shown as the bearer.
    pub session: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// What the person may do.
    pub roles: Vec<ClerkRole>,
    /// Whether the password was assigned and must be changed first.
    pub password_change_required: bool,
}

/// The session stays out of every log.
impl std::fmt::Debug for ClerkSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkSession")
            .field("expires_at", &self.expires_at)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// What a person may do. At the centre people propose and approve; at the card issuer's desk they are in a hall or at
/// customer service. Both have administrators.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClerkRole {
    /// Adds the institution's people.
    Administrator,
    /// Proposes.
    Proposer,
    /// Approves what another proposed.
    Approver,
    /// At the card issuer: has riders and their cards before him, in a hall.
    Hall,
    /// At the card issuer: looks after riders who are not here.
    CustomerService,
}

/// Whose session it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkSelf {
    /// The person's institution.
    pub institution: String,
    /// The person.
    pub person: String,
    /// What the person may do.
    pub roles: Vec<ClerkRole>,
    /// Until when the session lasts.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A change of one's own password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClerkPassword {
    /// The present one.
    pub old: String,
    /// The new one.
    pub new: String,
}

/// The passwords stay out of every log.
impl std::fmt::Debug for ClerkPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClerkPassword").finish_non_exhaustive()
    }
}

/// A person to add.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewClerk {
    /// The person.
    pub person: String,
    /// What the person may do.
    pub roles: Vec<ClerkRole>,
    /// The first password, which the first login must change.
    pub first_password: String,
}

/// The first password stays out of every log.
impl std::fmt::Debug for NewClerk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewClerk")
            .field("person", &self.person)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// A decision about an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkDecision {
    /// The decision.
    pub decision: Decision,
}

/// A person.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkLine {
    /// The person.
    pub person: String,
    /// What the person may do.
    pub roles: Vec<ClerkRole>,
    /// Until when too many wrong passwords closed the account; a newly assigned password opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_until: Option<Timestamp>,
    /// Who proposes a new password and roles, until another administrator decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed_by: Option<String>,
    /// The proposed roles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed_roles: Vec<ClerkRole>,
}

/// An institution's people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkList {
    /// The people, by name.
    pub clerks: Vec<ClerkLine>,
}
