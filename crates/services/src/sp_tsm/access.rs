//! Who calls: wallets show the SE-TSM's word about their session, institutions their certificate and
//! signature (B-5.3). Everything else is refused.

use async_trait::async_trait;
use tracing::warn;
use tsm_api::Access;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::{Assertion, SignatureError};
use tsm_domain::{Msisdn, SeId};

use super::SpTsm;
use crate::payment::Notification;
use crate::purse::se_from_wire;
use crate::server::{Credentials, Service};
use crate::siblings::Bearer;
use crate::staff::clerks::Person;

/// Who calls.
#[derive(Debug)]
pub enum Caller {
    /// Whoever has an unguessable number.
    Anyone,
    /// A wallet that the SE-TSM vouches for.
    Wallet(WalletCaller),
    /// The SE-TSM.
    SeTsm,
    /// The payment platform, with what it says.
    Payment(Box<Notification>),
    /// An institution whose terminals take cash, by its number.
    TopUpTerminals(String),
    /// The issuer's own staff and tools, which show the SP-TSM's own certificate.
    OwnTools,
    /// The issuer's halls and customer service, with the person whose session is shown.
    Desk(Option<Person>),
    /// Another process of this SP-TSM, which passes on what the SE-TSM asked it.
    Sibling,
}

/// A wallet that the SE-TSM vouches for.
#[derive(Debug, Clone)]
pub struct WalletCaller {
    /// Its secure element.
    pub se: SeId,
    /// The bound number.
    pub number: Option<Msisdn>,
    /// The SE-TSM's word, for the process of this role that holds its conversation.
    pub bearer: Bearer,
}

impl Caller {
    /// The wallet.
    pub(super) fn wallet(self) -> Result<WalletCaller, Problem> {
        match self {
            Self::Wallet(wallet) => Ok(wallet),
            Self::Anyone
            | Self::SeTsm
            | Self::Payment(_)
            | Self::TopUpTerminals(_)
            | Self::Sibling
            | Self::OwnTools
            | Self::Desk(_) => Err(ProblemCode::SessionRequired.into()),
        }
    }

    /// Nobody but the SE-TSM.
    pub(super) fn require_se_tsm(&self) -> Result<(), Problem> {
        match self {
            Self::SeTsm | Self::Sibling => Ok(()),
            Self::Anyone
            | Self::Wallet(_)
            | Self::Payment(_)
            | Self::TopUpTerminals(_)
            | Self::Desk(_)
            | Self::OwnTools => Err(ProblemCode::NotAllowed.into()),
        }
    }

    /// What the payment platform says.
    pub(super) fn payment(self) -> Result<Notification, Problem> {
        match self {
            Self::Payment(notification) => Ok(*notification),
            Self::Anyone
            | Self::Wallet(_)
            | Self::SeTsm
            | Self::TopUpTerminals(_)
            | Self::Sibling
            | Self::OwnTools
            | Self::Desk(_) => Err(ProblemCode::NotAllowed.into()),
        }
    }

    /// Nobody but an institution whose terminals take cash; its number.
    pub(super) fn top_up_institution(self) -> Result<String, Problem> {
        match self {
            Self::TopUpTerminals(institution) => Ok(institution),
            Self::Anyone
            | Self::Wallet(_)
            | Self::SeTsm
            | Self::Payment(_)
            | Self::Sibling
            | Self::OwnTools
            | Self::Desk(_) => Err(ProblemCode::NotAllowed.into()),
        }
    }
}

#[async_trait]
impl Service for SpTsm {
    type Caller = Caller;

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        match access {
            Access::Public | Access::Conversation => Ok(Caller::Anyone),
            Access::Wallet => self.wallet_caller(&credentials).map(Caller::Wallet),
            Access::Peer => match self.peer_caller(&credentials)? {
                Caller::Desk(_) => {
                    let desk = self.desk.get().ok_or(ProblemCode::NotAllowed)?;
                    self.clerks().person(&desk.institution, &credentials).await.map(Caller::Desk)
                }
                other => Ok(other),
            },
            Access::Payment => self.notified(&credentials).await.map(|word| Caller::Payment(Box::new(word))),
            Access::Staff(_) | Access::Provider => Err(ProblemCode::NotAllowed.into()),
        }
    }
}

impl SpTsm {
    fn wallet_caller(&self, credentials: &Credentials<'_>) -> Result<WalletCaller, Problem> {
        let bearer = credentials.bearer().ok_or(ProblemCode::SessionRequired)?;
        let verifier = &self.partners.se_tsm.verifier;
        let assertion = Assertion::verify(bearer, verifier, self.now()).map_err(|error| {
            warn!(%error, "a wallet's bearer was refused");
            match error {
                SignatureError::Stale => Problem::new(ProblemCode::SessionExpired),
                _ => Problem::new(ProblemCode::SessionRequired),
            }
        })?;
        let number = assertion.msisdn.map(|number| number.parse()).transpose();
        let number = number.map_err(|_| Problem::new(ProblemCode::SessionRequired))?;
        Ok(WalletCaller { se: se_from_wire(&assertion.se_id)?, number, bearer: Bearer::new(bearer) })
    }

    /// Nobody but the issuer's own staff and tools. The issuer's own top-up terminals and the other processes of
    /// this SP-TSM show the same certificate.
    pub(super) fn require_own_tools(&self, caller: &Caller) -> Result<(), Problem> {
        let own = self.own_tools.get().ok_or(ProblemCode::NotAllowed)?;
        let is_own = match caller {
            Caller::OwnTools => true,
            Caller::TopUpTerminals(institution) => *institution == own.institution,
            Caller::Sibling => {
                self.siblings.as_ref().is_some_and(|all| all.peer().institution == own.institution)
            }
            Caller::Anyone | Caller::Wallet(_) | Caller::SeTsm | Caller::Payment(_) | Caller::Desk(_) => {
                false
            }
        };
        if is_own { Ok(()) } else { Err(ProblemCode::NotAllowed.into()) }
    }

    fn peer_caller(&self, credentials: &Credentials<'_>) -> Result<Caller, Problem> {
        let claimed = self.gate.claimed(credentials)?;
        let se_tsm = &self.partners.se_tsm;
        let known = (se_tsm.institution == claimed).then_some((se_tsm, Caller::SeTsm));
        let terminals = || {
            let peer = self.partners.top_up_terminals.iter().find(|peer| peer.institution == claimed)?;
            Some((peer, Caller::TopUpTerminals(peer.institution.clone())))
        };
        let sibling = || {
            let peer = self.siblings.as_ref()?.peer();
            (peer.institution == claimed).then_some((peer, Caller::Sibling))
        };
        let own = || {
            let peer = self.own_tools.get()?;
            (peer.institution == claimed).then_some((peer, Caller::OwnTools))
        };
        let desk = || {
            let peer = self.desk.get()?;
            (peer.institution == claimed).then_some((peer, Caller::Desk(None)))
        };
        let known = known.or_else(terminals).or_else(sibling).or_else(own).or_else(desk);
        let (peer, caller) = known.ok_or(ProblemCode::PeerCertificateRequired)?;
        self.gate.admit(credentials, peer, self.now())?;
        Ok(caller)
    }
}
