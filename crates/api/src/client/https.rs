//! HTTP/1.1 over TLS with kept connections and pinned authorities.
//!
//! A connection's background half is driven by the request that uses it, so nothing is spawned here.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Transport, TransportError, WireReply, WireRequest};

/// The longest reply that is read.
pub const MAX_REPLY_BYTES: usize = 8 << 20;
/// Connections kept for the next request.
const KEPT: usize = 64;

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Requests to one server over TLS.
pub struct HttpsTransport {
    address: SocketAddr,
    name: ServerName<'static>,
    host: String,
    tls: TlsConnector,
    timeout: Duration,
    kept: Mutex<Vec<Connection>>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

impl HttpsTransport {
    /// A transport to the server at `address`, whose certificate must carry `name`.
    pub fn new(
        address: SocketAddr,
        name: &str,
        tls: Arc<ClientConfig>,
        timeout: Duration,
    ) -> Result<Self, TransportError> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|_| TransportError::NotSent(format!("{name} is not a server name")))?;
        let host = format!("{name}:{}", address.port());
        Ok(Self {
            address,
            name: server,
            host,
            tls: TlsConnector::from(tls),
            timeout,
            kept: Mutex::default(),
        })
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let not_sent = |what: &str, error: &dyn std::fmt::Display| {
            TransportError::NotSent(format!("{what} {} failed: {error}", self.host))
        };
        let stream = TcpStream::connect(self.address).await.map_err(|e| not_sent("connecting to", &e))?;
        stream.set_nodelay(true).map_err(|e| not_sent("connecting to", &e))?;
        let stream = self
            .tls
            .connect(self.name.clone(), stream)
            .await
            .map_err(|e| not_sent("the TLS handshake with", &e))?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| not_sent("speaking HTTP to", &e))?;
        Ok(Connection { sender, driver: Box::pin(driver) })
    }

    /// A kept connection that the server has not closed, or a new one.
    async fn connection(&self) -> Result<Connection, TransportError> {
        loop {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = kept else {
                return self.connect().await;
            };
            if (&mut connection.driver).now_or_never().is_none() && connection.sender.is_ready() {
                return Ok(connection);
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(connection);
        }
    }

    async fn exchange(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        let mut builder = hyper::Request::builder()
            .method(request.verb.name())
            .uri(&request.path)
            .header("host", &self.host);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let request = builder
            .body(Full::new(Bytes::from(request.body)))
            .map_err(|e| TransportError::NotSent(format!("the request cannot be written: {e}")))?;
        let Connection { mut sender, mut driver } = self.connection().await?;
        let reply = {
            let work = receive(&mut sender, request);
            tokio::pin!(work);
            tokio::select! {
                biased;
                reply = &mut work => reply,
                // The connection ended: the work has whatever could still be read.
                _ = &mut driver => work.await,
            }
        };
        if reply.is_ok() {
            self.keep(Connection { sender, driver });
        }
        reply
    }
}

async fn receive(
    sender: &mut SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> Result<WireReply, TransportError> {
    let response = sender.send_request(request).await.map_err(|e| match e.is_canceled() {
        true => TransportError::NotSent(e.to_string()),
        false => TransportError::ReplyLost(e.to_string()),
    })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_REPLY_BYTES)
        .collect()
        .await
        .map_err(|e| TransportError::ReplyLost(e.to_string()))?;
    let server_timing =
        head.headers.get(crate::timing::HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let headers = head.headers.iter();
    let headers =
        headers.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    Ok(WireReply {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.to_bytes().to_vec(),
        server_timing,
    })
}

#[async_trait]
impl Transport for HttpsTransport {
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(TransportError::ReplyLost(format!("{} gave no reply in time", self.host))),
        }
    }
}
