//! Reaching the SP-TSMs of providers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustls::ClientConfig;
use tsm_api::client::{Client, HttpsTransport, Signing, SpTsmPeer};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::provider::Provider;

/// How the SP-TSM of a provider is reached.
#[async_trait]
pub trait SpTsms: Send + Sync {
    /// A client of the provider's SP-TSM.
    async fn of(&self, provider: &Provider) -> Result<SpTsmPeer, Problem>;
}

/// SP-TSMs over mutual TLS, with signed messages.
pub struct HttpsSpTsms {
    tls: Arc<ClientConfig>,
    signing: Signing,
    timeout: Duration,
    known: Mutex<HashMap<String, SpTsmPeer>>,
}

impl HttpsSpTsms {
    /// SP-TSMs whose certificates `tls` trusts, called with its client certificate and this signature.
    pub fn new(tls: Arc<ClientConfig>, signing: Signing, timeout: Duration) -> Self {
        Self { tls, signing, timeout, known: Mutex::default() }
    }
}

#[async_trait]
impl SpTsms for HttpsSpTsms {
    async fn of(&self, provider: &Provider) -> Result<SpTsmPeer, Problem> {
        let unreachable = |reason: &dyn std::fmt::Display| Problem::because(ProblemCode::Unavailable, reason);
        let place = provider.address.as_deref().ok_or_else(|| unreachable(&"The provider has no SP-TSM."))?;
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(place) {
            return Ok(known.clone());
        }
        let (name, _) =
            place.rsplit_once(':').ok_or_else(|| unreachable(&"The SP-TSM's address has no port."))?;
        let mut found = tokio::net::lookup_host(place).await.map_err(|error| unreachable(&error))?;
        let address = found.next().ok_or_else(|| unreachable(&"The SP-TSM's name leads nowhere."))?;
        let transport = HttpsTransport::new(address, name, self.tls.clone(), self.timeout)
            .map_err(|error| unreachable(&error))?;
        let client = SpTsmPeer::new(Client::new(Arc::new(transport)).signing(self.signing.clone()));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(place.to_owned(), client.clone());
        Ok(client)
    }
}
