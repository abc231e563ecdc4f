//! RSA-SHA256 and SM2-with-SM3, against published examples and signatures that OpenSSL made.

use super::*;

// Made by "openssl genrsa 2048", "openssl dgst -sha256 -sign" and, for SM2, "openssl ecparam -name SM2 -genkey",
// "openssl pkeyutl -sign -rawin -digest sm3 -pkeyopt distid:1234567812345678" (OpenSSL 3.0).
const MESSAGE: &[u8] = b"POST\n/peer/v1/payment-notifications\n1790000000\nabc\n{}\n";
const OPENSSL_RSA_KEY: &str = "308204bd020100300d06092a864886f70d0101010500048204a7308204a30201000282010100c7c1823ca96e3d6d41fa \
     cd589634027fae3de6f134822ec7718f5a9f056b510b4b91be87faec65f98b7908357a88322e23b57d52eac81502572b \
     5848f7abc5b54bc36d0f4eebc71508dbedc648c830f6e9afdb2c9c0ba84238f3ecd6c13976c3324ede1c4f0a86f0fa65 \
     d47a55ae89cb619d9c0baa05238b688e2416ac15e49c083479016951be39d93a2a0a379c7c2592a21de32d3db2021acf \
     b9febce121efea6c822c1cda0e43274fe9ea2dd75f63365d47ef6e2f659964d79795cc6431b3bae8f8c1b092abcd115f \
     920ae59c43678b40da3f9cdf6715d6a45f239c6ae3e5ea0a286566aa1dd94a57c12496fabce43772144e81a003c95c0d \
     650aa12ef71b0203010001028201005d61f7cdff1113b357847569e3f21576f610673dbca3dd558c9f8d284922c5c4e7 \
     838f5447782b25f14f5808942b46762e686259987b87e2cbb86e31d262e16ee327cd7cba12dc43579c64f86cbef5b100 \
     471f49a7fb8521cc39302fa72e0378b6348b7e256f50ed27c9e1fe7cbeb719369db53cf8b3254e3f472fd4cf86fe9325 \
     5085d109572148a26e9e6b37b03c0c7f50b7644bf3a19863e71e4fe39fbf4df2d0a5974e8dd78a721a8b30e33834eebe \
     dac220663b2983210fc018085d52260562bb9c5652593ea5958b76539b6ee57e117d79a8d5cd5a1eddf434521a8c9be2 \
     70e2cd34c4ff8c2fb0d09dde78adc129f546e3dd8fed2f14aa7b405c3a8abd02818100ed2a5d320ba09352b5479790f5 \
     322fe30beefe761262520e8fa2edac96238ecf8766b68f5ea222cd3ab45f306620eea1acf9c89569ad159d89b21191ec \
     e95ad864c99fa66f8ae76986de814f00587ff0359a2a187d8607e8213382a4bb74196727bab7ef12731b6e749b5b6d07 \
     9a5e07ae0412ccfe21cef1e6aac4845faa785702818100d79e99155d7b55a0bfe4b60ff13f65b9f08d93095bf2f23091 \
     ef4b2d9dc24f112da52960814b9593ddaf2bdbe7e5f7817a9a6410857beb1196bb02db3b1800bedf47c4e7593911e04a \
     3bf00b0740fa136ffaf5bae77ca5f7129c7d89cf49d98b6147e349574467c01b9604464f3202c6187b2587d7f24fdf5c \
     3461f975070cdd0281802c1de84e29e989de25c89682298a576c15c9345e8456f3caaf9f7034dd8ce9c0e300114fa41b \
     e6fb64432f3dd291a7b23d7a0d7cf5b673c1e55e517462ac99f08cf71092a647217af8d2a51d2c044a70459852e2515f \
     405346f1cd0895b228138f496573bc6bdb1b75e77c5f50bdbf661051c3a98c507fad71ea2c3a2f8d876b028180095b5c \
     914cc939620c71c464d4b74796d6158eb7ed4191b901dc3c8af239a86cba6a5c6d4faf1402a2b0235b1ba923207f4d8b \
     e21ba8d0fea667df2bdc58a24fa628db269efc970600b2b12c09588c81a36e649383d028f39bdf26a38057581570574a \
     49b87bc374d6bd9fd9dd3df258de5f19b5d76d308224e2310e3e41dc11028181008a7bd6c23c8a3a3afc12f3655af98e \
     89a53c4b6fb62f98a6f115606c2ad096038e3e6d674d2577c5d9f5b24e7f23f7a59db79e8afaeaec3f0a324dc6aa6192 \
     87bdd98c1522ce35f6b3a4d44b622bddd39eceb129e2adfa8788892a042663c0911732af0cfe080b081d7bbaa741b8b2 \
     055399e914a643be23b267b9e82da36e11";
const OPENSSL_RSA_SIGNATURE: &str = "ae965e4f26bba9970788fbe4da23811e4c6862cbe74e6d21d15c78f5fb7be9657effa476e4f57c9119858b511f331ee7 \
     4e067f65248e0c0cdf010ef18b476ba90124b102e7c9c4d929600504ae57b7f91b3edbc4b67ed0e7bf25d43f3159e2c5 \
     3606370098f12c2a130652ceb341f49d3caa47d3630ecc274c8a17d0638b4980ded8a230ebd942c1f35c38c563804672 \
     5ab550069b0b9a0701a56468992cead25656d1e84981241c122842bca4edcc4721e4061a50257b45bb8c49bf9ba16fef \
     31af9952b2025e7faa315ba4b3ce1d37f2048078f145b9c746d0439fcd94e1ea913803ac8d33797820720e26c4f41611 \
     3683edaeeac1f4b1511e04d6ba7e1256";
const OPENSSL_SM2_POINT: &str = "044fa2cb66788c7da5e1c896f3f4041843a85d77e2d9ab8491ae1d81e5f9ba2a4b22b1c26b66e66e55d984e27fb35dc31299f7d64b09d2978c2bf5acb240d0b62f";
const OPENSSL_SM2_SIGNATURE: &str = "b81e93db6732bac4f8c39125274ab01a27cd875941072c082aa6adb1a1d1ce5e7b3dc99928b6befacb206b4d0653167071776aff0cfd56dc8d9f6c8ecba77dd7";

fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).unwrap()
}

fn point(text: &str) -> PublicKey {
    PublicKey::Sm2(Box::new(bytes(text).try_into().unwrap()))
}

/// GB/T 32918.5-2017, annex A: the example of a signature on the recommended curve.
#[test]
fn sm2_verifies_the_example_of_the_standard() {
    let key = point(
        "04 09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020
         CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13",
    );
    let signature = bytes(
        "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3
         B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA",
    );
    assert_eq!(key.verify(SignatureScheme::Sm2Sm3, b"message digest", &signature), Ok(()));
    assert!(key.verify(SignatureScheme::Sm2Sm3, b"message digesT", &signature).is_err());
    assert!(key.verify(SignatureScheme::EcdsaP256Sha256, b"message digest", &signature).is_err());
    let keys = service();
    let name = name("message/standard/sm2/1");
    let scalar = bytes("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8");
    keys.import_clear(&name, KeyAlgorithm::Sm2, Zeroizing::new(scalar)).unwrap();
    assert_eq!(keys.public_key(&name).unwrap(), key, "the standard's own key pair");
    let own = keys.sign(&name, SignatureScheme::Sm2Sm3, b"message digest").unwrap();
    assert_eq!(key.verify(SignatureScheme::Sm2Sm3, b"message digest", &own), Ok(()));
}

#[test]
fn sm2_and_rsa_signatures_of_openssl_verify() {
    let sm2 = point(OPENSSL_SM2_POINT);
    let scheme = SignatureScheme::Sm2Sm3;
    assert_eq!(sm2.verify(scheme, MESSAGE, &bytes(OPENSSL_SM2_SIGNATURE)), Ok(()));
    assert!(sm2.verify(scheme, &MESSAGE[1..], &bytes(OPENSSL_SM2_SIGNATURE)).is_err());

    let keys = service();
    let key = name("message/openssl/rsa/1");
    let document = Zeroizing::new(bytes(OPENSSL_RSA_KEY));
    keys.import_clear(&key, KeyAlgorithm::Rsa, document).unwrap();
    let scheme = SignatureScheme::RsaSha256;
    let signature = keys.sign(&key, scheme, MESSAGE).unwrap();
    assert_eq!(signature, bytes(OPENSSL_RSA_SIGNATURE), "PKCS#1 v1.5 has one signature for a message");
    let public = keys.public_key(&key).unwrap();
    assert_eq!(public.verify(scheme, MESSAGE, &signature), Ok(()));
    assert!(public.verify(scheme, &MESSAGE[1..], &signature).is_err());
    assert!(public.verify(SignatureScheme::RsaSha1, MESSAGE, &signature).is_err());
    assert!(public.verify(SignatureScheme::Sm2Sm3, MESSAGE, &signature).is_err());
}

#[test]
fn a_new_sm2_key_signs_what_its_public_half_verifies() {
    let keys = service();
    let (one, other) = (name("message/platform/sm2/1"), name("message/platform/sm2/2"));
    for key in [&one, &other] {
        let description = keys.generate(key, KeyAlgorithm::Sm2).unwrap();
        assert_eq!(description.check_value, keys.public_key(key).unwrap().check_value());
    }
    let signature = keys.sign(&one, SignatureScheme::Sm2Sm3, b"paid").unwrap();
    assert_eq!(signature.len(), 64);
    assert_eq!(keys.public_key(&one).unwrap().verify(SignatureScheme::Sm2Sm3, b"paid", &signature), Ok(()));
    let strange = keys.public_key(&other).unwrap();
    assert!(strange.verify(SignatureScheme::Sm2Sm3, b"paid", &signature).is_err());
    for place in [0, 31, 32, 63] {
        let mut bent = signature.clone();
        bent[place] ^= 1;
        assert!(keys.public_key(&one).unwrap().verify(SignatureScheme::Sm2Sm3, b"paid", &bent).is_err());
    }
    assert!(keys.public_key(&one).unwrap().verify(SignatureScheme::Sm2Sm3, b"paid", &[]).is_err());
    let refused = keys.sign(&one, SignatureScheme::RsaSha256, b"paid");
    assert!(matches!(refused, Err(KeyError::Algorithm { .. })), "{refused:?}");
}
