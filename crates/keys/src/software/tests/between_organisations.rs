//! Transport, sealing, signatures, what purposes forbid.

use super::*;

/// req: P-5.8.4.6.2.a
#[test]
fn tk_and_kek_are_never_equal_and_a_wrong_tk_is_refused() {
    let keys = service();
    let value = "9F4E2D1C0B8A79685746352413F2E1D0C9B8A7968574635241302F1E0DFCEBDA";
    let tk = put(&keys, "transport/sp/platform/1", KeyAlgorithm::Aes256, value);
    let kek = name("key-encryption/sp/platform/1");
    assert_eq!(
        keys.import_clear(&kek, KeyAlgorithm::Aes256, Zeroizing::new(unhex(value))),
        Err(KeyError::TransportEqualsKek)
    );
    let other = tk.at_version(2);
    keys.generate(&other, KeyAlgorithm::Aes256).unwrap();
    let message = keys.transport_encrypt(&tk, b"order 1", b"script").unwrap();
    assert_eq!(*keys.transport_decrypt(&tk, b"order 1", &message).unwrap(), b"script");
    assert_eq!(keys.transport_decrypt(&tk, b"order 2", &message), Err(KeyError::NotAuthentic(tk.clone())));
    assert_eq!(keys.transport_decrypt(&other, b"order 1", &message), Err(KeyError::NotAuthentic(other)));
    assert!(matches!(keys.transport_encrypt(&kek, b"", b""), Err(KeyError::Purpose { .. })));
}

/// req: P-5.5.2.s
#[test]
fn a_token_depends_on_the_se_the_date_and_the_key() {
    let keys = service();
    let key = name("binding-token/operator/main/1");
    keys.generate(&key, KeyAlgorithm::Aes256).unwrap();
    keys.generate(&key.at_version(2), KeyAlgorithm::Aes256).unwrap();
    let se = SeId::new(&SE_ID).unwrap();
    let token = keys.binding_token(&key, &se, "20261121").unwrap();
    assert_eq!(token, keys.binding_token(&key, &se, "20261121").unwrap());
    assert_ne!(token, keys.binding_token(&key, &se, "20261122").unwrap());
    assert_ne!(token, keys.binding_token(&key, &SeId::new(&[1; 10]).unwrap(), "20261121").unwrap());
    assert_ne!(token, keys.binding_token(&key.at_version(2), &se, "20261121").unwrap());
}

#[test]
fn a_sealed_value_opens_for_its_context_and_key_only() {
    let keys = service();
    let key = name("sealing/operator/tokens/1");
    keys.generate(&key, KeyAlgorithm::Aes256).unwrap();
    let sealed = keys.seal(&key, b"se 1", b"TOKEN").unwrap();
    assert!(!sealed.0.windows(5).any(|window| window == b"TOKEN"));
    assert_ne!(sealed, keys.seal(&key, b"se 1", b"TOKEN").unwrap());
    assert_eq!(*keys.unseal(&key, b"se 1", &sealed).unwrap(), b"TOKEN");
    assert_eq!(keys.unseal(&key, b"se 2", &sealed), Err(KeyError::NotAuthentic(key)));
}

#[test]
fn signatures_verify_with_the_public_key_given_out() {
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};
    let keys = service();
    let key = name("message/operator/main/1");
    keys.generate(&key, KeyAlgorithm::EcdsaP256).unwrap();
    let PublicKey::EcdsaP256(point) = keys.public_key(&key).unwrap() else { panic!("a P-256 key") };
    let signature = keys.sign(&key, SignatureScheme::EcdsaP256Sha256, b"paid").unwrap();
    let verifier = VerifyingKey::from_sec1_bytes(point.as_slice()).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    verifier.verify(b"paid", &signature).unwrap();
    assert!(verifier.verify(b"unpaid", &signature).is_err());
    assert!(matches!(keys.sign(&key, SignatureScheme::RsaSha1, b""), Err(KeyError::Algorithm { .. })));
    let tk = name("transport/operator/main/1");
    keys.generate(&tk, KeyAlgorithm::Aes256).unwrap();
    assert!(matches!(keys.sign(&tk, SignatureScheme::EcdsaP256Sha256, b""), Err(KeyError::Purpose { .. })));
}

/// req: P-5.8.9.3.b
#[test]
fn ota_keys_derive_nothing_and_open_no_session() {
    let keys = service();
    let kic = name("ota-encryption/operator/main/1");
    keys.generate(&kic, KeyAlgorithm::TripleDes).unwrap();
    let derivation = Derivation::Domain { path: domain_path(), key: DomainKey::Enc };
    assert!(matches!(keys.derive(&kic, &derivation), Err(KeyError::Purpose { .. })));
    let request = SessionRequest {
        application: domain_path().domain,
        keys: DomainKeySource::TwoLevel { root: kic, path: domain_path() },
        protocol: Protocol::Scp02(0x55),
        key_version: 0,
        level: SecurityLevel::C_MAC,
    };
    let pending = keys.begin_session(request).unwrap();
    let answer = ResponseApdu::success(vec![0; 28]);
    assert!(matches!(pending.authenticate(&answer), Err(SessionError::Key(KeyError::Purpose { .. }))));
}

/// req: P-5.8.4.6.2.c
#[test]
fn whoever_opens_a_script_with_the_tk_still_does_not_see_what_is_under_the_kek() {
    let (sp, platform) = (service(), service());
    for (reference, value) in [
        ("transport/sp/platform/1", "9F4E2D1C0B8A79685746352413F2E1D0C9B8A7968574635241302F1E0DFCEBDA"),
        ("key-encryption/sp/platform/1", "00F1D3A29C4B8E7766554B3D2C1F0E0DAABBCCDDEEFF00112F3D4C5B6A798877"),
    ] {
        put(&sp, reference, KeyAlgorithm::Aes256, value);
        put(&platform, reference, KeyAlgorithm::Aes256, value);
    }
    let (tk, kek) = (name("transport/sp/platform/1"), name("key-encryption/sp/platform/1"));
    let secret = unhex("CAFE00112233445566778899AABBCCDD");
    let sensitive = sp.wrap_value(&secret, &kek).unwrap();
    let script = [b"serial 12345".as_slice(), &sensitive.0].concat();
    let message = sp.transport_encrypt(&tk, b"order 1", &script).unwrap();
    assert!(!message.0.windows(6).any(|window| window == b"serial"));
    let opened = platform.transport_decrypt(&tk, b"order 1", &message).unwrap();
    assert_eq!(*opened, script);
    assert!(!opened.windows(secret.len()).any(|window| window == secret));
}

#[test]
fn rsa_signatures_verify_as_cards_verify_them() {
    use tsm_globalplatform::signature::{RsaHash, VerifyingKey};
    let keys = service();
    let key = name("dap/provider/rsa/1");
    keys.generate(&key, KeyAlgorithm::Rsa).unwrap();
    let PublicKey::Rsa { modulus, exponent } = keys.public_key(&key).unwrap() else { panic!("an RSA key") };
    assert_eq!(modulus.len(), 256);
    for (scheme, hash) in
        [(SignatureScheme::RsaSha1, RsaHash::Sha1), (SignatureScheme::RsaSha256, RsaHash::Sha256)]
    {
        let signature = keys.sign(&key, scheme, b"load file hash").unwrap();
        let verifier = VerifyingKey::rsa(&modulus, &exponent, hash).unwrap();
        verifier.verify(b"load file hash", &signature).unwrap();
        assert!(verifier.verify(b"another hash", &signature).is_err());
    }
}
