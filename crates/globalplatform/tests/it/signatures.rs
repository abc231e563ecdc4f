//! DAPs, tokens and receipts. No vectors of these are published, so that each is recomputed here by
//! other means: plain block cipher calls, OpenSSL's signatures, RFC 6979.

use cipher::{BlockCipherEncrypt, KeyInit};
use proptest::prelude::*;
use rsa::{BigUint, RsaPrivateKey};
use tsm_globalplatform::{
    Privileges,
    commands::{
        Install,
        delete::{DeleteContent, DeleteExtent},
        install::{InstallForExtradition, InstallForInstall, InstallForLoad, InstallForPersonalization},
        load::{LoadFileHeader, load_file},
    },
    dap::{self, HashAlgorithm},
    primitives::{AesKey, DesKey},
    receipt::{ConfirmationData, Confirmed, Receipt},
    signature::{RsaHash, SigningKey, VerifyingKey},
    token::TokenData,
};
use tsm_iso7816::Aid;

use crate::vectors::unhex;

const MODULUS: &str = "ef7b8ad387916fd2e2fa9e40d0c29ba20a302f5f8612a09b6007f002c2c60c3c07c3ef5e0af3dde8c73928bf2e17b5c240b640a2fe7417b8bd51742ab96e3df07cafce829416e52886f993563876485cde846fd73d00e4b9f15445df3b5378d5b8634056d42a0f15db7dac8b1d4ed292244eefdcd9756fb967c473df6f77bd19";
const PRIVATE_EXPONENT: &str = "211e1d91a912c4bb0e268852004c99472c4f838d9b35e23dfa66be9b33223e38e2fe069123c49bb08034785d0fdbb987f678fdb14cacf346d9ef74b81fd28dfffa4e889a8c0e8cfbb4118037e1c14f384515fbbf2b60ac3f96823ec75170c30ebea21b996190bbf8c0df104661db92cdcb56ed5bac0f5462826341d6acc43271";
const PRIME_1: &str = "fd14a00219f07c1158bc19bf9969717d57ae1cac971734770d6d95b6e24f525de99765ba10b76ed72efc8e2e99a34eafddf56aa68b1d83634fddde5a57f71785";
const PRIME_2: &str = "f23ec2cb7b5569735924212a52f9f168a0ad0130b7b675a45928703828e1acda008afe307d3920f38ac134ce0ff90166e39b6676788408312e6b81b88a4d0185";
/// "openssl dgst -sha1 -sign" and "-sha256 -sign" with that key over [`SIGNED`].
const OPENSSL_SHA1: &str = "68fe13ac8275a80d37eef5029a9440db531c580537991f0a146e2a87926287721e3c7fa41c0a767ec5b9b910f6d76abd68373682b6512c4c0117b447aa779379f6347b8e174d06bbb2b807ed101b12d9dfdfc0af2c8a93ad21d8cb4ab0f421688ff5917702b16d3606c9ec0fe340a07176511d900bf45fdcc7433a39ddfa92cf";
const OPENSSL_SHA256: &str = "c24bf2ff5908b31a0b7b7e586258baf70ecc5a0c6c12f1d94fa4e7752b3e0c8a169ccbd698199931e4c97646baea2aa74f257da23547c5d03af259db09ba4b9334d21bb998447732056acda906b6bfd80169e15aef1166b66e405d626362f4b8d315a81964662c59a6006b73502a36e2967a098d79149ebe1a9546414178a64b";
const SIGNED: &[u8] = b"load file data block hash";

fn rsa_key(hash: RsaHash) -> SigningKey {
    let number = |text| BigUint::from_bytes_be(&unhex(text));
    let primes = vec![number(PRIME_1), number(PRIME_2)];
    let key =
        RsaPrivateKey::from_components(number(MODULUS), 65_537u32.into(), number(PRIVATE_EXPONENT), primes)
            .unwrap();
    SigningKey::Rsa(key, hash)
}

/// One key of each algorithm.
fn every_key() -> [SigningKey; 5] {
    [
        rsa_key(RsaHash::Sha1),
        rsa_key(RsaHash::Sha256),
        SigningKey::RetailMac(DesKey::new(*b"retail MAC key..")),
        SigningKey::AesCmac(AesKey::from(*b"AES-CMAC key....")),
        SigningKey::ecdsa_p256(&[7; 32]).unwrap(),
    ]
}

fn aid(text: &str) -> Aid {
    text.parse().unwrap()
}

/// The retail MAC by plain DES calls: single DES chaining, then decryption and encryption at the end.
fn retail_mac(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let (left, right) = key.split_at(8);
    let (left, right) = (des::Des::new_from_slice(left).unwrap(), des::Des::new_from_slice(right).unwrap());
    let mut padded = data.to_vec();
    padded.push(0x80);
    while !padded.len().is_multiple_of(8) {
        padded.push(0);
    }
    let mut chain = cipher::Block::<des::Des>::default();
    for block in padded.chunks_exact(8) {
        chain.iter_mut().zip(block).for_each(|(to, from)| *to ^= from);
        left.encrypt_block(&mut chain);
    }
    cipher::BlockCipherDecrypt::decrypt_block(&right, &mut chain);
    left.encrypt_block(&mut chain);
    chain.to_vec()
}

#[test]
fn rsa_signs_as_openssl_does() {
    for (hash, expected) in [(RsaHash::Sha1, OPENSSL_SHA1), (RsaHash::Sha256, OPENSSL_SHA256)] {
        let signature = rsa_key(hash).sign(SIGNED).unwrap();
        assert_eq!(hex::encode(&signature), expected);
        let public = VerifyingKey::rsa(&unhex(MODULUS), &[1, 0, 1], hash).unwrap();
        assert_eq!(public.verify(SIGNED, &signature), Ok(()));
    }
    let other_hash = VerifyingKey::rsa(&unhex(MODULUS), &[1, 0, 1], RsaHash::Sha256).unwrap();
    assert!(other_hash.verify(SIGNED, &unhex(OPENSSL_SHA1)).is_err());
    assert!(VerifyingKey::rsa(&[], &[1, 0, 1], RsaHash::Sha1).is_err());
}

/// RFC 6979, A.2.5: P-256 with SHA-256, message "sample".
#[test]
fn ecdsa_verifies_the_signature_of_rfc_6979() {
    let public = unhex(
        "0460FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB67903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
    );
    let signature = unhex(
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    );
    let key = VerifyingKey::ecdsa_p256(&public).unwrap();
    assert_eq!(key.verify(b"sample", &signature), Ok(()));
    assert!(key.verify(b"simple", &signature).is_err());
    assert!(VerifyingKey::ecdsa_p256(&public[..64]).is_err());
    assert!(SigningKey::ecdsa_p256(&[0; 32]).is_err());
}

#[test]
fn macs_by_plain_block_cipher_calls() {
    let key = *b"retail MAC key..";
    for length in 0..40 {
        let data: Vec<u8> = (0..length).collect();
        assert_eq!(SigningKey::RetailMac(DesKey::new(key)).sign(&data).unwrap(), retail_mac(&key, &data));
    }
}

#[test]
fn a_dap_travels_in_a_load_file_and_verifies() {
    let block = b"the concatenated components of a CAP file".repeat(20);
    for algorithm in
        [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
    {
        let hash = algorithm.hash(&block);
        assert_eq!(HashAlgorithm::of_length(hash.len()), Some(algorithm));
        for key in every_key() {
            let dap = dap::sign(aid("A000000151000000"), &key, &hash).unwrap();
            assert_eq!(dap.signature.len(), key.verifying_key().signature_length());
            let file = load_file(&[dap], &block);
            let header = LoadFileHeader::parse(&file).unwrap().unwrap();
            assert_eq!(&file[header.data_offset..][..header.data_length], block);
            let [dap] = &header.dap_blocks[..] else { panic!("one DAP block") };
            assert_eq!(dap::verify(dap, &key.verifying_key(), &hash), Ok(()), "{key:?}");
            let other = algorithm.hash(b"another file");
            assert!(dap::verify(dap, &key.verifying_key(), &other).is_err(), "{key:?}");
        }
    }
    assert_eq!(HashAlgorithm::of_length(16), None);
}

/// The signed bytes, written out field by field.
#[test]
fn a_token_signs_the_command_without_itself() {
    let install = InstallForInstall {
        token: vec![0xEE; 128],
        ..InstallForInstall::new(
            aid("A0000000620001"),
            aid("A000000062000101"),
            aid("A000000062000102"),
            Privileges::NONE,
        )
    };
    let install = Install::ForInstall(install);
    let data = TokenData::of_install(&install).unwrap();
    let expected = "0C001F07A000000062000108A00000006200010108A000000062000102010002C900";
    assert_eq!(hex::encode_upper(data.as_bytes()), expected);
    let load = Install::ForLoad(InstallForLoad {
        hash: vec![0xAB; 20],
        ..InstallForLoad::new(aid("A0000000620001"), Some(aid("A000000151000000")))
    });
    let data = TokenData::of_install(&load).unwrap();
    let expected = format!("02002707A000000062000108A00000015100000014{}00", "AB".repeat(20));
    assert_eq!(hex::encode_upper(data.as_bytes()), expected);
    let extradition = InstallForExtradition::new(aid("A000000151000000"), aid("A0000000620001"));
    let data = TokenData::of_install(&Install::ForExtradition(extradition)).unwrap();
    assert_eq!(hex::encode_upper(data.as_bytes()), "10001408A0000001510000000007A00000006200010000");
    let delete = DeleteContent {
        token_data: Some(unhex("4203010203")),
        token: Some(vec![1]),
        ..DeleteContent::new(aid("A0000000620001"), DeleteExtent::ObjectAndRelated)
    };
    let data = TokenData::of_delete(&delete);
    assert_eq!(hex::encode_upper(data.as_bytes()), "0080104F07A0000000620001B6054203010203");
    let personalization =
        Install::ForPersonalization(InstallForPersonalization { application: aid("A0000000620001") });
    assert!(TokenData::of_install(&personalization).is_err());
}

#[test]
fn a_token_of_another_command_or_key_is_refused() {
    let install = |application| {
        let module = aid("A000000062000101");
        let form = InstallForInstall::new(aid("A0000000620001"), module, application, Privileges::NONE);
        TokenData::of_install(&Install::ForInstall(form)).unwrap()
    };
    let (one, two) = (install(aid("A000000062000102")), install(aid("A000000062000103")));
    for key in every_key() {
        let token = one.sign(&key).unwrap();
        assert_eq!(one.verify(&key.verifying_key(), &token), Ok(()));
        assert!(two.verify(&key.verifying_key(), &token).is_err(), "{key:?}");
        assert!(one.verify(&key.verifying_key(), &token[1..]).is_err(), "{key:?}");
        assert!(one.verify(&key.verifying_key(), &[]).is_err(), "{key:?}");
    }
    let other = SigningKey::AesCmac(AesKey::from([9; 16]));
    assert!(one.verify(&every_key()[3].verifying_key(), &one.sign(&other).unwrap()).is_err());
}

#[test]
fn a_receipt_confirms_one_action_once() {
    let confirmation = ConfirmationData {
        counter: 0x0102,
        security_domain_unique_data: unhex("A1A2B1B2"),
        token_identifier: None,
    };
    let (file, domain) = (aid("A0000000620001"), aid("A000000151000000"));
    let load = Confirmed::Load { load_file: file, security_domain: domain };
    let expected = "02010204A1A2B1B207A000000062000108A000000151000000";
    assert_eq!(hex::encode_upper(load.signed_data(&confirmation)), expected);
    for key in every_key() {
        let receipt = load.sign(confirmation.clone(), &key).unwrap();
        let read = Receipt::parse(&receipt.to_response_data()).unwrap().unwrap();
        assert_eq!(read, receipt);
        let verify = |confirmed: &Confirmed, confirmation: &ConfirmationData| {
            confirmed.verify(confirmation, &key.verifying_key(), &read.signature)
        };
        assert_eq!(verify(&load, &confirmation), Ok(()));
        let next = ConfirmationData { counter: 0x0103, ..confirmation.clone() };
        assert!(verify(&load, &next).is_err(), "a receipt is not one for the next time");
        assert!(verify(&Confirmed::Delete { object: file }, &confirmation).is_err());
    }
    let mac = load.sign(confirmation.clone(), &SigningKey::RetailMac(DesKey::new(*b"retail MAC key..")));
    assert_eq!(mac.unwrap().signature, retail_mac(b"retail MAC key..", &unhex(expected)));
}

#[test]
fn an_answer_without_a_receipt_is_none() {
    assert_eq!(Receipt::parse(&[]), Ok(None));
    assert_eq!(Receipt::parse(&[0]), Ok(None));
    let lone = Receipt::parse(&[2, 0xAA, 0xBB]).unwrap().unwrap();
    assert_eq!((lone.signature, lone.confirmation), (vec![0xAA, 0xBB], None));
    for damaged in ["03AABB", "01AA01FF", "01AA0200", "01AA02000102FF"] {
        assert!(Receipt::parse(&unhex(damaged)).is_err(), "{damaged}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_changed_signature_or_message_is_refused(
        data in proptest::collection::vec(any::<u8>(), 1..60), at: usize, bit in 0u8..8,
    ) {
        for key in every_key() {
            let signature = key.sign(&data).unwrap();
            let verifying = key.verifying_key();
            prop_assert_eq!(verifying.verify(&data, &signature), Ok(()));
            let mut other = data.clone();
            other[at % data.len()] ^= 1 << bit;
            prop_assert!(verifying.verify(&other, &signature).is_err());
            let mut changed = signature.clone();
            changed[at % signature.len()] ^= 1 << bit;
            prop_assert!(verifying.verify(&data, &changed).is_err());
        }
    }
}
