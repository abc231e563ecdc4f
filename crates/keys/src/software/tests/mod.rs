//! Tests of the software key service. Card halves of the protocol crates stand in for cards.

mod between_organisations;
mod frames;
mod payment_signatures;
mod purse;
mod sessions;
mod store;

use std::sync::Mutex;

use tsm_domain::SeId;
use tsm_epurse::commands::{
    ApplicationBlock, ApplicationUnblock, BlockKind, InitializeForLoad, InitializeForLoadResponse,
};
use tsm_epurse::{
    Amount, CardFactor, CardRandom, IssuerFactor, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter,
    TerminalNumber, TerminalSequence, TransactionType,
};
use tsm_globalplatform::commands::PutKey;
use tsm_globalplatform::primitives::DesKey;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_globalplatform::{scp02, scp03};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::*;
use crate::derivation::{CardScheme, DomainPath, PursePath};
use crate::description::CheckValue;
use crate::session::{CardSession, NewKeys, Protocol, PutKeyRequest, SessionError};

/// A counter stretched by SHA-256: the same bytes in every run.
#[derive(Default)]
pub(super) struct CountingEntropy(Mutex<u64>);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        use sha2::Digest;
        let mut count = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(32) {
            *count += 1;
            chunk.copy_from_slice(&Sha256::digest(count.to_be_bytes())[..chunk.len()]);
        }
    }
}

fn service() -> SoftwareKeyService {
    SoftwareKeyService::in_memory(Arc::new(CountingEntropy::default()))
}

fn name(text: &str) -> KeyReference {
    text.parse().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn put(keys: &SoftwareKeyService, reference: &str, algorithm: KeyAlgorithm, value: &str) -> KeyReference {
    let reference = name(reference);
    keys.import_clear(&reference, algorithm, Zeroizing::new(unhex(value))).unwrap();
    reference
}

const SE_ID: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn domain_path() -> DomainPath {
    DomainPath { domain: "F04F54534D0001".parse().unwrap(), se_id: SeId::new(&SE_ID).unwrap() }
}

// The invented card of the worked examples (facts/vectors/purse-worked.json).
fn purse_path() -> Derivation {
    Derivation::Purse(PursePath {
        issuer: IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        card: CardFactor::new([0x49, 0x99, 0, 0, 0, 0x01, 0x23, 0x45]),
    })
}
