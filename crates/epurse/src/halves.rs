//! Both halves together, with both ciphers: what has no published vector, and properties.

use proptest::prelude::*;
use tsm_iso7816::CommandApdu;

use crate::{
    Algorithm, Amount, CardRandom, Challenge, DateTime, Key, KeyIndex, KeyVersion, OfflineCounter,
    OnlineCounter, OverdraftLimit, TerminalNumber, TerminalSequence,
    card::{self, PurseState, Refusal},
    commands::{
        InitializeForLoad, InitializeForOverdraft, InitializeForPurchase, InitializeForUnload,
        InternalAuthenticate, Pin, PurchaseKind, Secured, UnblockPin, UpdateRecord,
    },
    host,
};

const AT: DateTime = DateTime::from_bytes([0x20, 0x26, 0x01, 0x31, 0x08, 0x59, 0x59]);

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::TripleDes), Just(Algorithm::Sm4)]
}

fn key(algorithm: Algorithm, seed: u8) -> Key {
    Key::new(algorithm, core::array::from_fn(|index| seed.wrapping_mul(31).wrapping_add(index as u8)))
}

fn state(purse: u32) -> PurseState {
    let limit = OverdraftLimit::from_fen(800).unwrap();
    PurseState::new(
        Amount::from_fen(purse),
        limit,
        OverdraftLimit::NONE,
        OnlineCounter::new(7),
        OfflineCounter::new(9),
    )
    .unwrap()
}

proptest! {
    #[test]
    fn loads_agree(algorithm in algorithm(), random: [u8; 4], terminal: [u8; 6], amount in 0u32..1_000_000) {
        let (load_key, tac_key, before) = (key(algorithm, 1), key(algorithm, 2), state(500));
        let command = InitializeForLoad {
            key_index: KeyIndex::FIRST,
            amount: Amount::from_fen(amount),
            terminal: TerminalNumber::new(terminal),
        };
        let (pending, answer) =
            card::load::PendingLoad::begin(&load_key, KeyVersion(3), &before, CardRandom::new(random), &command).unwrap();
        let session = host::load::LoadSession::begin(&load_key, &command, &answer).unwrap();
        let loaded = pending.credit(&tac_key, &before, &session.credit(AT)).unwrap();
        let facts = host::load::LoadFacts {
            balance_after: loaded.state.usable(),
            counter_before: answer.counter,
            amount: command.amount,
            terminal: command.terminal,
            at: AT,
        };
        prop_assert!(host::load::verify_tac(&tac_key, &facts, loaded.proof.tac));
        prop_assert!(!host::load::verify_tac(&key(algorithm, 9), &facts, loaded.proof.tac));
        prop_assert!(host::load::LoadSession::begin(&key(algorithm, 9), &command, &answer).is_err());
    }

    #[test]
    fn purchases_agree(algorithm in algorithm(), random: [u8; 4], sequence: u32, amount in 0u32..1300, composite: bool) {
        let (purchase_key, tac_key, before) = (key(algorithm, 1), key(algorithm, 2), state(500));
        let command = InitializeForPurchase {
            kind: if composite { PurchaseKind::Composite } else { PurchaseKind::Simple },
            key_index: KeyIndex::FIRST,
            amount: Amount::from_fen(amount),
            terminal: TerminalNumber::new([9; 6]),
        };
        let begun = card::purchase::PendingPurchase::begin(&purchase_key, KeyVersion(3), &before, CardRandom::new(random), &command);
        let (pending, answer) = begun.unwrap();
        let facts = host::purchase::PurchaseFacts {
            amount: command.amount,
            transaction_type: command.kind.transaction_type(),
            terminal: command.terminal,
            terminal_sequence: TerminalSequence::new(sequence),
            at: AT,
        };
        let psam = host::purchase::PurchaseSession::begin(&purchase_key, answer.random, answer.counter, facts);
        let debit = crate::commands::DebitForPurchase { terminal_sequence: facts.terminal_sequence, at: AT, mac1: psam.mac1() };
        let purchased = pending.clone().debit(&tac_key, &before, &debit).unwrap();
        prop_assert!(psam.verify_mac2(purchased.response().mac2));
        prop_assert!(host::purchase::verify_tac(&tac_key, &facts, purchased.response().tac));
        prop_assert_eq!(purchased.state.usable().fen(), 1300 - amount);
        let later = crate::commands::DebitForPurchase { at: DateTime::default(), ..debit };
        prop_assert_eq!(pending.debit(&tac_key, &before, &later), Err(Refusal::Mac));
    }

    #[test]
    fn unloads_agree(algorithm in algorithm(), random: [u8; 4], amount in 0u32..=500) {
        let (unload_key, before) = (key(algorithm, 1), state(500));
        let command = InitializeForUnload {
            key_index: KeyIndex::FIRST,
            amount: Amount::from_fen(amount),
            terminal: TerminalNumber::new([9; 6]),
        };
        let (pending, answer) =
            card::unload::PendingUnload::begin(&unload_key, KeyVersion(3), &before, CardRandom::new(random), &command).unwrap();
        let session = host::unload::UnloadSession::begin(&unload_key, &command, &answer).unwrap();
        let unloaded = pending.debit(&before, &session.debit(AT)).unwrap();
        let facts = host::unload::UnloadFacts {
            balance_after: unloaded.state.usable(),
            counter_before: answer.counter,
            amount: command.amount,
            terminal: command.terminal,
            at: AT,
        };
        prop_assert!(host::unload::verify_mac3(&unload_key, &facts, unloaded.response().mac3));
        prop_assert_eq!(unloaded.state.purse().fen(), 500 - amount);
    }

    #[test]
    fn overdraft_updates_agree(algorithm in algorithm(), random: [u8; 4], limit in 0u32..10_000) {
        let (overdraft_key, tac_key, before) = (key(algorithm, 1), key(algorithm, 2), state(500));
        let command = InitializeForOverdraft { key_index: KeyIndex::FIRST, terminal: TerminalNumber::new([9; 6]) };
        let (pending, answer) =
            card::overdraft::PendingOverdraft::begin(&overdraft_key, KeyVersion(3), &before, CardRandom::new(random), &command).unwrap();
        let session = host::overdraft::OverdraftSession::begin(&overdraft_key, &command, &answer).unwrap();
        let new_limit = OverdraftLimit::from_fen(limit).unwrap();
        let limited = pending.update(&tac_key, &before, &session.update(new_limit, AT)).unwrap();
        let facts = host::overdraft::OverdraftFacts {
            balance: answer.balance,
            counter_before: answer.counter,
            new_limit,
            terminal: command.terminal,
            at: AT,
        };
        prop_assert!(host::overdraft::verify_tac(&tac_key, &facts, limited.proof.tac));
        prop_assert_eq!(limited.state.usable().fen(), 500 + limit);
    }

    #[test]
    fn secured_commands_agree(algorithm in algorithm(), challenge: [u8; 4], data in prop::collection::vec(any::<u8>(), 1..240)) {
        let (key, challenge) = (key(algorithm, 4), Challenge::new(challenge));
        let update = UpdateRecord { sfi: crate::Sfi::TRANSIT_HISTORY, record: crate::commands::RecordReference::Number(1), data };
        let sent = host::secure_messaging::protect(&key, challenge, &update.to_apdu()).unwrap();
        for cla in [0x04, 0x05, 0x67] {
            // The same command on channels 0, 1 and 11.
            let received = CommandApdu { cla, ..sent.clone() };
            let secured = Secured::<UpdateRecord>::try_from(&received).unwrap();
            prop_assert_eq!(card::secure_messaging::verify(&key, challenge, secured), Ok(update.clone()));
        }
    }

    #[test]
    fn enciphered_data_agree(algorithm in algorithm(), data in prop::collection::vec(any::<u8>(), 0..240)) {
        let key = key(algorithm, 4);
        let enciphered = host::secure_messaging::encipher(&key, &data).unwrap();
        prop_assert!(enciphered.len() - data.len() <= algorithm.block_length());
        prop_assert_eq!(card::secure_messaging::decipher(&key, &enciphered).unwrap().to_vec(), data);
        prop_assert!(card::secure_messaging::decipher(&key, &enciphered[1..]).is_err());
    }

    #[test]
    fn authentications_agree(algorithm in algorithm(), challenge: [u8; 4], host_challenge: [u8; 8]) {
        let (right, wrong) = (key(algorithm, 4), key(algorithm, 5));
        let challenge = Challenge::new(challenge);
        let command = host::authentication::external_authenticate(&right, KeyIndex(0), challenge);
        prop_assert!(card::authentication::verify_external(&right, challenge, &command));
        prop_assert!(!card::authentication::verify_external(&wrong, challenge, &command));
        let command = InternalAuthenticate { challenge: host_challenge };
        let answer = card::authentication::internal(&right, &command);
        prop_assert!(host::authentication::verify_internal(&right, &command, &answer));
        prop_assert!(!host::authentication::verify_internal(&wrong, &command, &answer));
        prop_assert!(!host::authentication::verify_internal(&right, &command, &answer[1..]));
    }
}

#[test]
fn pins_are_reloaded_and_unblocked() {
    for algorithm in [Algorithm::TripleDes, Algorithm::Sm4] {
        let (right, wrong, pin) =
            (key(algorithm, 4), key(algorithm, 5), Pin::new(&[0x12, 0x34, 0x56]).unwrap());
        let reload = host::pin::reload_pin(&right, pin.clone());
        assert_eq!(card::pin::reloaded(&right, reload.clone()), Ok(pin.clone()));
        assert_eq!(card::pin::reloaded(&wrong, reload), Err(Refusal::Mac));

        let challenge = Challenge::new([1, 2, 3, 4]);
        let enciphered_pin = host::secure_messaging::encipher(&right, pin.expose()).unwrap();
        let sent =
            host::secure_messaging::protect(&right, challenge, &UnblockPin { enciphered_pin }.to_apdu())
                .unwrap();
        let secured = Secured::<UnblockPin>::try_from(&sent).unwrap();
        let unblock = card::secure_messaging::verify(&right, challenge, secured).unwrap();
        let plain = card::secure_messaging::decipher(&right, &unblock.enciphered_pin).unwrap();
        assert_eq!(Pin::new(&plain), Ok(pin));
    }
}
