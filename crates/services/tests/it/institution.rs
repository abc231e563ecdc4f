//! An institution for the tests: its certificate, its message key, and what others do in its name.

use std::sync::Arc;

use async_trait::async_trait;
use tsm_api::client::{Client, HttpsTransport, Signing, Transport, TransportError, WireReply, WireRequest};
use tsm_api::endpoint::{Endpoint, EndpointInfo, Nothing, Verb};
use tsm_api::pki::{SigningIdentity, TlsIdentity};
use tsm_api::problem::ProblemCode;
use tsm_api::signature::{MessageVerifier, SoftwareSigner};
use tsm_domain::environment::Clock;
use tsm_services::server::{Peer, Server};

use crate::support::{Net, SystemEntropy, TIMEOUT};

/// An institution.
pub struct Institution {
    pub number: String,
    pub identity: TlsIdentity,
    pub signer: SoftwareSigner,
}

impl Institution {
    pub fn new(net: &Net, number: &str) -> Self {
        Self {
            number: number.into(),
            identity: net.authority.issue(number).unwrap(),
            signer: SigningIdentity::generate().unwrap().signer().unwrap(),
        }
    }

    /// As its partners know it.
    pub fn peer(&self) -> Peer {
        Peer {
            institution: self.number.clone(),
            name: self.number.clone(),
            certificate: self.identity.fingerprint(),
            verifier: MessageVerifier::from_point(self.signer.public_key().as_bytes()).unwrap(),
        }
    }

    pub fn signing(&self, clock: Arc<dyn Clock>) -> Signing {
        Signing {
            institution: self.number.clone(),
            signer: Arc::new(self.signer.clone()),
            clock,
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Its client of a server.
    pub fn client(&self, net: &Net, server: &Server, clock: Arc<dyn Clock>) -> Client {
        net.peer(server, &self.identity).signing(self.signing(clock))
    }
}

/// What happens to a signed request on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tampering {
    /// These bytes of its body become those.
    Replace(&'static str, &'static str),
    /// It is sent twice; the second reply counts.
    Replay,
}

/// A way to a server on which somebody tampers.
pub struct Tampered {
    pub way: HttpsTransport,
    pub tampering: Tampering,
}

impl Tampered {
    /// The institution's client of a server, over such a way.
    pub fn client(
        from: &Institution,
        net: &Net,
        server: &Server,
        clock: Arc<dyn Clock>,
        tampering: Tampering,
    ) -> Client {
        let tls = from.identity.client_config(&net.authority.trust().unwrap()).unwrap();
        let way = HttpsTransport::new(server.address(), "localhost", tls, TIMEOUT).unwrap();
        Client::new(Arc::new(Self { way, tampering })).signing(from.signing(clock))
    }
}

#[async_trait]
impl Transport for Tampered {
    async fn send(&self, mut request: WireRequest) -> Result<WireReply, TransportError> {
        match self.tampering {
            Tampering::Replace(from, to) => {
                let body = String::from_utf8(request.body).unwrap();
                assert!(body.contains(from), "{body}");
                request.body = body.replace(from, to).into_bytes();
            }
            Tampering::Replay => drop(self.way.send(request.clone()).await?),
        }
        self.way.send(request).await
    }
}

/// Asks an endpoint for institutions in every wrong name; each is refused before anything is read.
pub async fn check_closed(
    endpoint: &EndpointInfo,
    net: &Net,
    server: &Server,
    known: &Institution,
    clock: &Arc<dyn Clock>,
) {
    let stranger = Institution::new(net, "STRANGER");
    let clock = || clock.clone();
    let in_its_name = Signing { signer: Arc::new(stranger.signer.clone()), ..known.signing(clock()) };
    let cases = [
        (
            "no certificate",
            net.wallet(server).signing(known.signing(clock())),
            ProblemCode::PeerCertificateRequired,
        ),
        ("nothing at all", net.wallet(server), ProblemCode::PeerCertificateRequired),
        ("unknown institution", stranger.client(net, server, clock()), ProblemCode::PeerCertificateRequired),
        (
            "another's certificate",
            net.peer(server, &stranger.identity).signing(known.signing(clock())),
            ProblemCode::PeerCertificateRequired,
        ),
        ("no signature", net.peer(server, &known.identity), ProblemCode::SignatureWrong),
        (
            "another's key",
            net.peer(server, &known.identity).signing(in_its_name),
            ProblemCode::SignatureWrong,
        ),
    ];
    for (case, client, expected) in cases {
        let asked: Endpoint<Nothing, Nothing> = match endpoint.verb {
            Verb::Get => Endpoint::get(endpoint.path, endpoint.access, endpoint.summary),
            Verb::Post => Endpoint::post(endpoint.path, endpoint.access, endpoint.summary),
        };
        let error = client.call(&asked, &["1"], &Nothing {}).await.unwrap_err();
        assert_eq!(error.code(), Some(expected), "{} with {case}: {error}", endpoint.path);
    }
}
