//! A phone: the wallet core with this machine's storage, network and access to a secure element.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_api::HexBytes;
use tsm_api::client::{Client, Counters, HttpsTransport};
use tsm_api::pki::{self, Trust};
use tsm_api::signature::MessageVerifier;
use tsm_wallet::network::Network;
use tsm_wallet::storage::{self, StorageError, WalletRecord, WalletStorage};
use tsm_wallet::{Wallet, WalletError};

use crate::environment;
use crate::handset::{CardLink, Handset, Meter};
use crate::report::Cost;

/// How long the wallet waits for a reply before it asks again.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the wallet finds its servers, and whom it trusts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Servers {
    /// The SE issuer's TSM.
    pub se_tsm: SocketAddr,
    /// The card issuer's TSM.
    pub sp_tsm: SocketAddr,
    /// The payment platform.
    pub payment: SocketAddr,
    /// The authority of their certificates, in PEM. No other is trusted.
    pub authority_pem: String,
    /// The key with which the clearing centre signs riders' receipts, once it has published it: an uncompressed
    /// point on P-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_key: Option<HexBytes>,
}

impl Servers {
    /// Checks the centre's receipts.
    pub fn receipt_verifier(&self) -> Option<MessageVerifier> {
        MessageVerifier::from_point(self.receipt_key.as_ref()?.as_bytes()).ok()
    }
}

/// A phone with its wallet.
pub struct Phone {
    /// The wallet.
    pub wallet: Wallet<Handset, FileStorage>,
    counters: Arc<Counters>,
    meter: Arc<Meter>,
}

/// Why a phone could not be started.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// The authority or a server's name cannot be used.
    #[error("the servers' certificate authority or address cannot be used: {0}")]
    Servers(String),
    /// The wallet did not start.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl Phone {
    /// Switches a phone on: `home` keeps what its wallet keeps, `link` reaches its secure element.
    pub async fn start(servers: &Servers, home: &Path, link: CardLink) -> Result<Self, PhoneError> {
        let counters: Arc<Counters> = Arc::default();
        let network = network(servers, &counters)?;
        let (clock, entropy) = environment::real();
        let storage = FileStorage::new(home);
        let meter = link.meter();
        let wallet = Wallet::start(Handset::new(link), network, storage, clock, entropy).await?;
        Ok(Self { wallet, counters, meter })
    }

    /// What the card and the two TSMs have been asked so far. The payment platform's requests are not
    /// round trips of a flow.
    pub fn spent(&self) -> Cost {
        let requests = self.counters.read();
        Cost { round_trips: requests.requests, server_us: requests.server_us, ..self.meter.read() }
    }
}

/// A wallet's way to these servers; what it asks the two TSMs is counted.
pub fn network(servers: &Servers, counters: &Arc<Counters>) -> Result<Network, PhoneError> {
    let unusable = |error: &dyn std::fmt::Display| PhoneError::Servers(error.to_string());
    let trust = Trust::from_pem(&servers.authority_pem).map_err(|error| unusable(&error))?;
    let tls = pki::wallet_config(&trust).map_err(|error| unusable(&error))?;
    let client = |address: SocketAddr| {
        HttpsTransport::new(address, "localhost", tls.clone(), REPLY_TIMEOUT)
            .map(|transport| Client::new(Arc::new(transport)))
            .map_err(|error| unusable(&error))
    };
    Ok(Network {
        se_tsm: client(servers.se_tsm)?.counting(counters.clone()),
        sp_tsm: client(servers.sp_tsm)?.counting(counters.clone()),
        payment: client(servers.payment)?,
    })
}

/// The wallet's record as a file, replaced whole.
pub struct FileStorage {
    file: PathBuf,
}

impl FileStorage {
    /// Keeps the record in `home`.
    pub fn new(home: &Path) -> Self {
        Self { file: home.join("wallet.json") }
    }

    fn replace(&self, text: &[u8]) -> std::io::Result<()> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let new = self.file.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::File::open(&new)?.sync_all()?;
        std::fs::rename(new, &self.file)
    }
}

#[async_trait]
impl WalletStorage for FileStorage {
    async fn load(&self) -> Result<WalletRecord, StorageError> {
        match std::fs::read(&self.file) {
            Ok(text) => storage::decode(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(WalletRecord::default()),
            Err(error) => Err(StorageError::Unavailable(error.to_string())),
        }
    }

    async fn save(&self, record: &WalletRecord) -> Result<(), StorageError> {
        self.replace(&storage::encode(record)).map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    async fn erase(&self) -> Result<(), StorageError> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StorageError::Unavailable(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_a_restart_and_is_erased() {
        let home = std::env::temp_dir().join(format!("opentsm-wallet-{}", std::process::id()));
        let storage = FileStorage::new(&home);
        let record = WalletRecord { version: storage::RECORD_VERSION, ..WalletRecord::default() };
        crate::block_on(async {
            assert_eq!(storage.load().await.unwrap().installed, []);
            storage.save(&record).await.unwrap();
            assert_eq!(FileStorage::new(&home).load().await.unwrap(), record);
            storage.erase().await.unwrap();
            storage.erase().await.unwrap();
            assert_eq!(storage.load().await.unwrap(), WalletRecord::default());
        });
        std::fs::remove_dir_all(home).unwrap();
    }
}
