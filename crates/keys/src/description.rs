//! What may be said about a key without saying the key: algorithm, origin, check value.

use core::fmt;
use core::str::FromStr;

use crate::reference::KeyReference;

/// Algorithm and size of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyAlgorithm {
    /// Two-key triple DES, 16 bytes.
    TripleDes,
    /// AES with a 16-byte key.
    Aes128,
    /// AES with a 24-byte key.
    Aes192,
    /// AES with a 32-byte key.
    Aes256,
    /// SM4, 16 bytes.
    Sm4,
    /// ECDSA on P-256 with SHA-256; the key is the 32-byte private scalar.
    EcdsaP256,
    /// SM2 with SM3 (GB/T 32918); the key is the 32-byte private scalar.
    Sm2,
    /// RSA of 1024 to 4096 bits; the key is the PKCS#8 document.
    Rsa,
}

impl KeyAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 8] = [
        Self::TripleDes,
        Self::Aes128,
        Self::Aes192,
        Self::Aes256,
        Self::Sm4,
        Self::EcdsaP256,
        Self::Sm2,
        Self::Rsa,
    ];

    /// The length of a symmetric or elliptic-curve key; RSA documents vary.
    pub const fn length(self) -> Option<usize> {
        match self {
            Self::TripleDes | Self::Aes128 | Self::Sm4 => Some(16),
            Self::Aes192 => Some(24),
            Self::Aes256 | Self::EcdsaP256 | Self::Sm2 => Some(32),
            Self::Rsa => None,
        }
    }

    /// Whether one secret key does both directions.
    pub const fn is_symmetric(self) -> bool {
        match self {
            Self::TripleDes | Self::Aes128 | Self::Aes192 | Self::Aes256 | Self::Sm4 => true,
            Self::EcdsaP256 | Self::Sm2 | Self::Rsa => false,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::TripleDes => "3des",
            Self::Aes128 => "aes-128",
            Self::Aes192 => "aes-192",
            Self::Aes256 => "aes-256",
            Self::Sm4 => "sm4",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Sm2 => "sm2",
            Self::Rsa => "rsa",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The text names no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key algorithm {0:?}")]
pub struct UnknownAlgorithm(String);

impl FromStr for KeyAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.word() == text)
            .ok_or_else(|| UnknownAlgorithm(text.to_owned()))
    }
}

/// The three bytes by which two parties compare a key without showing it (GPC 2.3.1, B.6).
///
/// For a P-256, SM2 or RSA key it is the beginning of SHA-256 over the public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckValue(pub [u8; 3]);

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl fmt::Debug for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckValue({self})")
    }
}

/// Where a key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOrigin {
    /// Drawn inside the service.
    Generated,
    /// Brought in under a transport key or in a ceremony.
    Imported,
    /// A published or built-in value of the development profile; a production profile refuses it.
    Development,
}

/// What a key service tells about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// Its name.
    pub reference: KeyReference,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// Where it came from.
    pub origin: KeyOrigin,
    /// Its check value.
    pub check_value: CheckValue,
}
