//! Processes of one role beside each other in a test: each at a name, each reachable from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tsm_api::HexBytes;
use tsm_api::client::{Client, Transport, TransportError, WireReply, WireRequest};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_services::server::{InProcess, Peer};
use tsm_services::siblings::Siblings;

/// Who is where.
pub type Places = Arc<Mutex<HashMap<&'static str, Client>>>;

/// The others, as one process knows them.
pub struct Neighbours {
    pub here: &'static str,
    pub peer: Peer,
    pub all: Places,
}

#[async_trait]
impl Siblings for Neighbours {
    fn here(&self) -> &str {
        self.here
    }

    fn peer(&self) -> &Peer {
        &self.peer
    }

    async fn at(&self, address: &str) -> Result<Client, Problem> {
        let known = self.all.lock().unwrap().get(address).cloned();
        known.ok_or_else(|| ProblemCode::Unavailable.into())
    }
}

/// A call within this process, as TLS with this certificate, if there is one, would carry it.
pub struct Direct(pub InProcess, pub Option<HexBytes>);

#[async_trait]
impl Transport for Direct {
    async fn send(&self, request: WireRequest) -> Result<WireReply, TransportError> {
        Ok(self.0.call(self.1.clone(), request).await)
    }
}
