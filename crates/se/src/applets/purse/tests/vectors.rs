//! The worked examples computed for this project, byte by byte.
//!
//! Source: `tests/vectors/purse-worked.json` of the purse crate.

use std::collections::HashMap;

use super::*;

type Vector = HashMap<String, String>;

fn worked(name: &str) -> Vector {
    let text = include_str!("../../../../../epurse/tests/vectors/purse-worked.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).unwrap();
    vectors.into_iter().find(|vector| vector["name"] == name).unwrap_or_else(|| panic!("no vector {name}"))
}

/// The invented card's keys; maintenance, block and overdraft share one.
fn worked_keys(algorithm: Algorithm) -> KeySet {
    let cipher = match algorithm {
        Algorithm::TripleDes => "3DES",
        Algorithm::Sm4 => "SM4",
    };
    KeySet::from_fn(algorithm, |role| {
        let letter = match role {
            KeyRole::Purchase => "P",
            KeyRole::Load => "L",
            KeyRole::Tac => "T",
            _ if algorithm == Algorithm::TripleDes => "AM",
            _ => return [role.index() as u8; 16],
        };
        let vector = worked(&format!("{cipher} two-level derivation {letter}"));
        hex::decode(&vector["level2_card"]).unwrap().try_into().unwrap()
    })
}

fn worked_card(purse: u32, counters: (u16, u16), algorithm: Algorithm) -> TestCard {
    card_with(purse, 0, counters, &worked_keys(algorithm))
}

/// Real cards' select response, with the invented EF15.
#[test]
fn select_answers_as_real_cards_do() {
    let mut card = worked_card(0, (0, 0), Algorithm::TripleDes);
    let expected = format!("6F318408A000000632010105A5259F0801029F0C1E{EF15}9000");
    assert_eq!(card.apdu("00A4040008A00000063201010500"), expected);
    assert_eq!(card.apdu("00B095001E"), format!("{EF15}9000"));
}

/// Load, purchase and composite purchase one after another, with their records and the proof.
#[test]
fn three_transactions_of_the_worked_card() {
    let mut card = worked_card(0x0BB8, (0x29, 0x42C), Algorithm::TripleDes);
    let load = worked("LOAD 3DES");
    card.draws.queue("A1B2C3D4");
    assert_eq!(card.apdu(&load["cmd_init"]), format!("{}9000", load["resp_init"]));
    assert_eq!(card.apdu(&load["cmd_credit"]), format!("{}9000", load["TAC"]));
    assert_eq!(card.apdu("00B201C417"), format!("{}9000", load["log_record_new"]));

    let purchase = worked("PURCHASE 3DES");
    card.draws.queue("55667788");
    assert_eq!(card.apdu(&purchase["cmd_init"]), format!("{}9000", purchase["resp_init"]));
    assert_eq!(card.apdu(&purchase["cmd_debit"]), format!("{}9000", purchase["resp_debit"]));
    assert_eq!(card.apdu("00B201C417"), format!("{}9000", purchase["log_record_new"]));

    let composite = worked("CAPP PURCHASE 3DES");
    card.draws.queue("99AABBCC");
    assert_eq!(card.apdu(&composite["cmd_init"]), format!("{}9000", composite["resp_init"]));
    assert_eq!(card.apdu(&composite["cmd_update_cache"]), "9000");
    assert_eq!(card.apdu("00B201F430"), "6A83", "the record waits for the debit");
    assert_eq!(card.apdu(&composite["cmd_debit"]), format!("{}9000", composite["resp_debit"]));
    let record = &composite["cmd_update_cache"][10..];
    assert_eq!(card.apdu("00B201F430"), format!("{record}9000"));
    let proof = &composite["resp_proof_POScode_order"];
    assert_eq!(card.apdu(&composite["cmd_proof"]), format!("{proof}9000"));
    assert_eq!(card.apdu("805C000204"), "00001C849000");
}

#[test]
fn secure_messaging_of_the_worked_card() {
    let mut card = worked_card(0, (0, 0), Algorithm::TripleDes);
    let challenge = |card: &mut TestCard| {
        card.draws.queue("11223344");
        assert_eq!(card.apdu("0084000004"), "112233449000");
    };
    challenge(&mut card);
    assert_eq!(card.apdu(&worked("UPDATE BINARY EF17 off 8 len 3")["cmd"]), "9000");
    assert_eq!(card.apdu("00B0970803"), "0001009000");
    challenge(&mut card);
    assert_eq!(card.apdu(&worked("APP BLOCK temp")["cmd"]), "9000");
    challenge(&mut card);
    assert_eq!(card.apdu(&worked("APP UNBLOCK")["cmd"]), "9000");
}

/// The overdraft vector states no command; its MACs come from the load vector's card.
#[test]
fn sm4_transactions_of_the_worked_card() {
    let mut card = worked_card(0x0BB8, (0x29, 0x42C), Algorithm::Sm4);
    let load = worked("LOAD SM4 (formula from public KeyAlgorithm lib; load seed assumed rnd||seq||8000)");
    card.draws.queue("A1B2C3D4");
    let answer = format!("00000BB800290101A1B2C3D4{}9000", load["MAC1"]);
    assert_eq!(card.apdu(&worked("LOAD 3DES")["cmd_init"]), answer);
    let credit = format!("805200000B20241229141740{}04", load["MAC2"]);
    assert_eq!(card.apdu(&credit), format!("{}9000", load["TAC"]));

    // The composite vector's card stands where the 3DES one did before its composite purchase.
    let mut card = worked_card(0x1E78, (0x2A, 0x42D), Algorithm::Sm4);
    let composite = worked("CAPP PURCHASE SM4");
    card.draws.queue("99AABBCC");
    let answer = card.apdu(&worked("CAPP PURCHASE 3DES")["cmd_init"]);
    assert_eq!(answer, "00001E78042D000000010199AABBCC9000");
    let debit = format!("805401000F0000123520241229141740{}08", composite["MAC1"]);
    assert_eq!(card.apdu(&debit), format!("{}{}9000", composite["TAC"], composite["MAC2"]));
}
