//! Keys of security domains: types, identifiers, sets and check values (GPC 2.3.1, 11.1.8, B.6 and
//! 7.5; amendment D, 4.1.3).

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::primitives::{Aes, AesKey, DesKey, KeyLength, TripleDes, equal};

/// The type of a key or of one of its components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Zeroize)]
pub struct KeyType(pub u8);

// GPC 2.3.1 table 11-16.
impl KeyType {
    /// 80: DES, mode implicitly known.
    pub const DES: Self = Self(0x80);
    /// 82: triple DES in CBC mode.
    pub const TRIPLE_DES_CBC: Self = Self(0x82);
    /// 85: pre-shared key for TLS.
    pub const TLS_PRE_SHARED: Self = Self(0x85);
    /// 88: AES.
    pub const AES: Self = Self(0x88);
    /// 89: SM4. Reserved in GPC 2.3.1 for symmetric algorithms; used so by this project.
    pub const SM4: Self = Self(0x89);
    /// A0: RSA public exponent, in clear.
    pub const RSA_PUBLIC_EXPONENT: Self = Self(0xA0);
    /// A1: RSA modulus, in clear.
    pub const RSA_MODULUS: Self = Self(0xA1);
    /// A2: RSA modulus of a private key.
    pub const RSA_PRIVATE_MODULUS: Self = Self(0xA2);
    /// A3: RSA private exponent.
    pub const RSA_PRIVATE_EXPONENT: Self = Self(0xA3);
    /// B0: public point of an elliptic curve key.
    pub const EC_PUBLIC: Self = Self(0xB0);
    /// B1: private scalar of an elliptic curve key.
    pub const EC_PRIVATE: Self = Self(0xB1);
    /// F0: reference to the parameters of a curve; 00 is P-256.
    pub const EC_PARAMETER_REFERENCE: Self = Self(0xF0);
    /// FF: extended format, which PUT KEY data here never has.
    pub const EXTENDED: Self = Self(0xFF);
}

/// One component of a key: its type and its value, clear or encrypted as the context says.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct KeyComponent {
    /// The type.
    pub key_type: KeyType,
    /// The value.
    pub value: Vec<u8>,
}

impl core::fmt::Debug for KeyComponent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KeyComponent(type {:02X}, {} bytes)", self.key_type.0, self.value.len())
    }
}

/// The three keys of a secure channel, in the order of their identifiers 01, 02, 03.
#[derive(Debug, Clone)]
pub struct KeySet<K> {
    /// The key version number.
    pub version: u8,
    /// Identifier 01: encryption.
    pub enc: K,
    /// Identifier 02: MAC.
    pub mac: K,
    /// Identifier 03: data encryption (key encryption).
    pub dek: K,
}

/// The number of bytes of a key check value.
pub const CHECK_VALUE_LENGTH: usize = 3;

// GPC 2.3.1 B.6: the three leftmost bytes of eight zero bytes encrypted.
/// The check value of a triple DES key.
pub fn des_key_check_value(key: &DesKey) -> [u8; CHECK_VALUE_LENGTH] {
    let mut block = [0; 8];
    TripleDes::new(key).encrypt_ecb(&mut block);
    [block[0], block[1], block[2]]
}

// GPC 2.3.1 B.6 and amendment D 4.1.3: the three leftmost bytes of sixteen bytes 01 encrypted.
/// The check value of an AES key.
pub fn aes_key_check_value(key: &AesKey) -> [u8; CHECK_VALUE_LENGTH] {
    let block = Aes::new(key).encrypt_block(&[1; 16]);
    [block[0], block[1], block[2]]
}

/// The check value of a clear symmetric key of `key_type`, as PUT KEY and key ceremonies write it.
///
/// SM4 keys are checked as AES keys are: GlobalPlatform names no other way.
pub fn key_check_value(key_type: KeyType, key: &[u8]) -> Result<[u8; CHECK_VALUE_LENGTH], KeyLength> {
    match key_type {
        KeyType::DES | KeyType::TRIPLE_DES_CBC => {
            DesKey::from_slice(key).map(|key| des_key_check_value(&key))
        }
        KeyType::SM4 => sm4_key_check_value(key),
        _ => AesKey::from_slice(key).map(|key| aes_key_check_value(&key)),
    }
}

fn sm4_key_check_value(key: &[u8]) -> Result<[u8; CHECK_VALUE_LENGTH], KeyLength> {
    use cipher::{Array, BlockCipherEncrypt, KeyInit};
    let sm4 = sm4::Sm4::new_from_slice(key).map_err(|_| KeyLength { algorithm: "SM4", found: key.len() })?;
    let mut block = Array::from([1; 16]);
    sm4.encrypt_block(&mut block);
    Ok([block[0], block[1], block[2]])
}

/// Whether `check_value` is that of `key`; an empty one is no claim and is accepted.
pub fn check_value_matches(key_type: KeyType, key: &[u8], check_value: &[u8]) -> bool {
    check_value.is_empty()
        || key_check_value(key_type, key).is_ok_and(|expected| equal(&expected, check_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the development key 404142..4F, as every tool prints them.
    #[test]
    fn check_values_of_the_development_key() {
        let key: Vec<u8> = (0x40..0x50).collect();
        assert_eq!(hex::encode_upper(key_check_value(KeyType::DES, &key).unwrap()), "8BAF47");
        assert_eq!(hex::encode_upper(key_check_value(KeyType::AES, &key).unwrap()), "504A77");
        assert!(key_check_value(KeyType::SM4, &key).is_ok());
        assert!(key_check_value(KeyType::DES, &key[..8]).is_err());
    }

    #[test]
    fn a_wrong_check_value_does_not_match() {
        let key = [0x41; 16];
        let right = key_check_value(KeyType::AES, &key).unwrap();
        assert!(check_value_matches(KeyType::AES, &key, &right));
        assert!(check_value_matches(KeyType::AES, &key, &[]));
        assert!(!check_value_matches(KeyType::AES, &key, &right[..2]));
        assert!(!check_value_matches(KeyType::DES, &key, &right));
    }
}
