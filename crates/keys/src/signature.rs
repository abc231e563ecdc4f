//! Signatures with keys of the service, and public keys to check them with.

use p256::ecdsa::signature::Verifier as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::description::CheckValue;

/// The distinguishing identifier of a signer who has agreed on no other (GB/T 35276, 10).
pub const SM2_IDENTIFIER: &str = "1234567812345678";

/// An RSA key shorter than this signs no SHA-256 message that is believed.
const LEAST_RSA_BYTES: usize = 256;

// RFC 8017, 9.2, note 1: the DER of DigestInfo before the digest.
pub(crate) const SHA1_PREFIX: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2B, 0x0E, 0x03, 0x02, 0x1A, 0x05, 0x00, 0x04, 0x14];
pub(crate) const SHA256_PREFIX: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// How a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// ECDSA on P-256 with SHA-256; the signature is r || s, 64 bytes. The preferred one.
    EcdsaP256Sha256,
    /// SM2 with SM3 and the default distinguishing identifier (GB/T 32918.2); the signature is r || s, 64 bytes.
    Sm2Sm3,
    /// RSASSA-PKCS1-v1_5 with SHA-1, as older cards' tokens and DAP blocks need it.
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
}

/// A public key, to be put into a card or handed to a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// A point of P-256, uncompressed (04 || x || y).
    EcdsaP256(Box<[u8; 65]>),
    /// A point of the SM2 curve (GB/T 32918.5), uncompressed.
    Sm2(Box<[u8; 65]>),
    /// An RSA key.
    Rsa {
        /// The modulus, big endian, without leading zero.
        modulus: Vec<u8>,
        /// The public exponent, big endian, without leading zero.
        exponent: Vec<u8>,
    },
}

/// The signature is not one of this key over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is wrong")]
pub struct WrongSignature;

impl PublicKey {
    /// The beginning of SHA-256 over the point, or over modulus and exponent.
    pub fn check_value(&self) -> CheckValue {
        let digest = self.fingerprint();
        CheckValue([digest[0], digest[1], digest[2]])
    }

    /// SHA-256 over the point, or over modulus and exponent.
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::EcdsaP256(point) | Self::Sm2(point) => Sha256::digest(point.as_slice()).into(),
            Self::Rsa { modulus, exponent } => {
                Sha256::new().chain_update(modulus).chain_update(exponent).finalize().into()
            }
        }
    }

    /// Checks a signature in `scheme`; a scheme of another algorithm is wrong.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        let right = match (self, scheme) {
            (Self::EcdsaP256(point), SignatureScheme::EcdsaP256Sha256) => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point.as_slice());
                let signature = p256::ecdsa::Signature::from_slice(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(message, &signature).is_ok())
            }
            (Self::Sm2(point), SignatureScheme::Sm2Sm3) => {
                let key = sm2::dsa::VerifyingKey::from_sec1_bytes(SM2_IDENTIFIER, point.as_slice());
                let signature = sm2::dsa::Signature::from_slice(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify(message, &signature).is_ok())
            }
            (Self::Rsa { modulus, exponent }, SignatureScheme::RsaSha1) => {
                verify_rsa(modulus, exponent, &SHA1_PREFIX, &Sha1::digest(message), signature)
            }
            (Self::Rsa { modulus, exponent }, SignatureScheme::RsaSha256) => {
                modulus.len() >= LEAST_RSA_BYTES
                    && verify_rsa(modulus, exponent, &SHA256_PREFIX, &Sha256::digest(message), signature)
            }
            _ => false,
        };
        if right { Ok(()) } else { Err(WrongSignature) }
    }
}

fn verify_rsa(modulus: &[u8], exponent: &[u8], prefix: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    let key = RsaPublicKey::new(BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
    let scheme = Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: prefix.into() };
    key.is_ok_and(|key| key.verify(scheme, digest, signature).is_ok())
}
