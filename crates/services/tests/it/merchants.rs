//! A payment platform and its merchants for the tests: their keys, and a way between them on which somebody
//! can tamper.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tsm_api::client::{Transport, TransportError, WireReply, WireRequest};
use tsm_api::payment::{PaymentNotification, PaymentSignature};
use tsm_api::signature::Stamp;
use tsm_api::sp_tsm::peer::PAYMENT_NOTIFICATION;
use tsm_keys::{KeyPurpose, KeyReference, KeyService, SoftwareKeyService};
use tsm_services::payment::message::{MessageKey, RegisteredKey, RequestParts, draw_key};
use tsm_services::payment::{SandboxParts, SandboxPlatform};
use tsm_services::payment_sandbox::{Merchant, platform_key};
use tsm_services::runtime::Environment;
use uuid::Uuid;

use crate::support::SystemEntropy;

/// The owner in the platform's keys' names.
pub const PLATFORM: &str = "platform";

/// Someone with a key for payment messages.
#[derive(Clone)]
pub struct Signer {
    pub number: String,
    pub keys: SoftwareKeyService,
    pub name: KeyReference,
    pub public: RegisteredKey,
}

impl Signer {
    pub fn merchant(number: &str, scheme: PaymentSignature) -> Self {
        let name = KeyReference::new(KeyPurpose::Message, "merchant", number, 1).unwrap();
        Self::draw(number, name, scheme)
    }

    pub fn platform(scheme: PaymentSignature) -> Self {
        Self::draw("PAYMENT", platform_key(PLATFORM, scheme, 1).unwrap(), scheme)
    }

    fn draw(number: &str, name: KeyReference, scheme: PaymentSignature) -> Self {
        let keys = SoftwareKeyService::in_memory(Arc::new(SystemEntropy));
        let public = draw_key(&keys, &name, scheme).unwrap();
        Self { number: number.into(), keys, name, public }
    }

    pub fn keys(&self) -> Arc<dyn KeyService> {
        Arc::new(self.keys.clone())
    }

    pub fn key(&self) -> MessageKey {
        MessageKey::open(self.keys(), self.name.clone()).unwrap()
    }

    /// As the platform knows this merchant.
    pub fn registered(&self, link: Arc<dyn Transport>) -> Merchant {
        Merchant { institution: self.number.clone(), keys: vec![self.public.clone()], link }
    }

    /// The platform as this merchant sees it.
    pub fn sees(
        &self,
        platform: &Self,
        transport: Arc<dyn Transport>,
        environment: Environment,
    ) -> SandboxPlatform {
        let parts = SandboxParts {
            transport,
            merchant: self.number.clone(),
            key: self.key(),
            platform_keys: vec![platform.public.to_wire()],
            environment,
        };
        SandboxPlatform::new(parts).unwrap()
    }

    /// A notification to a merchant with this signer's signature.
    pub fn notification(&self, merchant: &str, word: &PaymentNotification, stamp: Stamp) -> WireRequest {
        let body = serde_json::to_vec(word).unwrap();
        let path = PAYMENT_NOTIFICATION.path;
        let parts = RequestParts { method: "POST", path, stamp, body: &body };
        let headers = self.key().seal_request(merchant, &parts).unwrap();
        WireRequest { verb: tsm_api::Verb::Post, path: path.into(), headers, body }
    }
}

/// A stamp of now.
pub fn stamp(now: jiff::Timestamp) -> Stamp {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    Stamp { at: now, serial: Uuid::from_bytes(random) }
}

/// What happens to the next request or its reply.
#[derive(Clone, Debug)]
pub enum Tampering {
    /// These bytes of the request's body become those.
    Request(&'static str, &'static str),
    /// These bytes of the reply's body become those.
    Reply(&'static str, &'static str),
    /// The reply's status becomes another.
    Status(u16),
    /// The request is sent twice; the second reply counts.
    Replay,
    /// The reply to the request before is given instead.
    OldReply,
    /// The reply has no signature.
    Unsigned,
    /// Nothing is sent.
    Cut,
}

/// A way to a server, which may change while it is used.
#[derive(Default)]
pub struct Way {
    inner: Mutex<Option<Arc<dyn Transport>>>,
    /// What happens next, and the requests to which it may happen.
    next: Mutex<Option<(&'static str, Tampering)>>,
    last_reply: Mutex<Option<WireReply>>,
}

impl Way {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub fn leads_to(&self, transport: Arc<dyn Transport>) {
        *self.inner.lock().unwrap() = Some(transport);
    }

    pub fn leads_nowhere(&self) {
        *self.inner.lock().unwrap() = None;
    }

    pub fn tamper(&self, tampering: Tampering) {
        self.tamper_at("", tampering);
    }

    /// The next request whose path has this in it.
    pub fn tamper_at(&self, path: &'static str, tampering: Tampering) {
        *self.next.lock().unwrap() = Some((path, tampering));
    }
}

fn replaced(body: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains(from), "{body}");
    body.replace(from, to).into_bytes()
}

#[async_trait]
impl Transport for Way {
    async fn send(&self, mut request: WireRequest) -> Result<WireReply, TransportError> {
        let inner = self.inner.lock().unwrap().clone();
        let inner = inner.ok_or_else(|| TransportError::NotSent("the way leads nowhere".into()))?;
        let tampering = self.next.lock().unwrap().take_if(|(path, _)| request.path.contains(*path));
        let tampering = tampering.map(|(_, tampering)| tampering);
        match &tampering {
            Some(Tampering::Cut) => return Err(TransportError::NotSent("cut".into())),
            Some(Tampering::Request(from, to)) => request.body = replaced(request.body, from, to),
            Some(Tampering::Replay) => drop(inner.send(request.clone()).await?),
            _ => {}
        }
        let mut reply = inner.send(request).await?;
        let before = self.last_reply.lock().unwrap().replace(reply.clone());
        match tampering {
            Some(Tampering::Reply(from, to)) => reply.body = replaced(reply.body, from, to),
            Some(Tampering::Status(status)) => reply.status = status,
            Some(Tampering::OldReply) => reply = before.unwrap(),
            Some(Tampering::Unsigned) => reply.headers.retain(|(name, _)| !name.starts_with("pay-")),
            _ => {}
        }
        Ok(reply)
    }
}
