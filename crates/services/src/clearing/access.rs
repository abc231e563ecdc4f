//! Who calls: institutions only, by certificate and signature.

use async_trait::async_trait;
use tsm_api::Access;
use tsm_api::problem::{Problem, ProblemCode};

use super::Clearing;
use crate::server::{Credentials, Service};
use crate::staff::clerks::Person;

/// An institution, by its number, and the person of it who acts, where one is logged in.
#[derive(Debug)]
pub struct Institution(pub String, pub(super) Option<Person>);

#[async_trait]
impl Service for Clearing {
    type Caller = Institution;

    async fn authenticate(
        &self,
        access: Access,
        credentials: Credentials<'_>,
    ) -> Result<Institution, Problem> {
        match access {
            Access::Peer => {}
            Access::Public
            | Access::Wallet
            | Access::Conversation
            | Access::Staff(_)
            | Access::Provider
            | Access::Payment => {
                return Err(ProblemCode::NotAllowed.into());
            }
        }
        let claimed = self.gate.claimed(&credentials)?;
        let known = self.institutions.iter().find(|peer| peer.institution == claimed);
        let peer = known.ok_or(ProblemCode::PeerCertificateRequired)?;
        self.gate.admit(&credentials, peer, self.environment.now())?;
        let person = self.clerks().person(&peer.institution, &credentials).await?;
        Ok(Institution(peer.institution.clone(), person))
    }
}
