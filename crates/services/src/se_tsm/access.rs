//! Who calls, and whether it may: default deny.

use async_trait::async_trait;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::MessageVerifier;
use tsm_api::{Access, HexBytes, StaffRole};
use tsm_domain::provider::{Provider, ProviderState};
use tsm_domain::{Msisdn, OperatorId, ProviderId, SeId, SessionId};
use tsm_storage::se_tsm::StaffAccount;
use tsm_storage::shared::{Session, SessionHolder, WalletRights};

use super::SeTsm;
use super::convert::role_to_wire;
use super::stop::stored;
use crate::server::{Credentials, Peer, Service};
use crate::staff;

/// Who calls.
#[derive(Debug)]
pub enum Caller {
    /// Nobody in particular.
    Anyone,
    /// A wallet with a session.
    Wallet(WalletCaller),
    /// A person at the operator's or a provider's desk.
    Person(PersonCaller),
    /// An SP-TSM.
    Peer(Box<Provider>),
}

/// A wallet with a session.
#[derive(Debug)]
pub struct WalletCaller {
    /// Its secure element.
    pub se: SeId,
    /// The bound number.
    pub number: Option<Msisdn>,
    /// What it may do.
    pub rights: WalletRights,
    /// Its session.
    pub session: SessionId,
}

/// A person with a session.
#[derive(Debug)]
pub struct PersonCaller {
    /// Who it is.
    pub account: StaffAccount,
    /// The session.
    pub session: SessionId,
}

impl Caller {
    /// The wallet, which the endpoint's access guarantees.
    pub(super) fn wallet(self) -> Result<WalletCaller, Problem> {
        match self {
            Self::Wallet(wallet) => Ok(wallet),
            Self::Anyone | Self::Person(_) | Self::Peer(_) => Err(ProblemCode::SessionRequired.into()),
        }
    }

    /// A wallet that may do everything.
    pub(super) fn full_wallet(self) -> Result<WalletCaller, Problem> {
        let wallet = self.wallet()?;
        match wallet.rights {
            WalletRights::Full => Ok(wallet),
            WalletRights::QueryOnly => Err(ProblemCode::BoundElsewhere.into()),
        }
    }

    /// The person, which the endpoint's access guarantees.
    pub(super) fn person(self) -> Result<PersonCaller, Problem> {
        match self {
            Self::Person(person) => Ok(person),
            Self::Anyone | Self::Wallet(_) | Self::Peer(_) => Err(ProblemCode::SessionRequired.into()),
        }
    }

    /// The provider behind a person or a peer.
    pub(super) fn provider_id(&self) -> Result<ProviderId, Problem> {
        match self {
            Self::Person(person) => {
                person.account.provider.clone().ok_or_else(|| ProblemCode::NotAllowed.into())
            }
            Self::Peer(provider) => Ok(provider.id.clone()),
            Self::Anyone | Self::Wallet(_) => Err(ProblemCode::NotAllowed.into()),
        }
    }
}

impl PersonCaller {
    /// The person's account name.
    pub fn id(&self) -> &OperatorId {
        &self.account.id
    }

    pub(super) fn has_one_of(&self, roles: &[StaffRole]) -> bool {
        self.account.provider.is_none()
            && self.account.roles.iter().any(|role| roles.contains(&role_to_wire(*role)))
    }
}

#[async_trait]
impl Service for SeTsm {
    type Caller = Caller;

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match access {
            Access::Public | Access::Conversation => Ok(Caller::Anyone),
            Access::Wallet => self.wallet_caller(&credentials).await.map(Caller::Wallet),
            Access::Staff(roles) => {
                let person = self.person_caller(&credentials).await?;
                if person.has_one_of(roles) {
                    Ok(Caller::Person(person))
                } else {
                    Err(ProblemCode::NotAllowed.into())
                }
            }
            Access::Provider => self.provider_caller(&credentials).await.map(Caller::Person),
            Access::Peer => self.peer_caller(&credentials).await.map(|peer| Caller::Peer(Box::new(peer))),
            Access::Payment => Err(ProblemCode::NotAllowed.into()),
        }
    }
}

impl SeTsm {
    async fn session(&self, credentials: &Credentials<'_>) -> Result<Session, Problem> {
        let bearer = credentials.bearer().ok_or(ProblemCode::SessionRequired)?;
        let id = bearer.parse().map_err(|_| ProblemCode::SessionExpired)?;
        let session = self.store.session(id, self.now()).await.map_err(stored)?;
        session.ok_or_else(|| ProblemCode::SessionExpired.into())
    }

    async fn wallet_caller(&self, credentials: &Credentials<'_>) -> Result<WalletCaller, Problem> {
        let session = self.session(credentials).await?;
        match session.holder {
            SessionHolder::Wallet { se, number, rights } => {
                Ok(WalletCaller { se, number, rights, session: session.id })
            }
            SessionHolder::Operator(_) => Err(ProblemCode::NotAllowed.into()),
        }
    }

    async fn person_caller(&self, credentials: &Credentials<'_>) -> Result<PersonCaller, Problem> {
        let session = self.session(credentials).await?;
        let SessionHolder::Operator(id) = session.holder else { return Err(ProblemCode::NotAllowed.into()) };
        let account = self.store.staff(&id).await.map_err(stored)?.ok_or(ProblemCode::SessionExpired)?.value;
        staff::check_password_state(account.password_state, credentials.path)?;
        Ok(PersonCaller { account, session: session.id })
    }

    async fn provider_caller(&self, credentials: &Credentials<'_>) -> Result<PersonCaller, Problem> {
        let person = self.person_caller(credentials).await?;
        let id = person.account.provider.clone().ok_or(ProblemCode::NotAllowed)?;
        let provider = self.store.provider(&id).await.map_err(stored)?.ok_or(ProblemCode::NotAllowed)?.value;
        check_standing(&provider)?;
        Ok(person)
    }

    async fn peer_caller(&self, credentials: &Credentials<'_>) -> Result<Provider, Problem> {
        let claimed = self.gate.claimed(credentials)?;
        let unknown = || Problem::new(ProblemCode::PeerCertificateRequired);
        let id: ProviderId = claimed.parse().map_err(|_| unknown())?;
        let provider = self.store.provider(&id).await.map_err(stored)?.ok_or_else(unknown)?.value;
        let peer = peer_of(&provider).ok_or_else(unknown)?;
        self.gate.admit(credentials, &peer, self.now())?;
        if provider.state != ProviderState::Approved {
            return Err(ProblemCode::ProviderNotApproved.into());
        }
        Ok(provider)
    }
}

/// Whether a provider's people may log in: approved, and not on the blacklist (P-5.6.6.b).
pub(super) fn check_standing(provider: &Provider) -> Result<(), Problem> {
    match (&provider.state, &provider.blacklisted) {
        (ProviderState::Approved, None) => Ok(()),
        (ProviderState::Approved, Some(reason)) => {
            Err(Problem::because(ProblemCode::ProviderBlacklisted, reason))
        }
        (ProviderState::InAudit | ProviderState::Failed(_) | ProviderState::Cancelled, _) => {
            Err(ProblemCode::ProviderNotApproved.into())
        }
    }
}

fn peer_of(provider: &Provider) -> Option<Peer> {
    let key = provider.signature_key.as_ref()?;
    Some(Peer {
        institution: provider.id.to_string(),
        name: provider.basic.name.clone(),
        certificate: HexBytes(provider.certificate?.0.to_vec()),
        verifier: MessageVerifier::from_point(&key.0).ok()?,
    })
}
