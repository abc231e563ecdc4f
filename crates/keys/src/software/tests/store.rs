//! The sealed file and the store of keys.

use super::*;
use std::fs;
use std::path::PathBuf;

const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 8, passes: 1, lanes: 1 };

struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tsm-keys-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(CountingEntropy::default())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// req: P-5.8.9.5.a
#[test]
fn a_file_keeps_keys_encrypted_and_opens_with_its_passphrase_only() {
    let folder = Folder::new("sealed");
    let path = folder.0.join("keys.json");
    let value = "8F3A1B77C04D52E6916BD2A80FE43C59";
    let keys = SoftwareKeyService::create(&path, &passphrase("right"), CHEAP, entropy()).unwrap();
    let load = put(&keys, "purse-load/city/main/1", KeyAlgorithm::TripleDes, value);
    let before = keys.describe(&load).unwrap();
    drop(keys);

    let dump = fs::read(&path).unwrap();
    let text = String::from_utf8(dump.clone()).unwrap().to_uppercase();
    assert!(!text.contains(value));
    assert!(!dump.windows(16).any(|window| window == unhex(value)));

    let keys = SoftwareKeyService::open(&path, &passphrase("right"), entropy()).unwrap();
    assert_eq!(keys.describe(&load).unwrap(), before);
    assert!(matches!(
        SoftwareKeyService::open(&path, &passphrase("wrong"), entropy()),
        Err(OpenError::Passphrase(_))
    ));
    assert!(matches!(
        SoftwareKeyService::create(&path, &passphrase("right"), CHEAP, entropy()),
        Err(OpenError::Exists(_))
    ));
}

#[test]
fn every_damage_to_the_file_is_refused() {
    let folder = Folder::new("damaged");
    let path = folder.0.join("keys.json");
    let keys = SoftwareKeyService::create(&path, &passphrase("right"), CHEAP, entropy()).unwrap();
    keys.generate(&name("transport/city/partner/1"), KeyAlgorithm::Aes256).unwrap();
    keys.generate(&name("key-encryption/city/partner/1"), KeyAlgorithm::Aes256).unwrap();
    drop(keys);
    let original: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let open_changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut form = original.clone();
        change(&mut form);
        fs::write(&path, serde_json::to_vec(&form).unwrap()).unwrap();
        SoftwareKeyService::open(&path, &passphrase("right"), entropy()).map(drop)
    };
    open_changed(&|_| {}).unwrap();
    let dropped = open_changed(&|form| drop(form["records"].as_array_mut().unwrap().pop()));
    assert!(matches!(dropped, Err(OpenError::Damaged { .. })));
    let swapped = open_changed(&|form| form["records"].as_array_mut().unwrap().swap(0, 1));
    assert!(matches!(swapped, Err(OpenError::Damaged { .. })));
    let renamed = open_changed(&|form| form["records"][0]["key"] = "transport/city/partner/2".into());
    assert!(matches!(renamed, Err(OpenError::Damaged { .. })));
    let relabelled = open_changed(&|form| form["records"][0]["origin"] = "development".into());
    assert!(matches!(relabelled, Err(OpenError::Damaged { .. })));
    let newer = open_changed(&|form| form["version"] = 2.into());
    assert!(matches!(newer, Err(OpenError::Newer { found: 2, .. })));
    let other = open_changed(&|form| form["format"] = "something".into());
    assert!(matches!(other, Err(OpenError::Format { .. })));
    let dear = open_changed(&|form| form["cost"]["memory_kib"] = u32::MAX.into());
    assert!(matches!(dear, Err(OpenError::Format { .. })));
    fs::write(&path, b"{").unwrap();
    let cut = SoftwareKeyService::open(&path, &passphrase("right"), entropy());
    assert!(matches!(cut, Err(OpenError::Format { .. })));
}

/// req: P-5.8.9.3.g
#[test]
fn versions_stand_side_by_side_and_none_is_overwritten() {
    let keys = service();
    let first = name("domain-root/operator/own/1");
    let second = first.at_version(2);
    let one = keys.generate(&first, KeyAlgorithm::Aes128).unwrap();
    let two = keys.generate(&second, KeyAlgorithm::Aes128).unwrap();
    assert_ne!(one.check_value, two.check_value);
    assert_eq!(keys.generate(&first, KeyAlgorithm::Aes128), Err(KeyError::Exists(first.clone())));
    let derivation = Derivation::Domain { path: domain_path(), key: DomainKey::Enc };
    let old = keys.derive(&first, &derivation).unwrap().check_value();
    let new = keys.derive(&second, &derivation).unwrap().check_value();
    assert_ne!(old, new);
    assert_eq!(keys.list().len(), 2);
}

#[test]
fn published_values_are_marked_as_development_keys() {
    let keys = service();
    keys.generate(&name("message/operator/main/1"), KeyAlgorithm::EcdsaP256).unwrap();
    assert!(!keys.is_development());
    let set = KeySetReference::new("operator", "development", 0x30).unwrap();
    keys.import_development_card_keys(&set, KeyAlgorithm::Aes128).unwrap();
    assert!(keys.is_development());
    let sneaked = service();
    let value = hex::encode(DEVELOPMENT_CARD_KEY);
    put(&sneaked, "domain-root/operator/own/1", KeyAlgorithm::TripleDes, &value);
    assert!(sneaked.is_development());
}

/// req: P-5.8.9.3.c
#[test]
fn a_ceremony_compares_check_values() {
    let (centre, platform) = (service(), service());
    let kek_value = "00F1D3A29C4B8E7766554B3D2C1F0E0DAABBCCDDEEFF00112F3D4C5B6A798877";
    let kek = put(&centre, "key-encryption/operator/centre/1", KeyAlgorithm::Aes256, kek_value);
    put(&platform, "key-encryption/operator/centre/1", KeyAlgorithm::Aes256, kek_value);
    let isd = name("domain-root/operator/isd-batch-7/1");
    let described = centre.generate(&isd, KeyAlgorithm::TripleDes).unwrap();
    let mut wrapped = centre.export_key(&isd, &kek).unwrap();
    assert_eq!(wrapped.check_value, described.check_value);
    assert_eq!(platform.import_key(&isd, &wrapped, &kek).unwrap().check_value, described.check_value);
    wrapped.check_value = CheckValue([0; 3]);
    assert_eq!(platform.import_key(&isd.at_version(2), &wrapped, &kek), Err(KeyError::CheckValue));
    wrapped.value.0[3] ^= 1;
    assert_eq!(
        platform.import_key(&isd.at_version(2), &wrapped, &kek),
        Err(KeyError::NotAuthentic(kek.clone()))
    );
    assert!(matches!(platform.export_key(&kek, &kek), Err(KeyError::Purpose { .. })));
}
