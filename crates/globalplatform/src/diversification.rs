//! Key diversification: card keys from master keys.
//!
//! Three schemes that cards in the field use with the diversification data of INITIALIZE UPDATE,
//! and the two-level scheme by which the initial keys of supplementary security domains come from
//! a root key (decision D-40): root, then security domain AID, then SE-ID.

use zeroize::Zeroize;

use crate::{
    key::KeySet,
    primitives::{AES_BLOCK, Aes, AesCmac, AesKey, DesKey, TripleDes},
};

/// Which of the three keys of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// Identifier 01: encryption.
    Enc,
    /// Identifier 02: MAC.
    Mac,
    /// Identifier 03: data encryption.
    Dek,
}

/// Triple DES schemes over the ten bytes of diversification data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DesScheme {
    /// EMV Card Personalization Specification 1.1, 4.1: the last six bytes.
    Emv,
    /// Visa GlobalPlatform 2.1.1: the first two bytes and the fifth to the eighth.
    Visa2,
}

impl KeyPurpose {
    /// The key identifier.
    pub const fn identifier(self) -> u8 {
        match self {
            Self::Enc => 0x01,
            Self::Mac => 0x02,
            Self::Dek => 0x03,
        }
    }
}

impl DesScheme {
    /// The key for `purpose` of the card with these diversification data.
    pub fn diversify(self, master: &DesKey, data: &[u8; 10], purpose: KeyPurpose) -> DesKey {
        let [a, b, c, d, e, f] = match self {
            Self::Emv => [data[4], data[5], data[6], data[7], data[8], data[9]],
            Self::Visa2 => [data[0], data[1], data[4], data[5], data[6], data[7]],
        };
        let identifier = purpose.identifier();
        let mut key = [a, b, c, d, e, f, 0xF0, identifier, a, b, c, d, e, f, 0x0F, identifier];
        TripleDes::new(master).encrypt_ecb(&mut key);
        let diversified = DesKey::new(key);
        key.zeroize();
        diversified
    }

    /// All three keys.
    pub fn key_set(self, master: &DesKey, data: &[u8; 10], version: u8) -> KeySet<DesKey> {
        let key = |purpose| self.diversify(master, data, purpose);
        KeySet { version, enc: key(KeyPurpose::Enc), mac: key(KeyPurpose::Mac), dek: key(KeyPurpose::Dek) }
    }
}

/// KDF3: NIST SP 800-108 in counter mode with AES-CMAC and an 8-bit counter in front; the fixed input
/// is the key identifier in four bytes, a zero byte and the diversification data.
pub fn kdf3(master: &AesKey, data: &[u8; 10], purpose: KeyPurpose) -> AesKey {
    let fixed = [0x00, 0x00, 0x00, purpose.identifier(), 0x00];
    let mut prf = AesCmac::new(master);
    let mut bytes = [0; 32];
    for (counter, block) in
        (1u8..).zip(bytes[..master.length().next_multiple_of(16)].chunks_exact_mut(AES_BLOCK))
    {
        block.copy_from_slice(&prf.mac(&[&[counter], &fixed, data]));
    }
    let key = AesKey::from_slice(&bytes[..master.length()]).expect("as long as the master key");
    bytes.zeroize();
    key
}

/// Eight bytes that tell apart what keys are for: an institution, a security domain, a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Factor([u8; 8]);

impl Factor {
    /// A factor from its bytes.
    pub const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The rightmost eight bytes of an identifier, filled with zero bytes on the left: AIDs and
    /// SE-IDs differ on their right.
    pub fn rightmost(identifier: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let tail = &identifier[identifier.len().saturating_sub(8)..];
        bytes[8 - tail.len()..].copy_from_slice(tail);
        Self(bytes)
    }

    /// The factor, then its complement: the block that a level encrypts.
    fn block(self) -> [u8; 16] {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&self.0);
        block[8..].copy_from_slice(&self.0.map(|byte| !byte));
        block
    }
}

/// One level of triple DES diversification: the factor and its complement, each encrypted.
pub fn diversify_des(key: &DesKey, factor: Factor) -> DesKey {
    let mut block = factor.block();
    TripleDes::new(key).encrypt_ecb(&mut block);
    let diversified = DesKey::new(block);
    block.zeroize();
    diversified
}

/// One level of AES diversification: the factor and its complement encrypted as one block. Gives
/// an AES-128 key whatever the size of `key`.
pub fn diversify_aes(key: &AesKey, factor: Factor) -> AesKey {
    AesKey::from(Aes::new(key).encrypt_block(&factor.block()))
}

/// Two levels of triple DES diversification: `first` (the security domain AID), then `second`
/// (the SE-ID).
pub fn two_level_des(root: &DesKey, first: Factor, second: Factor) -> DesKey {
    diversify_des(&diversify_des(root, first), second)
}

/// Two levels of AES diversification.
pub fn two_level_aes(root: &AesKey, first: Factor, second: Factor) -> AesKey {
    diversify_aes(&diversify_aes(root, first), second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_taken_from_the_right() {
        assert_eq!(Factor::rightmost(&[1, 2, 3]), Factor::new([0, 0, 0, 0, 0, 1, 2, 3]));
        assert_eq!(Factor::rightmost(&[9, 1, 2, 3, 4, 5, 6, 7, 8]), Factor::new([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(Factor::rightmost(&[]), Factor::new([0; 8]));
    }
}
