//! The centre's key that signs what terminals get, and the signed head of the list.

use std::sync::Arc;

use tsm_api::HexBytes;
use tsm_api::clearing::lists::{ListKey, SignedHead};
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::CardList;
use tsm_keys::{KeyAlgorithm, KeyError, KeyPurpose, KeyReference, PublicKey, SignatureScheme};

use super::Clearing;
use super::access::Institution;
use crate::server::Call;

/// The key that terminals get at their installation.
pub(super) async fn list_key(
    centre: Arc<Clearing>,
    _call: Call<Institution, Nothing>,
) -> Result<ListKey, Problem> {
    let key = centre.signing_key()?;
    match centre.keys.public_key(&key).map_err(refused)? {
        PublicKey::EcdsaP256(point) => Ok(ListKey { point: HexBytes(point.to_vec()) }),
        PublicKey::Rsa { .. } | PublicKey::Sm2(_) => Err(ProblemCode::Internal.into()),
    }
}

impl Clearing {
    /// The centre's word about its list.
    pub(super) fn signed_head(&self, list: &CardList) -> Result<SignedHead, Problem> {
        let (version, digest, at) = (list.version().0, list.digest().0, self.now());
        let signature = self.signed_for_terminals(&SignedHead::signed_bytes(version, &digest, at))?;
        Ok(SignedHead { version, digest: HexBytes(digest.to_vec()), at, signature })
    }

    /// A signature that terminals verify.
    pub(super) fn signed_for_terminals(&self, message: &[u8]) -> Result<HexBytes, Problem> {
        let key = self.signing_key()?;
        self.keys.sign(&key, SignatureScheme::EcdsaP256Sha256, message).map(HexBytes).map_err(refused)
    }

    /// The key's name. A key service that has none yet draws it: it never leaves the service.
    fn signing_key(&self) -> Result<KeyReference, Problem> {
        let key = KeyReference::new(KeyPurpose::Message, "clearing", "terminals", 1)
            .map_err(|_| Problem::new(ProblemCode::Internal))?;
        match self.keys.describe(&key) {
            Ok(_) => Ok(key),
            Err(KeyError::Unknown(_)) => match self.keys.generate(&key, KeyAlgorithm::EcdsaP256) {
                Ok(_) | Err(KeyError::Exists(_)) => Ok(key),
                Err(error) => Err(refused(error)),
            },
            Err(error) => Err(refused(error)),
        }
    }
}

fn refused(error: KeyError) -> Problem {
    tracing::error!(%error, "the key service refused");
    ProblemCode::Internal.into()
}
