//! Keys and data on their way between organisations.
//!
//! Two keys are agreed between any two organisations: the transport key TK protects a whole
//! script, the key-encryption key KEK protects keys and sensitive values inside it, so that the
//! platform can open the script and still never sees the sensitive part (P-5.8.4.6.2.a to c).

use core::fmt;

use crate::description::{CheckValue, KeyAlgorithm};

/// A key or another sensitive value under a KEK (RFC 5649).
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedValue(pub Vec<u8>);

impl fmt::Debug for WrappedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedValue({} bytes)", self.0.len())
    }
}

/// One key under a KEK, with its check value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// The algorithm of the key inside.
    pub algorithm: KeyAlgorithm,
    /// The check value of the key inside.
    pub check_value: CheckValue,
    /// The key.
    pub value: WrappedValue,
}

/// The three keys of a security domain under a KEK, S-ENC, S-MAC, DEK: what an SP sends so that
/// the platform can put its keys into its domain without seeing them (P-5.8.3.2.1.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKeySet {
    /// S-ENC.
    pub enc: WrappedKey,
    /// S-MAC.
    pub mac: WrappedKey,
    /// DEK.
    pub dek: WrappedKey,
}

/// A script or another message under a TK: AES-256-GCM, nonce (12), ciphertext, tag (16).
#[derive(Clone, PartialEq, Eq)]
pub struct TransportMessage(pub Vec<u8>);

impl fmt::Debug for TransportMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportMessage({} bytes)", self.0.len())
    }
}

/// A value sealed for storage: AES-256-GCM, nonce (12), ciphertext, tag (16).
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue(pub Vec<u8>);

impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedValue({} bytes)", self.0.len())
    }
}

/// A key for a card, under the DEK of an open session, with its check value: what a
/// personalisation DGI carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyForCard {
    /// The algorithm of the key inside.
    pub algorithm: KeyAlgorithm,
    /// The key under the session's DEK.
    pub ciphertext: Vec<u8>,
    /// The check value of the key inside.
    pub check_value: CheckValue,
}
