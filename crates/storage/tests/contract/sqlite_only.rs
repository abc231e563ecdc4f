//! Files: reopening, migration marks, group commit, damage.

use futures_util::future::join_all;
use tsm_domain::Fen;
use tsm_domain::money::TransferCode;
use tsm_storage::clearing::Books;
use tsm_storage::shared::{ChainKey, Chains, Outbox};
use tsm_storage::sp_tsm::{PaymentConfirmed, With};
use tsm_storage::sqlite::{
    OpenError, PaymentSchema, Schema, Sqlite, SqliteClearing, SqlitePayment, SqliteSeTsm, SqliteSpTsm,
};
use tsm_storage::{ClearingStore, SeTsmStore, SpTsmStore as _, StorageError};

use crate::TemporaryFile;
use crate::sample::{at, card_number, delivery, note, order_id, se, se_record, top_up, uuid};

#[tokio::test]
async fn what_was_answered_is_there_after_reopening() {
    let file = TemporaryFile::new();
    let store = SqliteSeTsm::open(&file.path()).unwrap();
    store.add_se(se_record(1)).await.unwrap();
    drop(store);
    let again = SqliteSeTsm::open(&file.path()).unwrap();
    assert_eq!(again.se(se(1)).await.unwrap(), Some(se_record(1)));
}

#[tokio::test]
async fn a_service_opens_its_own_file_only() {
    let file = TemporaryFile::new();
    drop(SqliteSeTsm::open(&file.path()).unwrap());
    assert!(matches!(SqliteSpTsm::open(&file.path()), Err(OpenError::AnotherService { .. })));
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteSeTsm::open(&file.path()), Err(OpenError::Newer { found: 99, .. })));
    let garbage = file.directory().join("garbage.sqlite");
    std::fs::write(&garbage, b"this is not a database, not at all, whatever its name says").unwrap();
    assert!(matches!(SqliteSeTsm::open(&garbage), Err(OpenError::Sqlite { .. })));
    let nowhere = file.directory().join("no/such/directory.sqlite");
    assert!(matches!(SqliteSeTsm::open(&nowhere), Err(OpenError::Create { .. })));
}

/// The payment sandbox of a later program: one migration more.
#[derive(Debug)]
enum Later {}

impl Schema for Later {
    const SERVICE: &'static str = PaymentSchema::SERVICE;
    const FILE: &'static str = PaymentSchema::FILE;
    const MARK: i32 = PaymentSchema::MARK;
    const MIGRATIONS: &'static [&'static [&'static str]] = &[
        PaymentSchema::MIGRATIONS[0],
        PaymentSchema::MIGRATIONS[1],
        PaymentSchema::MIGRATIONS[2],
        &["ALTER TABLE refunds ADD COLUMN reason TEXT"],
    ];
}

#[tokio::test]
async fn an_older_file_is_migrated_and_keeps_its_rows() {
    let file = TemporaryFile::new();
    let store = SqlitePayment::open(&file.path()).unwrap();
    store.put_delivery(delivery(1, 0)).await.unwrap();
    drop(store);
    let later = Sqlite::<Later>::open(&file.path()).unwrap();
    assert_eq!(later.due_deliveries(at(0), 10).await.unwrap(), [delivery(1, 0)]);
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    raw.execute("UPDATE refunds SET reason = 'none'", []).expect("the new column is there");
    drop(later);
    Sqlite::<Later>::open(&file.path()).expect("a migrated file is not migrated again");
    assert!(matches!(SqlitePayment::open(&file.path()), Err(OpenError::Newer { found: 4, known: 3, .. })));
}

/// A file of the time before payments had a table of their own says in its orders who paid what.
#[tokio::test]
async fn payments_of_an_older_file_are_known_as_used() {
    let file = TemporaryFile::new();
    let store = SqliteSpTsm::open(&file.path()).unwrap();
    for n in [1, 2] {
        store.order_top_up(top_up(n, se(1), card_number(1))).await.unwrap();
    }
    let paid =
        store.confirm_payment(order_id(1), "P1".parse().unwrap(), Fen::new(5_000), With::default()).await;
    assert!(matches!(paid, Ok(PaymentConfirmed::Now(_))));
    drop(store);
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    raw.execute_batch("DROP TABLE top_up_payments; PRAGMA user_version = 5").unwrap();
    drop(raw);
    let store = SqliteSpTsm::open(&file.path()).unwrap();
    assert_eq!(store.order_paid_by(&"P1".parse().unwrap()).await, Ok(Some(order_id(1))));
    let again =
        store.confirm_payment(order_id(2), "P1".parse().unwrap(), Fen::new(5_000), With::default()).await;
    assert_eq!(again, Ok(PaymentConfirmed::UsedFor(order_id(1))));
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = TemporaryFile::new();
    drop(SqliteSeTsm::open(&file.path()).unwrap());
    let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[tokio::test]
async fn waiting_steps_share_a_commit_and_refusals_stay_alone() {
    let file = TemporaryFile::new();
    let store = SqliteClearing::open(&file.path()).unwrap();
    let steps = (0..400u32).map(|n| {
        // Every fourth asks for money that is not there.
        let code = if n % 4 == 3 { TransferCode::Loaded } else { TransferCode::PaymentConfirmed };
        let id = tsm_domain::TransferId::from_uuid(uuid(u128::from(n)));
        let transfer = code.transfer(id, card_number(u64::from(n)), Fen::new(10), at(1));
        store.transfer(Books { transfers: vec![transfer], ..Books::default() })
    });
    let results = join_all(steps).await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), n % 4 != 3, "{n}: {result:?}");
    }
    assert_eq!(store.totals().await.unwrap().paid_in, 3_000);
    assert!(store.commits() < 400, "{} commits for 400 steps", store.commits());
}

#[tokio::test]
async fn a_dropped_caller_cancels_nothing() {
    let file = TemporaryFile::new();
    let store = SqliteSeTsm::open(&file.path()).unwrap();
    {
        let step = store.put_delivery(delivery(1, 0));
        // Polled once, the step is handed in; then its caller goes away.
        let waker = std::task::Waker::noop();
        let mut step = step;
        let _ = step.as_mut().poll(&mut std::task::Context::from_waker(waker));
    }
    drop(store);
    let again = SqliteSeTsm::open(&file.path()).unwrap();
    assert_eq!(again.due_deliveries(at(0), 10).await.unwrap(), [delivery(1, 0)]);
}

#[tokio::test]
async fn transfers_cannot_be_changed_behind_the_program() {
    let file = TemporaryFile::new();
    let store = SqliteClearing::open(&file.path()).unwrap();
    let id = tsm_domain::TransferId::from_uuid(uuid(1));
    let paid = TransferCode::PaymentConfirmed.transfer(id, card_number(1), Fen::new(10), at(1));
    store.transfer(Books { transfers: vec![paid], ..Books::default() }).await.unwrap();
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    assert!(raw.execute("UPDATE transfers SET amount_fen = 11", []).is_err());
    assert!(raw.execute("DELETE FROM transfers", []).is_err());
}

#[tokio::test]
async fn damage_is_seen() {
    let file = TemporaryFile::new();
    let store = SqliteSeTsm::open(&file.path()).unwrap();
    let hash = store.put_blob(std::sync::Arc::from(&b"a load file"[..])).await.unwrap();
    store.append(note(se(1), "login")).await.unwrap();
    store.add_se(se_record(1)).await.unwrap();
    let raw = rusqlite::Connection::open(file.path()).unwrap();
    raw.execute("UPDATE blobs SET content = x'00'", []).unwrap();
    raw.execute("UPDATE chains SET hash = zeroblob(32)", []).unwrap();
    raw.execute("UPDATE ses SET body = '{}'", []).unwrap();
    let corrupt = |error: StorageError| matches!(error, StorageError::Corrupt { .. });
    assert!(corrupt(store.blob(hash).await.unwrap_err()));
    assert!(corrupt(store.chain(ChainKey::Se(se(1)), 0, 10).await.unwrap_err()));
    assert!(corrupt(store.se(se(1)).await.unwrap_err()));
}
