//! The host half against published values and the project's worked example, without the card half.

use tsm_iso7816::CommandApdu;

use super::{AnswerRefused, authentication, load, overdraft, pin, purchase, secure_messaging, unload};
use crate::{
    Algorithm, Amount, CardRandom, Challenge, Date, DateTime, Key, KeyIndex, KeyVersion, Mac, OfflineCounter,
    OnlineCounter, OverdraftLimit, Tac, TerminalNumber, TerminalSequence, Time, TransactionType,
    commands::{
        ApplicationBlock, ApplicationUnblock, BlockKind, CreditForLoad, DebitForPurchase,
        DebitForPurchaseResponse, InitializeForLoad, InitializeForLoadResponse, InitializeForOverdraft,
        InitializeForOverdraftResponse, InitializeForPurchaseResponse, InitializeForUnload,
        InitializeForUnloadResponse, Pin, UpdateBinary,
    },
    crypto, diversification,
    vectors::{card_key, worked},
};

const AT: DateTime = DateTime::from_bytes([0x20, 0x24, 0x12, 0x29, 0x14, 0x17, 0x40]);
const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0x00, 0x00, 0x00, 0x42]);

fn apdu(text: &str) -> CommandApdu {
    CommandApdu::parse(&hex::decode(text).unwrap()).unwrap()
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

/// Source: two published walk-throughs of PBOC purse transactions with the textbook key
/// 11223344556677888877665544332211.
#[test]
fn published_textbook_values() {
    let key = Key::new(Algorithm::TripleDes, bytes("11223344556677888877665544332211"));
    let random = CardRandom::new(bytes("11223344"));
    let (amount, terminal) = (Amount::from_fen(0x1000), TerminalNumber::new(bytes("001122334455")));
    let at = DateTime::from_bytes(bytes("20111221214822"));

    // Printed for a deposit (type 01), so the inputs are composed here; what is checked is the session key
    // and the MAC algorithm.
    let session = crypto::session_key(&key, load::session_seed(random, OnlineCounter::new(0)));
    assert_eq!(hex::encode_upper(session.expose()), "9B1D924E05595603");
    let mac1 = super::mac(&session, &hex::decode("000000000000100001001122334455").unwrap());
    assert_eq!(mac1.to_string(), "2988AE5A");
    let mac2_input = [&hex::decode("0000100001001122334455").unwrap()[..], &at.to_bytes()].concat();
    assert_eq!(super::mac(&session, &mac2_input).to_string(), "3A845BF0");

    let facts = purchase::PurchaseFacts {
        amount,
        transaction_type: TransactionType::Purchase,
        terminal,
        terminal_sequence: TerminalSequence::new(1),
        at: DateTime { date: Date::new(bytes("20120229")), time: Time::new(bytes("135100")) },
    };
    let seed = purchase::session_seed(random, OfflineCounter::new(0), facts.terminal_sequence);
    assert_eq!(hex::encode_upper(crypto::session_key(&key, seed).expose()), "003238ABC57659DD");
    let session = purchase::PurchaseSession::begin(&key, random, OfflineCounter::new(0), facts);
    assert_eq!(session.mac1().to_string(), "F15CAB75");
    assert!(session.verify_mac2(Mac::new(bytes("56988A13"))));
    assert!(!session.verify_mac2(Mac::new(bytes("56988A14"))));
}

#[test]
fn worked_derivations() {
    for (algorithm, name) in [(Algorithm::TripleDes, "3DES"), (Algorithm::Sm4, "SM4")] {
        for letter in ["P", "L"] {
            let vector = worked(&format!("{name} two-level derivation {letter}"));
            let root = Key::new(algorithm, bytes(&vector["root"]));
            let issuer_key = diversification::issuer_key(&root, bytes("09990000FFFFFFFF").into());
            assert_eq!(hex::encode_upper(issuer_key.expose()), vector["level1_issuer"]);
            let card_key = diversification::card_key(&issuer_key, bytes("4999000000012345").into());
            assert_eq!(hex::encode_upper(card_key.expose()), vector["level2_card"]);
            if let Some(kcv) = vector.get("kcv3") {
                assert_eq!(&hex::encode_upper(card_key.check_value().0), kcv);
            }
        }
    }
}

/// The load of the worked example, with its SM4 twin (which has the same card random, D-33).
#[test]
fn worked_load() {
    let vector = worked("LOAD 3DES");
    let command = InitializeForLoad::try_from(&apdu(&vector["cmd_init"])).unwrap();
    let answer = InitializeForLoadResponse::decode(&hex::decode(&vector["resp_init"]).unwrap()).unwrap();
    let sm4 = worked("LOAD SM4 (formula from public KeyAlgorithm lib; load seed assumed rnd||seq||8000)");
    let sm4_answer =
        InitializeForLoadResponse { algorithm: 1, mac1: Mac::new(bytes(&sm4["MAC1"])), ..answer };

    for (algorithm, answer, expected) in
        [(Algorithm::TripleDes, answer, &vector), (Algorithm::Sm4, sm4_answer, &sm4)]
    {
        let key = card_key(algorithm, "L");
        let session = crypto::session_key(&key, load::session_seed(answer.random, answer.counter));
        assert_eq!(hex::encode_upper(session.expose()), expected["session_key"]);
        let session = load::LoadSession::begin(&key, &command, &answer).unwrap();
        let credit = session.credit(AT);
        assert_eq!(credit.mac2.to_string(), expected["MAC2"]);
        let facts = load::LoadFacts {
            balance_after: Amount::from_fen(8000),
            counter_before: answer.counter,
            amount: command.amount,
            terminal: TERMINAL,
            at: AT,
        };
        assert!(load::verify_tac(&card_key(algorithm, "T"), &facts, Tac::new(bytes(&expected["TAC"]))));
    }
    let credit =
        load::LoadSession::begin(&card_key(Algorithm::TripleDes, "L"), &command, &answer).unwrap().credit(AT);
    assert_eq!(credit, CreditForLoad::try_from(&apdu(&vector["cmd_credit"])).unwrap());
    assert_eq!(hex::encode_upper(load::mac1_input(answer.balance, &command)), vector["mac1_input"]);
    assert_eq!(hex::encode_upper(load::mac2_input(command.amount, TERMINAL, AT)), vector["mac2_input"]);
}

/// A forged or replayed answer authorises nothing.
#[test]
fn a_changed_answer_is_refused() {
    let vector = worked("LOAD 3DES");
    let command = InitializeForLoad::try_from(&apdu(&vector["cmd_init"])).unwrap();
    let answer = hex::decode(&vector["resp_init"]).unwrap();
    let key = card_key(Algorithm::TripleDes, "L");
    // Every bit but those of the key version, which no MAC covers.
    for bit in (0..128).filter(|bit| bit / 8 != 6) {
        let mut changed = answer.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = InitializeForLoadResponse::decode(&changed).unwrap();
        let refused = load::LoadSession::begin(&key, &command, &changed).unwrap_err();
        let expected = if bit / 8 == 7 {
            AnswerRefused::Algorithm { expected: 0, found: changed.algorithm }
        } else {
            AnswerRefused::Mac1
        };
        assert_eq!(refused, expected);
    }
    // The same answer given to an attempt with another terminal number.
    let terminal = TerminalNumber::new(bytes("099900000043"));
    let other = InitializeForLoad { terminal, ..command };
    let answer = InitializeForLoadResponse::decode(&answer).unwrap();
    assert_eq!(load::LoadSession::begin(&key, &other, &answer).unwrap_err(), AnswerRefused::Mac1);
}

#[test]
fn worked_purchases() {
    for (name, key_name, kind, sequence) in [
        ("PURCHASE 3DES", Algorithm::TripleDes, TransactionType::Purchase, 0x1234),
        ("CAPP PURCHASE 3DES", Algorithm::TripleDes, TransactionType::CompositePurchase, 0x1235),
        ("CAPP PURCHASE SM4", Algorithm::Sm4, TransactionType::CompositePurchase, 0x1235),
    ] {
        let vector = worked(name);
        let simple = kind == TransactionType::Purchase;
        let (random, counter, amount) =
            if simple { ("55667788", 0x042C, 200) } else { ("99AABBCC", 0x042D, 500) };
        let facts = purchase::PurchaseFacts {
            amount: Amount::from_fen(amount),
            transaction_type: kind,
            terminal: TERMINAL,
            terminal_sequence: TerminalSequence::new(sequence),
            at: AT,
        };
        let (random, counter) = (CardRandom::new(bytes(random)), OfflineCounter::new(counter));
        if let Some(answer) = vector.get("resp_init") {
            let answer = InitializeForPurchaseResponse::decode(&hex::decode(answer).unwrap()).unwrap();
            assert_eq!((answer.random, answer.counter), (random, counter));
        }
        let key = card_key(key_name, "P");
        let seed = purchase::session_seed(random, counter, facts.terminal_sequence);
        assert_eq!(hex::encode_upper(crypto::session_key(&key, seed).expose()), vector["session_key"]);
        let session = purchase::PurchaseSession::begin(&key, random, counter, facts);
        assert_eq!(session.mac1().to_string(), vector["MAC1"]);
        assert!(session.verify_mac2(Mac::new(bytes(&vector["MAC2"]))));
        let tac = Tac::new(bytes(&vector["TAC"]));
        assert!(purchase::verify_tac(&card_key(key_name, "T"), &facts, tac));
        let dearer = purchase::PurchaseFacts { amount: Amount::from_fen(amount + 1), ..facts };
        assert!(!purchase::verify_tac(&card_key(key_name, "T"), &dearer, tac));
        if let Some(debit) = vector.get("cmd_debit") {
            let command =
                DebitForPurchase { terminal_sequence: facts.terminal_sequence, at: AT, mac1: session.mac1() };
            assert_eq!(command, DebitForPurchase::try_from(&apdu(debit)).unwrap());
            let answer = hex::decode(&vector["resp_debit"]).unwrap();
            let answer = DebitForPurchaseResponse::decode(&answer).unwrap();
            assert!(session.verify_mac2(answer.mac2) && answer.tac == tac);
        }
    }
}

#[test]
fn worked_secure_messaging() {
    let challenge = Challenge::new(bytes("11223344"));
    let key = card_key(Algorithm::TripleDes, "AM");
    let block = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
    let update = UpdateBinary { sfi: crate::Sfi::MANAGEMENT, offset: 8, data: vec![0, 1, 0] }.to_apdu();
    for (name, command) in [
        ("APP BLOCK temp", block),
        ("APP UNBLOCK", ApplicationUnblock.to_apdu()),
        ("UPDATE BINARY EF17 off 8 len 3", update),
    ] {
        let protected = secure_messaging::protect(&key, challenge, &command).unwrap();
        assert_eq!(hex::encode_upper(protected.to_bytes().unwrap()), worked(name)["cmd"]);
    }
    let long = CommandApdu::new(0x04, 0xD6, 0x95, 0).with_data(vec![0; 252]);
    assert!(secure_messaging::protect(&key, challenge, &long).is_err());
}

#[test]
fn worked_overdraft_update() {
    let vector = worked("UPDATE OVERDRAFT (key choice: demo key AM; formula per PBOC 2.0 part 2)");
    let command = InitializeForOverdraft { key_index: KeyIndex::FIRST, terminal: TERMINAL };
    let answer = InitializeForOverdraftResponse {
        balance: Amount::from_fen(7800),
        counter: OnlineCounter::new(0x2A),
        old_limit: OverdraftLimit::NONE,
        key_version: KeyVersion(1),
        algorithm: 0,
        random: CardRandom::new(bytes("0BADCAFE")),
        mac1: Mac::new(bytes(&vector["MAC1"])),
    };
    let key = card_key(Algorithm::TripleDes, "AM");
    let session = overdraft::OverdraftSession::begin(&key, &command, &answer).unwrap();
    let new_limit = OverdraftLimit::from_fen(3000).unwrap();
    assert_eq!(session.update(new_limit, AT).mac2.to_string(), vector["MAC2"]);
    let facts = overdraft::OverdraftFacts {
        balance: Amount::from_fen(7800),
        counter_before: answer.counter,
        new_limit,
        terminal: TERMINAL,
        at: AT,
    };
    let tac = Tac::new(bytes(&vector["TAC"]));
    assert!(overdraft::verify_tac(&card_key(Algorithm::TripleDes, "T"), &facts, tac));
}

/// What has no published value is at least held to its inputs here, and to the card half in the
/// crate's integration test.
#[test]
fn unload_and_pin_cover_their_inputs() {
    let key = card_key(Algorithm::TripleDes, "L");
    let command =
        InitializeForUnload { key_index: KeyIndex::FIRST, amount: Amount::from_fen(1), terminal: TERMINAL };
    assert_eq!(
        hex::encode_upper(unload::mac1_input(Amount::from_fen(2), &command)),
        "000000020000000103099900000042"
    );
    let facts = unload::UnloadFacts {
        balance_after: Amount::from_fen(1),
        counter_before: OnlineCounter::new(5),
        amount: command.amount,
        terminal: TERMINAL,
        at: AT,
    };
    let input = "000000010005000000010309990000004220241229141740";
    assert_eq!(hex::encode_upper(unload::mac3_input(&facts)), input);
    let mac3 = Mac::new(crypto::folded_mac(&key, &hex::decode(input).unwrap()));
    assert!(unload::verify_mac3(&key, &facts, mac3));
    let answer = InitializeForUnloadResponse {
        balance: Amount::from_fen(2),
        counter: OnlineCounter::new(5),
        key_version: KeyVersion(1),
        algorithm: 0,
        random: CardRandom::default(),
        mac1: Mac::default(),
    };
    assert_eq!(unload::UnloadSession::begin(&key, &command, &answer).unwrap_err(), AnswerRefused::Mac1);
    let reload = pin::reload_pin(&key, Pin::new(&[0x12, 0x34]).unwrap());
    assert_eq!(reload.mac, Mac::new(crypto::folded_mac(&key, &[0x12, 0x34])));
}

#[test]
fn authentication_enciphers_the_challenge() {
    for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
        let key = card_key(algorithm, "L");
        let command = authentication::external_authenticate(&key, KeyIndex(0), Challenge::new([1, 2, 3, 4]));
        let mut block = vec![0; algorithm.block_length()];
        block[..4].copy_from_slice(&[1, 2, 3, 4]);
        crypto::encipher(&key, &mut block);
        assert_eq!(command.cryptogram, block[..8]);
    }
}
