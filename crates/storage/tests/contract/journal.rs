//! The centre's journal: every change has its entry, the journal alone gives the books again, and what was
//! skipped or altered is found and named.

use proptest::prelude::*;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::journal::{Change, Difference, Seal, SealBroken, SignedSeal};
use tsm_domain::money::{CardAccountEvent, ClosingPurpose, TransactionType, Transfer, TransferCode};
use tsm_domain::{Fen, TransferId};
use tsm_storage::clearing::replay::{Fault, check_seals, compare_all};
use tsm_storage::clearing::{Books, event_of};
use tsm_storage::memory::MemoryClearing;
use tsm_storage::shared::{ChainKey, Note};
use tsm_storage::sqlite::SqliteClearing;
use tsm_storage::{ClearingStore, StorageError};

use crate::sample::{at, card_number, order_id, se, transaction, uuid};
use crate::{TemporaryFile, on_clearing};

/// A step of a card's life, as chance has it. The store refuses what does not fit.
#[derive(Debug, Clone, Copy)]
struct Step {
    card: u64,
    what: u8,
    fen: u64,
    again: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (1..4u64, 0..14u8, 1..60u64, 0..3u8);
    let step = step.prop_map(|(card, what, fen, again)| Step { card, what, fen, again });
    prop::collection::vec(step, 1..60)
}

fn transfer(n: u128, code: TransferCode, card: u64, fen: u64) -> Transfer {
    let id = TransferId::from_uuid(uuid(n));
    code.transfer(id, card_number(card), Fen::new(fen), at(n as i64)).for_order(order_id(n))
}

fn said(card: u64, event: &str) -> Vec<Note> {
    let chain = ChainKey::Card(card_number(card));
    let (actor, event, detail) = ("sp-tsm".into(), event.into(), r#"{"note":true}"#.into());
    vec![Note { chain, at: at(1), actor, event, detail }]
}

/// Makes one step; whether the rules allowed it does not matter here.
async fn make(store: &dyn ClearingStore, n: u128, step: Step) {
    let Step { card, what, fen, .. } = step;
    let number = card_number(card);
    let with = |transfers: Vec<Transfer>| Books {
        transfers,
        notes: if n.is_multiple_of(2) { said(card, "said") } else { Vec::new() },
        ..Books::default()
    };
    let one = |code| with(vec![transfer(n, code, card, fen)]);
    let apply = async |event, books| store.apply_event(number, event, books).await.map(drop);
    let counter = (n % 7) as u16;
    let result = match what {
        0 => store.open_account(number, se(card as u8), at(1), with(Vec::new())).await.map(drop),
        1 => apply(CardAccountEvent::Opened(se(card as u8)), with(Vec::new())).await,
        2 => store.transfer(one(TransferCode::PaymentConfirmed)).await,
        3 => {
            let load = transaction(card, counter, TransactionType::Load, fen);
            store.record_transaction(load, one(TransferCode::Loaded)).await.map(drop)
        }
        4 => {
            let purchase = transaction(card, counter, TransactionType::CompositePurchase, fen);
            store.record_transaction(purchase, one(TransferCode::Spent)).await.map(drop)
        }
        5 => apply(CardAccountEvent::ClosingBegun(ClosingPurpose::Migration), with(Vec::new())).await,
        6 => apply(CardAccountEvent::ClosingUndone, with(Vec::new())).await,
        7 => apply(CardAccountEvent::Parked(Fen::new(fen)), one(TransferCode::Parked)).await,
        8 => apply(CardAccountEvent::MigrationIn(se(card as u8 + 10)), with(Vec::new())).await,
        9 => apply(CardAccountEvent::Opened(se(card as u8 + 10)), one(TransferCode::Unparked)).await,
        10 => store.set_frozen(number, Some("odd".into()), with(Vec::new())).await.map(drop),
        11 => store.set_frozen(number, None, with(Vec::new())).await.map(drop),
        12 => store.transfer(one(TransferCode::TopUpCancelled)).await,
        _ => {
            let settled = TransferCode::Settled;
            let settled =
                settled.between_controls(TransferId::from_uuid(uuid(n)), Fen::new(fen), at(n as i64));
            store.transfer(Books { transfers: settled.into_iter().collect(), ..Books::default() }).await
        }
    };
    let refused_by_the_rules =
        !matches!(result, Err(StorageError::Corrupt { .. } | StorageError::Unavailable(_)));
    assert!(refused_by_the_rules, "{result:?}");
}

async fn check_replay(store: &dyn ClearingStore, steps: &[Step]) {
    for (n, step) in steps.iter().enumerate() {
        for _ in 0..=step.again {
            make(store, n as u128 + 1, *step).await;
        }
    }
    let compared = compare_all(store).await.unwrap();
    assert_eq!(compared.findings, []);
    assert_eq!(compared.totals, store.totals().await.unwrap(), "the journal alone gives the totals");
    let mut stored = 0;
    for card in 1..4 {
        stored += store.transfers_of(card_number(card)).await.unwrap().len() as u64;
    }
    let day = tsm_storage::shared::ChainKey::day_of(at(1));
    let ChainKey::Day(day) = day else { unreachable!("a day has a chain of its own") };
    stored += store.control_transfers_on(day).await.unwrap().len() as u64;
    assert_eq!(compared.transfers, stored);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened, in whatever order and however often: the journal alone gives accounts, transfers,
    /// transactions, balances and totals again.
    #[test]
    fn the_journal_alone_gives_the_books_again(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_replay(&MemoryClearing::new(), &steps));
    }
}

fn a_life() -> Vec<Step> {
    let step = |what, fen| Step { card: 1, what, fen, again: 1 };
    let load = |fen| [step(2, fen), step(3, fen)];
    let head = [step(0, 1), step(1, 1)];
    let tail = [step(4, 20), step(10, 1), step(11, 1), step(5, 1), step(7, 30), step(8, 1), step(9, 30)];
    [&head[..], &load(50), &tail, &[step(13, 7), step(2, 5), step(12, 5)]].concat()
}

#[tokio::test]
async fn every_store_tells_a_life_in_its_journal() {
    on_clearing(async |store| {
        check_replay(store, &a_life()).await;
        let entries = store.chain(ChainKey::Card(card_number(1)), 0, 100).await.unwrap();
        assert_eq!(entries.len(), 13, "each step once, though each was made twice");
        for entry in &entries {
            assert!(!entry.note.detail.contains(card_number(1).as_str()), "no card number in a detail");
            assert!(!event_of(entry).unwrap().changes.is_empty(), "no entry without its change");
        }
    })
    .await;
}

/// What a step without its entry, or an entry without its step, looks like.
#[tokio::test]
async fn a_skipped_or_altered_entry_is_found_and_named() {
    let file = TemporaryFile::new();
    let store = SqliteClearing::open(&file.path()).unwrap();
    for (n, step) in a_life().into_iter().enumerate() {
        make(&store, n as u128 + 1, step).await;
    }
    let seal = |number| seal_now(&store, number);
    seal(1).await;
    assert_eq!(compare_all(&store).await.unwrap().findings, []);
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    let find = async |sql: &str| -> Vec<Fault> {
        raw.execute_batch("BEGIN; DROP TRIGGER IF EXISTS transfers_are_not_changed").unwrap();
        raw.execute_batch("DROP TRIGGER IF EXISTS transfers_are_not_deleted; COMMIT; SAVEPOINT tampering")
            .unwrap();
        raw.execute_batch(&format!("{sql}; RELEASE tampering")).unwrap();
        compare_all(&store).await.unwrap().findings.into_iter().map(|finding| finding.fault).collect()
    };
    let keep = "CREATE TABLE kept_chains AS SELECT * FROM chains; CREATE TABLE kept_transfers AS SELECT * FROM transfers;
        CREATE TABLE kept_accounts AS SELECT * FROM accounts";
    raw.execute_batch(keep).unwrap();
    let restore = || {
        let sql = "DROP TRIGGER IF EXISTS entries_are_sealed_later; DELETE FROM chains; INSERT INTO chains SELECT * FROM kept_chains;
            DELETE FROM transfers; INSERT INTO transfers SELECT * FROM kept_transfers;
            DELETE FROM accounts; INSERT INTO accounts SELECT * FROM kept_accounts";
        raw.execute_batch(sql).unwrap();
    };
    let faults = find("DELETE FROM chains WHERE chain LIKE 'card/%' AND number = 4").await;
    assert_eq!(faults, [Fault::Chain { entry: 4 }], "a missing entry");
    restore();
    let faults =
        find("UPDATE chains SET body = replace(body, '50', '51') WHERE chain LIKE 'card/%' AND number = 3")
            .await;
    assert_eq!(faults, [Fault::Chain { entry: 3 }], "an altered entry");
    restore();
    let faults = find("UPDATE chains SET hash = zeroblob(32) WHERE chain LIKE 'card/%' AND number = 5").await;
    assert_eq!(faults, [Fault::Unreadable { entry: 5 }], "an altered hash");
    restore();
    let faults = find("DELETE FROM chains WHERE chain LIKE 'card/%' AND number > 11").await;
    assert!(matches!(faults[..], [Fault::Unsealed { seal: 1, .. }]), "entries cut off the end: {faults:?}");
    restore();
    let extra = "INSERT INTO transfers (card, id, debit, debit_card, credit, credit_card, amount_fen, kind, code, at)
        SELECT card, '00000000-0000-0000-0000-0000000000ff', debit, debit_card, credit, credit_card, 1, kind, code, at
        FROM transfers WHERE code = 'payment_confirmed' LIMIT 1";
    let faults = find(extra).await;
    let Fault::Rows(Difference::TransferNotJournalled(named)) = &faults[0] else { panic!("{faults:?}") };
    assert_eq!(named.id, TransferId::from_uuid(uuid(0xFF)), "a transfer without its entry is named");
    restore();
    let faults = find("DELETE FROM transfers WHERE code = 'spent'").await;
    assert!(matches!(faults[..], [Fault::Rows(Difference::TransferNotStored(_))]), "{faults:?}");
    restore();
    let faults = find("DELETE FROM transfers WHERE card IS NULL").await;
    assert!(matches!(faults[..], [Fault::Rows(Difference::TransferNotStored(_))]), "{faults:?}");
    restore();
    let faults = find("DELETE FROM accounts").await;
    assert!(matches!(faults[..], [Fault::Rows(Difference::Account { store: None, .. })]), "{faults:?}");
    restore();
    let faults = find("DELETE FROM chains WHERE chain LIKE 'card/%'").await;
    let named = |fault: &Fault| {
        matches!(fault, Fault::Rows(Difference::Account { journal: None, .. }) | Fault::Unsealed { .. })
    };
    assert!(faults.iter().any(named), "an account without any entry: {faults:?}");
    restore();
    assert_eq!(compare_all(&store).await.unwrap().findings, []);
}

async fn seal_now(store: &dyn ClearingStore, seconds: i64) -> Option<SignedSeal> {
    let mut heads = store.unsealed_heads(100).await.unwrap();
    let last = store.last_seal().await.unwrap();
    let seal = Seal::following(last.as_ref().map(|last| &last.seal), &mut heads, at(seconds));
    let signed = SignedSeal { seal, key: "test".into(), signature: "00".into() };
    if heads.is_empty() {
        return None;
    }
    store.put_seal(signed.clone(), heads).await.unwrap();
    Some(signed)
}

#[tokio::test]
async fn what_grew_is_sealed_once_and_in_order() {
    on_clearing(async |store| {
        assert_eq!(store.unsealed_heads(10).await, Ok(Vec::new()));
        for card in [2, 1] {
            store.open_account(card_number(card), se(card as u8), at(1), Books::default()).await.unwrap();
            let opened = CardAccountEvent::Opened(se(card as u8));
            store.apply_event(card_number(card), opened, Books::default()).await.unwrap();
        }
        let heads = store.unsealed_heads(10).await.unwrap();
        assert_eq!(heads.iter().map(|head| head.number).collect::<Vec<_>>(), [2, 2]);
        assert!(heads[0].chain < heads[1].chain);
        let first = seal_now(store, 2).await.unwrap();
        assert_eq!(store.unsealed_heads(10).await, Ok(Vec::new()), "what was sealed is not sealed again");
        assert_eq!(seal_now(store, 3).await, None);
        store.set_frozen(card_number(1), Some("odd".into()), Books::default()).await.unwrap();
        let second = seal_now(store, 4).await.unwrap();
        assert_eq!((second.seal.number, second.seal.heads, second.seal.previous), (2, 1, first.seal.hash()));
        assert_eq!(store.seals(0, 10).await, Ok(vec![first.clone(), second.clone()]));
        assert_eq!(store.last_seal().await, Ok(Some(second.clone())));
        let card = ChainKey::Card(card_number(1));
        let over = store.seal_over(card.clone(), 1).await.unwrap().unwrap();
        assert_eq!((over.seal, over.head.number), (1, 2));
        assert_eq!(store.seal_over(card.clone(), 3).await.unwrap().unwrap().seal, 2);
        assert_eq!(store.seal_over(card, 4).await, Ok(None));
        assert_eq!(check_seals(store, |_| true).await, Ok(Ok(2)));
        assert_eq!(check_seals(store, |seal| seal.seal.number == 1).await, Ok(Err(SealBroken::Signature(2))));
        let heads = store.sealed_heads(1).await.unwrap();
        assert_eq!(store.put_seal(first.clone(), heads.clone()).await, Ok(()), "kept before");
        let root = Sha256Digest([7; 32]);
        let other = SignedSeal { seal: Seal { root, ..first.seal.clone() }, ..first };
        assert!(matches!(store.put_seal(other, heads).await, Err(StorageError::Conflict { .. })));
    })
    .await;
}

#[tokio::test]
async fn a_change_that_its_caller_gives_stands_in_the_entry() {
    on_clearing(async |store| {
        store.open_account(card_number(1), se(1), at(1), Books::default()).await.unwrap();
        let listed = r#"{"changes":[{"listed":{"list":"black","version":3}}],"said":{"why":"lost"}}"#;
        let notes = vec![Note { detail: listed.into(), ..said(1, "listed").remove(0) }];
        store.transfer(Books { notes, ..Books::default() }).await.unwrap();
        let entry = store.chain(ChainKey::Card(card_number(1)), 1, 1).await.unwrap().remove(0);
        assert!(matches!(event_of(&entry).unwrap().changes[..], [Change::Listed { .. }]));
        assert_eq!(compare_all(store).await.unwrap().findings, []);
    })
    .await;
}
