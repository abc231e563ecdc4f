//! Calling endpoints: one typed call for all of them, counted.

mod counters;
mod differences;
pub mod files;
mod https;
mod roles;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tsm_domain::environment::{Clock, Entropy};
use uuid::Uuid;

pub use counters::{Counters, Counts};
pub use https::{HttpsTransport, MAX_REPLY_BYTES};
pub use roles::{
    ClearingPeer, PaymentPeer, PaymentUser, SeTsmPeer, SeTsmStaff, SeTsmWallet, SpTsmDesk, SpTsmPeer,
    SpTsmTerminal, SpTsmWallet,
};

use crate::endpoint::{Endpoint, Verb};
use crate::problem::{Problem, ProblemCode};
use crate::signature::{MessageSigner, SignedParts, Stamp};
use crate::timing;

/// A request before it is on any wire.
#[derive(Clone, Debug)]
pub struct WireRequest {
    /// The method.
    pub verb: Verb,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A reply off the wire.
#[derive(Clone, Debug)]
pub struct WireReply {
    /// The HTTP status.
    pub status: u16,
    /// The headers that are text, by their lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The `server-timing` header, if there was one.
    pub server_timing: Option<String>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: the request may be repeated freely.
    #[error("the server could not be reached: {0}")]
    NotSent(String),
    /// The request may have arrived: what came of it is unknown.
    #[error("the reply was lost: {0}")]
    ReplyLost(String),
}

impl WireReply {
    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Carries requests to one server: HTTPS, or the simulator's network.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request and waits for its reply.
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError>;
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused, with its reason.
    #[error("the server refused: {0}")]
    Refused(Box<Problem>),
    /// Nothing was sent.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// The request may have arrived: what came of it is unknown.
    #[error("it is unknown whether the request was carried out: {0}")]
    Unknown(String),
    /// The reply is not what the endpoint promises.
    #[error("the reply of {path} cannot be read: {reason}")]
    Unreadable {
        /// The endpoint.
        path: &'static str,
        /// Why.
        reason: String,
    },
}

impl ClientError {
    /// The server's code, if the server refused.
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            Self::NotSent(_) | Self::Unknown(_) | Self::Unreadable { .. } => None,
        }
    }

    /// What to tell someone further on.
    pub fn to_problem(&self) -> Problem {
        match self {
            Self::Refused(problem) => (**problem).clone(),
            Self::NotSent(_) => Problem::because(ProblemCode::Unavailable, self),
            Self::Unknown(_) | Self::Unreadable { .. } => Problem::because(ProblemCode::OutcomeUnknown, self),
        }
    }
}

/// How an organisation signs its requests.
#[derive(Clone)]
pub struct Signing {
    /// Its institution number.
    pub institution: String,
    /// Its key.
    pub signer: Arc<dyn MessageSigner>,
    /// When.
    pub clock: Arc<dyn Clock>,
    /// Where serials come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Signing {
    fn stamp(&self) -> Stamp {
        let mut random = [0; 16];
        self.entropy.fill(&mut random);
        Stamp { at: self.clock.now(), serial: uuid::Builder::from_random_bytes(random).into_uuid() }
    }
}

/// A protocol in which both sides sign: requests get headers, and a reply counts only when it is the other
/// side's own.
pub trait Seal: Send + Sync {
    /// The headers of a request.
    fn seal(&self, method: &str, path: &str, body: &[u8]) -> Result<Vec<(&'static str, String)>, String>;
    /// Checks that `reply` is the other side's own to `request`; why not, if it is not.
    fn check(&self, request: &WireRequest, reply: &WireReply) -> Result<(), String>;
}

/// Calls one server.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    counters: Arc<Counters>,
    bearer: Option<String>,
    signing: Option<Signing>,
    seal: Option<Arc<dyn Seal>>,
}

impl Client {
    /// A client without identity.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, counters: Arc::default(), bearer: None, signing: None, seal: None }
    }

    /// Counts into these counters, which several clients may share.
    #[must_use]
    pub fn counting(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Shows a bearer with each request.
    #[must_use]
    pub fn with_bearer(mut self, bearer: impl Into<String>) -> Self {
        self.bearer = Some(bearer.into());
        self
    }

    /// Signs each request.
    #[must_use]
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Signs each request, and takes no reply that the other side has not signed.
    #[must_use]
    pub fn sealed(mut self, seal: Arc<dyn Seal>) -> Self {
        self.seal = Some(seal);
        self
    }

    /// What was counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Calls an endpoint. `parameters` fill the path's braces in order.
    pub async fn call<Q: Serialize + Sync, R: DeserializeOwned>(
        &self,
        endpoint: &Endpoint<Q, R>,
        parameters: &[&str],
        request: &Q,
    ) -> Result<R, ClientError> {
        let unreadable = |reason: &dyn std::fmt::Display| ClientError::Unreadable {
            path: endpoint.path,
            reason: reason.to_string(),
        };
        let mut path = fill_path(endpoint.path, parameters);
        let mut body = Vec::new();
        match endpoint.verb {
            Verb::Get => path.push_str(&query(&serde_json::to_value(request).map_err(|e| unreadable(&e))?)),
            Verb::Post => body = serde_json::to_vec(request).map_err(|e| unreadable(&e))?,
        }
        let mut headers = self.headers(endpoint.verb, &path, &body);
        if let Some(seal) = &self.seal {
            let sealed = seal.seal(endpoint.verb.name(), &path, &body);
            headers.extend(sealed.map_err(ClientError::NotSent)?);
        }
        let sent = body.len();
        let request = WireRequest { verb: endpoint.verb, path, headers, body };
        let asked = self.seal.as_ref().map(|seal| (seal, request.clone()));
        let reply = self.transport.send(request).await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(TransportError::NotSent(reason)) => return Err(ClientError::NotSent(reason)),
            Err(TransportError::ReplyLost(reason)) => {
                self.counters.add(sent, 0, None);
                return Err(ClientError::Unknown(reason));
            }
        };
        let server_us = reply.server_timing.as_deref().and_then(timing::read);
        self.counters.add(sent, reply.body.len(), server_us);
        if let Some((seal, request)) = asked {
            // What the other side did is not known from somebody else's words.
            seal.check(&request, &reply).map_err(ClientError::Unknown)?;
        }
        if (200..300).contains(&reply.status) {
            return serde_json::from_slice(&reply.body).map_err(|e| unreadable(&e));
        }
        match serde_json::from_slice::<Problem>(&reply.body) {
            Ok(problem) => Err(ClientError::Refused(Box::new(problem))),
            Err(_) => Err(unreadable(&format_args!("status {} without a problem body", reply.status))),
        }
    }

    fn headers(&self, verb: Verb, path: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if verb == Verb::Post {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(bearer) = &self.bearer {
            headers.push(("authorization", format!("Bearer {bearer}")));
        }
        if let Some(signing) = &self.signing {
            let institution = &signing.institution;
            let parts = SignedParts { method: verb.name(), path, institution, stamp: signing.stamp(), body };
            headers.extend(parts.sign(&*signing.signer));
        }
        headers
    }
}

/// Puts parameters into a path; what is not a plain character is percent-encoded.
fn fill_path(path: &str, parameters: &[&str]) -> String {
    let mut filled = String::with_capacity(path.len() + 40);
    let mut parameters = parameters.iter();
    for part in path.split('/').skip(1) {
        filled.push('/');
        match part.starts_with('{').then(|| parameters.next()).flatten() {
            Some(parameter) => percent_encode(&mut filled, parameter),
            None => filled.push_str(part),
        }
    }
    filled
}

/// Writes the plain fields of an object as a query.
fn query(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        text.push(if text.is_empty() { '?' } else { '&' });
        percent_encode(&mut text, name);
        text.push('=');
        percent_encode(&mut text, &value);
    }
    text
}

fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => {
                out.push('%');
                out.push_str(&hex::encode_upper([other]));
            }
        }
    }
}

/// A random number for a request that may be repeated.
pub fn request_id(entropy: &dyn Entropy) -> crate::ids::RequestId {
    let mut random = [0; 16];
    entropy.fill(&mut random);
    crate::ids::RequestId(uuid::Builder::from_random_bytes(random).into_uuid())
}

/// A random identifier.
pub fn random_uuid(entropy: &dyn Entropy) -> Uuid {
    request_id(entropy).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::se_tsm::wallet::{CatalogueList, CatalogueQuery};
    use std::sync::Mutex;

    struct Recorder(Mutex<Vec<WireRequest>>, u16, &'static str);

    #[async_trait]
    impl Transport for Recorder {
        async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
            self.0.lock().unwrap().push(request);
            Ok(WireReply {
                status: self.1,
                headers: Vec::new(),
                body: self.2.as_bytes().to_vec(),
                server_timing: Some("app;dur=0.250".to_owned()),
            })
        }
    }

    #[test]
    fn paths_and_queries_are_encoded() {
        assert_eq!(fill_path("/a/{x}/b/{y}", &["1/2", "é"]), "/a/1%2F2/b/%C3%A9");
        let asked =
            CatalogueQuery { list: CatalogueList::Classification, class: Some("a&b".into()), page: 2 };
        assert_eq!(query(&serde_json::to_value(asked).unwrap()), "?class=a%26b&list=classification&page=2");
        assert_eq!(query(&serde_json::json!({})), "");
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_code_and_is_counted() {
        let body = r#"{"code":"no_space","message_en":"a","message_zh":"b","next_step":"c"}"#;
        let client = Client::new(Arc::new(Recorder(Mutex::default(), 422, body))).with_bearer("secret");
        let error = client.call(&crate::se_tsm::wallet::LISTS, &[], &crate::Nothing {}).await.unwrap_err();
        assert_eq!(error.code(), Some(ProblemCode::NoSpace));
        let counts = client.counters().read();
        assert_eq!((counts.requests, counts.server_us), (1, 250));
        assert_eq!(counts.received_bytes, body.len() as u64);
    }

    #[tokio::test]
    async fn a_reply_of_another_shape_is_not_taken() {
        let client = Client::new(Arc::new(Recorder(Mutex::default(), 200, "{\"download\":7}")));
        let error = client.call(&crate::se_tsm::wallet::LISTS, &[], &crate::Nothing {}).await.unwrap_err();
        assert!(matches!(error, ClientError::Unreadable { path: "/wallet/v1/lists", .. }), "{error}");
    }
}
