//! Private keys in software: ECDSA on P-256 (RFC 6979), SM2 with SM3 (GB/T 32918.2), RSA with PKCS#1 v1.5.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use tsm_domain::environment::Entropy;
use zeroize::Zeroizing;

use super::material::Material;
use crate::description::KeyAlgorithm;
use crate::service::KeyError;
use crate::signature::{PublicKey, SHA1_PREFIX, SHA256_PREFIX, SM2_IDENTIFIER, SignatureScheme};

const RSA_BITS: usize = 2048;

/// A new private key.
pub(super) fn generate(algorithm: KeyAlgorithm, entropy: &dyn Entropy) -> Option<Zeroizing<Vec<u8>>> {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => loop {
            let mut scalar = Zeroizing::new(vec![0; 32]);
            entropy.fill(&mut scalar);
            // All but one in 2^32 draws are below the order of the curve, and not zero.
            if SigningKey::from_slice(&scalar).is_ok() {
                return Some(scalar);
            }
        },
        KeyAlgorithm::Sm2 => loop {
            let mut scalar = Zeroizing::new(vec![0; 32]);
            entropy.fill(&mut scalar);
            if sm2_key(&scalar).is_some() {
                return Some(scalar);
            }
        },
        KeyAlgorithm::Rsa => {
            let key = RsaPrivateKey::new(&mut EntropyGenerator(entropy), RSA_BITS).ok()?;
            Some(Zeroizing::new(key.to_pkcs8_der().ok()?.as_bytes().to_vec()))
        }
        KeyAlgorithm::TripleDes
        | KeyAlgorithm::Aes128
        | KeyAlgorithm::Aes192
        | KeyAlgorithm::Aes256
        | KeyAlgorithm::Sm4 => None,
    }
}

/// Signs; the scheme must be one of the key's algorithm.
pub(super) fn sign(key: &Material, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let refused = || KeyError::Algorithm { found: key.algorithm, operation: "sign in this scheme" };
    match (key.algorithm, scheme) {
        (KeyAlgorithm::EcdsaP256, SignatureScheme::EcdsaP256Sha256) => {
            let signature: Signature =
                SigningKey::from_slice(&key.bytes).map_err(|_| refused())?.sign(message);
            Ok(signature.to_bytes().to_vec())
        }
        (KeyAlgorithm::Sm2, SignatureScheme::Sm2Sm3) => {
            let signing = sm2_key(&key.bytes).ok_or_else(refused)?;
            // The nonce is derived as in RFC 6979, over SM3.
            let signature: sm2::dsa::Signature = signing.try_sign(message).map_err(|_| refused())?;
            Ok(signature.to_bytes().to_vec())
        }
        (KeyAlgorithm::Rsa, SignatureScheme::RsaSha1) => rsa_sign(key, &SHA1_PREFIX, &Sha1::digest(message)),
        (KeyAlgorithm::Rsa, SignatureScheme::RsaSha256) => {
            rsa_sign(key, &SHA256_PREFIX, &Sha256::digest(message))
        }
        _ => Err(refused()),
    }
}

/// The public half; `None` when the key has none or is not usable.
pub(super) fn public_key(key: &Material) -> Option<PublicKey> {
    match key.algorithm {
        KeyAlgorithm::EcdsaP256 => {
            let signing = SigningKey::from_slice(&key.bytes).ok()?;
            let point = signing.verifying_key().to_sec1_point(false);
            Some(PublicKey::EcdsaP256(Box::new(point.as_bytes().try_into().ok()?)))
        }
        KeyAlgorithm::Sm2 => {
            let point = sm2_key(&key.bytes)?.verifying_key().to_sec1_bytes();
            Some(PublicKey::Sm2(Box::new(point.as_ref().try_into().ok()?)))
        }
        KeyAlgorithm::Rsa => {
            let private = RsaPrivateKey::from_pkcs8_der(&key.bytes).ok()?;
            Some(PublicKey::Rsa { modulus: private.n().to_bytes_be(), exponent: private.e().to_bytes_be() })
        }
        KeyAlgorithm::TripleDes
        | KeyAlgorithm::Aes128
        | KeyAlgorithm::Aes192
        | KeyAlgorithm::Aes256
        | KeyAlgorithm::Sm4 => None,
    }
}

fn sm2_key(scalar: &[u8]) -> Option<sm2::dsa::SigningKey> {
    sm2::dsa::SigningKey::from_slice(SM2_IDENTIFIER, scalar).ok()
}

fn rsa_sign(key: &Material, prefix: &[u8], digest: &[u8]) -> Result<Vec<u8>, KeyError> {
    let refused = || KeyError::Algorithm { found: key.algorithm, operation: "sign in this scheme" };
    let private = RsaPrivateKey::from_pkcs8_der(&key.bytes).map_err(|_| refused())?;
    private
        .sign(Pkcs1v15Sign { hash_len: Some(digest.len()), prefix: prefix.into() }, digest)
        .map_err(|_| refused())
}

/// The given randomness in the form that the RSA crate takes.
struct EntropyGenerator<'a>(&'a dyn Entropy);

impl RngCore for EntropyGenerator<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(dest);
        Ok(())
    }
}

impl CryptoRng for EntropyGenerator<'_> {}
