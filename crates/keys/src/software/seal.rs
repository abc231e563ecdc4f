//! AES-GCM with a random nonce in front: how records, scripts and stored values are protected.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use tsm_domain::environment::Entropy;
use zeroize::Zeroizing;

const NONCE: usize = 12;
const TAG: usize = 16;

/// Encrypts: nonce, ciphertext, tag. The key has 16 or 32 bytes; `None` otherwise.
pub(super) fn seal(key: &[u8], entropy: &dyn Entropy, context: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE];
    entropy.fill(&mut nonce);
    let payload = Payload { msg: plaintext, aad: context };
    let sealed = match key.len() {
        16 => Aes128Gcm::new_from_slice(key).ok()?.encrypt(&nonce.into(), payload).ok()?,
        32 => Aes256Gcm::new_from_slice(key).ok()?.encrypt(&nonce.into(), payload).ok()?,
        _ => return None,
    };
    Some([&nonce[..], &sealed].concat())
}

/// Decrypts what [`seal`] made; `None` when key, context or bytes are not the same.
pub(super) fn unseal(key: &[u8], context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if sealed.len() < NONCE + TAG {
        return None;
    }
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>()?;
    let payload = Payload { msg: ciphertext, aad: context };
    let plaintext = match key.len() {
        16 => Aes128Gcm::new_from_slice(key).ok()?.decrypt(&(*nonce).into(), payload).ok()?,
        32 => Aes256Gcm::new_from_slice(key).ok()?.decrypt(&(*nonce).into(), payload).ok()?,
        _ => return None,
    };
    Some(Zeroizing::new(plaintext))
}
