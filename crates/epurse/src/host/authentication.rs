//! EXTERNAL and INTERNAL AUTHENTICATE (PBOC 2.0 part 1): one side enciphers what the other drew.
//!
//! SM4 enciphers a block of 16 bytes and keeps its left half, so that commands keep their length (an
//! assumption, D-33).

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    Challenge, Key, KeyIndex,
    commands::{ExternalAuthenticate, InternalAuthenticate},
    crypto,
};

/// Answers the card's challenge.
pub fn external_authenticate(key: &Key, key_index: KeyIndex, challenge: Challenge) -> ExternalAuthenticate {
    let mut block = [0; 8];
    block[..4].copy_from_slice(&challenge.to_bytes());
    ExternalAuthenticate { key_index, cryptogram: left_half(key, block) }
}

/// Whether the card's answer to INTERNAL AUTHENTICATE shows that it has the key.
#[must_use]
pub fn verify_internal(key: &Key, command: &InternalAuthenticate, answer: &[u8]) -> bool {
    left_half(key, command.challenge).ct_eq(answer).into()
}

fn left_half(key: &Key, data: [u8; 8]) -> [u8; 8] {
    let mut block = Zeroizing::new(vec![0; key.algorithm().block_length()]);
    block[..8].copy_from_slice(&data);
    crypto::encipher(key, &mut block);
    core::array::from_fn(|index| block[index])
}
