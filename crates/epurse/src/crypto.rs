//! Cipher primitives of the purse, for 3DES and SM4. What goes into them is composed by
//! [`crate::host`] and [`crate::card`], each for itself.
//!
//! 3DES (PBOC 2.0 part 2, annexes): session keys by two-key 3DES, transaction MACs by single-DES
//! CBC-MAC, secure messaging by the retail MAC (ISO/IEC 9797-1 algorithm 3), TAC by single DES
//! under the folded key. Padding is always 80 00.. (ISO/IEC 9797-1 method 2); a MAC is the
//! leftmost four bytes.
//!
//! SM4 (no public standard text, so an assumption, D-33): session key = SM4(key, S || not S) for the
//! same seed S, every MAC an SM4 CBC-MAC under the whole key, four bytes kept.

use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use des::{Des, TdesEde2};
use sm4::Sm4;
use zeroize::{Zeroize, Zeroizing};

use crate::{Algorithm, Challenge, Key, KeyCheckValue, SessionKey};

/// Two levels of derivation, secure-messaging data and PSAM keys are all made with this: `data`,
/// a whole number of blocks, enciphered block by block (ECB) under `key`.
pub(crate) fn encipher(key: &Key, data: &mut [u8]) {
    match key.algorithm() {
        Algorithm::TripleDes => encrypt_blocks(&TdesEde2::new(&(*key.expose()).into()), data),
        Algorithm::Sm4 => encrypt_blocks(&Sm4::new(&(*key.expose()).into()), data),
    }
}

/// The reverse of [`encipher`].
pub(crate) fn decipher(key: &Key, data: &mut [u8]) {
    match key.algorithm() {
        Algorithm::TripleDes => decrypt_blocks(&TdesEde2::new(&(*key.expose()).into()), data),
        Algorithm::Sm4 => decrypt_blocks(&Sm4::new(&(*key.expose()).into()), data),
    }
}

fn encrypt_blocks<C: BlockCipherEncrypt>(cipher: &C, data: &mut [u8]) {
    let (blocks, rest) = Block::<C>::slice_as_chunks_mut(data);
    debug_assert!(rest.is_empty(), "callers pad to whole blocks");
    cipher.encrypt_blocks(blocks);
}

fn decrypt_blocks<C: BlockCipherDecrypt>(cipher: &C, data: &mut [u8]) {
    let (blocks, rest) = Block::<C>::slice_as_chunks_mut(data);
    debug_assert!(rest.is_empty(), "callers check for whole blocks");
    cipher.decrypt_blocks(blocks);
}

/// `data` with 80 and as many zeros as fill the last block; at least one byte is added.
pub(crate) fn pad(mut data: Vec<u8>, block_length: usize) -> Vec<u8> {
    data.push(0x80);
    data.resize(data.len().next_multiple_of(block_length), 0);
    data
}

/// CBC-MAC of padded `data`: the last block, begun from `iv` (which fills at most one block).
fn cbc_mac<C: BlockCipherEncrypt>(cipher: &C, iv: &[u8], data: &[u8]) -> Block<C> {
    let mut state = Block::<C>::default();
    state.iter_mut().zip(iv).for_each(|(state, iv)| *state = *iv);
    let padded = pad(data.to_vec(), state.len());
    for block in padded.chunks_exact(state.len()) {
        state.iter_mut().zip(block).for_each(|(state, byte)| *state ^= byte);
        cipher.encrypt_block(&mut state);
    }
    state
}

fn leftmost<const N: usize>(block: &[u8]) -> [u8; N] {
    core::array::from_fn(|index| block[index])
}

/// The session key for an 8-byte seed.
pub(crate) fn session_key(key: &Key, seed: [u8; 8]) -> SessionKey {
    match key.algorithm() {
        Algorithm::TripleDes => {
            let mut block = seed;
            encipher(key, &mut block);
            SessionKey::Des(block)
        }
        Algorithm::Sm4 => {
            let mut block = with_complement(seed);
            encipher(key, &mut block);
            SessionKey::Sm4(block)
        }
    }
}

/// `half` followed by its complement.
pub(crate) fn with_complement(half: [u8; 8]) -> [u8; 16] {
    core::array::from_fn(|index| if index < 8 { half[index] } else { !half[index - 8] })
}

/// The MAC of one transaction.
pub(crate) fn transaction_mac(key: &SessionKey, data: &[u8]) -> [u8; 4] {
    match key {
        SessionKey::Des(bytes) => leftmost(&cbc_mac(&Des::new(&(*bytes).into()), &[], data)),
        SessionKey::Sm4(bytes) => leftmost(&cbc_mac(&Sm4::new(&(*bytes).into()), &[], data)),
    }
}

/// The MAC under a long-lived key: TAC, MAC3, RELOAD PIN. 3DES folds the key to one DES key
/// (left half xor right half), SM4 takes it whole.
pub(crate) fn folded_mac(key: &Key, data: &[u8]) -> [u8; 4] {
    match key.algorithm() {
        Algorithm::TripleDes => {
            let bytes = key.expose();
            let mut folded: [u8; 8] = core::array::from_fn(|index| bytes[index] ^ bytes[index + 8]);
            let mac = leftmost(&cbc_mac(&Des::new(&folded.into()), &[], data));
            folded.zeroize();
            mac
        }
        Algorithm::Sm4 => leftmost(&cbc_mac(&Sm4::new(&(*key.expose()).into()), &[], data)),
    }
}

/// The MAC of secure messaging, begun from `challenge` and zeros.
pub(crate) fn secure_messaging_mac(key: &Key, challenge: Challenge, data: &[u8]) -> [u8; 4] {
    let iv = challenge.to_bytes();
    match key.algorithm() {
        Algorithm::TripleDes => leftmost(&retail_mac(key.expose(), &iv, data)),
        Algorithm::Sm4 => leftmost(&cbc_mac(&Sm4::new(&(*key.expose()).into()), &iv, data)),
    }
}

/// ISO/IEC 9797-1 algorithm 3: single DES under the left half, the last block also through the
/// right half and back.
fn retail_mac(key: &[u8; 16], iv: &[u8], data: &[u8]) -> [u8; 8] {
    let (left, right) = (leftmost::<8>(&key[..8]), leftmost::<8>(&key[8..]));
    let (left, right) = (Des::new(&left.into()), Des::new(&right.into()));
    let mut state = cbc_mac(&left, iv, data);
    right.decrypt_block(&mut state);
    left.encrypt_block(&mut state);
    state.into()
}

/// The first three bytes of a zero block enciphered under `key`.
pub(crate) fn check_value(key: &Key) -> KeyCheckValue {
    let mut block = Zeroizing::new(vec![0; key.algorithm().block_length()]);
    encipher(key, &mut block);
    KeyCheckValue(leftmost(&block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm, text: &str) -> Key {
        Key::new(algorithm, hex::decode(text).unwrap().try_into().unwrap())
    }

    /// Source: GB/T 32907-2016 annex A, example 1.
    #[test]
    fn sm4_gives_the_example_of_its_standard() {
        let key = key(Algorithm::Sm4, "0123456789ABCDEFFEDCBA9876543210");
        let mut block = *key.expose();
        encipher(&key, &mut block);
        assert_eq!(hex::encode_upper(block), "681EDF34D206965E86B3E94F536E4246");
        decipher(&key, &mut block);
        assert_eq!(&block, key.expose());
    }

    /// Source: NIST SP 800-17, table A.1 (DES with a weak-parity key of ones, first plain text), which
    /// two-key 3DES with equal halves must repeat.
    #[test]
    fn triple_des_with_equal_halves_is_des() {
        let key = key(Algorithm::TripleDes, "01010101010101010101010101010101");
        let mut block = [0x80, 0, 0, 0, 0, 0, 0, 0];
        encipher(&key, &mut block);
        assert_eq!(hex::encode_upper(block), "95F8A5E5DD31D900");
    }

    #[test]
    fn padding_always_adds_a_byte() {
        assert_eq!(pad(vec![], 8), [0x80, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(pad(vec![1; 7], 8), [1, 1, 1, 1, 1, 1, 1, 0x80]);
        assert_eq!(pad(vec![1; 8], 8).len(), 16);
    }
}
