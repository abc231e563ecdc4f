//! Host and card halves against each other, and SCP02's R-MAC against plain block cipher calls.

use cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use proptest::{collection::vec, prelude::*};
use tsm_globalplatform::{
    SecurityLevel,
    primitives::{AesKey, DesKey},
    scp02, scp03,
    secure_messaging::{ResponseError, UnwrapError},
    security_level::ResponseProtection,
};
use tsm_iso7816::{Aid, CommandApdu, LogicalChannel, ResponseApdu, StatusWord};

const KEY: [u8; 16] = *b"@ABCDEFGHIJKLMNO";
const APPLICATION: Aid = Aid::constant(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]);

/// One secure channel, whichever the protocol.
enum Pair {
    Scp02(scp02::host::Session, scp02::card::Session),
    Scp03(scp03::host::Session, scp03::card::Session),
}

impl Pair {
    fn wrap(&mut self, command: &CommandApdu) -> CommandApdu {
        match self {
            Self::Scp02(host, _) => host.wrap(command).unwrap(),
            Self::Scp03(host, _) => host.wrap(command).unwrap(),
        }
    }

    fn unwrap_command(&mut self, command: &CommandApdu) -> Result<CommandApdu, UnwrapError> {
        match self {
            Self::Scp02(_, card) => card.unwrap_command(command),
            Self::Scp03(_, card) => card.unwrap_command(command),
        }
    }

    fn wrap_response(&mut self, response: ResponseApdu) -> ResponseApdu {
        match self {
            Self::Scp02(_, card) => card.wrap_response(response),
            Self::Scp03(_, card) => card.wrap_response(response),
        }
    }

    fn unwrap(&mut self, response: ResponseApdu) -> Result<ResponseApdu, ResponseError> {
        match self {
            Self::Scp02(host, _) => host.unwrap(response),
            Self::Scp03(host, _) => host.unwrap(response),
        }
    }

    fn level(&self) -> SecurityLevel {
        match self {
            Self::Scp02(_, card) => card.level(),
            Self::Scp03(_, card) => card.level(),
        }
    }

    fn encrypt_and_decrypt(&self, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let encrypted = match self {
            Self::Scp02(host, _) => host.encrypt_sensitive(data),
            Self::Scp03(host, _) => host.encrypt_sensitive(data),
        };
        let decrypted = match self {
            Self::Scp02(_, card) => card.decrypt_sensitive(&encrypted).unwrap(),
            Self::Scp03(_, card) => card.decrypt_sensitive(&encrypted).unwrap(),
        };
        (encrypted, decrypted)
    }
}

fn des_keys() -> scp02::StaticKeys {
    let key = |first| DesKey::new(core::array::from_fn(|at| KEY[at] ^ first));
    scp02::StaticKeys { enc: key(0), mac: key(1), dek: key(2) }
}

fn aes_keys(length: usize) -> scp03::StaticKeys {
    let key = |first: u8| AesKey::from_slice(&(first..first + length as u8).collect::<Vec<_>>()).unwrap();
    scp03::StaticKeys { enc: key(0x10), mac: key(0x40), dek: key(0x70) }
}

fn open_scp02(implementation: scp02::Implementation, level: SecurityLevel) -> Pair {
    let challenge = [0x11; 8];
    let (host, _) = scp02::host::Handshake::begin(des_keys(), implementation, 0x20, challenge);
    let keys = des_keys();
    let card = scp02::card::CardParameters {
        keys: &keys,
        key_version: 0x20,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 0x0102,
        application: APPLICATION,
        random: [0x5A; 6],
    };
    let (card, answer) = scp02::card::Handshake::begin(&card, &challenge);
    let (host, command) = host.with_application(APPLICATION).finish(&answer.to_bytes(), level).unwrap();
    Pair::Scp02(host, card.finish(&command).unwrap())
}

fn open_scp03(implementation: scp03::Implementation, key_length: usize, level: SecurityLevel) -> Pair {
    let challenge = vec![0x22; implementation.mode().length()];
    let (host, _) =
        scp03::host::Handshake::begin(aes_keys(key_length), implementation, 0x30, &challenge).unwrap();
    let keys = aes_keys(key_length);
    let card = scp03::card::CardParameters {
        keys: &keys,
        key_version: 0x30,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 0x01_0203,
        application: APPLICATION,
        random: [0xA5; 16],
    };
    let (card, answer) = scp03::card::Handshake::begin(&card, &challenge).unwrap();
    let (host, command) = host.with_application(APPLICATION).finish(&answer.to_bytes(), level).unwrap();
    Pair::Scp03(host, card.finish(&command).unwrap())
}

const SCP02_OPTIONS: [scp02::Implementation; 4] = [
    scp02::Implementation::I15,
    scp02::Implementation::I35,
    scp02::Implementation::I55,
    scp02::Implementation::I75,
];

/// Every protocol, option, key length and level there is.
fn every_pair() -> Vec<(String, Pair)> {
    let mut pairs = Vec::new();
    for level in SecurityLevel::ALL {
        for implementation in SCP02_OPTIONS.into_iter().filter(|i| i.allows(level)) {
            let name = format!("SCP02 i={:02X} level {level}", implementation.value());
            pairs.push((name, open_scp02(implementation, level)));
        }
        for mode in [scp03::Mode::S8, scp03::Mode::S16] {
            for implementation in scp03::Implementation::ALL_S8.map(|i| i.with_mode(mode)) {
                for length in [16, 24, 32].into_iter().filter(|_| implementation.allows(level)) {
                    let name =
                        format!("SCP03 i={:02X} AES-{} level {level}", implementation.value(), length * 8);
                    pairs.push((name, open_scp03(implementation, length, level)));
                }
            }
        }
    }
    assert!(pairs.len() > 60, "{}", pairs.len());
    pairs
}

fn any_command() -> impl Strategy<Value = CommandApdu> {
    // Channel 19 is left to the commands that do not chain: its secured chaining class would be FF.
    let cla = prop_oneof![(Just(0x80u8), 0u8..20), (Just(0x00), 0u8..20), (Just(0x90), 0u8..19)]
        .prop_map(|(cla, channel)| LogicalChannel::new(channel).unwrap().apply(cla).unwrap());
    // Empty data, short data, data around the limits of a short command, extended data.
    let data = prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 1..40),
        vec(any::<u8>(), 220..256),
        vec(any::<u8>(), 256..900),
    ];
    let ne = prop_oneof![Just(None), Just(Some(1)), Just(Some(256)), Just(Some(65_536))];
    (cla, any::<[u8; 3]>(), data, ne).prop_map(|(cla, [ins, p1, p2], data, ne)| CommandApdu {
        cla,
        ins,
        p1,
        p2,
        data,
        ne,
    })
}

fn any_response() -> impl Strategy<Value = ResponseApdu> {
    let data = prop_oneof![Just(Vec::new()), vec(any::<u8>(), 1..40), vec(any::<u8>(), 200..300)];
    let protected = prop_oneof![Just(0x9000u16), Just(0x6283), Just(0x6310)];
    let error = Just(ResponseApdu::from(StatusWord::NOT_FOUND));
    prop_oneof![
        4 => (data, protected).prop_map(|(data, status)| ResponseApdu::new(data, StatusWord(status))),
        1 => error,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A list of commands wrapped ahead arrives as it was written, and so do the answers.
    ///
    /// req: B-6.5.a, P-5.8.9.1.d, P-5.8.9.2.b
    #[test]
    fn commands_and_answers_arrive(exchanges in vec((any_command(), any_response()), 1..6)) {
        for (name, mut pair) in every_pair() {
            let wrapped: Vec<_> = exchanges.iter().map(|(command, _)| pair.wrap(command)).collect();
            let level = pair.level();
            let mut answers = Vec::new();
            for (wrapped, (command, answer)) in wrapped.iter().zip(&exchanges) {
                // Through bytes, as over a reader.
                let arrived = CommandApdu::parse(&wrapped.to_bytes().unwrap()).unwrap();
                if level.has_c_decryption() && command.data.len() > 8 {
                    prop_assert!(!arrived.data.starts_with(&command.data), "{}: in clear", name);
                }
                let plain = pair.unwrap_command(&arrived).unwrap();
                prop_assert_eq!(
                    (plain.cla, plain.ins, plain.p1, plain.p2, &plain.data),
                    (command.cla, command.ins, command.p1, command.p2, &command.data),
                    "{}", name
                );
                prop_assert_eq!(plain.ne.is_some(), command.ne.is_some());
                answers.push(pair.wrap_response(answer.clone()));
            }
            for (answer, (_, expected)) in answers.into_iter().zip(&exchanges) {
                let answer = ResponseApdu::parse(&answer.to_bytes()).unwrap();
                prop_assert_eq!(&pair.unwrap(answer).unwrap(), expected, "{}", name);
            }
        }
    }

    /// A changed, dropped or repeated command ends the session with a refusal.
    ///
    /// req: P-5.8.9.1.a, P-5.8.9.1.c
    #[test]
    fn tampering_with_commands_is_refused(first in any_command(), second in any_command(), at: usize, bit in 0u8..8) {
        for (name, mut pair) in every_pair().into_iter().filter(|(_, pair)| pair.level().has_c_mac()) {
            let (one, two) = (pair.wrap(&first), pair.wrap(&second));
            let mut changed = one.clone();
            match at % (changed.data.len() + 3) {
                0 => changed.ins ^= 1 << bit,
                1 => changed.p1 ^= 1 << bit,
                2 => changed.p2 ^= 1 << bit,
                index => changed.data[index - 3] ^= 1 << bit,
            }
            match at % 4 {
                0 => prop_assert_eq!(pair.unwrap_command(&changed), Err(UnwrapError::Incorrect), "{}", name),
                1 => prop_assert_eq!(pair.unwrap_command(&two), Err(UnwrapError::Incorrect), "{} dropped", name),
                2 => {
                    prop_assert!(pair.unwrap_command(&one).is_ok());
                    prop_assert_eq!(pair.unwrap_command(&one), Err(UnwrapError::Incorrect), "{} repeated", name);
                }
                _ => {
                    let plain = CommandApdu { cla: first.cla, ..one.clone() };
                    prop_assert_eq!(pair.unwrap_command(&plain), Err(UnwrapError::NotSecured), "{}", name);
                }
            }
            prop_assert_eq!(pair.unwrap_command(&one), Err(UnwrapError::Closed), "{}", name);
        }
    }

    /// A changed answer, or the answer to another command, is not believed.
    #[test]
    fn tampering_with_answers_is_refused(
        first in any_command(), second in any_command(), data in vec(any::<u8>(), 0..40), at: usize, bit in 0u8..8,
    ) {
        prop_assume!(first != second);
        for (name, mut pair) in every_pair().into_iter().filter(|(_, pair)| pair.level().has_r_mac()) {
            let commands = [pair.wrap(&first), pair.wrap(&second)];
            let answers = commands.map(|command| {
                pair.unwrap_command(&command).unwrap();
                pair.wrap_response(ResponseApdu::success(data.clone()))
            });
            let [one, two] = answers;
            let mut changed = one.clone();
            let index = at % changed.data.len();
            changed.data[index] ^= 1 << bit;
            match at % 4 {
                0 => prop_assert_eq!(pair.unwrap(changed), Err(ResponseError::Mac(StatusWord::SUCCESS)), "{}", name),
                1 => prop_assert_eq!(pair.unwrap(two), Err(ResponseError::Mac(StatusWord::SUCCESS)), "{}", name),
                2 => {
                    let other = ResponseApdu::new(one.data.clone(), StatusWord::SELECTED_FILE_INVALIDATED);
                    prop_assert!(matches!(pair.unwrap(other), Err(ResponseError::Mac(_))), "{}", name);
                }
                _ => {
                    let bare = ResponseApdu::from(StatusWord::SUCCESS);
                    prop_assert!(matches!(pair.unwrap(bare), Err(ResponseError::MissingMac(_))), "{}", name);
                }
            }
            prop_assert_eq!(pair.unwrap(one), Err(ResponseError::Closed), "{}", name);
        }
    }

    #[test]
    fn sensitive_data_arrives(data in vec(any::<u8>(), 0..70)) {
        for (_, pair) in every_pair() {
            let (encrypted, decrypted) = pair.encrypt_and_decrypt(&data);
            prop_assert!(decrypted.starts_with(&data));
            prop_assert!(data.len() < 8 || !encrypted.starts_with(&data));
        }
    }
}

/// Each field of the handshake, altered once, ends it on the side that can tell.
///
/// req: P-5.8.9.1.b, P-5.8.9.2.c
#[test]
fn an_altered_handshake_is_refused() {
    let keys = des_keys();
    let challenge = [0x33; 8];
    let implementation = scp02::Implementation::I55;
    let level = SecurityLevel::C_MAC;
    let card = || scp02::card::CardParameters {
        keys: &keys,
        key_version: 0x20,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 7,
        application: APPLICATION,
        random: [0; 6],
    };
    let host = || scp02::host::Handshake::begin(des_keys(), implementation, 0x20, challenge).0;
    let (_, answer) = scp02::card::Handshake::begin(&card(), &challenge);
    let answer = answer.to_bytes();
    for at in 10..answer.len() {
        let mut altered = answer.clone();
        altered[at] ^= 0x10;
        assert!(host().finish(&altered, level).is_err(), "byte {at} of the answer");
        assert!(host().finish(&answer[..at], level).is_err(), "cut at {at}");
    }
    let (_, command) = host().finish(&answer, level).unwrap();
    let fresh = || scp02::card::Handshake::begin(&card(), &challenge).0;
    for at in 0..command.data.len() {
        let mut altered = command.clone();
        altered.data[at] ^= 0x10;
        let error = fresh().finish(&altered).unwrap_err();
        let expected = if at < 8 {
            (scp02::card::AuthenticationError::HostCryptogram, StatusWord::AUTHENTICATION_FAILED)
        } else {
            (scp02::card::AuthenticationError::Mac, StatusWord::SECURITY_STATUS_NOT_SATISFIED)
        };
        assert_eq!((error.clone(), error.status_word()), expected);
    }
    let raised = CommandApdu { p1: 0x03, ..command.clone() };
    assert_eq!(fresh().finish(&raised).unwrap_err(), scp02::card::AuthenticationError::Mac);
    let bare = CommandApdu { cla: 0x80, ..command.clone() };
    assert_eq!(fresh().finish(&bare).unwrap_err(), scp02::card::AuthenticationError::NotSecured);
    assert!(fresh().finish(&command).is_ok());
}

#[test]
fn an_altered_scp03_handshake_is_refused() {
    let keys = aes_keys(16);
    let implementation = scp03::Implementation::I70;
    let challenge = [0x33; 8];
    let level = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;
    let card = || scp03::card::CardParameters {
        keys: &keys,
        key_version: 0x30,
        implementation,
        diversification_data: [0; 10],
        sequence_counter: 7,
        application: APPLICATION,
        random: [0; 16],
    };
    let host = || {
        let begun = scp03::host::Handshake::begin(aes_keys(16), implementation, 0x30, &challenge);
        begun.unwrap().0.with_application(APPLICATION)
    };
    let (_, answer) = scp03::card::Handshake::begin(&card(), &challenge).unwrap();
    let answer = answer.to_bytes();
    for at in 10..answer.len() {
        let mut altered = answer.clone();
        altered[at] ^= 0x08;
        assert!(host().finish(&altered, level).is_err(), "byte {at} of the answer");
    }
    let (_, command) = host().finish(&answer, level).unwrap();
    for at in 0..command.data.len() {
        let mut altered = command.clone();
        altered.data[at] ^= 0x08;
        assert!(scp03::card::Handshake::begin(&card(), &challenge).unwrap().0.finish(&altered).is_err());
    }
    let lowered = CommandApdu { p1: 0x01, ..command };
    assert!(scp03::card::Handshake::begin(&card(), &challenge).unwrap().0.finish(&lowered).is_err());
}

/// Levels outside an implementation's offer are refused by either side.
#[test]
fn levels_an_option_does_not_offer_are_refused() {
    let challenge = [1; 8];
    let (host, _) = scp02::host::Handshake::begin(des_keys(), scp02::Implementation::I15, 0, challenge);
    let error = host.finish(&[0; 28], SecurityLevel::C_MAC_R_MAC).unwrap_err();
    assert!(matches!(error, scp02::host::HandshakeError::Level { implementation: 0x15, .. }), "{error}");
    for (i, level) in [
        (scp03::Implementation::I00, SecurityLevel::C_MAC_R_MAC),
        (scp03::Implementation::I20, SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC),
        (scp03::Implementation::I70, SecurityLevel::R_MAC),
    ] {
        assert!(!i.allows(level), "{i:?} {level}");
    }
    let known: Vec<u8> = (0..=255).filter(|i| scp03::Implementation::try_from(*i).is_ok()).collect();
    assert_eq!(known, [0x00, 0x01, 0x10, 0x11, 0x20, 0x21, 0x30, 0x31, 0x60, 0x61, 0x70, 0x71]);
}

/// Some hosts pad and encrypt empty data at level 03; the card understands them too.
#[test]
fn a_host_may_encrypt_empty_data() {
    let keys = aes_keys(16);
    let level = SecurityLevel::C_DECRYPTION_C_MAC;
    let Pair::Scp03(_, mut card) = open_scp03(scp03::Implementation::I00, 16, level) else {
        unreachable!("SCP03 was opened");
    };
    // The session keys and the first C-MAC, by plain CMAC calls.
    let context = [&[0x22; 8][..], &[0xA5; 8]].concat();
    let derive = |key: &AesKey, constant: u8, bits: u8| {
        let fixed = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, constant, 0, 0, bits, 1];
        plain_cmac(key.as_bytes(), &[&fixed[..], &context].concat())
    };
    let s_enc = derive(&keys.enc, 0x04, 128);
    let s_mac = derive(&keys.mac, 0x06, 128);
    let host_cryptogram =
        &plain_cmac(&s_mac, &[&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 64, 1][..], &context].concat())
            [..8];
    let authenticate = [&[0; 16][..], &[0x84, 0x82, 0x03, 0x00, 0x10], host_cryptogram].concat();
    let chaining = plain_cmac(&s_mac, &authenticate);
    let aes = aes::Aes128::new_from_slice(&s_enc).unwrap();
    let mut icv = aes::Block::default();
    icv[15] = 1;
    aes.encrypt_block(&mut icv);
    icv[0] ^= 0x80;
    aes.encrypt_block(&mut icv);
    let mac = plain_cmac(&s_mac, &[&chaining[..], &[0x84, 0xF2, 0x80, 0x02, 24], &icv].concat());
    let command = CommandApdu::new(0x84, 0xF2, 0x80, 0x02).with_data([&icv[..], &mac[..8]].concat());
    assert_eq!(card.unwrap_command(&command).unwrap(), CommandApdu::new(0x80, 0xF2, 0x80, 0x02));
}

fn plain_cmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    use cmac::{Cmac, Mac};
    let mut mac = Cmac::<aes::Aes128>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// A retail MAC from `icv` by plain DES calls.
fn plain_retail_mac(key: &[u8], icv: &[u8], data: &[u8]) -> Vec<u8> {
    let left = des::Des::new_from_slice(&key[..8]).unwrap();
    let right = des::Des::new_from_slice(&key[8..]).unwrap();
    let mut padded = [data, &[0x80]].concat();
    padded.resize(padded.len().div_ceil(8) * 8, 0);
    let mut chain = cipher::Block::<des::Des>::try_from(icv).unwrap();
    for block in padded.chunks_exact(8) {
        chain.iter_mut().zip(block).for_each(|(to, from)| *to ^= from);
        left.encrypt_block(&mut chain);
    }
    right.decrypt_block(&mut chain);
    left.encrypt_block(&mut chain);
    chain.to_vec()
}

fn plain_session_key(key: &[u8], constant: [u8; 2], counter: [u8; 2]) -> Vec<u8> {
    let cipher = des::TdesEde2::new_from_slice(key).unwrap();
    let mut first = cipher::Block::<des::TdesEde2>::default();
    first[..2].copy_from_slice(&constant);
    first[2..4].copy_from_slice(&counter);
    cipher.encrypt_block(&mut first);
    let mut second = first;
    cipher.encrypt_block(&mut second);
    [first, second].concat()
}

/// The whole of SCP02's R-MAC, recomputed: the session key with constant 0102 from the static MAC key,
/// the first chaining value from the C-MAC of EXTERNAL AUTHENTICATE, and two answers in a row.
#[test]
fn scp02_r_mac_by_plain_block_cipher_calls() {
    let level = SecurityLevel::C_MAC_R_MAC;
    let challenge = [0x44; 8];
    let keys = des_keys();
    let parameters = scp02::card::CardParameters {
        keys: &keys,
        key_version: 1,
        implementation: scp02::Implementation::I75,
        diversification_data: [0; 10],
        sequence_counter: 0x0A0B,
        application: APPLICATION,
        random: [0; 6],
    };
    let (card, answer) = scp02::card::Handshake::begin(&parameters, &challenge);
    let (host, _) = scp02::host::Handshake::begin(des_keys(), scp02::Implementation::I75, 1, challenge);
    let (mut host, authenticate) = host.finish(&answer.to_bytes(), level).unwrap();
    let mut card = card.finish(&authenticate).unwrap();

    // The pseudo-random challenge: the MAC over the AID under the C-MAC session key.
    let s_mac = plain_session_key(keys.mac.as_bytes(), [1, 1], [0x0A, 0x0B]);
    assert_eq!(answer.card_challenge[..], plain_retail_mac(&s_mac, &[0; 8], APPLICATION.as_bytes())[..6]);

    let s_r_mac = plain_session_key(keys.mac.as_bytes(), [1, 2], [0x0A, 0x0B]);
    let mut chain = authenticate.data[8..].to_vec();
    let commands = [
        CommandApdu::new(0x83, 0xF2, 0x80, 0x02).with_data([0x4F, 0x00]).with_ne(256),
        CommandApdu::new(0x80, 0xCA, 0x00, 0x66).with_ne(256),
    ];
    let stripped: [&[u8]; 2] = [&[0x80, 0xF2, 0x80, 0x02, 0x02, 0x4F, 0x00], &[0x80, 0xCA, 0x00, 0x66, 0x00]];
    let responses: [&[u8]; 2] = [&[0xE3, 0x01, 0xAA], &[]];
    for ((command, stripped), data) in commands.iter().zip(stripped).zip(responses) {
        card.unwrap_command(&host.wrap(command).unwrap()).unwrap();
        let answer = card.wrap_response(ResponseApdu::success(data));
        let covered = [stripped, &[data.len() as u8], data, &[0x90, 0x00]].concat();
        chain = plain_retail_mac(&s_r_mac, &chain, &covered);
        assert_eq!(answer.data, [data, &chain[..]].concat());
        assert_eq!(host.unwrap(answer).unwrap(), ResponseApdu::success(data));
    }
}

/// BEGIN and END R-MAC SESSION on both halves, the commands wrapped ahead.
#[test]
fn r_mac_sessions_begin_and_end() {
    let command = CommandApdu::new(0x80, 0xCA, 0x00, 0x66).with_ne(256);
    let answer = || ResponseApdu::success([1, 2, 3]);
    let Pair::Scp02(mut host, mut card) = open_scp02(scp02::Implementation::I35, SecurityLevel::C_MAC) else {
        unreachable!("SCP02 was opened");
    };
    for round in 0..2 {
        let begin = host.wrap(&command).unwrap();
        host.begin_r_mac().unwrap();
        let inside = host.wrap(&command).unwrap();
        host.end_r_mac();
        let end = host.wrap(&command).unwrap();
        card.unwrap_command(&begin).unwrap();
        assert!(card.begin_r_mac());
        let first = card.wrap_response(answer());
        assert_eq!(first, answer(), "round {round}: BEGIN itself is answered without R-MAC");
        card.unwrap_command(&inside).unwrap();
        let second = card.wrap_response(answer());
        assert_eq!(second.data.len(), 3 + 8);
        card.unwrap_command(&end).unwrap();
        let r_mac = card.end_r_mac();
        assert_eq!(second.data[3..], r_mac);
        let third = card.wrap_response(ResponseApdu::success(r_mac));
        assert_eq!(host.unwrap(first).unwrap(), answer());
        assert_eq!(host.unwrap(second).unwrap(), answer());
        assert_eq!(host.unwrap(third).unwrap(), ResponseApdu::success(r_mac));
    }
    let Pair::Scp03(mut host, mut card) =
        open_scp03(scp03::Implementation::I70, 32, SecurityLevel::C_DECRYPTION_C_MAC)
    else {
        unreachable!("SCP03 was opened");
    };
    card.unwrap_command(&host.wrap(&command).unwrap()).unwrap();
    host.begin_r_mac(ResponseProtection::EncryptionAndMac).unwrap();
    assert!(card.begin_r_mac(ResponseProtection::EncryptionAndMac));
    assert_eq!(host.unwrap(card.wrap_response(answer())).unwrap(), answer());
    card.unwrap_command(&host.wrap(&command).unwrap()).unwrap();
    let protected = card.wrap_response(answer());
    assert_eq!(protected.data.len(), 16 + 8);
    assert_eq!(host.unwrap(protected).unwrap(), answer());
    host.end_r_mac();
    card.unwrap_command(&host.wrap(&command).unwrap()).unwrap();
    card.end_r_mac();
    assert_eq!(host.unwrap(card.wrap_response(answer())).unwrap(), answer());
}

/// An error answer passes without R-MAC, but data on it does not.
#[test]
fn errors_are_answered_alone() {
    let level = SecurityLevel::C_MAC_R_MAC;
    let command = CommandApdu::new(0x80, 0xE4, 0, 0);
    for mut pair in
        [open_scp03(scp03::Implementation::I30, 16, level), open_scp02(scp02::Implementation::I75, level)]
    {
        let wrapped = pair.wrap(&command);
        pair.unwrap_command(&wrapped).unwrap();
        let error = pair.wrap_response(StatusWord::NOT_FOUND.into());
        assert_eq!(error, StatusWord::NOT_FOUND.into());
        assert_eq!(pair.unwrap(error.clone()).unwrap(), error);
        assert_eq!(pair.unwrap(error), Err(ResponseError::NothingOutstanding));
        pair.wrap(&command);
        assert!(pair.unwrap(ResponseApdu::new([1, 2], StatusWord::NOT_FOUND)).is_err());
    }
}

/// Any bytes given to a card as a command are refused without a panic.
#[test]
fn fuzz_card_unwrap() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(command) = CommandApdu::parse(bytes) else { return };
        let level = SecurityLevel::C_DECRYPTION_C_MAC;
        let pairs = [
            open_scp02(scp02::Implementation::I55, level),
            open_scp03(scp03::Implementation::I70.with_mode(scp03::Mode::S16), 16, level),
        ];
        for mut pair in pairs {
            assert!(pair.unwrap_command(&command).is_err());
        }
    });
}

/// Any bytes given to a host as an answer are refused without a panic.
#[test]
fn fuzz_host_answers() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let level = SecurityLevel::C_MAC;
        let (host, _) = scp02::host::Handshake::begin(des_keys(), scp02::Implementation::I55, 0, [0; 8]);
        assert!(host.finish(bytes, level).is_err());
        let begun = scp03::host::Handshake::begin(aes_keys(16), scp03::Implementation::I70, 0, &[0; 8]);
        assert!(begun.unwrap().0.finish(bytes, level).is_err());
        let Ok(response) = ResponseApdu::parse(bytes) else { return };
        let level = SecurityLevel::C_DECRYPTION_R_ENCRYPTION_C_MAC_R_MAC;
        let mut pair = open_scp03(scp03::Implementation::I70, 16, level);
        pair.wrap(&CommandApdu::new(0x80, 0xF2, 0x80, 0x02));
        let bare_error =
            response.data.is_empty() && !response.status.is_success() && !response.status.is_warning();
        assert_eq!(pair.unwrap(response).is_ok(), bare_error);
    });
}
