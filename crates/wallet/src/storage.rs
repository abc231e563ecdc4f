//! The storage module: what the wallet keeps between starts (W-5.f).
//!
//! It keeps the configuration, the user's registration and the list of installed applications. It
//! never keeps an APDU, a password, a key or a full card number (W-9.2).

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_api::HexBytes;

/// Everything the wallet keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WalletRecord {
    /// Version of this record's layout.
    pub version: u32,
    /// The registration, once it has succeeded.
    pub registration: Option<Registration>,
    /// The applications that the wallet knows to be installed, in the order shown.
    pub installed: Vec<InstalledApplication>,
    /// Work that was begun and has not been seen to end (W-9.3.b).
    pub interrupted: Option<InterruptedWork>,
    /// What merchants are shown, so that they can address orders to this wallet; drawn when it is first asked
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_token: Option<HexBytes>,
    /// The language of messages.
    pub language: Language,
}

/// The layout version that this build writes.
pub const RECORD_VERSION: u32 = 1;

/// What a successful registration leaves (W-6.1.e).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The SE-ID that was read from the card.
    pub se_id: HexBytes,
    /// The TOKEN that the platform allocated.
    pub token: HexBytes,
    /// Version of the utilisation protocol that the user accepted (W-6.1.b).
    pub accepted_terms: String,
    /// When it was accepted, in seconds since 1970.
    pub accepted_at_s: i64,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("accepted_terms", &self.accepted_terms).finish_non_exhaustive()
    }
}

/// An application on the secure element, as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledApplication {
    /// Its AID.
    pub aid: HexBytes,
    /// Its name.
    pub name: String,
    /// The version that is installed.
    pub version: String,
    /// A newer edition is published (W-6.3.1.c).
    pub updatable: bool,
}

/// Work that the rider is asked about at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptedWork {
    /// What was being done.
    pub kind: WorkKind,
    /// The application concerned.
    pub aid: HexBytes,
    /// The order, for work that money was paid for.
    pub order: Option<String>,
}

/// The kinds of work that can be interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkKind {
    /// Opening a card or downloading an application.
    Open,
    /// Topping up.
    TopUp,
    /// Deleting.
    Delete,
    /// Paying a merchant's order from a card.
    PayOnline,
}

/// The language of everything shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    /// The text of this language.
    pub const fn pick<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// Where the record is kept. A write replaces the whole record or leaves the old one.
#[async_trait]
pub trait WalletStorage: Send + Sync {
    /// The record, or the default one at the first start.
    async fn load(&self) -> Result<WalletRecord, StorageError>;
    /// Replaces the record.
    async fn save(&self, record: &WalletRecord) -> Result<(), StorageError>;
    /// Removes everything (log-off, W-7.10).
    async fn erase(&self) -> Result<(), StorageError>;
}

/// Why the record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The phone's storage refused.
    #[error("the wallet's storage cannot be used: {0}; free some space and try again")]
    Unavailable(String),
    /// The record was written by a newer wallet.
    #[error("the wallet's data were written by a newer version ({0}); update the wallet")]
    Newer(u32),
    /// The record is damaged.
    #[error("the wallet's data are damaged; register again to rebuild them")]
    Damaged,
}

/// Reads a record from its JSON text.
pub fn decode(text: &[u8]) -> Result<WalletRecord, StorageError> {
    let record: WalletRecord = serde_json::from_slice(text).map_err(|_| StorageError::Damaged)?;
    if record.version > RECORD_VERSION { Err(StorageError::Newer(record.version)) } else { Ok(record) }
}

/// Writes a record as JSON text.
pub fn encode(record: &WalletRecord) -> Vec<u8> {
    let record = WalletRecord { version: RECORD_VERSION, ..record.clone() };
    serde_json::to_vec_pretty(&record).expect("a record of plain fields can always be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = WalletRecord {
            version: RECORD_VERSION,
            registration: Some(Registration {
                se_id: vec![1, 2].into(),
                token: vec![3].into(),
                accepted_terms: "2026-1".into(),
                accepted_at_s: 1_780_000_000,
            }),
            installed: vec![InstalledApplication {
                aid: vec![0xA0; 8].into(),
                name: "Transit".into(),
                version: "1.0.0".into(),
                updatable: false,
            }],
            interrupted: Some(InterruptedWork {
                kind: WorkKind::TopUp,
                aid: vec![0xA0; 8].into(),
                order: None,
            }),
            payer_token: Some(vec![7; 16].into()),
            language: Language::Chinese,
        };
        assert_eq!(decode(&encode(&record)), Ok(record));
    }

    /// The first layout must be readable for ever.
    #[test]
    fn reads_a_record_of_version_one() {
        let text =
            br#"{"version":1,"registration":null,"installed":[],"interrupted":null,"language":"english"}"#;
        assert_eq!(decode(text).map(|record| record.version), Ok(1));
    }

    #[test]
    fn a_newer_or_damaged_record_is_refused() {
        let newer =
            br#"{"version":2,"registration":null,"installed":[],"interrupted":null,"language":"english"}"#;
        assert_eq!(decode(newer), Err(StorageError::Newer(2)));
        assert_eq!(decode(b"{"), Err(StorageError::Damaged));
    }
}
