//! The card issuer's desk of a city on this machine: its system's certificate and key. Its people log in
//! ([`super::clerks`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tsm_api::client::{Client, HttpsTransport, Signing};
use tsm_api::pki::{Authority, SigningIdentity, TlsIdentity};
use tsm_api::signature::MessageVerifier;
use tsm_services::runtime::Environment;
use tsm_services::server::Peer;

use super::plan::{CityPlan, PlanError};
use super::roles::PARTNER_TIMEOUT;

/// The number under which the desk's system signs.
pub const INSTITUTION: &str = "issuer-desk";
/// The desk.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuerDesk {
    /// The certificate of its system, in PEM.
    pub certificate_pem: String,
    /// The certificate's private key, in PEM.
    pub private_key_pem: String,
    /// The key that signs its messages, in PEM.
    pub message_key_pem: String,
}

type Failure = Box<dyn std::error::Error>;

impl IssuerDesk {
    /// A new desk.
    pub fn new(authority: &Authority) -> Result<Self, PlanError> {
        let identity = authority.issue(INSTITUTION)?;
        let (certificate, key) = identity.to_pem();
        Ok(Self {
            certificate_pem: certificate.to_owned(),
            private_key_pem: key.to_owned(),
            message_key_pem: SigningIdentity::generate()?.to_pem().to_owned(),
        })
    }

    /// As the SP-TSM knows it.
    pub fn admitted(&self) -> Result<Peer, Failure> {
        let public_key = SigningIdentity::from_pem(&self.message_key_pem)?.signer()?.public_key();
        Ok(Peer {
            institution: INSTITUTION.to_owned(),
            name: INSTITUTION.to_owned(),
            certificate: self.identity()?.fingerprint(),
            verifier: MessageVerifier::from_point(public_key.as_bytes())?,
        })
    }

    /// The desk's line to the SP-TSM, without a person.
    pub fn line(&self, plan: &CityPlan, environment: &Environment) -> Result<Client, Failure> {
        let tls = self.identity()?.client_config(&plan.trust()?)?;
        let transport = HttpsTransport::new(plan.sp_tsm.address, "localhost", tls, PARTNER_TIMEOUT)?;
        let signing = Signing {
            institution: INSTITUTION.to_owned(),
            signer: Arc::new(SigningIdentity::from_pem(&self.message_key_pem)?.signer()?),
            clock: environment.clock.clone(),
            entropy: environment.entropy.clone(),
        };
        Ok(Client::new(Arc::new(transport)).signing(signing))
    }

    fn identity(&self) -> Result<TlsIdentity, Failure> {
        Ok(TlsIdentity::from_pem(&self.certificate_pem, &self.private_key_pem)?)
    }
}
