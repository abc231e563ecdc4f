//! What a security domain verifies and signs: tokens, receipts, DAPs (GPC 2.3.1, annex C).
//!
//! By the standard's convention the key of each has a version of its own: 70 tokens, 71 receipts,
//! 73 DAPs, each with identifier 01.

use tsm_globalplatform::key::KeyType;
use tsm_globalplatform::primitives::{AesKey, DesKey};
use tsm_globalplatform::receipt::{ConfirmationData, Confirmed, Receipt};
use tsm_globalplatform::signature::{RsaHash, SigningKey, VerifyingKey};

use super::{Key, KeyRing};

/// The version of the key that verifies tokens.
pub const TOKEN_KEY_VERSION: u8 = 0x70;
/// The version of the key that makes receipts.
pub const RECEIPT_KEY_VERSION: u8 = 0x71;
/// The version of the key that verifies DAPs.
pub const DAP_KEY_VERSION: u8 = 0x73;
/// The identifier of all three.
pub const SIGNATURE_KEY_ID: u8 = 0x01;

/// Keys of at most this many modulus bytes sign with SHA-1 (GPC 2.3.1, B.3.1).
const RSA_SHA1_BYTES: usize = 128;

/// Whether `token` is right for a command with these parameters and fields.
// GPC 2.3.1 C.4: P1, P2, the length of what follows, then the fields before the token.
pub(crate) fn verify_token(keys: &KeyRing, p1: u8, p2: u8, fields: &[u8], token: &[u8]) -> bool {
    let mut signed = vec![p1, p2];
    match fields.len() {
        length @ 0..=0xFF => signed.push(length as u8),
        length => {
            signed.push(0);
            signed.extend((length as u16).to_be_bytes());
        }
    }
    signed.extend(fields);
    verify(keys, TOKEN_KEY_VERSION, &signed, token)
}

/// Whether `signature` is that of a domain with these keys over a load file data block hash.
pub(crate) fn verify_dap(keys: &KeyRing, hash: &[u8], signature: &[u8]) -> bool {
    verify(keys, DAP_KEY_VERSION, hash, signature)
}

/// The receipt of a domain with these keys, if it has a receipt key.
pub(crate) fn sign_receipt(
    keys: &KeyRing,
    confirmed: Confirmed,
    confirmation: ConfirmationData,
) -> Option<Receipt> {
    let key = signing_key(keys.key(RECEIPT_KEY_VERSION, SIGNATURE_KEY_ID)?)?;
    confirmed.sign(confirmation, &key).ok()
}

fn verify(keys: &KeyRing, version: u8, data: &[u8], signature: &[u8]) -> bool {
    let key = keys.key(version, SIGNATURE_KEY_ID).and_then(verifying_key);
    key.is_some_and(|key| key.verify(data, signature).is_ok())
}

fn verifying_key(key: &Key) -> Option<VerifyingKey> {
    let component = |key_type| key.components.iter().find(|one| one.key_type == key_type);
    if let (Some(modulus), Some(exponent)) =
        (component(KeyType::RSA_MODULUS), component(KeyType::RSA_PUBLIC_EXPONENT))
    {
        let hash = if modulus.value.len() <= RSA_SHA1_BYTES { RsaHash::Sha1 } else { RsaHash::Sha256 };
        return VerifyingKey::rsa(&modulus.value, &exponent.value, hash).ok();
    }
    if let Some(point) = component(KeyType::EC_PUBLIC) {
        return VerifyingKey::ecdsa_p256(&point.value).ok();
    }
    signing_key(key).map(|key| key.verifying_key())
}

fn signing_key(key: &Key) -> Option<SigningKey> {
    let [component] = key.components.as_slice() else {
        return None;
    };
    match component.key_type {
        KeyType::AES => AesKey::from_slice(&component.value).ok().map(SigningKey::AesCmac),
        KeyType::DES | KeyType::TRIPLE_DES_CBC => {
            DesKey::from_slice(&component.value).ok().map(SigningKey::RetailMac)
        }
        _ => None,
    }
}
