//! The people of institutions who decide at a desk: accounts with roles and a password of their own.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tsm_domain::money::reconciliation::Clerk;
use tsm_domain::{InstitutionId, OperatorId};

use crate::error::{Result, StorageError};
use crate::se_tsm::PasswordState;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClerkRole {
    /// Adds the institution's people and gives them roles.
    Administrator,
    /// Proposes what to do.
    Proposer,
    /// Approves what another proposed, or sends it back.
    Approver,
    /// Has riders and their cards before him, in a hall of the card issuer.
    Hall,
    /// Looks after riders who are not here.
    CustomerService,
}

/// A person's account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClerkAccount {
    /// Who.
    pub clerk: Clerk,
    /// What the person may do.
    pub roles: BTreeSet<ClerkRole>,
    /// The password, hashed (argon2id, PHC form).
    pub password_hash: String,
    /// Whether the person chose it.
    pub password_state: PasswordState,
    /// Wrong passwords since the last right one.
    #[serde(default)]
    pub failures: u32,
    /// Until when no password opens the account, the right one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_until: Option<Timestamp>,
    /// What one administrator proposes to make of the account, until another decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<ProposedAccount>,
}

/// What one administrator proposes to make of an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposedAccount {
    /// What the person is to do.
    pub roles: BTreeSet<ClerkRole>,
    /// The first password, hashed.
    pub password_hash: String,
    /// Who proposes it.
    pub by: OperatorId,
    /// When.
    pub at: Timestamp,
}

/// The hash stays out of every log.
impl fmt::Debug for ProposedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { roles, by, at, password_hash: _ } = self;
        f.debug_struct("ProposedAccount")
            .field("roles", roles)
            .field("by", by)
            .field("at", at)
            .finish_non_exhaustive()
    }
}

/// The hash stays out of every log.
impl fmt::Debug for ClerkAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clerk, roles, password_state, failures, closed_until, proposed, password_hash: _ } = self;
        f.debug_struct("ClerkAccount")
            .field("clerk", clerk)
            .field("roles", roles)
            .field("password_state", password_state)
            .field("failures", failures)
            .field("closed_until", closed_until)
            .field("proposed", proposed)
            .finish_non_exhaustive()
    }
}

/// The accounts of an institution's people.
#[async_trait]
pub trait Clerks: Send + Sync {
    /// A person's account.
    async fn clerk(&self, clerk: &Clerk) -> Result<Option<ClerkAccount>>;
    /// An institution's people, by name.
    async fn clerks_of(&self, institution: &InstitutionId) -> Result<Vec<ClerkAccount>>;
    /// Changes an account from `before`, none where there is none yet, to `after`. When it is `after` already
    /// nothing is changed; when it is neither, it is a conflict.
    async fn put_clerk(&self, before: Option<ClerkAccount>, after: ClerkAccount) -> Result<()>;
}

/// Whether the account is to be written.
pub(crate) fn is_to_write(
    known: Option<&ClerkAccount>,
    before: Option<&ClerkAccount>,
    after: &ClerkAccount,
) -> Result<bool> {
    if known == Some(after) {
        return Ok(false);
    }
    if known != before {
        return Err(StorageError::conflict("account of a person", &after.clerk.person));
    }
    Ok(true)
}
