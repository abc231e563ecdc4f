//! Key diversification: published vectors.

use tsm_globalplatform::{
    diversification::{DesScheme, KeyPurpose, kdf3},
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
