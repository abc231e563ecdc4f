//! Secure-channel sessions with the card halves of SCP02 and SCP03.

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

    fn refuses(&mut self, command: &CommandApdu) -> bool {
        match self {
            Self::Scp02(card) => card.unwrap_command(command).is_err(),
            Self::Scp03(card) => card.unwrap_command(command).is_err(),
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

fn card(protocol: Protocol, key_version: u8, static_key: &[u8], host_challenge: &[u8]) -> (Vec<u8>, Finish) {
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

fn open(keys: &SoftwareKeyService, protocol: Protocol, level: SecurityLevel) -> (Box<dyn CardSession>, Card) {
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
    let pending = keys.begin_session(request(&keys, Protocol::Scp03(0x70), SecurityLevel::C_MAC)).unwrap();
    let (answer, _) = card(Protocol::Scp02(0x55), 0x30, &unhex(STATIC), &pending.initialize_update().data);
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

/// Check values computed with OpenSSL from the definition: SHA-256 of the AID, then of key identifier and
/// SE-ID, each cut to 16 bytes and encrypted with the key above.
///
/// req: B-8.4.1.b
#[test]
fn domain_keys_come_from_the_root_in_two_levels() {
    let keys = service();
    for (algorithm, label, check_values) in [
        (KeyAlgorithm::Aes128, "aes", ["C04CFA", "E07A27", "B1A49F"]),
        (KeyAlgorithm::TripleDes, "3des", ["31E22C", "B245C7", "DD7908"]),
    ] {
        let root = name(&format!("domain-root/operator/{label}/1"));
        keys.import_development(&root, algorithm, &DEVELOPMENT_CARD_KEY).unwrap();
        for (key, check_value) in DomainKey::ALL.into_iter().zip(check_values) {
            let leaf = keys.derive(&root, &Derivation::Domain { path: domain_path(), key }).unwrap();
            assert_eq!(leaf.check_value().to_string(), check_value, "{label} {key}");
        }
        let another = DomainPath { se_id: SeId::new(&[9; 10]).unwrap(), ..domain_path() };
        let other = keys.derive(&root, &Derivation::Domain { path: another, key: DomainKey::Enc }).unwrap();
        assert_ne!(other.check_value().to_string(), check_values[0]);
    }
}

/// req: P-5.8.9.1.d
#[test]
fn with_encryption_the_wire_shows_no_data() {
    for protocol in PROTOCOLS {
        let (mut session, mut card) = open(&service(), protocol, SecurityLevel::C_DECRYPTION_C_MAC);
        let secret = b"thirteen8001234-thirteen8001234!";
        let command = CommandApdu::new(0x80, 0xE2, 0x00, 0x00).with_data(*secret);
        let wrapped = session.wrap_commands(std::slice::from_ref(&command)).unwrap();
        assert!(!wrapped[0].data.windows(8).any(|window| secret.windows(8).any(|part| part == window)));
        assert_eq!(card.answer(&wrapped[0], &[]).0.data, secret);
    }
}

/// req: P-5.8.9.1.c
#[test]
fn the_card_refuses_reordered_dropped_and_altered_commands() {
    for protocol in PROTOCOLS {
        let commands: Vec<_> = [b"one", b"two", b"six"]
            .map(|data| CommandApdu::new(0x80, 0xE2, 0x00, 0x00).with_data(*data))
            .to_vec();
        for change in 0..3 {
            let (mut session, mut card) = open(&service(), protocol, SecurityLevel::C_MAC);
            let mut wrapped = session.wrap_commands(&commands).unwrap();
            match change {
                0 => wrapped.swap(0, 1),
                1 => drop(wrapped.remove(0)),
                _ => wrapped[0].data[0] ^= 1,
            }
            assert!(card.refuses(&wrapped[0]), "{protocol:?} {change}");
        }
    }
}
