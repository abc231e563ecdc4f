//! Tests of the software key service. Card halves of the protocol crates stand in for cards.

use std::sync::Mutex;

use tsm_domain::SeId;
use tsm_epurse::commands::{
    ApplicationBlock, ApplicationUnblock, BlockKind, InitializeForLoad, InitializeForLoadResponse,
};
use tsm_epurse::{
    Amount, CardFactor, CardRandom, IssuerFactor, KeyIndex, KeyVersion, OfflineCounter, OnlineCounter,
    TerminalNumber, TerminalSequence, TransactionType,
};
use tsm_globalplatform::commands::PutKey;
use tsm_globalplatform::primitives::DesKey;
use tsm_globalplatform::security_level::SecurityLevel;
use tsm_globalplatform::{scp02, scp03};
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use super::*;
use crate::derivation::{CardScheme, DomainPath, PursePath};
use crate::description::CheckValue;
use crate::session::{CardSession, NewKeys, Protocol, PutKeyRequest, SessionError};

/// A counter stretched by SHA-256: the same bytes in every run.
#[derive(Default)]
pub(super) struct CountingEntropy(Mutex<u64>);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        use sha2::Digest;
        let mut count = self.0.lock().unwrap();
        for chunk in bytes.chunks_mut(32) {
            *count += 1;
            chunk.copy_from_slice(&Sha256::digest(count.to_be_bytes())[..chunk.len()]);
        }
    }
}

fn service() -> SoftwareKeyService {
    SoftwareKeyService::in_memory(Arc::new(CountingEntropy::default()))
}

fn name(text: &str) -> KeyReference {
    text.parse().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn put(keys: &SoftwareKeyService, reference: &str, algorithm: KeyAlgorithm, value: &str) -> KeyReference {
    let reference = name(reference);
    keys.import_clear(&reference, algorithm, Zeroizing::new(unhex(value))).unwrap();
    reference
}

const SE_ID: [u8; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

fn domain_path() -> DomainPath {
    DomainPath { domain: "F04F54534D0001".parse().unwrap(), se_id: SeId::new(&SE_ID).unwrap() }
}

// The invented card of the worked examples (facts/vectors/purse-worked.json).
fn purse_path() -> Derivation {
    Derivation::Purse(PursePath {
        issuer: IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
        card: CardFactor::new([0x49, 0x99, 0, 0, 0, 0x01, 0x23, 0x45]),
    })
}

mod store {
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
}

mod between_organisations {
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
        assert_eq!(
            keys.transport_decrypt(&tk, b"order 2", &message),
            Err(KeyError::NotAuthentic(tk.clone()))
        );
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
        assert!(matches!(
            keys.sign(&tk, SignatureScheme::EcdsaP256Sha256, b""),
            Err(KeyError::Purpose { .. })
        ));
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
}

mod purse {
    use super::*;
    use crate::purse::PurchaseAttempt;

    const LOAD: &str = "0F1E2D3C4B5A69788796A5B4C3D2E1F0";
    const TAC: &str = "A1A2A3A4A5A6A7A8B1B2B3B4B5B6B7B8";
    const PURCHASE: &str = "00112233445566778899AABBCCDDEEFF";
    const MAINTENANCE: &str = "C1C2C3C4C5C6C7C8D1D2D3D4D5D6D7D8";

    fn terminal() -> TerminalNumber {
        TerminalNumber::new([0x09, 0x99, 0, 0, 0, 0x42])
    }

    fn at() -> DateTime {
        DateTime::from_bytes([0x20, 0x24, 0x12, 0x29, 0x14, 0x17, 0x40])
    }

    fn attempt() -> LoadAttempt {
        LoadAttempt {
            command: InitializeForLoad {
                key_index: KeyIndex::FIRST,
                amount: Amount::from_fen(5000),
                terminal: terminal(),
            },
            answer: InitializeForLoadResponse {
                balance: Amount::from_fen(3000),
                counter: OnlineCounter::new(0x29),
                key_version: KeyVersion(1),
                algorithm: 0,
                random: CardRandom::new([0xA1, 0xB2, 0xC3, 0xD4]),
                mac1: Mac::new([0xB9, 0xDA, 0x1C, 0xB5]),
            },
        }
    }

    /// The worked examples of the project's facts; D-36 for the order of the factors.
    #[test]
    fn card_keys_come_from_the_root_through_issuer_and_card() {
        let keys = service();
        for (reference, algorithm, root, check_value) in [
            ("purse-purchase/city/3des/1", KeyAlgorithm::TripleDes, PURCHASE, Some("3B1E41")),
            ("purse-load/city/3des/1", KeyAlgorithm::TripleDes, LOAD, Some("77E152")),
            ("purse-tac/city/3des/1", KeyAlgorithm::TripleDes, TAC, Some("462FD8")),
            (
                "purse-application-maintenance/city/3des/1",
                KeyAlgorithm::TripleDes,
                MAINTENANCE,
                Some("686580"),
            ),
            ("purse-load/city/sm4/1", KeyAlgorithm::Sm4, LOAD, None),
        ] {
            let leaf = keys.derive(&put(&keys, reference, algorithm, root), &purse_path()).unwrap();
            assert_eq!(leaf.algorithm(), algorithm);
            if let Some(check_value) = check_value {
                assert_eq!(leaf.check_value().to_string(), check_value);
            }
            assert!(!format!("{leaf:?}").contains(&root[..8]));
        }
    }

    #[test]
    fn a_load_is_authorised_and_proven() {
        let keys = service();
        let load = keys
            .derive(&put(&keys, "purse-load/city/main/1", KeyAlgorithm::TripleDes, LOAD), &purse_path())
            .unwrap();
        let tac = keys
            .derive(&put(&keys, "purse-tac/city/main/1", KeyAlgorithm::TripleDes, TAC), &purse_path())
            .unwrap();
        keys.verify_load_mac1(&load, &attempt()).unwrap();
        let credit = keys.credit_for_load(&load, &attempt(), at()).unwrap();
        assert_eq!(
            hex::encode_upper(credit.to_apdu().to_bytes().unwrap()),
            "805200000B2024122914174004BD91B304"
        );
        let facts = LoadFacts {
            balance_after: Amount::from_fen(8000),
            counter_before: OnlineCounter::new(0x29),
            amount: Amount::from_fen(5000),
            terminal: terminal(),
            at: at(),
        };
        keys.verify_load_tac(&tac, &facts, Tac::new([0xB8, 0x79, 0xBB, 0x05])).unwrap();

        let mut forged = attempt();
        forged.answer.balance = Amount::from_fen(1);
        assert_eq!(keys.verify_load_mac1(&load, &forged), Err(KeyError::CardMac("MAC1")));
        assert_eq!(keys.credit_for_load(&load, &forged, at()), Err(KeyError::CardMac("MAC1")));
        let wrong = keys.verify_load_tac(&tac, &facts, Tac::new([0; 4]));
        assert_eq!(wrong, Err(KeyError::CardMac("TAC")));
        assert!(matches!(keys.verify_load_mac1(&tac, &attempt()), Err(KeyError::Purpose { .. })));
    }

    #[test]
    fn a_purchase_is_debited_and_proven() {
        let keys = service();
        let purchase = put(&keys, "purse-purchase/city/main/1", KeyAlgorithm::TripleDes, PURCHASE);
        let purchase = keys.derive(&purchase, &purse_path()).unwrap();
        let tac = keys
            .derive(&put(&keys, "purse-tac/city/main/1", KeyAlgorithm::TripleDes, TAC), &purse_path())
            .unwrap();
        let attempt = PurchaseAttempt {
            facts: PurchaseFacts {
                amount: Amount::from_fen(200),
                transaction_type: TransactionType::Purchase,
                terminal: terminal(),
                terminal_sequence: TerminalSequence::new(0x1234),
                at: at(),
            },
            counter: OfflineCounter::new(0x042C),
            random: CardRandom::new([0x55, 0x66, 0x77, 0x88]),
        };
        assert_eq!(keys.purchase_mac1(&purchase, &attempt).unwrap(), Mac::new([0x38, 0xC8, 0x87, 0x9B]));
        keys.verify_purchase_mac2(&purchase, &attempt, Mac::new([0xCE, 0x21, 0x81, 0xD8])).unwrap();
        keys.verify_purchase_tac(&tac, &attempt.facts, Tac::new([0x41, 0xE1, 0x53, 0xEA])).unwrap();
        assert!(keys.verify_purchase_mac2(&purchase, &attempt, Mac::new([0; 4])).is_err());
    }

    #[test]
    fn block_and_unblock_carry_the_mac_of_their_key() {
        let keys = service();
        let challenge = Challenge::new([0x11, 0x22, 0x33, 0x44]);
        let block = put(&keys, "purse-application-block/city/main/1", KeyAlgorithm::TripleDes, MAINTENANCE);
        let block = keys.derive(&block, &purse_path()).unwrap();
        for (command, expected) in [
            (ApplicationBlock { kind: BlockKind::Temporary }.to_apdu(), "841E000004CD38F529"),
            (ApplicationUnblock.to_apdu(), "8418000004D603F586"),
        ] {
            let protected = keys.secure_messaging(&block, challenge, &command).unwrap();
            assert_eq!(hex::encode_upper(protected.to_bytes().unwrap()), expected);
        }
        let load = keys
            .derive(&put(&keys, "purse-load/city/main/1", KeyAlgorithm::TripleDes, LOAD), &purse_path())
            .unwrap();
        let refused = keys.secure_messaging(&load, challenge, &ApplicationUnblock.to_apdu());
        assert!(matches!(refused, Err(KeyError::Purpose { .. })));
    }
}

mod sessions {
    use super::*;

    const ISD: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);
    const STATIC: &str = "6C9D2F41E8B7035A1C4E86D29F70B35D";

    /// A card's half of either protocol, after the handshake.
    enum Card {
        Scp02(scp02::card::Session),
        Scp03(scp03::card::Session),
    }

    impl Card {
        fn answer(&mut self, command: &CommandApdu, data: &[u8]) -> (CommandApdu, ResponseApdu) {
            let response = ResponseApdu::success(data);
            match self {
                Self::Scp02(card) => (card.unwrap_command(command).unwrap(), card.wrap_response(response)),
                Self::Scp03(card) => (card.unwrap_command(command).unwrap(), card.wrap_response(response)),
            }
        }

        fn decrypt(&self, data: &[u8]) -> Vec<u8> {
            match self {
                Self::Scp02(card) => card.decrypt_sensitive(data).unwrap(),
                Self::Scp03(card) => card.decrypt_sensitive(data).unwrap(),
            }
        }
    }

    fn set(keys: &SoftwareKeyService, algorithm: KeyAlgorithm) -> KeySetReference {
        let set = KeySetReference::new("operator", "batch", 1).unwrap();
        for key in DomainKey::ALL {
            put(keys, &set.member(key).to_string(), algorithm, STATIC);
        }
        set
    }

    fn request(keys: &SoftwareKeyService, protocol: Protocol, level: SecurityLevel) -> SessionRequest {
        let algorithm = match protocol {
            Protocol::Scp02(_) => KeyAlgorithm::TripleDes,
            Protocol::Scp03(_) => KeyAlgorithm::Aes128,
        };
        SessionRequest {
            application: ISD,
            keys: DomainKeySource::Fixed(set(keys, algorithm)),
            protocol,
            key_version: 0x30,
            level,
        }
    }

    /// The card's answer to INITIALIZE UPDATE, and what finishes its handshake.
    type Finish = Box<dyn FnOnce(&CommandApdu) -> Card>;

    fn card(
        protocol: Protocol,
        key_version: u8,
        static_key: &[u8],
        host_challenge: &[u8],
    ) -> (Vec<u8>, Finish) {
        match protocol {
            Protocol::Scp02(i) => {
                let key = || DesKey::from_slice(static_key).unwrap();
                let parameters = scp02::card::CardParameters {
                    keys: &scp02::StaticKeys { enc: key(), mac: key(), dek: key() },
                    key_version,
                    implementation: i.try_into().unwrap(),
                    diversification_data: [7; 10],
                    sequence_counter: 5,
                    application: ISD,
                    random: [9; 6],
                };
                let (card, answer) =
                    scp02::card::Handshake::begin(&parameters, host_challenge.try_into().unwrap());
                (answer.to_bytes(), Box::new(move |command| Card::Scp02(card.finish(command).unwrap())))
            }
            Protocol::Scp03(i) => {
                let key = || AesKey::from_slice(static_key).unwrap();
                let parameters = scp03::card::CardParameters {
                    keys: &scp03::StaticKeys { enc: key(), mac: key(), dek: key() },
                    key_version,
                    implementation: i.try_into().unwrap(),
                    diversification_data: [7; 10],
                    sequence_counter: 5,
                    application: ISD,
                    random: [9; 16],
                };
                let (card, answer) = scp03::card::Handshake::begin(&parameters, host_challenge).unwrap();
                (answer.to_bytes(), Box::new(move |command| Card::Scp03(card.finish(command).unwrap())))
            }
        }
    }

    fn open(
        keys: &SoftwareKeyService,
        protocol: Protocol,
        level: SecurityLevel,
    ) -> (Box<dyn CardSession>, Card) {
        let pending = keys.begin_session(request(keys, protocol, level)).unwrap();
        let (answer, finish) = card(protocol, 0x30, &unhex(STATIC), &pending.initialize_update().data);
        let (session, external_authenticate) = pending.authenticate(&ResponseApdu::success(answer)).unwrap();
        (session, finish(&external_authenticate))
    }

    const PROTOCOLS: [Protocol; 4] =
        [Protocol::Scp02(0x75), Protocol::Scp02(0x35), Protocol::Scp03(0x70), Protocol::Scp03(0x71)];

    fn get_status() -> CommandApdu {
        CommandApdu::new(0x80, 0xF2, 0x40, 0x02).with_data([0x4F, 0]).with_any_response()
    }

    /// req: P-5.8.9.1.b
    #[test]
    fn lists_are_wrapped_ahead_and_their_answers_checked_afterwards() {
        for protocol in PROTOCOLS {
            let (mut session, mut card) = open(&service(), protocol, SecurityLevel::C_DECRYPTION_C_MAC_R_MAC);
            assert_eq!((session.key_version(), session.protocol()), (0x30, protocol));
            assert_eq!(session.sequence_counter(), Some(5));
            let commands = vec![get_status(); 3];
            let wrapped = session.wrap_commands(&commands).unwrap();
            let answered: Vec<_> = wrapped.iter().map(|command| card.answer(command, b"entry")).collect();
            assert!(answered.iter().all(|(command, _)| command.data == commands[0].data));
            let responses = answered.into_iter().map(|(_, response)| response).collect();
            let opened = session.unwrap_responses(responses).unwrap();
            assert_eq!(opened, vec![ResponseApdu::success(*b"entry"); 3]);
        }
    }

    #[test]
    fn a_changed_exchanged_or_missing_answer_is_not_believed() {
        for protocol in PROTOCOLS {
            for change in 0..3 {
                let (mut session, mut card) = open(&service(), protocol, SecurityLevel::C_MAC_R_MAC);
                let wrapped = session.wrap_commands(&vec![get_status(); 2]).unwrap();
                let mut responses: Vec<_> = wrapped
                    .iter()
                    .zip([b"one", b"two"])
                    .map(|(command, data)| card.answer(command, data).1)
                    .collect();
                match change {
                    0 => responses[0].data[0] ^= 1,
                    1 => responses.swap(0, 1),
                    _ => responses[0] = ResponseApdu::success([]),
                }
                assert_eq!(
                    session.unwrap_responses(responses),
                    Err(SessionError::ResponseMac { index: 0 }),
                    "{protocol:?} {change}"
                );
                assert!(session.wrap_commands(&[get_status()]).is_err());
            }
        }
    }

    /// req: P-5.8.9.2.c
    #[test]
    fn a_card_without_the_keys_or_with_an_altered_answer_is_refused() {
        for protocol in PROTOCOLS {
            let keys = service();
            let request = request(&keys, protocol, SecurityLevel::C_MAC);
            let begin = || keys.begin_session(request.clone()).unwrap();
            let refuse = |answer: Vec<u8>, pending: Box<dyn PendingSession>| {
                pending.authenticate(&ResponseApdu::success(answer)).map(drop).unwrap_err()
            };
            let pending = begin();
            let (answer, _) = card(protocol, 0x30, &[0x5A; 16], &pending.initialize_update().data);
            assert_eq!(refuse(answer, pending), SessionError::CardCryptogram);

            let pending = begin();
            let (answer, _) = card(protocol, 0x31, &unhex(STATIC), &pending.initialize_update().data);
            assert_eq!(refuse(answer, pending), SessionError::KeyVersion { expected: 0x30, found: 0x31 });

            // A replay: the answer to another host challenge.
            let (answer, _) = card(protocol, 0x30, &unhex(STATIC), &begin().initialize_update().data);
            assert_eq!(refuse(answer, begin()), SessionError::CardCryptogram);

            let pending = begin();
            let (answer, _) = card(protocol, 0x30, &unhex(STATIC), &pending.initialize_update().data);
            let challenge = pending.initialize_update().data;
            drop(pending);
            for index in 10..answer.len() {
                let pending = begin();
                let (mut answer, _) = card(protocol, 0x30, &unhex(STATIC), &pending.initialize_update().data);
                assert_ne!(pending.initialize_update().data, challenge);
                answer[index] ^= 0x80;
                refuse(answer, pending);
            }
            for length in [0, 9, 27, 33, 300] {
                refuse(vec![0x30; length], begin());
            }
            let refused = begin().authenticate(&ResponseApdu::new([], StatusWord::CONDITIONS_NOT_SATISFIED));
            assert!(matches!(refused.map(drop), Err(SessionError::Malformed(_))));
        }
    }

    #[test]
    fn another_protocol_than_the_batchs_is_refused() {
        let keys = service();
        let pending =
            keys.begin_session(request(&keys, Protocol::Scp03(0x70), SecurityLevel::C_MAC)).unwrap();
        let (answer, _) =
            card(Protocol::Scp02(0x55), 0x30, &unhex(STATIC), &pending.initialize_update().data);
        let refused = pending.authenticate(&ResponseApdu::success(answer)).map(drop);
        assert!(matches!(refused, Err(SessionError::Protocol { .. })));
    }

    /// req: P-5.8.4.6.2.f
    #[test]
    fn a_value_under_a_kek_comes_out_under_the_dek_as_it_went_in() {
        for protocol in PROTOCOLS {
            let keys = service();
            let kek = name("key-encryption/sp/platform/1");
            keys.generate(&kek, KeyAlgorithm::Aes256).unwrap();
            let secret = unhex("CAFE00112233445566778899AABBCCDD");
            let wrapped = keys.wrap_value(&secret, &kek).unwrap();
            let (mut session, card) = open(&keys, protocol, SecurityLevel::C_MAC);
            let translated = session.translate(&wrapped, &kek).unwrap();
            assert_ne!(translated, secret);
            assert_eq!(card.decrypt(&translated), secret);
            let odd = keys.wrap_value(b"12345", &kek).unwrap();
            assert!(matches!(session.translate(&odd, &kek), Err(SessionError::Key(KeyError::Length { .. }))));
        }
    }

    /// req: P-5.8.3.2.1.c
    #[test]
    fn an_sps_keys_go_into_its_domain_without_the_platform_seeing_them() {
        let (sp, platform) = (service(), service());
        let kek_value = "00F1D3A29C4B8E7766554B3D2C1F0E0DAABBCCDDEEFF00112F3D4C5B6A798877";
        let kek = put(&sp, "key-encryption/sp/platform/1", KeyAlgorithm::Aes256, kek_value);
        put(&platform, "key-encryption/sp/platform/1", KeyAlgorithm::Aes256, kek_value);
        let root = name("domain-root/sp/own/1");
        sp.generate(&root, KeyAlgorithm::Aes128).unwrap();
        let own = DomainKeySource::TwoLevel { root: root.clone(), path: domain_path() };
        let set = sp.export_domain_keys(&own, &kek).unwrap();
        for protocol in [Protocol::Scp03(0x70), Protocol::Scp03(0x60)] {
            let (mut session, card) = open(&service_with(&kek, kek_value), protocol, SecurityLevel::C_MAC);
            let request = PutKeyRequest {
                replaces: 0,
                version: 0x01,
                keys: NewKeys::Transferred { set: set.clone(), kek: kek.clone() },
            };
            let put_key = session.put_key(&request).unwrap();
            let read = PutKey::try_from(&put_key.command).unwrap();
            assert_eq!((read.new_version, read.first_identifier, read.keys.len()), (1, 1, 3));
            for (field, key) in read.keys.iter().zip(DomainKey::ALL) {
                let value = field.as_symmetric().unwrap();
                let clear = card.decrypt(value.encrypted);
                let leaf = sp.derive(&root, &Derivation::Domain { path: domain_path(), key }).unwrap();
                let found = Material::new(KeyAlgorithm::Aes128, Zeroizing::new(clear)).unwrap();
                assert_eq!(found.check_value(), Some(leaf.check_value()));
                assert_eq!(field.check_value, leaf.check_value().0);
            }
            let check_values: Vec<u8> = read.keys.iter().flat_map(|key| key.check_value.clone()).collect();
            assert_eq!(put_key.confirmation, [&[1][..], &check_values].concat());
        }
    }

    fn service_with(kek: &KeyReference, value: &str) -> SoftwareKeyService {
        let keys = service();
        put(&keys, &kek.to_string(), KeyAlgorithm::Aes256, value);
        keys
    }

    #[test]
    fn card_keys_of_a_purse_go_out_under_the_dek() {
        let keys = service();
        let load =
            put(&keys, "purse-load/city/main/1", KeyAlgorithm::TripleDes, "0F1E2D3C4B5A69788796A5B4C3D2E1F0");
        let leaf = keys.derive(&load, &purse_path()).unwrap();
        let (mut session, card) = open(&keys, Protocol::Scp02(0x55), SecurityLevel::C_MAC);
        let for_card = session.key_for_card(&leaf).unwrap();
        assert_eq!(hex::encode_upper(card.decrypt(&for_card.ciphertext)), "9D2D1D4D868B436046FE049AE3908CEA");
        assert_eq!(for_card.check_value.to_string(), "77E152");
    }

    /// Published check values: martinpaljak/GlobalPlatformPro, TestPlaintextKeys.java.
    #[test]
    fn common_card_schemes_diversify_by_what_the_card_says() {
        let keys = service();
        let master = hex::encode(DEVELOPMENT_CARD_KEY);
        let card_data: [u8; 10] = core::array::from_fn(|index| index as u8);
        for (scheme, algorithm, label, enc, mac) in [
            (CardScheme::Emv, KeyAlgorithm::TripleDes, "emv", "C33013", "6F4CA6"),
            (CardScheme::Visa2, KeyAlgorithm::TripleDes, "visa2", "2BE598", "58DA38"),
            (CardScheme::Kdf3, KeyAlgorithm::Aes128, "kdf3", "E79C05", "D1BD77"),
        ] {
            let masters = KeySetReference::new("operator", label, 1).unwrap();
            for key in DomainKey::ALL {
                put(&keys, &masters.member(key).to_string(), algorithm, &master);
            }
            let source = DomainKeySource::Card { masters, scheme };
            let [found_enc, found_mac, _] = keys.0.domain_keys(&source, Some(&card_data)).unwrap();
            assert_eq!(found_enc.check_value().unwrap().to_string(), enc, "{scheme:?}");
            assert_eq!(found_mac.check_value().unwrap().to_string(), mac, "{scheme:?}");
            assert!(keys.export_domain_keys(&source, &name("key-encryption/a/b/1")).is_err());
        }
    }
}
