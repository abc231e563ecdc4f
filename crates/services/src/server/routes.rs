//! From endpoints to handlers: who calls, may it, what does it say, what is answered.

use std::sync::Arc;

use async_trait::async_trait;
use axum::RequestPartsExt as _;
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, RawPathParams, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::{Access, Endpoint, HexBytes, Verb, text};

use super::listener::{Connection, RequestNumber};

/// The longest request body: a CAP file in hexadecimal, with room.
const MAX_BODY_BYTES: usize = 4 << 20;
/// How much of a longer body is read before the connection is closed.
const MAX_DISCARDED_BYTES: usize = 16 << 20;

/// What a caller shows of itself.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// The method.
    pub verb: Verb,
    /// Path and query, as signed.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, as signed.
    pub body: &'a [u8],
    /// SHA-256 of the client certificate, when one was shown and verified.
    pub certificate: Option<&'a HexBytes>,
}

impl<'a> Credentials<'a> {
    /// The bearer, if one is shown.
    pub fn bearer(&self) -> Option<&'a str> {
        self.headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A role that serves endpoints.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Whom a handler serves.
    type Caller: Send + 'static;

    /// Finds out who calls, and refuses whoever may not call an endpoint with this access.
    async fn authenticate(
        &self,
        access: Access,
        credentials: Credentials<'_>,
    ) -> Result<Self::Caller, Problem>;

    /// How a reply leaves. A role whose protocol signs replies signs them here.
    fn seal(&self, _asked: &Asked<'_>, _status: u16, _body: &[u8]) -> ReplySeal {
        ReplySeal::Plain
    }
}

/// What a reply answers.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Who may ask it.
    pub access: Access,
    /// Path and query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// How a reply leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplySeal {
    /// As it is.
    Plain,
    /// With these headers.
    Headers(Vec<(&'static str, String)>),
    /// Not at all: the caller gets what a gateway says whose server did not answer. Sandboxes do so to be
    /// like the world.
    Lost,
}

/// One call of an endpoint.
pub struct Call<C, Q> {
    /// Who calls.
    pub caller: C,
    /// The path's parameters, in order.
    pub parameters: Vec<String>,
    /// The request.
    pub request: Q,
}

impl<C, Q> Call<C, Q> {
    /// Reads the path's only or first parameter. What cannot be read names nothing.
    pub fn parameter<T: std::str::FromStr>(&self) -> Result<T, Problem> {
        let text = self.parameters.first().ok_or(ProblemCode::UnknownId)?;
        text.parse().map_err(|_| Problem::new(ProblemCode::UnknownId))
    }
}

/// Collects a role's routes.
pub struct Routes<S> {
    service: Arc<S>,
    router: Router,
    routed: Vec<(Verb, &'static str)>,
}

impl<S: Service> Routes<S> {
    /// No routes yet.
    pub fn new(service: Arc<S>) -> Self {
        Self { service, router: Router::new(), routed: Vec::new() }
    }

    /// Routes an endpoint to its handler.
    #[must_use]
    pub fn on<Q, R, H, F>(mut self, endpoint: &Endpoint<Q, R>, handler: H) -> Self
    where
        Q: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        H: Fn(Arc<S>, Call<S::Caller, Q>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        let (verb, path, access) = (endpoint.verb, endpoint.path, endpoint.access);
        let declared = endpoint.declared();
        let service = self.service.clone();
        let answer = move |request: Request| {
            let (service, handler) = (service.clone(), handler.clone());
            async move {
                let number = request.extensions().get::<RequestNumber>().cloned();
                let number = number.unwrap_or_else(|| RequestNumber(String::new()));
                let asked = (request.headers().clone(), request.uri().clone());
                let (status, body) = match handle(service.clone(), handler, verb, access, request).await {
                    Ok(reply) => (StatusCode::OK, json(&reply)),
                    Err(problem) => {
                        warn!(request = %number.0, path, code = ?problem.code, reason = %problem, "refused");
                        debug_assert!(
                            declared.has(problem.code),
                            "{path} does not declare {:?}",
                            problem.code
                        );
                        problem_json(problem, &number)
                    }
                };
                let (headers, uri) = asked;
                let path = uri.path_and_query().map_or("/", |path| path.as_str());
                let seal = service.seal(&Asked { access, path, headers: &headers }, status.as_u16(), &body);
                sealed_response(status, body, seal)
            }
        };
        let method: MethodRouter = match verb {
            Verb::Get => on(MethodFilter::GET, answer),
            Verb::Post => on(MethodFilter::POST, answer),
        };
        self.router = self.router.route(path, method);
        self.routed.push((verb, path));
        self
    }

    /// What is routed, for the test that nothing declared is missing.
    pub fn routed(&self) -> &[(Verb, &'static str)] {
        &self.routed
    }

    /// The application that a server serves.
    pub fn into_router(self) -> Router {
        self.router
            .method_not_allowed_fallback(|request: Request| refuse(request, ProblemCode::MethodNotAllowed))
            .fallback(|request: Request| refuse(request, ProblemCode::UnknownId))
    }
}

async fn refuse(request: Request, code: ProblemCode) -> Response {
    let number = request.extensions().get::<RequestNumber>().cloned();
    problem_response(code.into(), &number.unwrap_or_else(|| RequestNumber(String::new())))
}

async fn handle<S, Q, R, H, F>(
    service: Arc<S>,
    handler: H,
    verb: Verb,
    access: Access,
    request: Request,
) -> Result<R, Problem>
where
    S: Service,
    Q: DeserializeOwned,
    H: Fn(Arc<S>, Call<S::Caller, Q>) -> F,
    F: Future<Output = Result<R, Problem>>,
{
    let (mut head, body) = request.into_parts();
    let body = read_body(body).await?;
    let certificate =
        head.extensions.get::<Connection>().and_then(|connection| connection.certificate.clone());
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let credentials =
        Credentials { verb, path, headers: &head.headers, body: &body, certificate: certificate.as_ref() };
    let caller = service.authenticate(access, credentials).await?;
    let parameters = path_parameters(&mut head).await?;
    let request = match verb {
        Verb::Get => Query::try_from_uri(&head.uri).map(|Query(query)| query).map_err(malformed)?,
        Verb::Post => {
            text::check_json(&body).map_err(malformed)?;
            serde_json::from_slice(if body.is_empty() { b"{}" } else { &body }).map_err(malformed)?
        }
    };
    handler(service, Call { caller, parameters, request }).await
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    Problem::because(ProblemCode::MalformedRequest, error)
}

async fn read_body(mut body: Body) -> Result<Bytes, Problem> {
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(malformed)?.into_data() else { continue };
        seen += data.len();
        if seen <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        } else if seen > MAX_DISCARDED_BYTES {
            break;
        }
    }
    // A body that is a little too long is read and dropped, so that the caller can read why.
    if seen > MAX_BODY_BYTES { Err(ProblemCode::TooLarge.into()) } else { Ok(kept.into()) }
}

async fn path_parameters(head: &mut Parts) -> Result<Vec<String>, Problem> {
    let parameters: RawPathParams = head.extract().await.map_err(malformed)?;
    Ok(parameters.iter().map(|(_, value)| value.to_owned()).collect())
}

fn json<R: Serialize>(reply: &R) -> Vec<u8> {
    serde_json::to_vec(reply).unwrap_or_default()
}

fn response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn sealed_response(status: StatusCode, body: Vec<u8>, seal: ReplySeal) -> Response {
    match seal {
        ReplySeal::Plain => response(status, body),
        ReplySeal::Lost => response(StatusCode::GATEWAY_TIMEOUT, Vec::new()),
        ReplySeal::Headers(headers) => {
            let mut response = response(status, body);
            for (name, value) in headers {
                if let Ok(value) = HeaderValue::try_from(value) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
    }
}

fn problem_json(mut problem: Problem, number: &RequestNumber) -> (StatusCode, Vec<u8>) {
    problem.request_id = Some(number.0.clone());
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, json(&problem))
}

pub(super) fn problem_response(problem: Problem, number: &RequestNumber) -> Response {
    let (status, body) = problem_json(problem, number);
    response(status, body)
}
