//! What the tests give the services: tokio's tasks and timers, the system's clock and randomness, a
//! throw-away authority.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tsm_api::client::{Client, HttpsTransport};
use tsm_api::pki::{self, Authority, TlsIdentity};
use tsm_domain::environment::{Clock, Entropy};
use tsm_services::runtime::{Environment, Spawner, Timer};
use tsm_services::server::{Server, ServerLimits, serve};

/// Tokio's tasks and timers.
pub struct TokioRuntime;

impl Spawner for TokioRuntime {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

impl Timer for TokioRuntime {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// The system's clock, days ahead.
#[derive(Default)]
pub struct ShiftedClock(std::sync::atomic::AtomicI64);

impl ShiftedClock {
    pub fn shift_days(&self, days: i64) {
        self.0.fetch_add(days, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> jiff::Timestamp {
        let days = self.0.load(std::sync::atomic::Ordering::SeqCst);
        jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)
    }
}

/// The system's randomness.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

/// All of them.
pub fn environment() -> Environment {
    Environment {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        spawner: Arc::new(TokioRuntime),
        timer: Arc::new(TokioRuntime),
    }
}

/// An authority with the server and clients it certifies.
pub struct Net {
    pub authority: Authority,
}

impl Net {
    pub fn new() -> Self {
        Self { authority: Authority::generate("test authority").unwrap() }
    }

    /// Serves an application on a free port of loopback.
    pub async fn serve(&self, app: axum::Router) -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let trust = self.authority.trust().unwrap();
        let tls = self.authority.issue("server").unwrap().server_config(&trust).unwrap();
        serve(listener, tls, app, environment(), ServerLimits::default()).unwrap()
    }

    /// A client without a certificate.
    pub fn wallet(&self, server: &Server) -> Client {
        let tls = pki::wallet_config(&self.authority.trust().unwrap()).unwrap();
        Client::new(Arc::new(HttpsTransport::new(server.address(), "localhost", tls, TIMEOUT).unwrap()))
    }

    /// A client with a certificate.
    pub fn peer(&self, server: &Server, identity: &TlsIdentity) -> Client {
        let tls = identity.client_config(&self.authority.trust().unwrap()).unwrap();
        Client::new(Arc::new(HttpsTransport::new(server.address(), "localhost", tls, TIMEOUT).unwrap()))
    }
}

/// How long a test waits for a reply.
pub const TIMEOUT: Duration = Duration::from_secs(30);
