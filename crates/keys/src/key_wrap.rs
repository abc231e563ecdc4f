//! AES key wrap with padding (RFC 5649; CKM_AES_KEY_WRAP_KWP of PKCS#11 3.0).
//!
//! Keys and sensitive data travel between organisations in this form, under a KEK. It is
//! deterministic and authenticated: a wrong KEK or a changed byte is refused.

use subtle::ConstantTimeEq;
use tsm_globalplatform::primitives::{Aes, AesKey};
use zeroize::Zeroizing;

/// The most that one value may hold; nothing of what is wrapped comes near.
pub(crate) const MAX_PLAINTEXT: usize = 4096;

// RFC 5649, section 3: the first half of the alternative initial value.
const INITIAL_VALUE: [u8; 4] = [0xA6, 0x59, 0x59, 0xA6];

/// The wrapped value did not come from this key, or was changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped value was not made with this key, or it was changed")]
pub(crate) struct UnwrapError;

/// Wraps 1 to [`MAX_PLAINTEXT`] bytes; `None` for any other length.
pub(crate) fn wrap(kek: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    if plaintext.is_empty() || plaintext.len() > MAX_PLAINTEXT {
        return None;
    }
    let cipher = Aes::new(&AesKey::from_slice(kek).ok()?);
    let mut first = [0; 8];
    first[..4].copy_from_slice(&INITIAL_VALUE);
    first[4..].copy_from_slice(&(plaintext.len() as u32).to_be_bytes());
    let mut padded = Zeroizing::new(plaintext.to_vec());
    padded.resize(plaintext.len().div_ceil(8) * 8, 0);
    if padded.len() == 8 {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&first);
        block[8..].copy_from_slice(&padded);
        return Some(cipher.encrypt_block(&block).to_vec());
    }
    Some(wrap_blocks(&cipher, first, &padded))
}

/// Unwraps what [`wrap`] made.
pub(crate) fn unwrap(kek: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) || wrapped.len() > MAX_PLAINTEXT + 8 {
        return Err(UnwrapError);
    }
    let cipher = Aes::new(&AesKey::from_slice(kek).map_err(|_| UnwrapError)?);
    let (first, mut padded) = if wrapped.len() == 16 {
        let block: [u8; 16] = wrapped.try_into().map_err(|_| UnwrapError)?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = cipher.decrypt_block(&block);
        ([a, b, c, d, e, f, g, h], Zeroizing::new(rest.to_vec()))
    } else {
        unwrap_blocks(&cipher, wrapped)
    };
    let length = u32::from_be_bytes([first[4], first[5], first[6], first[7]]) as usize;
    let right_start = bool::from(first[..4].ct_eq(&INITIAL_VALUE));
    let right_length = length <= padded.len() && length + 8 > padded.len() && length > 0;
    if !right_start || !right_length || padded[length..].iter().any(|byte| *byte != 0) {
        return Err(UnwrapError);
    }
    padded.truncate(length);
    Ok(padded)
}

// RFC 3394, 2.2.1, index form, with the initial value given.
fn wrap_blocks(cipher: &Aes, initial: [u8; 8], padded: &[u8]) -> Vec<u8> {
    let count = padded.len() / 8;
    let mut register = initial;
    let mut out = vec![0; 8];
    out.extend(padded);
    for round in 0..6 {
        for index in 1..=count {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&register);
            block[8..].copy_from_slice(&out[index * 8..index * 8 + 8]);
            block = cipher.encrypt_block(&block);
            let step = (count * round + index) as u64;
            register.copy_from_slice(&block[..8]);
            register.iter_mut().zip(step.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
            out[index * 8..index * 8 + 8].copy_from_slice(&block[8..]);
        }
    }
    out[..8].copy_from_slice(&register);
    out
}

// RFC 3394, 2.2.2, index form.
fn unwrap_blocks(cipher: &Aes, wrapped: &[u8]) -> ([u8; 8], Zeroizing<Vec<u8>>) {
    let count = wrapped.len() / 8 - 1;
    let mut register = [0; 8];
    register.copy_from_slice(&wrapped[..8]);
    let mut out = Zeroizing::new(wrapped[8..].to_vec());
    for round in (0..6).rev() {
        for index in (1..=count).rev() {
            let step = (count * round + index) as u64;
            let mut block = [0; 16];
            block[..8].copy_from_slice(&register);
            block[..8].iter_mut().zip(step.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
            block[8..].copy_from_slice(&out[index * 8 - 8..index * 8]);
            block = cipher.decrypt_block(&block);
            register.copy_from_slice(&block[..8]);
            out[index * 8 - 8..index * 8].copy_from_slice(&block[8..]);
        }
    }
    (register, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 5649, section 6.
    const KEK: [u8; 24] = [
        0x58, 0x40, 0xDF, 0x6E, 0x29, 0xB0, 0x2A, 0xF1, 0xAB, 0x49, 0x3B, 0x70, 0x5B, 0xF1, 0x6E, 0xA1, 0xAE,
        0x83, 0x38, 0xF4, 0xDC, 0xC1, 0x76, 0xA8,
    ];

    #[test]
    fn the_examples_of_rfc_5649() {
        for (plain, wrapped) in [
            (
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
            ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
        ] {
            let plain = hex::decode(plain).unwrap();
            assert_eq!(hex::encode(wrap(&KEK, &plain).unwrap()), wrapped);
            assert_eq!(*unwrap(&KEK, &hex::decode(wrapped).unwrap()).unwrap(), plain);
        }
    }

    #[test]
    fn refuses_empty_and_over_long_values() {
        assert!(wrap(&KEK, &[]).is_none());
        assert!(wrap(&KEK, &[0; MAX_PLAINTEXT + 1]).is_none());
        assert!(unwrap(&KEK, &[]).is_err());
        assert!(unwrap(&KEK, &[0; 8]).is_err());
        assert!(unwrap(&KEK, &[0; 17]).is_err());
    }

    proptest! {
        #[test]
        fn unwraps_what_it_wrapped_and_nothing_else(
            kek: [u8; 32],
            plain in proptest::collection::vec(any::<u8>(), 1..80),
            flip: prop::sample::Index,
        ) {
            let mut wrapped = wrap(&kek, &plain).unwrap();
            prop_assert_eq!(&*unwrap(&kek, &wrapped).unwrap(), &plain);
            let index = flip.index(wrapped.len());
            wrapped[index] ^= 1;
            prop_assert_eq!(unwrap(&kek, &wrapped), Err(UnwrapError));
        }
    }
}
