//! Signatures with keys of the service, and public keys to check them with.

use sha2::{Digest, Sha256};

use crate::description::CheckValue;

/// How a message is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// ECDSA on P-256 with SHA-256; the signature is r || s, 64 bytes. The preferred one.
    EcdsaP256Sha256,
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
    /// An RSA key.
    Rsa {
        /// The modulus, big endian, without leading zero.
        modulus: Vec<u8>,
        /// The public exponent, big endian, without leading zero.
        exponent: Vec<u8>,
    },
}

impl PublicKey {
    /// The beginning of SHA-256 over the point, or over modulus and exponent.
    pub fn check_value(&self) -> CheckValue {
        let digest = match self {
            Self::EcdsaP256(point) => Sha256::digest(point.as_slice()),
            Self::Rsa { modulus, exponent } => {
                Sha256::new().chain_update(modulus).chain_update(exponent).finalize()
            }
        };
        CheckValue([digest[0], digest[1], digest[2]])
    }
}
