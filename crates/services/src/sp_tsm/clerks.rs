//! The people of the issuer's desk: their endpoints, and the person whom a request names by a session.

use std::sync::Arc;

use tsm_api::clearing::clerks::{
    ClerkDecision, ClerkLine, ClerkList, ClerkLogin, ClerkPassword, ClerkSelf, ClerkSession, NewClerk,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::{InstitutionId, OperatorId};
use tsm_storage::SpTsmStore;
use tsm_storage::clerks::ClerkRole;

use super::SpTsm;
use super::access::Caller;
use crate::server::Call;
use crate::staff::clerks::{ClerkDesk, FirstClerk, Person, nobody};

/// What people may do at this desk.
const ROLES: &[ClerkRole] = &[ClerkRole::Administrator, ClerkRole::Hall, ClerkRole::CustomerService];
/// How those who are no people stand in a card's journal. No person has such a name.
const NOT_PEOPLE: [&str; 3] = [RIDER, SE_TSM, WALLET];
/// A rider, on his phone.
pub(super) const RIDER: &str = "rider";
/// The SE-TSM.
pub(super) const SE_TSM: &str = "se-tsm";
/// A phone.
pub(super) const WALLET: &str = "wallet";

impl SpTsm {
    /// Gives the desk its first administrator; changes nothing where the person has an account.
    pub async fn install_clerk(&self, first: &FirstClerk) -> Result<(), Problem> {
        self.clerks().install(first).await
    }

    pub(super) fn clerks(&self) -> ClerkDesk<'_, dyn SpTsmStore> {
        ClerkDesk { store: &*self.store, environment: &self.environment, roles: ROLES }
    }

    /// The person who acts, who must have one of these roles, by the name within the issuer.
    pub(super) fn clerk(&self, caller: &Caller, roles: &[ClerkRole]) -> Result<OperatorId, Problem> {
        Ok(self.someone(caller)?.clerk_of(roles)?.person)
    }

    /// Nobody but a person who is logged in at the desk.
    pub(super) fn someone<'a>(&self, caller: &'a Caller) -> Result<&'a Person, Problem> {
        match caller {
            Caller::Desk(person) => person.as_ref().ok_or_else(nobody),
            Caller::Anyone
            | Caller::Wallet(_)
            | Caller::SeTsm
            | Caller::Payment(_)
            | Caller::TopUpTerminals(_)
            | Caller::OwnTools
            | Caller::Sibling => Err(ProblemCode::NotAllowed.into()),
        }
    }

    /// The desk as an institution, for whoever calls from it.
    fn desk_of(&self, caller: &Caller) -> Result<InstitutionId, Problem> {
        match (caller, self.desk.get()) {
            (Caller::Desk(_), Some(peer)) => {
                peer.institution.parse().map_err(|_| ProblemCode::Internal.into())
            }
            _ => Err(ProblemCode::NotAllowed.into()),
        }
    }
}

/// Opens a session.
pub(super) async fn login(tsm: Arc<SpTsm>, call: Call<Caller, ClerkLogin>) -> Result<ClerkSession, Problem> {
    tsm.clerks().log_in(&tsm.desk_of(&call.caller)?, &call.request).await
}

/// Ends the person's session.
pub(super) async fn logout(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    tsm.clerks().log_out(tsm.someone(&call.caller)?).await.map(|()| Nothing {})
}

/// Changes the person's own password.
pub(super) async fn password(tsm: Arc<SpTsm>, call: Call<Caller, ClerkPassword>) -> Result<Nothing, Problem> {
    tsm.clerks().change_password(tsm.someone(&call.caller)?, &call.request).await.map(|()| Nothing {})
}

/// Whose session it is.
pub(super) async fn whoami(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<ClerkSelf, Problem> {
    Ok(tsm.someone(&call.caller)?.record())
}

/// Adds a person of the desk, or assigns a new password.
pub(super) async fn add_clerk(tsm: Arc<SpTsm>, call: Call<Caller, NewClerk>) -> Result<ClerkLine, Problem> {
    let by = tsm.someone(&call.caller)?;
    if NOT_PEOPLE.contains(&call.request.person.as_str()) {
        return Err(Problem::because(
            ProblemCode::ValueRefused,
            both("This is no name of a person.", "人员名称无效。"),
        ));
    }
    tsm.clerks().add(by, &call.request).await
}

/// Another administrator decides about a proposed account.
pub(super) async fn decide_clerk(
    tsm: Arc<SpTsm>,
    call: Call<Caller, ClerkDecision>,
) -> Result<ClerkLine, Problem> {
    let by = tsm.someone(&call.caller)?;
    let person: String = call.parameter()?;
    tsm.clerks().decide(by, &person, call.request.decision).await
}

/// The desk's people.
pub(super) async fn clerks(tsm: Arc<SpTsm>, call: Call<Caller, Nothing>) -> Result<ClerkList, Problem> {
    let clerks = tsm.clerks().list(tsm.someone(&call.caller)?).await?;
    Ok(ClerkList { clerks })
}
