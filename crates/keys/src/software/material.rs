//! A key in the clear, for the time of one call or of one handle: check values and derivation.

use sha2::{Digest, Sha256};
use tsm_epurse::{Algorithm as PurseAlgorithm, Key as PurseKey, diversification as purse_diversification};
use tsm_globalplatform::diversification::{DesScheme, KeyPurpose as KeyUse, kdf3};
use tsm_globalplatform::key::{KeyType, key_check_value};
use tsm_globalplatform::primitives::{Aes, AesKey, DesKey, TripleDes};
use zeroize::Zeroizing;

use super::signing;
use crate::derivation::{CardScheme, Derivation, DomainPath, PursePath};
use crate::description::{CheckValue, KeyAlgorithm};
use crate::reference::{DomainKey, KeyPurpose};
use crate::service::KeyError;

/// A key in the clear. Wiped when dropped, never printed.
pub(super) struct Material {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Material {
    /// A key whose length fits its algorithm.
    pub(super) fn new(algorithm: KeyAlgorithm, bytes: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        if algorithm.length().is_some_and(|length| length != bytes.len()) {
            return Err(KeyError::Length { what: "a key", length: bytes.len() });
        }
        Ok(Self { algorithm, bytes })
    }

    /// The check value; `None` when the key is not usable.
    pub(super) fn check_value(&self) -> Option<CheckValue> {
        match self.algorithm {
            KeyAlgorithm::TripleDes => key_check_value(KeyType::DES, &self.bytes).ok().map(CheckValue),
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => {
                key_check_value(KeyType::AES, &self.bytes).ok().map(CheckValue)
            }
            // SM4 keys here are purse keys, whose files carry the check value over zeros.
            KeyAlgorithm::Sm4 => Some(CheckValue(self.purse_key()?.check_value().0)),
            KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Sm2 | KeyAlgorithm::Rsa => {
                Some(signing::public_key(self)?.check_value())
            }
        }
    }

    /// The key as the purse knows it: 3DES or SM4.
    pub(super) fn purse_key(&self) -> Option<PurseKey> {
        let algorithm = match self.algorithm {
            KeyAlgorithm::TripleDes => PurseAlgorithm::TripleDes,
            KeyAlgorithm::Sm4 => PurseAlgorithm::Sm4,
            KeyAlgorithm::Aes128
            | KeyAlgorithm::Aes192
            | KeyAlgorithm::Aes256
            | KeyAlgorithm::EcdsaP256
            | KeyAlgorithm::Sm2
            | KeyAlgorithm::Rsa => return None,
        };
        Some(PurseKey::new(algorithm, self.bytes.as_slice().try_into().ok()?))
    }

    /// The leaf key that `derivation` names, if this key's purpose and algorithm allow it.
    pub(super) fn derive(&self, purpose: KeyPurpose, derivation: &Derivation) -> Result<Self, KeyError> {
        match (purpose, derivation) {
            (KeyPurpose::DomainRoot | KeyPurpose::Receipt, Derivation::Domain { path, key }) => {
                self.derive_domain_key(path, *key)
            }
            (KeyPurpose::Purse(_), Derivation::Purse(path)) => self.derive_purse_key(path),
            _ => Err(KeyError::Purpose { found: purpose, operation: "derive this key" }),
        }
    }

    /// Root -> domain AID -> SE-ID (D-40).
    pub(super) fn derive_domain_key(&self, path: &DomainPath, key: DomainKey) -> Result<Self, KeyError> {
        let domain = self.one_level(&domain_factor(path.domain.as_bytes()))?;
        domain.one_level(&se_factor(path.se_id.as_bytes(), key))
    }

    fn derive_purse_key(&self, path: &PursePath) -> Result<Self, KeyError> {
        let operation = "derive purse keys";
        let root = self.purse_key().ok_or(KeyError::Algorithm { found: self.algorithm, operation })?;
        let leaf = purse_diversification::card_key_from_root(&root, path.issuer, path.card);
        Ok(Self { algorithm: self.algorithm, bytes: Zeroizing::new(leaf.expose().to_vec()) })
    }

    /// The key of one card by a scheme that cards come with; `card_data` is the card's diversification
    /// data.
    pub(super) fn derive_for_card(
        &self,
        scheme: CardScheme,
        card_data: &[u8],
        key: DomainKey,
    ) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Algorithm { found: self.algorithm, operation: "derive card keys" };
        let data = card_data.try_into().map_err(|_| KeyError::Length {
            what: "the card's diversification data",
            length: card_data.len(),
        })?;
        let purpose = match key {
            DomainKey::Enc => KeyUse::Enc,
            DomainKey::Mac => KeyUse::Mac,
            DomainKey::Dek => KeyUse::Dek,
        };
        let diversify_des = |scheme: DesScheme| {
            let master = DesKey::from_slice(&self.bytes).map_err(refused)?;
            Ok(Zeroizing::new(scheme.diversify(&master, data, purpose).as_bytes().to_vec()))
        };
        let bytes = match (scheme, self.algorithm) {
            (CardScheme::Emv, KeyAlgorithm::TripleDes) => diversify_des(DesScheme::Emv)?,
            (CardScheme::Visa2, KeyAlgorithm::TripleDes) => diversify_des(DesScheme::Visa2)?,
            (CardScheme::Kdf3, KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256) => {
                let master = AesKey::from_slice(&self.bytes).map_err(refused)?;
                Zeroizing::new(kdf3(&master, data, purpose).as_bytes().to_vec())
            }
            (CardScheme::Emv | CardScheme::Visa2 | CardScheme::Kdf3, found) => {
                return Err(KeyError::Algorithm { found, operation: "derive card keys" });
            }
        };
        Ok(Self { algorithm: self.algorithm, bytes })
    }

    // One level encrypts 16 or 32 bytes of the factor with the key above (ECB over two DES blocks, or
    // CBC with a zero vector over AES blocks) and keeps as many as the key has.
    fn one_level(&self, factor: &[u8; 32]) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Algorithm { found: self.algorithm, operation: "derive domain keys" };
        let mut derived = Zeroizing::new(factor[..self.bytes.len().next_multiple_of(16).min(32)].to_vec());
        match self.algorithm {
            KeyAlgorithm::TripleDes => {
                TripleDes::new(&DesKey::from_slice(&self.bytes).map_err(refused)?).encrypt_ecb(&mut derived);
            }
            KeyAlgorithm::Aes128 | KeyAlgorithm::Aes192 | KeyAlgorithm::Aes256 => {
                Aes::new(&AesKey::from_slice(&self.bytes).map_err(refused)?)
                    .encrypt_cbc(&[0; 16], &mut derived);
            }
            found @ (KeyAlgorithm::Sm4 | KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Sm2 | KeyAlgorithm::Rsa) => {
                return Err(KeyError::Algorithm { found, operation: "derive domain keys" });
            }
        }
        derived.truncate(self.bytes.len());
        Ok(Self { algorithm: self.algorithm, bytes: derived })
    }
}

fn domain_factor(domain: &[u8]) -> [u8; 32] {
    Sha256::digest(domain).into()
}

fn se_factor(se_id: &[u8], key: DomainKey) -> [u8; 32] {
    Sha256::new().chain_update([key.identifier()]).chain_update(se_id).finalize().into()
}
