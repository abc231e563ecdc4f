//! Institutions: client certificate and signed message, both of the same institution.

use jiff::Timestamp;
use tracing::warn;
use tsm_api::HexBytes;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::{
    INSTITUTION, MessageVerifier, ReplayWindow, SERIAL, SIGNATURE, SignatureError, SignedParts, Stamp,
    TIMESTAMP,
};

use super::routes::Credentials;

/// A registered institution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its institution number.
    pub institution: String,
    /// Its name.
    pub name: String,
    /// SHA-256 of its client certificate.
    pub certificate: HexBytes,
    /// The key of its message signatures.
    pub verifier: MessageVerifier,
}

/// Checks that a request comes from a registered institution.
#[derive(Debug)]
pub struct PeerGate {
    window: ReplayWindow,
}

impl PeerGate {
    /// A gate that takes messages signed from now on.
    pub fn open(now: Timestamp) -> Self {
        Self { window: ReplayWindow::open(now) }
    }

    /// The institution number that the caller claims; it proves nothing yet.
    pub fn claimed<'a>(&self, credentials: &Credentials<'a>) -> Result<&'a str, Problem> {
        if credentials.certificate.is_none() {
            return Err(ProblemCode::PeerCertificateRequired.into());
        }
        credentials.header(INSTITUTION).ok_or_else(|| ProblemCode::SignatureWrong.into())
    }

    /// Admits the caller if certificate and signature are those of `peer` and the message is fresh.
    pub fn admit(&self, credentials: &Credentials<'_>, peer: &Peer, now: Timestamp) -> Result<(), Problem> {
        if credentials.certificate != Some(&peer.certificate) {
            warn!(institution = peer.institution, "the client certificate is not the institution's");
            return Err(ProblemCode::PeerCertificateRequired.into());
        }
        self.check_signature(credentials, peer, now).map_err(|error| {
            warn!(institution = peer.institution, %error, "a signed message was refused");
            let code = match error {
                SignatureError::Header(_) | SignatureError::Key | SignatureError::Wrong => {
                    ProblemCode::SignatureWrong
                }
                SignatureError::Stale => ProblemCode::SignatureStale,
                SignatureError::Replayed => ProblemCode::SignatureReplayed,
                SignatureError::Crowded => ProblemCode::TooManyRequests,
            };
            Problem::new(code)
        })
    }

    fn check_signature(
        &self,
        credentials: &Credentials<'_>,
        peer: &Peer,
        now: Timestamp,
    ) -> Result<(), SignatureError> {
        let stamp = Stamp::read(credentials.header(TIMESTAMP), credentials.header(SERIAL))?;
        let signature = credentials.header(SIGNATURE).ok_or(SignatureError::Header(SIGNATURE))?;
        let parts = SignedParts {
            method: credentials.verb.name(),
            path: credentials.path,
            institution: &peer.institution,
            stamp,
            body: credentials.body,
        };
        parts.verify(&peer.verifier, signature)?;
        self.window.take(stamp, now)
    }
}
