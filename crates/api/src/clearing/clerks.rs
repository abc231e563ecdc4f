//! The people of institutions at the centre: they log in over their institution's own signed connection, so that
//! the two persons of four eyes are two people who each knew a password, and not two names.
//!
//! A session is shown as the bearer of a request that the institution signs; it counts for that institution only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
/// Adds a person.
pub const ADD_CLERK: Endpoint<NewClerk, ClerkLine> = Endpoint::post(
    "/peer/v1/clerks",
    Access::Peer,
    "Adds a person of the institution, or assigns a new password and roles. For its administrators.",
);
/// The institution's people.
pub const CLERKS: Endpoint<Nothing, ClerkList> =
    Endpoint::get("/peer/v1/clerks", Access::Peer, "The institution's people. For its administrators.");

/// Every endpoint of this module.
pub fn endpoints() -> Vec<EndpointInfo> {
    vec![LOGIN.describe(), LOGOUT.describe(), PASSWORD.describe(), ADD_CLERK.describe(), CLERKS.describe()]
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

/// What a person may do at the centre.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClerkRole {
    /// Adds the institution's people.
    Administrator,
    /// Proposes.
    Proposer,
    /// Approves what another proposed.
    Approver,
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
}

/// An institution's people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClerkList {
    /// The people, by name.
    pub clerks: Vec<ClerkLine>,
}
