//! The operator's people: login, passwords, accounts.

use std::collections::BTreeSet;
use std::sync::Arc;

use tsm_api::endpoint::Nothing;
use tsm_api::ids::StaffId;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::se_tsm::operator::{NewStaff, PasswordChange, StaffLogin, StaffRecord, StaffSession};
use tsm_domain::OperatorId;
use tsm_domain::staff::Role;
use tsm_storage::se_tsm::{PasswordState, Revision, StaffAccount, Versioned};
use tsm_storage::shared::Session;

use super::SeTsm;
use super::access::{Caller, PersonCaller};
use super::convert::{role_from_wire, role_to_wire};
use super::stop::{field, stored};
use crate::server::Call;
use crate::staff::{self, passwords};

/// The first account of a new platform, which adds all others.
#[derive(Clone)]
pub struct FirstAdministrator {
    /// The account.
    pub account: OperatorId,
    /// Its first password, which the first login must change.
    pub password: String,
}

/// Which desk a person logs in at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Desk {
    Operator,
    Provider,
}

impl SeTsm {
    /// Puts the first administrator into an empty platform; changes nothing where the account exists.
    pub async fn install_administrator(&self, first: &FirstAdministrator) -> Result<(), Problem> {
        if self.store.staff(&first.account).await.map_err(stored)?.is_some() {
            return Ok(());
        }
        let account = StaffAccount {
            id: first.account.clone(),
            provider: None,
            roles: BTreeSet::from([Role::SystemAdministrator]),
            password_hash: passwords::hash(&first.password, &self.environment)?,
            password_state: PasswordState::Assigned,
        };
        self.store.put_staff(account, Revision(0)).await.map(drop).map_err(stored)
    }

    /// Opens a session for a name and password at one desk.
    pub(super) async fn log_in(
        &self,
        login: &StaffLogin,
        desk: Desk,
    ) -> Result<(Session, StaffAccount), Problem> {
        let wrong = || Problem::new(ProblemCode::WrongCredentials);
        let id: OperatorId = login.account.parse().map_err(|_| wrong())?;
        let account = self.store.staff(&id).await.map_err(stored)?.ok_or_else(wrong)?.value;
        let at_desk = match desk {
            Desk::Operator => account.provider.is_none(),
            Desk::Provider => account.provider.is_some(),
        };
        let verified = passwords::verify(&login.password, &account.password_hash);
        if !at_desk || verified.is_err() {
            self.audit(&id, "login-refused", &serde_json::json!({})).await?;
            return Err(wrong());
        }
        let lifetime = self.settings.staff_session_lifetime;
        let opened = staff::open_session(&*self.store, &self.environment, id.clone(), lifetime).await;
        let session = opened.map_err(stored)?;
        self.audit(&id, "login", &serde_json::json!({})).await?;
        Ok((session, account))
    }

    /// Changes a person's own password.
    pub(super) async fn change_own_password(
        &self,
        person: PersonCaller,
        change: &PasswordChange,
    ) -> Result<(), Problem> {
        passwords::verify(&change.old, &person.account.password_hash)?;
        if change.old == change.new {
            return Err(field("The new password is the old one."));
        }
        let id = person.account.id.clone();
        let Versioned { value, revision } =
            self.store.staff(&id).await.map_err(stored)?.ok_or(ProblemCode::UnknownId)?;
        let account = StaffAccount {
            password_hash: passwords::hash(&change.new, &self.environment)?,
            password_state: PasswordState::Own,
            ..value
        };
        self.store.put_staff(account, revision).await.map_err(stored)?;
        self.audit(&id, "password-changed", &serde_json::json!({})).await
    }
}

pub(super) fn session_to_wire(session: &Session, account: &StaffAccount) -> StaffSession {
    StaffSession {
        session: session.id.to_string(),
        expires_at: session.expires_at,
        roles: account.roles.iter().copied().map(role_to_wire).collect(),
        password_change_required: account.password_state == PasswordState::Assigned,
    }
}

/// POST /operator/v1/login
pub(super) async fn login(tsm: Arc<SeTsm>, call: Call<Caller, StaffLogin>) -> Result<StaffSession, Problem> {
    let (session, account) = tsm.log_in(&call.request, Desk::Operator).await?;
    Ok(session_to_wire(&session, &account))
}

/// POST /operator/v1/logout
pub(super) async fn logout(tsm: Arc<SeTsm>, call: Call<Caller, Nothing>) -> Result<Nothing, Problem> {
    let person = call.caller.person()?;
    tsm.store.end_session(person.session).await.map_err(stored)?;
    tsm.audit(person.id(), "logout", &serde_json::json!({})).await?;
    Ok(Nothing {})
}

/// POST /operator/v1/password
pub(super) async fn change_password(
    tsm: Arc<SeTsm>,
    call: Call<Caller, PasswordChange>,
) -> Result<Nothing, Problem> {
    tsm.change_own_password(call.caller.person()?, &call.request).await?;
    Ok(Nothing {})
}

/// POST /operator/v1/staff
pub(super) async fn add(tsm: Arc<SeTsm>, call: Call<Caller, NewStaff>) -> Result<StaffRecord, Problem> {
    let person = call.caller.person()?;
    let new = call.request;
    let id: OperatorId = new.account.parse().map_err(field)?;
    if new.roles.is_empty() {
        return Err(field("A member of staff has at least one role."));
    }
    let account = StaffAccount {
        id: id.clone(),
        provider: None,
        roles: new.roles.iter().copied().map(role_from_wire).collect(),
        password_hash: passwords::hash(&new.first_password, &tsm.environment)?,
        password_state: PasswordState::Assigned,
    };
    tsm.store.put_staff(account, Revision(0)).await.map_err(stored)?;
    let detail = serde_json::json!({ "account": id.to_string(), "roles": new.roles });
    tsm.audit(person.id(), "staff-added", &detail).await?;
    Ok(StaffRecord { staff: StaffId(id.to_string()), account: id.to_string(), roles: new.roles })
}
