//! Key diversification: card keys from master keys.
//!
//! The three schemes that cards in the field use with the diversification data of INITIALIZE UPDATE.
//! The two-level path of the first keys of security domains (root, AID, SE-ID) is no part of
//! GlobalPlatform: it belongs to the key service and, on its own, to the card.

use zeroize::Zeroize;

use crate::{
    key::KeySet,
    primitives::{AES_BLOCK, AesCmac, AesKey, DesKey, TripleDes},
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
