//! Block ciphers as GlobalPlatform uses them (GPC 2.3.1, B.1 and B.2): triple DES with two keys,
//! AES with three key sizes, their CBC and ECB modes, MACs and padding.
//!
//! Key schedules are computed once and kept; they are wiped when dropped.

use core::fmt;

use aes::{Aes128, Aes192, Aes256};
use cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit,
};
use cmac::{Cmac, Mac};
use des::{Des, TdesEde2};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a DES block.
pub const DES_BLOCK: usize = 8;
/// Bytes of an AES block.
pub const AES_BLOCK: usize = 16;

/// A two-key triple DES key: 16 bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DesKey([u8; 16]);

/// An AES key of 16, 24 or 32 bytes.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct AesKey {
    bytes: [u8; 32],
    length: usize,
}

/// A key of the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{algorithm} keys do not have {found} bytes")]
pub struct KeyLength {
    /// The algorithm.
    pub algorithm: &'static str,
    /// The bytes given.
    pub found: usize,
}

impl DesKey {
    /// A key from its 16 bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A key from a slice, which must have 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyLength> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| KeyLength { algorithm: "two-key triple DES", found: bytes.len() })
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl AesKey {
    /// A key from its 16, 24 or 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyLength> {
        if !matches!(bytes.len(), 16 | 24 | 32) {
            return Err(KeyLength { algorithm: "AES", found: bytes.len() });
        }
        let mut padded = [0; 32];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { bytes: padded, length: bytes.len() })
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The number of bytes: 16, 24 or 32.
    pub const fn length(&self) -> usize {
        self.length
    }
}

impl From<[u8; 16]> for AesKey {
    fn from(bytes: [u8; 16]) -> Self {
        let mut padded = [0; 32];
        padded[..16].copy_from_slice(&bytes);
        Self { bytes: padded, length: 16 }
    }
}

impl fmt::Debug for DesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DesKey(redacted)")
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AesKey({} bits, redacted)", self.length * 8)
    }
}

/// Compares MACs, cryptograms and check values in constant time.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Appends 80 and as many zero bytes as fill the last block (ISO/IEC 9797-1 padding method 2).
pub fn pad(data: &mut Vec<u8>, block: usize) {
    data.push(0x80);
    data.resize(data.len().next_multiple_of(block), 0);
}

/// The length of `data` without its padding of method 2; `None` where it has none.
pub fn unpadded_length(data: &[u8]) -> Option<usize> {
    let last = data.iter().rposition(|byte| *byte != 0)?;
    (data[last] == 0x80).then_some(last)
}

/// Triple DES with two keys, and single DES with the first of them.
#[derive(Clone)]
pub struct TripleDes {
    triple: TdesEde2,
    single: Des,
}

impl TripleDes {
    /// Computes the key schedules.
    pub fn new(key: &DesKey) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&key.0[..8]);
        let cipher = Self { triple: TdesEde2::new((&key.0).into()), single: Des::new((&first).into()) };
        first.zeroize();
        cipher
    }

    /// ECB encryption in place. Whole blocks only: the rest of `data` is left as it is.
    pub fn encrypt_ecb(&self, data: &mut [u8]) {
        self.triple.encrypt_blocks(Array::slice_as_chunks_mut(data).0);
    }

    /// ECB decryption in place. Whole blocks only: the rest of `data` is left as it is.
    pub fn decrypt_ecb(&self, data: &mut [u8]) {
        self.triple.decrypt_blocks(Array::slice_as_chunks_mut(data).0);
    }

    /// CBC encryption in place, from `icv`. Whole blocks only.
    pub fn encrypt_cbc(&self, icv: &[u8; DES_BLOCK], data: &mut [u8]) {
        let mut mode = cbc::Encryptor::<&TdesEde2>::inner_iv_init(&self.triple, icv.into());
        mode.encrypt_blocks(Array::slice_as_chunks_mut(data).0);
    }

    /// CBC decryption in place, from `icv`. Whole blocks only.
    pub fn decrypt_cbc(&self, icv: &[u8; DES_BLOCK], data: &mut [u8]) {
        let mut mode = cbc::Decryptor::<&TdesEde2>::inner_iv_init(&self.triple, icv.into());
        mode.decrypt_blocks(Array::slice_as_chunks_mut(data).0);
    }

    /// One block under single DES with the first key, as ICV encryption asks (GPC 2.3.1 E.3.4).
    pub fn encrypt_single(&self, block: &[u8; DES_BLOCK]) -> [u8; DES_BLOCK] {
        let mut out = Array::from(*block);
        self.single.encrypt_block(&mut out);
        out.into()
    }

    /// Full triple DES MAC of the parts in sequence, padded (GPC 2.3.1 B.1.2.1).
    pub fn full_mac(&self, icv: &[u8; DES_BLOCK], parts: &[&[u8]]) -> [u8; DES_BLOCK] {
        let mut chain = Array::from(*icv);
        let fill = absorb(&mut chain, parts, |block| self.triple.encrypt_block(block));
        chain[fill] ^= 0x80;
        self.triple.encrypt_block(&mut chain);
        chain.into()
    }

    /// Single DES plus final triple DES MAC of the parts in sequence, padded (GPC 2.3.1 B.1.2.2).
    ///
    /// This is the retail MAC, ISO/IEC 9797-1 algorithm 3.
    pub fn retail_mac(&self, icv: &[u8; DES_BLOCK], parts: &[&[u8]]) -> [u8; DES_BLOCK] {
        let mut chain = Array::from(*icv);
        let fill = absorb(&mut chain, parts, |block| self.single.encrypt_block(block));
        chain[fill] ^= 0x80;
        self.triple.encrypt_block(&mut chain);
        chain.into()
    }
}

/// Chains all full blocks of `parts` into `chain` and XORs the rest; gives the length of the rest.
fn absorb(
    chain: &mut cipher::Block<Des>,
    parts: &[&[u8]],
    mut encrypt: impl FnMut(&mut cipher::Block<Des>),
) -> usize {
    let mut fill = 0;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(DES_BLOCK - fill));
            chain[fill..].iter_mut().zip(now).for_each(|(to, from)| *to ^= from);
            fill += now.len();
            rest = later;
            if fill == DES_BLOCK {
                encrypt(chain);
                fill = 0;
            }
        }
    }
    fill
}

impl fmt::Debug for TripleDes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TripleDes(redacted)")
    }
}

/// AES in any of its key sizes.
#[derive(Clone)]
pub enum Aes {
    /// AES-128.
    Aes128(Aes128),
    /// AES-192.
    Aes192(Aes192),
    /// AES-256.
    Aes256(Aes256),
}

/// Runs the same expression for each key size.
macro_rules! each_size {
    ($value:expr, $cipher:ident => $body:expr) => {
        match $value {
            Self::Aes128($cipher) => $body,
            Self::Aes192($cipher) => $body,
            Self::Aes256($cipher) => $body,
        }
    };
}

impl Aes {
    /// Computes the key schedule.
    pub fn new(key: &AesKey) -> Self {
        const INVARIANT: &str = "an AesKey has the length that its size says";
        match key.length {
            16 => Self::Aes128(Aes128::new_from_slice(key.as_bytes()).expect(INVARIANT)),
            24 => Self::Aes192(Aes192::new_from_slice(key.as_bytes()).expect(INVARIANT)),
            _ => Self::Aes256(Aes256::new_from_slice(key.as_bytes()).expect(INVARIANT)),
        }
    }

    /// One block encrypted.
    pub fn encrypt_block(&self, block: &[u8; AES_BLOCK]) -> [u8; AES_BLOCK] {
        let mut out = Array::from(*block);
        each_size!(self, aes => aes.encrypt_block(&mut out));
        out.into()
    }

    /// One block decrypted.
    pub fn decrypt_block(&self, block: &[u8; AES_BLOCK]) -> [u8; AES_BLOCK] {
        let mut out = Array::from(*block);
        each_size!(self, aes => aes.decrypt_block(&mut out));
        out.into()
    }

    /// CBC encryption in place, from `icv`. Whole blocks only: the rest of `data` stays as it is.
    pub fn encrypt_cbc(&self, icv: &[u8; AES_BLOCK], data: &mut [u8]) {
        let blocks = Array::slice_as_chunks_mut(data).0;
        each_size!(self, aes => cbc::Encryptor::inner_iv_init(aes, icv.into()).encrypt_blocks(blocks));
    }

    /// CBC decryption in place, from `icv`. Whole blocks only: the rest of `data` stays as it is.
    pub fn decrypt_cbc(&self, icv: &[u8; AES_BLOCK], data: &mut [u8]) {
        let blocks = Array::slice_as_chunks_mut(data).0;
        each_size!(self, aes => cbc::Decryptor::inner_iv_init(aes, icv.into()).decrypt_blocks(blocks));
    }
}

impl fmt::Debug for Aes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes(redacted)")
    }
}

/// AES-CMAC in any of the key sizes (NIST SP 800-38B).
#[derive(Clone)]
pub enum AesCmac {
    /// With AES-128.
    Aes128(Cmac<Aes128>),
    /// With AES-192.
    Aes192(Cmac<Aes192>),
    /// With AES-256.
    Aes256(Cmac<Aes256>),
}

impl AesCmac {
    /// Computes the key schedule.
    pub fn new(key: &AesKey) -> Self {
        const INVARIANT: &str = "an AesKey has the length that its size says";
        match key.length {
            16 => Self::Aes128(Cmac::new_from_slice(key.as_bytes()).expect(INVARIANT)),
            24 => Self::Aes192(Cmac::new_from_slice(key.as_bytes()).expect(INVARIANT)),
            _ => Self::Aes256(Cmac::new_from_slice(key.as_bytes()).expect(INVARIANT)),
        }
    }

    /// The MAC of the parts in sequence.
    pub fn mac(&mut self, parts: &[&[u8]]) -> [u8; AES_BLOCK] {
        each_size!(self, cmac => {
            parts.iter().for_each(|part| cmac.update(part));
            cmac.finalize_reset().into_bytes().into()
        })
    }
}

impl fmt::Debug for AesCmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesCmac(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unhex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    /// NIST SP 800-38B examples, D.1 to D.3 (example 3: 40 bytes).
    #[test]
    fn cmac_follows_sp_800_38b() {
        let message =
            unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411");
        let cases = [
            ("2b7e151628aed2a6abf7158809cf4f3c", "dfa66747de9ae63030ca32611497c827"),
            ("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", "8a1de5be2eb31aad089a82e6ee908b0e"),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "aaf3d8f1de5640c232f5b169b9c911e6",
            ),
        ];
        for (key, mac) in cases {
            let mut cmac = AesCmac::new(&AesKey::from_slice(&unhex(key)).unwrap());
            assert_eq!(hex::encode(cmac.mac(&[&message[..7], &message[7..]])), mac);
            assert_eq!(hex::encode(cmac.mac(&[&message])), mac, "the MAC starts afresh");
        }
    }

    #[test]
    fn padding_is_removed_only_where_it_stands() {
        assert_eq!(unpadded_length(&unhex("0102800000")), Some(2));
        assert_eq!(unpadded_length(&unhex("80")), Some(0));
        assert_eq!(unpadded_length(&unhex("010200")), None);
        assert_eq!(unpadded_length(&unhex("0000")), None);
        assert_eq!(unpadded_length(&[]), None);
    }

    #[test]
    fn keys_do_not_show_themselves() {
        let text = format!("{:?} {:?}", DesKey::new([0x41; 16]), AesKey::from([0x41; 16]));
        assert!(!text.contains("41"), "{text}");
        assert!(AesKey::from_slice(&[0; 20]).is_err() && DesKey::from_slice(&[0; 24]).is_err());
    }

    proptest! {
        /// The retail MAC of this module is that of the `retail-mac` crate.
        #[test]
        fn retail_mac_has_a_second_opinion(
            key: [u8; 16],
            data in proptest::collection::vec(any::<u8>(), 0..80),
            cut in 0usize..80,
        ) {
            use retail_mac::{Mac as _, RetailMac};
            let cut = cut.min(data.len());
            let ours = TripleDes::new(&DesKey::new(key)).retail_mac(&[0; 8], &[&data[..cut], &data[cut..]]);
            let mut padded = data.clone();
            pad(&mut padded, DES_BLOCK);
            let mut theirs = RetailMac::<Des>::new_from_slice(&key).unwrap();
            theirs.update(&padded);
            prop_assert_eq!(ours.to_vec(), theirs.finalize().into_bytes().to_vec());
        }

        #[test]
        fn cbc_decryption_undoes_encryption(key: [u8; 32], icv: [u8; 16], blocks in 0usize..9) {
            for length in [16, 24, 32] {
                let aes = Aes::new(&AesKey::from_slice(&key[..length]).unwrap());
                let plain: Vec<u8> = (0..blocks * 16).map(|n| n as u8).collect();
                let mut data = plain.clone();
                aes.encrypt_cbc(&icv, &mut data);
                prop_assert!(blocks == 0 || data != plain);
                aes.decrypt_cbc(&icv, &mut data);
                prop_assert_eq!(data, plain);
            }
        }
    }
}
