//! MACs of the clearing transport.

use super::*;
use crate::reference::KeyPurpose;
use crate::service::{KeyError, KeyService};

fn key(purpose: KeyPurpose) -> KeyReference {
    KeyReference::new(purpose, "clearing", "city", 1).unwrap()
}

/// NIST SP 800-38B, D.1: AES-128 CMAC of the 16-byte message; a frame carries the first half.
#[test]
fn an_aes_key_gives_the_first_half_of_the_cmac() {
    let service = service();
    let value = hex::decode("2b7e151628aed2a6abf7158809cf4f3c").unwrap();
    let name = key(KeyPurpose::ClearingTransport);
    service.import_development(&name, KeyAlgorithm::Aes128, &value).unwrap();
    let message = hex::decode("6bc1bee22e409f96e93d7e117393172a").unwrap();
    let mac = service.frame_mac(&name, &message).unwrap();
    assert_eq!(hex::encode(mac), "070a16b46b4d4144");
    assert_ne!(service.frame_mac(&name, &message[1..]).unwrap(), mac);
}

#[test]
fn only_a_transport_key_protects_frames() {
    let service = service();
    let other = key(KeyPurpose::Sealing);
    service.import_development(&other, KeyAlgorithm::Aes128, &[7; 16]).unwrap();
    assert!(matches!(service.frame_mac(&other, b"x"), Err(KeyError::Purpose { .. })));
    let missing = key(KeyPurpose::ClearingTransport);
    assert!(matches!(service.frame_mac(&missing, b"x"), Err(KeyError::Unknown(_))));
    service.import_development(&missing, KeyAlgorithm::TripleDes, &[9; 16]).unwrap();
    assert_eq!(service.frame_mac(&missing, b"frame").unwrap().len(), 8);
}
