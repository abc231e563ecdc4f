//! The plumbing: TLS peers, panics, limits, signatures, the graceful stop.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tsm_api::client::{Client, ClientError, HttpsTransport, Signing};
use tsm_api::pki::{self, Authority, SigningIdentity, TlsIdentity};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::signature::MessageVerifier;
use tsm_api::{Access, Endpoint, Nothing};
use tsm_services::server::{Credentials, Peer, PeerGate, Routes, ServerLimits, Service, serve};

use crate::support::{Net, SystemClock, SystemEntropy, TIMEOUT, environment};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Text {
    text: String,
}

const ECHO: Endpoint<Text, Text> = Endpoint::post("/echo/{id}", Access::Public, "Says it again.");
const PANIC: Endpoint<Nothing, Nothing> = Endpoint::post("/panic", Access::Public, "Panics.");
const PEER: Endpoint<Text, Text> = Endpoint::post("/peer", Access::Peer, "Says who calls.");
const WALLET: Endpoint<Nothing, Nothing> = Endpoint::get("/wallet", Access::Wallet, "Nobody may.");

struct Echo {
    gate: PeerGate,
    peer: Option<Peer>,
}

#[async_trait]
impl Service for Echo {
    type Caller = String;

    async fn authenticate(&self, access: Access, credentials: Credentials<'_>) -> Result<String, Problem> {
        match access {
            Access::Public => Ok(String::new()),
            Access::Peer => {
                self.gate.claimed(&credentials)?;
                let peer = self.peer.as_ref().ok_or(ProblemCode::PeerCertificateRequired)?;
                self.gate.admit(&credentials, peer, jiff::Timestamp::now())?;
                Ok(peer.institution.clone())
            }
            Access::Wallet | Access::Conversation | Access::Staff(_) | Access::Provider | Access::Payment => {
                Err(ProblemCode::SessionRequired.into())
            }
        }
    }
}

fn app(peer: Option<Peer>) -> axum::Router {
    let echo = Arc::new(Echo { gate: PeerGate::open(environment().now()), peer });
    Routes::new(echo)
        .on(&ECHO, |_, call| async move {
            let id: u32 = call.parameter()?;
            Ok(Text { text: format!("{id}: {}", call.request.text) })
        })
        .on(&PANIC, |_, _| async { panic!("the inside of the server") })
        .on(&PEER, |_, call| async move { Ok(Text { text: call.caller }) })
        .on(&WALLET, |_, _| async { Ok(Nothing {}) })
        .into_router()
}

fn text(text: &str) -> Text {
    Text { text: text.into() }
}

/// More connections than the server takes, of which none begins a handshake: whoever does gets in beside them.
#[tokio::test]
async fn silent_strangers_keep_nobody_out() {
    let net = Net::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let tls = net.authority.issue("server").unwrap().server_config(&net.authority.trust().unwrap()).unwrap();
    let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
    // On a clock that never moves no handshake takes too long.
    let still = crate::manual_time::ManualTime::new().environment();
    let server = serve(listener, tls, app(None), still, limits).unwrap();
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(tokio::net::TcpStream::connect(server.address()).await.unwrap());
    }
    let reply = net.wallet(&server).call(&ECHO, &["7"], &text("beside")).await.unwrap();
    assert_eq!(reply, text("7: beside"));
}

#[tokio::test]
async fn requests_share_a_connection_and_are_timed() {
    let net = Net::new();
    let server = net.serve(app(None)).await;
    let client = net.wallet(&server);
    for round in 0..3 {
        let reply = client.call(&ECHO, &["7"], &text("héllo")).await.unwrap();
        assert_eq!(reply, text("7: héllo"), "round {round}");
    }
    assert_eq!(client.counters().read().requests, 3);
    assert!(client.counters().read().server_us > 0);
    server.stop().await;
    let error = client.call(&ECHO, &["7"], &text("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::NotSent(_)), "{error}");
}

#[tokio::test]
async fn what_is_refused_names_its_reason_and_nothing_of_the_inside() {
    let net = Net::new();
    let server = net.serve(app(None)).await;
    let client = net.wallet(&server);
    let code = |error: ClientError| error.code().unwrap_or_else(|| panic!("{error}"));

    let error = client.call(&PANIC, &[], &Nothing {}).await.unwrap_err();
    assert!(!error.to_string().contains("inside"), "{error}");
    assert_eq!(code(error), ProblemCode::Internal);
    assert_eq!(
        code(client.call(&ECHO, &["no number"], &text("x")).await.unwrap_err()),
        ProblemCode::UnknownId
    );
    assert_eq!(code(client.call(&WALLET, &[], &Nothing {}).await.unwrap_err()), ProblemCode::SessionRequired);

    const MISSING: Endpoint<Nothing, Nothing> = Endpoint::get("/missing", Access::Public, "Is not there.");
    assert_eq!(code(client.call(&MISSING, &[], &Nothing {}).await.unwrap_err()), ProblemCode::UnknownId);
    const WRONG_METHOD: Endpoint<Nothing, Nothing> = Endpoint::get("/panic", Access::Public, "Is a POST.");
    assert_eq!(
        code(client.call(&WRONG_METHOD, &[], &Nothing {}).await.unwrap_err()),
        ProblemCode::MethodNotAllowed
    );
    const WRONG_BODY: Endpoint<Nothing, Text> =
        Endpoint::post("/echo/{id}", Access::Public, "Lacks its field.");
    assert_eq!(
        code(client.call(&WRONG_BODY, &["1"], &Nothing {}).await.unwrap_err()),
        ProblemCode::MalformedRequest
    );
    let long = text(&"x".repeat(5 << 20));
    assert_eq!(code(client.call(&ECHO, &["1"], &long).await.unwrap_err()), ProblemCode::TooLarge);
    // The server is as well as before.
    assert!(client.call(&ECHO, &["1"], &text("x")).await.is_ok());
}

/// Wrong TLS peers are refused, whichever side is wrong.
#[tokio::test]
async fn wrong_tls_peers_are_refused() {
    let net = Net::new();
    let server = net.serve(app(None)).await;
    let stranger = Authority::generate("another authority").unwrap();

    let trusts_another = pki::wallet_config(&stranger.trust().unwrap()).unwrap();
    let client = Client::new(Arc::new(
        HttpsTransport::new(server.address(), "localhost", trusts_another, TIMEOUT).unwrap(),
    ));
    let error = client.call(&ECHO, &["1"], &text("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::NotSent(_)), "{error}");

    let tls = pki::wallet_config(&net.authority.trust().unwrap()).unwrap();
    let client =
        Client::new(Arc::new(HttpsTransport::new(server.address(), "elsewhere", tls, TIMEOUT).unwrap()));
    let error = client.call(&ECHO, &["1"], &text("x")).await.unwrap_err();
    assert!(matches!(error, ClientError::NotSent(_)), "{error}");

    let foreign = stranger.issue("stranger").unwrap();
    let client = net.peer(&server, &foreign);
    let error = client.call(&ECHO, &["1"], &text("x")).await.unwrap_err();
    assert!(error.code().is_none(), "a certificate of another authority must not reach a handler: {error}");
}

/// An institution is known by its certificate and its signature together, and each message counts once.
#[tokio::test]
async fn an_institution_needs_certificate_and_signature() {
    let net = Net::new();
    let own = net.authority.issue("sp-tsm").unwrap();
    let other = net.authority.issue("other").unwrap();
    let key = SigningIdentity::generate().unwrap().signer().unwrap();
    let peer = Peer {
        institution: "0001".into(),
        name: "An institution".into(),
        certificate: own.fingerprint(),
        verifier: MessageVerifier::from_point(key.public_key().as_bytes()).unwrap(),
    };
    let server = net.serve(app(Some(peer))).await;
    let signing = |key| Signing {
        institution: "0001".into(),
        signer: Arc::new(key),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let wrong_key = SigningIdentity::generate().unwrap().signer().unwrap();
    let cases: [(Option<&TlsIdentity>, Option<Signing>, Option<ProblemCode>); 6] = [
        (Some(&own), Some(signing(key.clone())), None),
        (None, Some(signing(key.clone())), Some(ProblemCode::PeerCertificateRequired)),
        (Some(&other), Some(signing(key.clone())), Some(ProblemCode::PeerCertificateRequired)),
        (Some(&own), None, Some(ProblemCode::SignatureWrong)),
        (Some(&own), Some(signing(wrong_key)), Some(ProblemCode::SignatureWrong)),
        (None, None, Some(ProblemCode::PeerCertificateRequired)),
    ];
    for (index, (identity, signing, refusal)) in cases.into_iter().enumerate() {
        let mut client = identity.map_or_else(|| net.wallet(&server), |identity| net.peer(&server, identity));
        if let Some(signing) = signing {
            client = client.signing(signing);
        }
        match (client.call(&PEER, &[], &text("x")).await, refusal) {
            (Ok(reply), None) => assert_eq!(reply, text("0001")),
            (Err(error), Some(code)) => assert_eq!(error.code(), Some(code), "case {index}"),
            (result, _) => panic!("case {index}: {result:?}"),
        }
    }
}

/// Whoever has ended the handshake and then says nothing, from the beginning or in the middle of a request, gives its
/// place back; a connection on which something moves keeps it, however long.
#[tokio::test]
async fn a_silent_connection_ends() {
    let net = Net::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let trust = net.authority.trust().unwrap();
    let tls = net.authority.issue("server").unwrap().server_config(&trust).unwrap();
    let time = crate::manual_time::ManualTime::new();
    let limits = ServerLimits::default();
    let server = serve(listener, tls, app(None), time.environment(), limits).unwrap();
    let limit = jiff::SignedDuration::try_from(limits.idle).unwrap();
    let dial = async || {
        let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let connector = tokio_rustls::TlsConnector::from(pki::wallet_config(&trust).unwrap());
        connector.connect(name, stream).await.unwrap()
    };
    for begun in
        ["", "POST /echo/7 HTTP/1.1\r\n", "POST /echo/7 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"]
    {
        let mut line = dial().await;
        // The first reply says that the handshake has ended for the server, too.
        for round in 0..3 {
            line.write_all(b"GET /missing HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut reply = [0; 4096];
            assert!(line.read(&mut reply).await.unwrap() > 0, "{begun:?} {round}");
            assert_eq!(time.end_next_pause().await, limit, "something has moved");
        }
        line.write_all(begun.as_bytes()).await.unwrap();
        let mut ended = [0; 4096];
        let end = async { while line.read(&mut ended).await.is_ok_and(|count| count > 0) {} };
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                _ = time.end_next_pause() => {}
            }
        }
    }
}
