//! The card half against the project's worked example, without the host half.

use tsm_iso7816::{CommandApdu, StatusWord};

use super::{
    PurseState, Refusal, authentication, load::PendingLoad, overdraft::PendingOverdraft,
    purchase::PendingPurchase, secure_messaging,
};
use crate::{
    Algorithm, Amount, CardRandom, Challenge, KeyVersion, OfflineCounter, OnlineCounter, OverdraftLimit,
    commands::{
        ApplicationBlock, ApplicationUnblock, CreditForLoad, DebitForPurchase, InitializeForLoad,
        InitializeForPurchase, InternalAuthenticate, PurseCommand, Secured, UpdateBinary,
        UpdateOverdraftLimit,
    },
    vectors::{card_key, worked},
};

fn apdu(text: &str) -> CommandApdu {
    CommandApdu::parse(&hex::decode(text).unwrap()).unwrap()
}

fn random(text: &str) -> CardRandom {
    CardRandom::new(hex::decode(text).unwrap().try_into().unwrap())
}

fn state(purse: u32, online: u16, offline: u16) -> PurseState {
    let none = OverdraftLimit::NONE;
    PurseState::new(
        Amount::from_fen(purse),
        none,
        none,
        OnlineCounter::new(online),
        OfflineCounter::new(offline),
    )
    .unwrap()
}

/// Answer, TAC and log record, byte by byte.
#[test]
fn worked_load() {
    let vector = worked("LOAD 3DES");
    let command = InitializeForLoad::try_from(&apdu(&vector["cmd_init"])).unwrap();
    let before = state(3000, 0x29, 0x042C);
    let key = card_key(Algorithm::TripleDes, "L");
    let (pending, answer) =
        PendingLoad::begin(&key, KeyVersion(1), &before, random("A1B2C3D4"), &command).unwrap();
    assert_eq!(hex::encode_upper(answer.encode()), vector["resp_init"]);

    let credit = CreditForLoad::try_from(&apdu(&vector["cmd_credit"])).unwrap();
    let tac_key = card_key(Algorithm::TripleDes, "T");
    let loaded = pending.credit(&tac_key, &before, &credit).unwrap();
    assert_eq!(loaded.proof.tac.to_string(), vector["TAC"]);
    assert_eq!(hex::encode_upper(loaded.log.encode()), vector["log_record_new"]);
    assert_eq!(loaded.state, state(8000, 0x2A, 0x042C));
}

#[test]
fn worked_load_with_sm4() {
    let vector = worked("LOAD SM4 (formula from public KeyAlgorithm lib; load seed assumed rnd||seq||8000)");
    let command = InitializeForLoad::try_from(&apdu(&worked("LOAD 3DES")["cmd_init"])).unwrap();
    let before = state(3000, 0x29, 0);
    let key = card_key(Algorithm::Sm4, "L");
    let (pending, answer) =
        PendingLoad::begin(&key, KeyVersion(1), &before, random("A1B2C3D4"), &command).unwrap();
    assert_eq!((answer.mac1.to_string(), answer.algorithm), (vector["MAC1"].clone(), 1));
    let mut credit = CreditForLoad::try_from(&apdu(&worked("LOAD 3DES")["cmd_credit"])).unwrap();
    let tac_key = card_key(Algorithm::Sm4, "T");
    assert_eq!(pending.clone().credit(&tac_key, &before, &credit), Err(Refusal::Mac));
    credit.mac2 = <[u8; 4]>::try_from(hex::decode(&vector["MAC2"]).unwrap()).unwrap().into();
    let loaded = pending.credit(&tac_key, &before, &credit).unwrap();
    assert_eq!(loaded.proof.tac.to_string(), vector["TAC"]);
}

#[test]
fn worked_purchases() {
    for (name, purse, offline, drawn) in
        [("PURCHASE 3DES", 8000, 0x042C, "55667788"), ("CAPP PURCHASE 3DES", 7800, 0x042D, "99AABBCC")]
    {
        let vector = worked(name);
        let command = InitializeForPurchase::try_from(&apdu(&vector["cmd_init"])).unwrap();
        let before = state(purse, 0x2A, offline);
        let key = card_key(Algorithm::TripleDes, "P");
        let (pending, answer) =
            PendingPurchase::begin(&key, KeyVersion(1), &before, random(drawn), &command).unwrap();
        assert_eq!(hex::encode_upper(answer.encode()), vector["resp_init"]);
        let debit = DebitForPurchase::try_from(&apdu(&vector["cmd_debit"])).unwrap();
        let purchased = pending.debit(&card_key(Algorithm::TripleDes, "T"), &before, &debit).unwrap();
        assert_eq!(hex::encode_upper(purchased.response().encode()), vector["resp_debit"]);
        if let Some(log) = vector.get("log_record_new") {
            assert_eq!(&hex::encode_upper(purchased.log.encode()), log);
        }
        if let Some(proof) = vector.get("resp_proof_POScode_order") {
            assert_eq!(&hex::encode_upper(purchased.proof.encode()), proof);
            let PurseCommand::GetTransactionProof(asked) = (&apdu(&vector["cmd_proof"])).try_into().unwrap()
            else {
                panic!("another command");
            };
            assert_eq!(
                (asked.sequence, asked.transaction_type),
                (purchased.log.sequence, purchased.log.transaction_type)
            );
        }
        assert_eq!(purchased.state, state(purse - command.amount.fen(), 0x2A, offline + 1));
    }
}

#[test]
fn worked_purchase_with_sm4() {
    let (vector, triple_des) = (worked("CAPP PURCHASE SM4"), worked("CAPP PURCHASE 3DES"));
    let command = InitializeForPurchase::try_from(&apdu(&triple_des["cmd_init"])).unwrap();
    let before = state(7800, 0x2A, 0x042D);
    let key = card_key(Algorithm::Sm4, "P");
    let (pending, _) =
        PendingPurchase::begin(&key, KeyVersion(1), &before, random("99AABBCC"), &command).unwrap();
    let mut debit = DebitForPurchase::try_from(&apdu(&triple_des["cmd_debit"])).unwrap();
    debit.mac1 = <[u8; 4]>::try_from(hex::decode(&vector["MAC1"]).unwrap()).unwrap().into();
    let purchased = pending.debit(&card_key(Algorithm::Sm4, "T"), &before, &debit).unwrap();
    assert_eq!(purchased.proof.mac2.to_string(), vector["MAC2"]);
    assert_eq!(purchased.proof.tac.to_string(), vector["TAC"]);
}

#[test]
fn worked_overdraft_update() {
    let vector = worked("UPDATE OVERDRAFT (key choice: demo key AM; formula per PBOC 2.0 part 2)");
    let PurseCommand::InitializeForOverdraft(command) =
        (&apdu("80500402070109990000004213")).try_into().unwrap()
    else {
        panic!("another command");
    };
    let before = state(7800, 0x2A, 1);
    let key = card_key(Algorithm::TripleDes, "AM");
    let (pending, answer) =
        PendingOverdraft::begin(&key, KeyVersion(1), &before, random("0BADCAFE"), &command).unwrap();
    assert_eq!(answer.mac1.to_string(), vector["MAC1"]);
    let update = apdu(&format!("805800000E000BB820241229141740{}04", vector["MAC2"]));
    let update = UpdateOverdraftLimit::try_from(&update).unwrap();
    let limited = pending.update(&card_key(Algorithm::TripleDes, "T"), &before, &update).unwrap();
    assert_eq!(limited.proof.tac.to_string(), vector["TAC"]);
    assert_eq!(limited.state.usable(), Amount::from_fen(10_800));
    assert_eq!(limited.state.online(), OnlineCounter::new(0x2B));
}

#[test]
fn worked_secure_messaging() {
    let key = card_key(Algorithm::TripleDes, "AM");
    let challenge = Challenge::new([0x11, 0x22, 0x33, 0x44]);
    let block = Secured::<ApplicationBlock>::try_from(&apdu(&worked("APP BLOCK temp")["cmd"])).unwrap();
    assert!(secure_messaging::verify(&key, challenge, block.clone()).is_ok());
    let unblock = Secured::<ApplicationUnblock>::try_from(&apdu(&worked("APP UNBLOCK")["cmd"])).unwrap();
    assert!(secure_messaging::verify(&key, challenge, unblock).is_ok());
    let update = worked("UPDATE BINARY EF17 off 8 len 3");
    let secured = Secured::<UpdateBinary>::try_from(&apdu(&update["cmd"])).unwrap();
    assert_eq!(secure_messaging::verify(&key, challenge, secured).unwrap().data, [0, 1, 0]);

    let other = Challenge::new([0x11, 0x22, 0x33, 0x45]);
    let refused = secure_messaging::verify(&key, other, block).unwrap_err();
    assert_eq!(refused.status_word(), StatusWord::SECURE_MESSAGING_DATA_INCORRECT);
    let bytes = hex::decode(&update["cmd"]).unwrap();
    // Offset, data and MAC: whatever bit changes, the command is refused.
    for bit in (3 * 8..4 * 8).chain(5 * 8..bytes.len() * 8) {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = Secured::<UpdateBinary>::try_from(&CommandApdu::parse(&changed).unwrap()).unwrap();
        assert!(secure_messaging::verify(&key, challenge, changed).is_err());
    }
}

#[test]
fn refusals_have_their_status_words() {
    let before = state(100, 0xFFFF, 0xFFFF);
    let load = InitializeForLoad::try_from(&apdu(&worked("LOAD 3DES")["cmd_init"])).unwrap();
    let key = card_key(Algorithm::TripleDes, "L");
    let refused = PendingLoad::begin(&key, KeyVersion(1), &before, CardRandom::default(), &load).unwrap_err();
    assert_eq!(refused.status_word(), StatusWord::COUNTER_AT_LIMIT);
    let purchase = InitializeForPurchase::try_from(&apdu(&worked("PURCHASE 3DES")["cmd_init"])).unwrap();
    let before = state(199, 0, 0);
    let refused =
        PendingPurchase::begin(&key, KeyVersion(1), &before, CardRandom::default(), &purchase).unwrap_err();
    assert_eq!(refused.status_word(), StatusWord::AMOUNT_INSUFFICIENT);
    assert_eq!(Refusal::Mac.status_word(), StatusWord::MAC_INCORRECT);
}

#[test]
fn deciphered_data_must_make_sense() {
    bolero::check!().for_each(|bytes| {
        for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
            let _ = secure_messaging::decipher(&some_key(algorithm), bytes);
        }
    });
    let key = card_key(Algorithm::TripleDes, "L");
    assert!(secure_messaging::decipher(&key, &[]).is_err());
    assert!(secure_messaging::decipher(&key, &[0; 9]).is_err());
    let command = InternalAuthenticate { challenge: [0; 8] };
    assert_eq!(authentication::internal(&key, &command)[..3], key.check_value().0);
}

fn some_key(algorithm: Algorithm) -> crate::Key {
    crate::Key::new(algorithm, [0x5A; 16])
}
