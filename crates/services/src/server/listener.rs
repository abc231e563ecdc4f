//! Connections: TLS 1.2 and 1.3, HTTP/1.1, a graceful stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::{Service as _, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::{HexBytes, pki, timing};

use super::idle::{Moves, Moving};
use super::waiting_room::{Seats, Waiting, WaitingRoom};
use crate::runtime::Environment;

/// Connections that are still in their handshake.
const SEATS: Seats = Seats { all: 1024, of_one_address: 1024 };

/// What a server allows.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Connections at once, counted from the end of their handshake; more wait.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long nothing may move on a connection after its handshake; it ends before this has passed twice.
    pub idle: Duration,
    /// How long requests may take to end after a stop.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            drain: Duration::from_secs(10),
        }
    }
}

/// A server that is running.
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<Stop>,
    running: Arc<Semaphore>,
    environment: Environment,
    limits: ServerLimits,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stop {
    Run,
    Drain,
}

/// What a connection tells its requests.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// SHA-256 of the client certificate, when one was shown and verified.
    pub certificate: Option<HexBytes>,
}

/// The number of a request, which the log and the problem body share.
#[derive(Clone, Debug)]
pub(super) struct RequestNumber(pub String);

impl Server {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests end, and returns when all have or the time is over.
    pub async fn stop(self) {
        self.stop.send_replace(Stop::Drain);
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let ended = self.running.acquire_many(all);
        let timeout = self.environment.timer.sleep(self.limits.drain);
        tokio::select! {
            _ = ended => {}
            () = timeout => warn!(address = %self.address, "some requests did not end in time"),
        }
    }
}

/// Serves `app` on `listener` until the server is stopped or dropped.
pub fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    app: Router,
    environment: Environment,
    limits: ServerLimits,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(Stop::Run);
    let running = Arc::new(Semaphore::new(limits.connections));
    let front = Front { acceptor: TlsAcceptor::from(tls), app, environment: environment.clone(), limits };
    environment.spawner.spawn(accept(listener, Arc::new(front), running.clone(), stopped).boxed());
    info!(%address, "serving");
    Ok(Server { address, stop, running, environment, limits })
}

struct Front {
    acceptor: TlsAcceptor,
    app: Router,
    environment: Environment,
    limits: ServerLimits,
}

async fn accept(
    listener: TcpListener,
    front: Arc<Front>,
    running: Arc<Semaphore>,
    mut stopped: watch::Receiver<Stop>,
) {
    let room = WaitingRoom::new(SEATS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // An error means that the server was dropped.
            _ = stopped.changed() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                front.environment.timer.sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let (front, running, stopped) = (front.clone(), running.clone(), stopped.clone());
        let waiting = room.enter(from.ip());
        let spawner = front.environment.spawner.clone();
        spawner.spawn(async move { front.connection(stream, from, waiting, running, stopped).await }.boxed());
    }
}

impl Front {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        from: SocketAddr,
        mut waiting: Waiting,
        running: Arc<Semaphore>,
        mut stopped: watch::Receiver<Stop>,
    ) {
        // Replies are small and awaited, so they must not wait for more bytes.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%from, %error, "the connection ended before it began");
            return;
        }
        let tls = tokio::select! {
            tls = self.acceptor.accept(stream) => tls,
            () = self.environment.timer.sleep(self.limits.handshake) => Err(io::Error::other("the handshake took too long")),
            () = waiting.sent_away() => Err(io::Error::other("others wait, and its handshake did not end")),
        };
        let tls = match tls {
            Ok(tls) => tls,
            Err(error) => {
                warn!(%from, reason = %error, "a TLS peer was refused");
                return;
            }
        };
        // Only who has ended the handshake takes one of the connections.
        let permit = tokio::select! {
            permit = running.acquire_owned() => permit,
            () = waiting.sent_away() => return,
            _ = stopped.changed() => return,
        };
        let Ok(_permit) = permit else { return };
        drop(waiting);
        let certificate = tls
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| pki::fingerprint(leaf));
        let connection = Connection { certificate };
        let front = self.clone();
        let service = service_fn(move |request| front.clone().request(request, connection.clone()));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.max_buf_size(64 << 10);
        let moves = Moves::default();
        let serving = http.serve_connection(TokioIo::new(Moving::new(tls, moves.clone())), service);
        tokio::pin!(serving);
        let result = tokio::select! {
            // First, so that whatever moves afterwards counts.
            biased;
            () = moves.end(&*self.environment.timer, self.limits.idle) => {
                debug!(%from, "nothing moved on a connection for too long");
                return;
            }
            result = serving.as_mut() => result,
            _ = stopped.changed() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = result {
            debug!(%from, %error, "a connection ended early");
        }
    }

    async fn request(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        connection: Connection,
    ) -> Result<Response<axum::body::Body>, Infallible> {
        let began = self.environment.now();
        let number = RequestNumber(hex::encode(self.environment.random::<8>()));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        request.extensions_mut().insert(connection);
        request.extensions_mut().insert(number.clone());
        let app = TowerToHyperService::new(self.app.clone());
        let reply = AssertUnwindSafe(app.call(request)).catch_unwind().await;
        let mut response = match reply {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                error!(request = %number.0, %method, %path, "a handler panicked");
                super::routes::problem_response(Problem::new(ProblemCode::Internal), &number)
            }
        };
        let took = self.environment.now().duration_since(began);
        let server_us = u64::try_from(took.as_micros()).unwrap_or(0);
        info!(request = %number.0, %method, %path, status = response.status().as_u16(), server_us, "request");
        if let Ok(value) = HeaderValue::from_str(&timing::write(server_us)) {
            response.headers_mut().insert(timing::HEADER, value);
        }
        Ok(response)
    }
}
