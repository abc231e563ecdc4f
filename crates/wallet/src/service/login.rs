//! Certification at each start after registration (W-6.2, W-7.2).

use tsm_api::Problem;
use tsm_api::conversation::{OutcomeDetail, Party};
use tsm_api::se_tsm::wallet::{LOGIN, LoginReply, LoginRequest, SessionRights};

use super::{Session, Wallet, WalletError};
use crate::applications;
use crate::interaction::Interaction;
use crate::network::{Host, NetworkError};
use crate::se_operation::SecureElementAccess;
use crate::storage::WalletStorage;

/// What the rider may do after a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Full,
    /// Look only: the secure element is bound to another number (table S.5).
    QueryOnly,
    /// Nothing but the lock that the platform carries out: reported lost.
    LockOnly,
}

/// How the main interface opens.
#[derive(Debug, Clone, PartialEq)]
pub enum Entrance {
    /// The platform certified this secure element.
    Certified {
        /// What may be done.
        rights: Rights,
        /// What the rider is told.
        prompts: Vec<Problem>,
    },
    /// It did not, or was not reached: only the stored list may be browsed (W-6.2.f).
    Restricted {
        /// Why.
        reason: WalletError,
    },
}

impl<A: SecureElementAccess, S: WalletStorage> Wallet<A, S> {
    /// Logs in with the stored SE-ID and TOKEN: one request.
    ///
    /// Work that the platform has waiting (a new TOKEN, deletions of cancelled subscriptions, the lock of a lost
    /// card and its end) is carried out before this returns.
    pub async fn login(&mut self, shown: &mut dyn Interaction) -> Result<Entrance, WalletError> {
        self.session = None;
        loop {
            let Some(registration) = &self.record.registration else {
                return Err(WalletError::NotRegistered);
            };
            let request = LoginRequest {
                se_id: registration.se_id.clone(),
                token: registration.token.clone(),
                msisdn: None,
            };
            let reply = match self.network.call(Host::SeTsm, &LOGIN, &[], None, &request).await {
                Ok(reply) => reply,
                Err(error) => return Ok(Entrance::Restricted { reason: restricted(error) }),
            };
            if let Some(entrance) = self.enter(reply, shown).await? {
                return Ok(entrance);
            }
        }
    }

    /// What the reply opens; none when the first work ended the session, and the login is due again.
    async fn enter(
        &mut self,
        reply: LoginReply,
        shown: &mut dyn Interaction,
    ) -> Result<Option<Entrance>, WalletError> {
        let rights = match reply.rights {
            SessionRights::Full => Rights::Full,
            SessionRights::QueryOnly => Rights::QueryOnly,
            SessionRights::LockOnly => Rights::LockOnly,
        };
        self.session = Some(Session {
            bearer: reply.session,
            assertion: reply.assertion,
            rights,
            to_delete: reply.pending_deletions,
            migrations: reply.migrations,
        });
        applications::replace(&mut self.record, &reply.installed);
        self.forget_finished_opening();
        self.keep().await?;
        if let Some(first) = reply.first {
            match (self.do_first(*first, shown).await?, rights) {
                // The platform takes the new number from now on, and only in a new session.
                (OutcomeDetail::NumberChanged { .. }, _) => return Ok(None),
                // What the loss of the phone had locked is in use again, and the list above is not true any more.
                (OutcomeDetail::LockChanged { .. }, Rights::Full) => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(Entrance::Certified { rights, prompts: reply.prompts }))
    }

    async fn do_first(
        &mut self,
        first: tsm_api::conversation::ConversationReply,
        shown: &mut dyn Interaction,
    ) -> Result<OutcomeDetail, WalletError> {
        let detail = self.converse(Party::SeTsm, first, shown).await?;
        match &detail {
            OutcomeDetail::TokenRenewed { token } => {
                if let Some(registration) = &mut self.record.registration {
                    registration.token = token.clone();
                }
            }
            OutcomeDetail::Deleted { aid, .. } => applications::remove(&mut self.record, aid),
            _ => {}
        }
        self.keep().await?;
        Ok(detail)
    }

    /// The rights of the present session.
    pub fn rights(&self) -> Option<Rights> {
        self.session.as_ref().map(|session| session.rights)
    }

    /// Full rights, or the reason why not.
    pub(super) fn require_full_rights(&self) -> Result<(), WalletError> {
        match self.rights() {
            Some(Rights::Full) => Ok(()),
            Some(Rights::QueryOnly | Rights::LockOnly) | None => Err(WalletError::NoSession),
        }
    }
}

fn restricted(error: NetworkError) -> WalletError {
    match error {
        NetworkError::Refused(problem) => WalletError::Refused(problem),
        other => WalletError::Network(other),
    }
}
