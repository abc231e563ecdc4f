//! The people of the issuer's desk: each logs in over the desk's own signed connection, as people do at the centre.
//!
//! What a person then proposes, approves or decides carries the session as its bearer; no request names anybody.

use crate::clearing::clerks::{
    ClerkDecision, ClerkEndpoints, ClerkLine, ClerkList, ClerkLogin, ClerkPassword, ClerkSelf, ClerkSession,
    NewClerk,
};
use crate::endpoint::{Access, Endpoint, EndpointInfo, Nothing};

/// Logs in.
pub const LOGIN: Endpoint<ClerkLogin, ClerkSession> = Endpoint::post(
    "/desk/v1/clerks/login",
    Access::Peer,
    "A person of the issuer's desk logs in; the session is the bearer of what the person then does.",
);
/// Logs out.
pub const LOGOUT: Endpoint<Nothing, Nothing> =
    Endpoint::post("/desk/v1/clerks/logout", Access::Peer, "Ends the person's session.");
/// Changes one's own password.
pub const PASSWORD: Endpoint<ClerkPassword, Nothing> = Endpoint::post(
    "/desk/v1/clerks/password",
    Access::Peer,
    "Changes the person's own password; one that was assigned must be changed before anything else.",
);
/// Who one is.
pub const WHOAMI: Endpoint<Nothing, ClerkSelf> =
    Endpoint::get("/desk/v1/clerks/self", Access::Peer, "Whose session it is, and what the person may do.");
/// Adds a person.
pub const ADD_CLERK: Endpoint<NewClerk, ClerkLine> = Endpoint::post(
    "/desk/v1/clerks",
    Access::Peer,
    "Proposes to add a person of the desk, or to assign a new password and roles. For its administrators.",
);
/// Another administrator decides.
pub const DECIDE_CLERK: Endpoint<ClerkDecision, ClerkLine> = Endpoint::post(
    "/desk/v1/clerks/{person}/decision",
    Access::Peer,
    "Approves or refuses what another administrator proposed about a person's account.",
);
/// The desk's people.
pub const CLERKS: Endpoint<Nothing, ClerkList> =
    Endpoint::get("/desk/v1/clerks", Access::Peer, "The desk's people. For its administrators.");

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
