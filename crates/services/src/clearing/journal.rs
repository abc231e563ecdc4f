//! The journal as a whole: sealed at intervals with the centre's key, and compared with the books.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tsm_api::HexBytes;
use tsm_api::clearing::evidence::{ComparisonPage, ComparisonQuery, SealPage, SealRecord, SealsQuery};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::journal::{Seal, SignedSeal};
use tsm_keys::{KeyAlgorithm, KeyError, KeyPurpose, KeyReference, KeyService, PublicKey, SignatureScheme};
use tsm_storage::StorageError;
use tsm_storage::clearing::replay;
use tsm_storage::shared::ChainKey;

use super::Clearing;
use super::access::Institution;
use crate::server::Call;
use crate::stored;

/// Heads under one seal; what is more goes under the next.
const HEADS: usize = 1_000;
/// Seals in one page.
const SEALS: usize = 100;
/// Chains in one page of a comparison.
const CHAINS: usize = 64;

/// The key with which a centre signs receipts and seals.
pub fn journal_key() -> KeyReference {
    KeyReference::new(KeyPurpose::Message, "clearing", "journal", 1).expect("the names are plain words")
}

/// The public half of the centre's key, an uncompressed point; the key is drawn when there is none yet.
pub fn published_journal_key(keys: &dyn KeyService) -> Result<HexBytes, KeyError> {
    let reference = journal_key();
    let found = match keys.public_key(&reference) {
        Err(KeyError::Unknown(_)) => {
            match keys.generate(&reference, KeyAlgorithm::EcdsaP256) {
                // Another process of the centre was quicker.
                Ok(_) | Err(KeyError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
            keys.public_key(&reference)
        }
        other => other,
    };
    match found? {
        PublicKey::EcdsaP256(point) => Ok(HexBytes(point.to_vec())),
        PublicKey::Sm2(_) | PublicKey::Rsa { .. } => Err(KeyError::Unusable(reference)),
    }
}

/// Compares some chains.
pub(super) async fn comparison(
    centre: Arc<Clearing>,
    call: Call<Institution, ComparisonQuery>,
) -> Result<ComparisonPage, Problem> {
    centre.check_keeper(&call.caller.0)?;
    let after = call.request.after.as_deref().map(chain_from_wire).transpose()?;
    let found = replay::compare_some(&*centre.store, after, CHAINS).await;
    let found = found.map_err(|error| stored::problem(&error))?;
    for finding in &found.findings {
        tracing::error!(%finding, "the journal and the books differ");
    }
    Ok(ComparisonPage {
        chains: found.chains,
        entries: found.entries,
        transfers: found.transfers,
        transactions: found.transactions,
        paid_in_fen: i64::try_from(found.totals.paid_in + found.totals.cash_in).unwrap_or(i64::MAX),
        findings: found.findings.iter().map(ToString::to_string).collect(),
        next: found.next.map(|chain| chain.to_text()),
    })
}

fn chain_from_wire(text: &str) -> Result<ChainKey, Problem> {
    let unknown = || Problem::new(ProblemCode::UnknownId);
    let (kind, name) = text.split_once('/').ok_or_else(unknown)?;
    let chain = match kind {
        "card" => name.parse().ok().map(ChainKey::Card),
        "se" => name.parse().ok().map(ChainKey::Se),
        "operator" => name.parse().ok().map(ChainKey::Operator),
        "day" => name.parse().ok().map(ChainKey::Day),
        _ => None,
    };
    chain.ok_or_else(unknown)
}

/// Seals now.
pub(super) async fn seal(
    centre: Arc<Clearing>,
    call: Call<Institution, Nothing>,
) -> Result<SealPage, Problem> {
    centre.check_keeper(&call.caller.0)?;
    let seals = centre.seal_journal().await?;
    Ok(SealPage { seals: seals.iter().map(seal_to_wire).collect(), key: centre.journal_key()? })
}

/// The seals.
pub(super) async fn seals(
    centre: Arc<Clearing>,
    call: Call<Institution, SealsQuery>,
) -> Result<SealPage, Problem> {
    let seals = centre.store.seals(call.request.after, SEALS).await;
    let seals = seals.map_err(|error| stored::problem(&error))?;
    Ok(SealPage { seals: seals.iter().map(seal_to_wire).collect(), key: centre.journal_key()? })
}

fn seal_to_wire(signed: &SignedSeal) -> SealRecord {
    SealRecord {
        number: signed.seal.number,
        at: signed.seal.at,
        previous: HexBytes(signed.seal.previous.0.to_vec()),
        root: HexBytes(signed.seal.root.0.to_vec()),
        heads: signed.seal.heads,
        signature: HexBytes(hex::decode(&signed.signature).unwrap_or_default()),
    }
}

impl Clearing {
    /// The public half of the centre's key.
    pub(super) fn journal_key(&self) -> Result<HexBytes, Problem> {
        published_journal_key(&*self.keys).map_err(|error| refused(&error))
    }

    /// The centre's signature.
    pub(super) fn sign_journal(&self, message: &[u8]) -> Result<Vec<u8>, Problem> {
        self.journal_key()?;
        let signed = self.keys.sign(&journal_key(), SignatureScheme::EcdsaP256Sha256, message);
        signed.map_err(|error| refused(&error))
    }

    /// Seals every chain that grew since it was sealed. A seal that another process of the centre set first
    /// leaves the rest for the next time.
    pub async fn seal_journal(&self) -> Result<Vec<SignedSeal>, Problem> {
        let mut made = Vec::new();
        loop {
            let problem = |error: StorageError| stored::problem(&error);
            let mut heads = self.store.unsealed_heads(HEADS).await.map_err(problem)?;
            if heads.is_empty() {
                return Ok(made);
            }
            let last = self.store.last_seal().await.map_err(problem)?;
            let seal = Seal::following(last.as_ref().map(|last| &last.seal), &mut heads, self.now());
            let signature = hex::encode_upper(self.sign_journal(&seal.signed_bytes())?);
            let signed = SignedSeal { seal, key: journal_key().to_string(), signature };
            match self.store.put_seal(signed.clone(), heads).await {
                Ok(()) => made.push(signed),
                Err(StorageError::Conflict { .. }) => return Ok(made),
                Err(error) => return Err(problem(error)),
            }
        }
    }

    /// Seals the journal at this interval from now on.
    pub fn seal_regularly(self: &Arc<Self>, interval: Duration) {
        let centre = Arc::downgrade(self);
        let timer = self.environment.timer.clone();
        let life = async move {
            loop {
                timer.sleep(interval).await;
                let Some(centre) = centre.upgrade() else { return };
                if let Err(problem) = centre.seal_journal().await {
                    tracing::warn!(%problem, "the journal could not be sealed");
                }
            }
        };
        self.environment.spawner.spawn(life.boxed());
    }
}

fn refused(error: &KeyError) -> Problem {
    tracing::error!(%error, "the key service refused");
    ProblemCode::Internal.into()
}
