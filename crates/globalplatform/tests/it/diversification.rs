//! Key diversification: published vectors, and the two-level scheme by other means.

use cipher::{BlockCipherEncrypt, KeyInit};
use tsm_globalplatform::{
    diversification::{DesScheme, Factor, KeyPurpose, kdf3, two_level_aes, two_level_des},
    key::{aes_key_check_value, des_key_check_value},
    primitives::{AesKey, DesKey},
};

use crate::vectors::{unhex, vectors};

const PURPOSES: [(&str, KeyPurpose); 3] =
    [("ENC", KeyPurpose::Enc), ("MAC", KeyPurpose::Mac), ("DEK", KeyPurpose::Dek)];

#[test]
fn card_schemes_give_the_published_keys() {
    for vector in vectors("diversification") {
        let master = unhex(vector.text("master"));
        let data: [u8; 10] = unhex(vector.text("kdd")).try_into().unwrap();
        for (name, purpose) in PURPOSES {
            let check_value = match vector.text("scheme") {
                "kdf3" => aes_key_check_value(&kdf3(&AesKey::from_slice(&master).unwrap(), &data, purpose)),
                scheme => {
                    let scheme = if scheme == "emv" { DesScheme::Emv } else { DesScheme::Visa2 };
                    let key = scheme.diversify(&DesKey::from_slice(&master).unwrap(), &data, purpose);
                    let expected = vector.rest["derived"][name].as_str().unwrap();
                    assert_eq!(hex::encode_upper(key.as_bytes()), expected, "{} {name}", vector.id);
                    des_key_check_value(&key)
                }
            };
            let expected = vector.rest["kcv"][name].as_str().unwrap();
            assert_eq!(hex::encode_upper(check_value), expected, "{} {name}", vector.id);
        }
    }
}

/// The two levels by plain block cipher calls: root, security domain AID, SE-ID.
///
/// req: B-8.4.1.b
#[test]
fn two_levels_by_plain_block_cipher_calls() {
    let root = unhex("404142434445464748494A4B4C4D4E4F");
    let domain = unhex("A00000015153504101");
    let se_id = unhex("53454944000000000001");
    let halves = |identifier: &[u8]| {
        let tail: [u8; 8] = identifier[identifier.len() - 8..].try_into().unwrap();
        (tail, tail.map(|byte| byte ^ 0xFF))
    };
    let mut des = root.clone();
    let mut aes = root.clone();
    for identifier in [&domain, &se_id] {
        let (left, right) = halves(identifier);
        let cipher = des::TdesEde2::new_from_slice(&des).unwrap();
        let (mut left_block, mut right_block) = (left.into(), right.into());
        cipher.encrypt_block(&mut left_block);
        cipher.encrypt_block(&mut right_block);
        des = [left_block, right_block].concat();
        let mut block = aes::Block::try_from(&[left, right].concat()[..]).unwrap();
        aes::Aes128::new_from_slice(&aes).unwrap().encrypt_block(&mut block);
        aes = block.to_vec();
    }
    let (first, second) = (Factor::rightmost(&domain), Factor::rightmost(&se_id));
    let ours = two_level_des(&DesKey::from_slice(&root).unwrap(), first, second);
    assert_eq!(ours.as_bytes().to_vec(), des);
    let ours = two_level_aes(&AesKey::from_slice(&root).unwrap(), first, second);
    assert_eq!(ours.as_bytes(), aes);
    let other = two_level_aes(&AesKey::from_slice(&root).unwrap(), second, first);
    assert_ne!(other.as_bytes(), aes, "the order of the levels matters");
}
