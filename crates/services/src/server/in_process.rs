//! A role's endpoints without a connection: requests are handed over in the same process, with what TLS would
//! have said about the caller. The simulator's network ends here.

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tsm_api::client::{WireReply, WireRequest};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::{HexBytes, Verb};

use super::listener::{Connection, RequestNumber};
use super::routes::problem_response;

/// The longest reply that is read back; replies are made by the same process.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// An application that is called instead of served.
#[derive(Clone)]
pub struct InProcess {
    app: TowerToHyperService<Router>,
}

impl InProcess {
    /// Calls `app`.
    pub fn new(app: Router) -> Self {
        Self { app: TowerToHyperService::new(app) }
    }

    /// Hands a request over. `certificate` is the SHA-256 of the caller's client certificate, which the caller
    /// of this function vouches for as TLS would.
    pub async fn call(&self, certificate: Option<HexBytes>, request: WireRequest) -> WireReply {
        let number = RequestNumber(String::new());
        let response = match into_http(request) {
            Ok(mut request) => {
                request.extensions_mut().insert(Connection { certificate });
                request.extensions_mut().insert(number);
                match self.app.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            Err(error) => problem_response(Problem::because(ProblemCode::MalformedRequest, error), &number),
        };
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
        let headers = headers.collect();
        let body = axum::body::to_bytes(response.into_body(), MAX_REPLY_BYTES).await;
        WireReply {
            status,
            headers,
            body: body.map(|body| body.to_vec()).unwrap_or_default(),
            server_timing: None,
        }
    }
}

fn into_http(request: WireRequest) -> Result<Request<Body>, hyper::http::Error> {
    let method = match request.verb {
        Verb::Get => hyper::Method::GET,
        Verb::Post => hyper::Method::POST,
    };
    let mut http = Request::builder().method(method).uri(request.path);
    for (name, value) in request.headers {
        http = http.header(name, value);
    }
    http.body(Body::from(request.body))
}
