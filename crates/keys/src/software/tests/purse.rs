//! Keys and MACs of the purse, against the worked examples of the project's facts.

use super::*;
use tsm_epurse::commands::{InitializeForUnload, InitializeForUnloadResponse};

use crate::purse::{PurchaseAttempt, UnloadAttempt};

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
        ("purse-application-maintenance/city/3des/1", KeyAlgorithm::TripleDes, MAINTENANCE, Some("686580")),
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
    assert_eq!(hex::encode_upper(credit.to_apdu().to_bytes().unwrap()), "805200000B2024122914174004BD91B304");
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

/// The two halves agree, and nothing but the card's own MACs is believed.
#[test]
fn a_debit_of_the_whole_balance_is_authorised_and_proven() {
    let keys = service();
    let unload = put(&keys, "purse-unload/city/main/1", KeyAlgorithm::TripleDes, LOAD);
    let unload = keys.derive(&unload, &purse_path()).unwrap();
    let attempt = UnloadAttempt {
        command: InitializeForUnload {
            key_index: KeyIndex::FIRST,
            amount: Amount::from_fen(3000),
            terminal: terminal(),
        },
        answer: InitializeForUnloadResponse {
            balance: Amount::from_fen(3000),
            counter: OnlineCounter::new(0x29),
            key_version: KeyVersion(1),
            algorithm: 0,
            random: CardRandom::new([0xA1, 0xB2, 0xC3, 0xD4]),
            mac1: Mac::default(),
        },
    };
    assert_eq!(keys.verify_unload_mac1(&unload, &attempt), Err(KeyError::CardMac("MAC1")));
    assert_eq!(keys.debit_for_unload(&unload, &attempt, at()), Err(KeyError::CardMac("MAC1")));
    let forged = keys.verify_unload_mac3(&unload, &attempt, at(), Mac::default());
    assert_eq!(forged, Err(KeyError::CardMac("MAC3")));
    let mut more = attempt;
    more.command.amount = Amount::from_fen(3001);
    let forged = keys.verify_unload_mac3(&unload, &more, at(), Mac::default());
    assert_eq!(forged, Err(KeyError::CardMac("MAC3")), "more than the card proved to hold");
    let load = put(&keys, "purse-load/city/main/1", KeyAlgorithm::TripleDes, LOAD);
    let load = keys.derive(&load, &purse_path()).unwrap();
    assert!(matches!(keys.verify_unload_mac1(&load, &attempt), Err(KeyError::Purpose { .. })));
}
