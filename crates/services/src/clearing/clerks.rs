//! The endpoints of the people at the centre, and the person whom a request names by a session.

use std::sync::Arc;

use tsm_api::clearing::clerks::{
    ClerkDecision, ClerkLine, ClerkList, ClerkLogin, ClerkPassword, ClerkSelf, ClerkSession, NewClerk,
};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::Problem;
use tsm_domain::OperatorId;
use tsm_domain::money::reconciliation::Clerk;
use tsm_storage::ClearingStore;
use tsm_storage::clerks::ClerkRole;

use super::Clearing;
use super::access::Institution;
use super::collection::institution_id;
use crate::server::Call;
use crate::staff::clerks::{ClerkDesk, FirstClerk, Person, holder_of, nobody};

/// What people may do at the centre.
const ROLES: &[ClerkRole] = &[ClerkRole::Administrator, ClerkRole::Proposer, ClerkRole::Approver];

impl Clearing {
    /// Gives an institution its first administrator; changes nothing where the person has an account.
    pub async fn install_clerk(&self, first: &FirstClerk) -> Result<(), Problem> {
        self.clerks().install(first).await
    }

    pub(super) fn clerks(&self) -> ClerkDesk<'_, dyn ClearingStore> {
        ClerkDesk { store: &*self.store, environment: &self.environment, roles: ROLES }
    }
}

impl Institution {
    /// The person who acts, who must have this role.
    pub(super) fn clerk(&self, role: ClerkRole) -> Result<Clerk, Problem> {
        self.someone()?.clerk(role)
    }

    /// The same, under the name that is unique among all institutions.
    pub(super) fn operator(&self, role: ClerkRole) -> Result<OperatorId, Problem> {
        holder_of(&self.clerk(role)?)
    }

    pub(super) fn someone(&self) -> Result<&Person, Problem> {
        self.1.as_ref().ok_or_else(nobody)
    }
}

/// Opens a session.
pub(super) async fn login(
    centre: Arc<Clearing>,
    call: Call<Institution, ClerkLogin>,
) -> Result<ClerkSession, Problem> {
    centre.clerks().log_in(&institution_id(&call.caller.0)?, &call.request).await
}

/// Ends the person's session.
pub(super) async fn logout(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<Nothing, Problem> {
    centre.clerks().log_out(call.caller.someone()?).await.map(|()| Nothing {})
}

/// Changes the person's own password.
pub(super) async fn password(
    centre: Arc<Clearing>,
    call: Call<Institution, ClerkPassword>,
) -> Result<Nothing, Problem> {
    centre.clerks().change_password(call.caller.someone()?, &call.request).await.map(|()| Nothing {})
}

/// Whose session it is.
pub(super) async fn whoami(_: Arc<Clearing>, call: Call<Institution, Nothing>) -> Result<ClerkSelf, Problem> {
    Ok(call.caller.someone()?.record())
}

/// Adds a person of the institution, or assigns a new password.
pub(super) async fn add_clerk(
    centre: Arc<Clearing>,
    call: Call<Institution, NewClerk>,
) -> Result<ClerkLine, Problem> {
    centre.clerks().add(call.caller.someone()?, &call.request).await
}

/// Another administrator decides about a proposed account.
pub(super) async fn decide_clerk(
    centre: Arc<Clearing>,
    call: Call<Institution, ClerkDecision>,
) -> Result<ClerkLine, Problem> {
    let by = call.caller.someone()?;
    let person: String = call.parameter()?;
    centre.clerks().decide(by, &person, call.request.decision).await
}

/// The institution's people.
pub(super) async fn clerks(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<ClerkList, Problem> {
    let clerks = centre.clerks().list(call.caller.someone()?).await?;
    Ok(ClerkList { clerks })
}
