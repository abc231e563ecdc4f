//! EXTERNAL and INTERNAL AUTHENTICATE, card side. SM4 keeps the left half of its block (D-33).

use subtle::ConstantTimeEq;

use crate::{
    Algorithm, Challenge, Key,
    commands::{ExternalAuthenticate, InternalAuthenticate},
    crypto,
};

/// Whether the host enciphered this card's challenge under `key`; compared in constant time.
#[must_use]
pub fn verify_external(key: &Key, challenge: Challenge, command: &ExternalAuthenticate) -> bool {
    let [a, b, c, d] = challenge.to_bytes();
    enciphered(key, [a, b, c, d, 0, 0, 0, 0]).ct_eq(&command.cryptogram).into()
}

/// The answer to INTERNAL AUTHENTICATE.
pub fn internal(key: &Key, command: &InternalAuthenticate) -> [u8; 8] {
    enciphered(key, command.challenge)
}

fn enciphered(key: &Key, mut data: [u8; 8]) -> [u8; 8] {
    match key.algorithm() {
        Algorithm::TripleDes => crypto::encipher(key, &mut data),
        Algorithm::Sm4 => {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&data);
            crypto::encipher(key, &mut block);
            data.copy_from_slice(&block[..8]);
        }
    }
    data
}
