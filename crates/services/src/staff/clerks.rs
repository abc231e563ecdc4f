//! The people of institutions at a desk that two persons decide at: login, passwords, accounts, and which of them
//! acts now.
//!
//! An institution's system signs each request; that names the institution and proves nothing about a person. What
//! needs two people therefore needs the session of each, which only the person's password opens, and takes the
//! person from there. A session counts only over the connection of the institution at which it was opened.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tsm_api::clearing::clerks::{
    ClerkLine, ClerkLogin, ClerkPassword, ClerkRole as WireRole, ClerkSelf, ClerkSession, NewClerk,
};
use tsm_api::clearing::lists::Decision;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::reconciliation::Clerk;
use tsm_domain::{InstitutionId, OperatorId, SessionId};
use tsm_storage::clerks::{ClerkAccount, ClerkRole, Clerks, ProposedAccount};
use tsm_storage::se_tsm::PasswordState;
use tsm_storage::shared::{ChainKey, Note, SessionHolder, Sessions};
use tsm_storage::{Chains, StorageError};

use super::{check_password_state, open_session, passwords};
use crate::runtime::Environment;
use crate::server::Credentials;
use crate::stored;

/// How long a session lasts.
const LIFETIME: SignedDuration = SignedDuration::from_hours(8);
/// After so many wrong passwords the account is closed for a while (NIST SP 800-63B, 3.2.2).
const FAILURES: u32 = 10;
/// For how long, unless an administrator assigns a new password.
const CLOSED_FOR: SignedDuration = SignedDuration::from_mins(30);

/// A person with a session.
#[derive(Debug)]
pub struct Person {
    account: ClerkAccount,
    session: SessionId,
    expires_at: jiff::Timestamp,
}

/// A person to begin with, who adds all others of an institution.
#[derive(Clone)]
pub struct FirstClerk {
    /// The institution.
    pub institution: InstitutionId,
    /// The person.
    pub person: OperatorId,
    /// The first password, which the first login must change.
    pub password: String,
}

impl Person {
    /// The person, who must have this role.
    pub(crate) fn clerk(&self, role: ClerkRole) -> Result<Clerk, Problem> {
        self.clerk_of(&[role])
    }

    /// The person, who must have one of these roles.
    pub(crate) fn clerk_of(&self, roles: &[ClerkRole]) -> Result<Clerk, Problem> {
        if roles.iter().any(|role| self.account.roles.contains(role)) {
            Ok(self.account.clerk.clone())
        } else {
            Err(Problem::because(
                ProblemCode::NotAllowed,
                both("The person's roles do not include this.", "该人员的角色不含此项权限。"),
            ))
        }
    }

    /// Who it is.
    pub(crate) fn record(&self) -> ClerkSelf {
        let ClerkAccount { clerk, roles, .. } = &self.account;
        ClerkSelf {
            institution: clerk.institution.to_string(),
            person: clerk.person.to_string(),
            roles: roles.iter().copied().map(role_to_wire).collect(),
            expires_at: self.expires_at,
        }
    }
}

/// No person is logged in.
pub(crate) fn nobody() -> Problem {
    Problem::because(
        ProblemCode::SessionRequired,
        both("A person does this: log in first.", "须由人员操作，请先登录。"),
    )
}

/// The accounts of a desk.
pub(crate) struct ClerkDesk<'a, S: ?Sized> {
    pub(crate) store: &'a S,
    pub(crate) environment: &'a Environment,
    /// What people may do at this desk.
    pub(crate) roles: &'static [ClerkRole],
}

impl<S: Clerks + Sessions + Chains + ?Sized> ClerkDesk<'_, S> {
    /// Gives an institution its first administrator; changes nothing where the person has an account.
    pub(crate) async fn install(&self, first: &FirstClerk) -> Result<(), Problem> {
        let clerk = Clerk { institution: first.institution.clone(), person: first.person.clone() };
        if self.store.clerk(&clerk).await.map_err(problem)?.is_some() {
            return Ok(());
        }
        let account = self.assigned(clerk, [ClerkRole::Administrator], &first.password)?;
        match self.store.put_clerk(None, account).await {
            // Another process of the role was first.
            Ok(()) | Err(StorageError::Conflict { .. }) => Ok(()),
            Err(error) => Err(problem(error)),
        }
    }

    /// The person whose session a request shows; none where it shows none.
    pub(crate) async fn person(
        &self,
        institution: &str,
        credentials: &Credentials<'_>,
    ) -> Result<Option<Person>, Problem> {
        let Some(bearer) = credentials.bearer() else { return Ok(None) };
        let expired = || Problem::new(ProblemCode::SessionExpired);
        let id: SessionId = bearer.parse().map_err(|_| expired())?;
        let session = self.store.session(id, self.environment.now()).await.map_err(problem)?;
        let session = session.ok_or_else(expired)?;
        let SessionHolder::Operator(holder) = session.holder else {
            return Err(ProblemCode::NotAllowed.into());
        };
        let person = holder.as_str().strip_prefix(institution).and_then(|rest| rest.strip_prefix('/'));
        let clerk = Clerk {
            institution: institution.parse().map_err(|_| expired())?,
            person: person.ok_or(ProblemCode::NotAllowed)?.parse().map_err(|_| expired())?,
        };
        let account = self.store.clerk(&clerk).await.map_err(problem)?.ok_or_else(expired)?;
        check_password_state(account.password_state, credentials.path)?;
        Ok(Some(Person { account, session: id, expires_at: session.expires_at }))
    }

    /// Opens a session.
    pub(crate) async fn log_in(
        &self,
        institution: &InstitutionId,
        login: &ClerkLogin,
    ) -> Result<ClerkSession, Problem> {
        let wrong = || Problem::new(ProblemCode::WrongCredentials);
        let person = named(&login.person).map_err(|_| wrong())?;
        let clerk = Clerk { institution: institution.clone(), person };
        loop {
            let known = self.store.clerk(&clerk).await.map_err(problem)?.ok_or_else(wrong)?;
            let now = self.environment.now();
            if known.roles.is_empty() {
                // Nobody has approved this person yet.
                return Err(wrong());
            }
            if known.closed_until.is_some_and(|until| now < until) {
                return Err(wrong());
            }
            let verified = passwords::verify(&login.password, &known.password_hash);
            let account = match &verified {
                Ok(()) => ClerkAccount { failures: 0, closed_until: None, ..known.clone() },
                Err(_) => failed(&known, now),
            };
            match self.store.put_clerk(Some(known), account.clone()).await {
                Ok(()) => {}
                // Somebody tried at the same time, and each attempt counts.
                Err(StorageError::Conflict { .. }) => continue,
                Err(error) => return Err(problem(error)),
            }
            if let Err(refused) = verified {
                self.tell(&clerk, "login-refused", &json!({ "failures": account.failures })).await?;
                return Err(refused);
            }
            let opened = open_session(self.store, self.environment, holder_of(&clerk)?, LIFETIME).await;
            let session = opened.map_err(problem)?;
            self.tell(&clerk, "login", &json!({})).await?;
            return Ok(ClerkSession {
                session: session.id.to_string(),
                expires_at: session.expires_at,
                roles: account.roles.iter().copied().map(role_to_wire).collect(),
                password_change_required: account.password_state == PasswordState::Assigned,
            });
        }
    }

    /// Ends the person's session.
    pub(crate) async fn log_out(&self, person: &Person) -> Result<(), Problem> {
        self.store.end_session(person.session).await.map_err(problem)?;
        self.tell(&person.account.clerk, "logout", &json!({})).await
    }

    /// Changes the person's own password.
    pub(crate) async fn change_password(
        &self,
        person: &Person,
        change: &ClerkPassword,
    ) -> Result<(), Problem> {
        let account = &person.account;
        passwords::verify(&change.old, &account.password_hash)?;
        if change.old == change.new {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("The new password is the old one.", "新口令与旧口令相同。"),
            ));
        }
        let changed = ClerkAccount {
            password_hash: passwords::hash(&change.new, self.environment)?,
            password_state: PasswordState::Own,
            ..account.clone()
        };
        let clerk = account.clerk.clone();
        self.store.put_clerk(Some(account.clone()), changed).await.map_err(problem)?;
        self.tell(&clerk, "password-changed", &json!({})).await
    }

    /// Proposes to add a person of the administrator's institution, or to assign roles and a new password, which opens
    /// a closed account. Another administrator decides; nobody changes the own account. An administrator who could
    /// make two people alone would be both of the two that everything else needs.
    pub(crate) async fn add(&self, by: &Person, new: &NewClerk) -> Result<ClerkLine, Problem> {
        let administrator = by.clerk(ClerkRole::Administrator)?;
        if new.roles.is_empty() {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("A person has at least one role.", "人员至少有一个角色。"),
            ));
        }
        let clerk = Clerk { institution: administrator.institution.clone(), person: named(&new.person)? };
        holder_of(&clerk)?;
        if clerk == administrator {
            let reason = both("Another administrator changes this account.", "另一位管理员正在更改此账户。");
            return Err(Problem::because(ProblemCode::NotAllowed, reason));
        }
        let roles: Vec<_> = new.roles.iter().copied().map(role_from_wire).collect();
        if !roles.iter().all(|role| self.roles.contains(role)) {
            return Err(Problem::because(
                ProblemCode::ValueRefused,
                both("There is no such role at this desk.", "此业务台没有该角色。"),
            ));
        }
        let proposed = ProposedAccount {
            roles: roles.into_iter().collect(),
            password_hash: passwords::hash(&new.first_password, self.environment)?,
            by: administrator.person.clone(),
            at: self.environment.now(),
        };
        let known = self.store.clerk(&clerk).await.map_err(problem)?;
        let before = known.clone().unwrap_or_else(|| nobody_yet(clerk));
        let account = ClerkAccount { proposed: Some(proposed), ..before };
        self.store.put_clerk(known, account.clone()).await.map_err(problem)?;
        let line = self.line_of(&account);
        let detail = json!({ "person": new.person, "roles": line.proposed_roles });
        self.tell(&administrator, "person-proposed", &detail).await?;
        Ok(line)
    }

    /// Approves or refuses what another administrator proposed about an account.
    pub(crate) async fn decide(
        &self,
        by: &Person,
        person: &str,
        decision: Decision,
    ) -> Result<ClerkLine, Problem> {
        let administrator = by.clerk(ClerkRole::Administrator)?;
        let clerk = Clerk { institution: administrator.institution.clone(), person: named(person)? };
        let known = self.store.clerk(&clerk).await.map_err(problem)?.ok_or(ProblemCode::UnknownId)?;
        let nothing = || {
            Problem::because(
                ProblemCode::StateForbids,
                both("Nothing is proposed about this account.", "此账户没有待审批的提议。"),
            )
        };
        let proposed = known.proposed.clone().ok_or_else(nothing)?;
        if proposed.by == administrator.person || clerk == administrator {
            return Err(ProblemCode::FourEyes.into());
        }
        let detail = json!({ "person": person, "roles": proposed.roles, "proposed_by": proposed.by });
        let (account, event) = match decision {
            Decision::Approve => {
                let ProposedAccount { roles, password_hash, .. } = proposed;
                let assigned = ClerkAccount {
                    roles,
                    password_hash,
                    password_state: PasswordState::Assigned,
                    ..nobody_yet(clerk)
                };
                (assigned, "person-added")
            }
            Decision::Refuse => (ClerkAccount { proposed: None, ..known.clone() }, "person-refused"),
        };
        self.store.put_clerk(Some(known), account.clone()).await.map_err(problem)?;
        self.tell(&administrator, event, &detail).await?;
        Ok(self.line_of(&account))
    }

    /// The people of the administrator's institution.
    pub(crate) async fn list(&self, by: &Person) -> Result<Vec<ClerkLine>, Problem> {
        let administrator = by.clerk(ClerkRole::Administrator)?;
        let found = self.store.clerks_of(&administrator.institution).await.map_err(problem)?;
        // One who was refused is nobody.
        let known = found.iter().filter(|one| !one.roles.is_empty() || one.proposed.is_some());
        Ok(known.map(|account| self.line_of(account)).collect())
    }

    fn assigned(
        &self,
        clerk: Clerk,
        roles: impl IntoIterator<Item = ClerkRole>,
        password: &str,
    ) -> Result<ClerkAccount, Problem> {
        Ok(ClerkAccount {
            roles: roles.into_iter().collect(),
            password_hash: passwords::hash(password, self.environment)?,
            password_state: PasswordState::Assigned,
            ..nobody_yet(clerk)
        })
    }

    fn line_of(&self, account: &ClerkAccount) -> ClerkLine {
        ClerkLine {
            person: account.clerk.person.to_string(),
            roles: account.roles.iter().copied().map(role_to_wire).collect(),
            closed_until: account.closed_until.filter(|until| self.environment.now() < *until),
            proposed_by: account.proposed.as_ref().map(|proposed| proposed.by.to_string()),
            proposed_roles: account
                .proposed
                .iter()
                .flat_map(|proposed| &proposed.roles)
                .copied()
                .map(role_to_wire)
                .collect(),
        }
    }

    /// Writes down what the person did.
    pub(crate) async fn tell(&self, clerk: &Clerk, event: &str, detail: &Value) -> Result<(), Problem> {
        let note = Note {
            chain: ChainKey::Operator(holder_of(clerk)?),
            at: self.environment.now(),
            actor: clerk.institution.to_string(),
            event: event.into(),
            detail: detail.to_string(),
        };
        self.store.append(note).await.map(drop).map_err(problem)
    }
}

/// An account without a role, which no password opens.
fn nobody_yet(clerk: Clerk) -> ClerkAccount {
    ClerkAccount {
        clerk,
        roles: std::collections::BTreeSet::new(),
        password_hash: String::new(),
        password_state: PasswordState::Assigned,
        failures: 0,
        closed_until: None,
        proposed: None,
    }
}

fn failed(known: &ClerkAccount, now: jiff::Timestamp) -> ClerkAccount {
    let failures = known.failures.saturating_add(1);
    let closed_until = (failures >= FAILURES).then(|| now.checked_add(CLOSED_FOR).unwrap_or(now));
    ClerkAccount { failures, closed_until, ..known.clone() }
}

/// The name under which a person's sessions, decisions and journal stand: two of one name at two institutions are
/// two.
pub(crate) fn holder_of(clerk: &Clerk) -> Result<OperatorId, Problem> {
    let text = format!("{}/{}", clerk.institution, clerk.person);
    text.parse()
        .map_err(|_| Problem::because(ProblemCode::ValueRefused, both("The name is too long.", "名称过长。")))
}

/// The person's name within the institution.
pub(crate) fn name_of(holder: &OperatorId) -> String {
    match holder.as_str().split_once('/') {
        Some((_, name)) => name.to_owned(),
        None => holder.to_string(),
    }
}

fn named(person: &str) -> Result<OperatorId, Problem> {
    let wrong = || {
        Problem::because(ProblemCode::ValueRefused, both("This is no name of a person.", "人员名称无效。"))
    };
    if person.contains('/') { Err(wrong()) } else { person.parse().map_err(|_| wrong()) }
}

const fn role_to_wire(role: ClerkRole) -> WireRole {
    match role {
        ClerkRole::Administrator => WireRole::Administrator,
        ClerkRole::Proposer => WireRole::Proposer,
        ClerkRole::Approver => WireRole::Approver,
        ClerkRole::Hall => WireRole::Hall,
        ClerkRole::CustomerService => WireRole::CustomerService,
    }
}

const fn role_from_wire(role: WireRole) -> ClerkRole {
    match role {
        WireRole::Administrator => ClerkRole::Administrator,
        WireRole::Proposer => ClerkRole::Proposer,
        WireRole::Approver => ClerkRole::Approver,
        WireRole::Hall => ClerkRole::Hall,
        WireRole::CustomerService => ClerkRole::CustomerService,
    }
}

fn problem(error: StorageError) -> Problem {
    stored::problem(&error)
}
