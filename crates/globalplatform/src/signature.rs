//! The signature algorithms of DAPs, tokens and receipts (GPC 2.3.1, B.1 to B.4 and C; amendment E).
//!
//! RSA signing here does not blind, since this crate has no randomness: a service that signs where
//! an attacker can measure it signs in a token instead. Verification has no secret to protect.

use core::fmt;

use p256::ecdsa::signature::{Signer, Verifier};
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey, traits::PublicKeyParts};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::primitives::{AesCmac, AesKey, DesKey, TripleDes, equal};

/// The hash in an RSA signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RsaHash {
    /// SHA-1, the default of GPC up to 1024-bit keys.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// A key that signs, or computes a MAC.
#[derive(Clone)]
pub enum SigningKey {
    /// RSASSA-PKCS1-v1_5 (GPC 2.3.1 B.3).
    Rsa(RsaPrivateKey, RsaHash),
    /// Single DES plus final triple DES MAC (GPC 2.3.1 B.1.2.2).
    RetailMac(DesKey),
    /// AES-CMAC (amendment D).
    AesCmac(AesKey),
    /// ECDSA on P-256 with SHA-256, written as r and s in 32 bytes each (amendment E).
    EcdsaP256(p256::ecdsa::SigningKey),
}

/// A key that verifies a signature or MAC.
#[derive(Clone)]
pub enum VerifyingKey {
    /// RSASSA-PKCS1-v1_5.
    Rsa(RsaPublicKey, RsaHash),
    /// Single DES plus final triple DES MAC.
    RetailMac(DesKey),
    /// AES-CMAC.
    AesCmac(AesKey),
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256(p256::ecdsa::VerifyingKey),
}

/// Why a key cannot be used or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum SignatureKeyError {
    /// The RSA key is malformed, too long or too short.
    #[error("the RSA key cannot be used")]
    Rsa(#[from] rsa::Error),
    /// The point or scalar is not one of P-256.
    #[error("the P-256 key cannot be used")]
    EcdsaP256,
}

/// The signature is not one of this key over this data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct WrongSignature;

impl VerifyingKey {
    /// An RSA public key from modulus and exponent, big endian, as PUT KEY carries them.
    pub fn rsa(modulus: &[u8], exponent: &[u8], hash: RsaHash) -> Result<Self, SignatureKeyError> {
        let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent))?;
        Ok(Self::Rsa(key, hash))
    }

    /// A P-256 public key from its point, uncompressed (04 x y) or compressed.
    pub fn ecdsa_p256(point: &[u8]) -> Result<Self, SignatureKeyError> {
        p256::ecdsa::VerifyingKey::from_sec1_bytes(point)
            .map(Self::EcdsaP256)
            .map_err(|_| SignatureKeyError::EcdsaP256)
    }

    /// Whether `signature` is one over `data`.
    pub fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), WrongSignature> {
        let right = match self {
            Self::Rsa(key, hash) => {
                let (scheme, digest) = hash.scheme_and_digest(data);
                key.verify(scheme, &digest, signature).is_ok()
            }
            Self::RetailMac(key) => equal(&retail_mac(key, data), signature),
            Self::AesCmac(key) => equal(&AesCmac::new(key).mac(&[data]), signature),
            Self::EcdsaP256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(data, &signature).is_ok()),
        };
        if right { Ok(()) } else { Err(WrongSignature) }
    }

    /// How many bytes a signature has.
    pub fn signature_length(&self) -> usize {
        match self {
            Self::Rsa(key, _) => key.size(),
            Self::RetailMac(_) => 8,
            Self::AesCmac(_) => 16,
            Self::EcdsaP256(_) => 64,
        }
    }
}

impl SigningKey {
    /// A P-256 key from its 32-byte scalar.
    pub fn ecdsa_p256(scalar: &[u8]) -> Result<Self, SignatureKeyError> {
        p256::ecdsa::SigningKey::from_slice(scalar)
            .map(Self::EcdsaP256)
            .map_err(|_| SignatureKeyError::EcdsaP256)
    }

    /// Signs `data`. The same data gives the same signature (RFC 6979 for ECDSA).
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignatureKeyError> {
        match self {
            Self::Rsa(key, hash) => {
                let (scheme, digest) = hash.scheme_and_digest(data);
                Ok(key.sign(scheme, &digest)?)
            }
            Self::RetailMac(key) => Ok(retail_mac(key, data).to_vec()),
            Self::AesCmac(key) => Ok(AesCmac::new(key).mac(&[data]).to_vec()),
            Self::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature =
                    key.try_sign(data).map_err(|_| SignatureKeyError::EcdsaP256)?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    }

    /// The key that verifies what this one signs; for MACs, the same secret.
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            Self::Rsa(key, hash) => VerifyingKey::Rsa(key.to_public_key(), *hash),
            Self::RetailMac(key) => VerifyingKey::RetailMac(key.clone()),
            Self::AesCmac(key) => VerifyingKey::AesCmac(key.clone()),
            Self::EcdsaP256(key) => VerifyingKey::EcdsaP256(*key.verifying_key()),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa(..) => "SigningKey::Rsa(redacted)",
            Self::RetailMac(_) => "SigningKey::RetailMac(redacted)",
            Self::AesCmac(_) => "SigningKey::AesCmac(redacted)",
            Self::EcdsaP256(_) => "SigningKey::EcdsaP256(redacted)",
        })
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa(..) => "VerifyingKey::Rsa",
            Self::RetailMac(_) => "VerifyingKey::RetailMac(redacted)",
            Self::AesCmac(_) => "VerifyingKey::AesCmac(redacted)",
            Self::EcdsaP256(_) => "VerifyingKey::EcdsaP256",
        })
    }
}

fn retail_mac(key: &DesKey, data: &[u8]) -> [u8; 8] {
    TripleDes::new(key).retail_mac(&[0; 8], &[data])
}

/// DigestInfo headers of RFC 8017, 9.2, note 1.
const SHA1_INFO: &[u8] =
    &[0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2B, 0x0E, 0x03, 0x02, 0x1A, 0x05, 0x00, 0x04, 0x14];
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

impl RsaHash {
    // The RSA crate lags behind the hash crates, so that the scheme is named by its DigestInfo.
    fn scheme_and_digest(self, data: &[u8]) -> (Pkcs1v15Sign, Vec<u8>) {
        let (info, digest) = match self {
            Self::Sha1 => (SHA1_INFO, Sha1::digest(data).to_vec()),
            Self::Sha256 => (SHA256_INFO, Sha256::digest(data).to_vec()),
        };
        (Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: info.into() }, digest)
    }
}
