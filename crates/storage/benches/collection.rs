//! Taking a large batch: rows per second of [`Collection::take_rows`] in chunks of 200, with what each row
//! books, journals and counts, on SQLite and on PostgreSQL with their disks synced, and in memory.
//!
//! `cargo bench --package tsm-storage --features postgres --bench collection`

use std::path::PathBuf;
use std::time::Instant;

use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::{CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, TransferCode};
use tsm_domain::{AsideId, CardNumber, Fen, SeId, TerminalNumber, TransferId};
use tsm_storage::ClearingStore;
use tsm_storage::clearing::Books;
use tsm_storage::clearing::collection::{
    FileKey, FileRow, FileStage, Judged, ReportedRow, RowOutcome, RowStep, TakeStep,
};
use tsm_storage::memory::MemoryClearing;
use tsm_storage::postgres::{ClearingTables, Options, Postgres};
use tsm_storage::shared::{ChainKey, Note};
use tsm_storage::sqlite::SqliteClearing;
use uuid::Uuid;

#[expect(dead_code, reason = "tests share one server, which is not synced")]
#[path = "../tests/contract/throw_away_postgres.rs"]
mod throw_away_postgres;

const CARDS: u64 = 500;
const ROWS: u64 = 20_000;
const CHUNK: u64 = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("two threads").block_on(async {
        println!("{:<12} {:>10} {:>12} {:>16}", "store", "rows", "rows/s", "rows a commit");
        measure("memory", &MemoryClearing::new()).await;
        let folder = Folder::new();
        let store = SqliteClearing::open(&folder.0.join("centre.sqlite")).expect("a new file");
        measure("SQLite", &store).await;
        let socket = throw_away_postgres::start(throw_away_postgres::Syncing::On);
        let url = format!("host={} user=tsm dbname=postgres", socket.display());
        let store = Postgres::<ClearingTables>::open(&url, Options::default()).await;
        measure("PostgreSQL", &store.expect("a new namespace")).await;
    });
}

async fn measure(name: &str, store: &dyn ClearingStore) {
    for own in 0..CARDS {
        open(store, own).await;
    }
    let key = FileKey { institution: "CITY".parse().expect("a number"), name: "UP1".into() };
    let file = FileRow {
        key: key.clone(),
        batch: None,
        size: 0,
        digest: Sha256Digest::of(b""),
        held: 0,
        stage: FileStage::Received,
        rows: ROWS,
        taken: 0,
        begun_at: at(0),
        refusals: 0,
        last_byte_at: None,
    };
    store.record_file(file, Vec::new()).await.expect("a new file");
    let began = Instant::now();
    let mut taken = 0;
    while taken < ROWS {
        let rows = (taken..(taken + CHUNK).min(ROWS)).map(|n| row(&key, n)).collect();
        let step = TakeStep { file: Some((key.clone(), taken)), rows };
        let outcomes = store.take_rows(step).await.expect("every row is taken");
        assert!(outcomes.iter().all(|outcome| *outcome == RowOutcome::Recorded));
        taken += outcomes.len() as u64;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{name:<12} {ROWS:>10} {:>12.0} {CHUNK:>16}", ROWS as f64 / seconds);
}

async fn open(store: &dyn ClearingStore, own: u64) {
    let se = SeId::new(&own.to_be_bytes()).expect("eight bytes");
    store.open_account(card(own), se, at(0), Books::default()).await.expect("a new account");
    let transfer = |n: u64, code: TransferCode| {
        let id = TransferId::from_uuid(Uuid::from_u128(u128::from(1_000_000_000 + own * 2 + n)));
        code.transfer(id, card(own), Fen::new(1_000_000), at(0))
    };
    let transfers = vec![transfer(0, TransferCode::PaymentConfirmed), transfer(1, TransferCode::Loaded)];
    store.transfer(Books { transfers, ..Books::default() }).await.expect("a new credit");
}

fn row(key: &FileKey, n: u64) -> RowStep {
    let (card, counter) = (card(n % CARDS), n / CARDS + 1);
    let terminal: TerminalNumber = "099900000042".parse().expect("a terminal");
    let transaction = CardTransaction {
        key: TransactionKey { card, counter: counter as u16, kind: TransactionType::CompositePurchase },
        amount: Fen::new(300),
        balance_after: Some(Fen::new(1_000_000 - counter * 300)),
        terminal,
        at: at(n),
        proof: LoadProof::Tac(Tac([1, 2, 3, 4])),
    };
    let id = TransferId::from_uuid(Uuid::from_u128(u128::from(2_000_000_000 + n)));
    let transfer = TransferCode::Spent.transfer(id, card, Fen::new(300), at(n));
    let note = Note {
        chain: ChainKey::Card(card),
        at: at(n),
        actor: "CITY".into(),
        event: "purchase-recorded".into(),
        detail: "{}".into(),
    };
    let reported = ReportedRow {
        id: AsideId::from_uuid(Uuid::from_u128(u128::from(3_000_000_000 + n))),
        institution: key.institution.clone(),
        terminal: Some(terminal),
        card: Some(card),
        file: Some(key.name.clone()),
        text: format!("row {n}"),
        misread: None,
        at: at(n),
    };
    let judged = Judged::Purchase { transaction, transfer: Some(transfer), note };
    RowStep { reported, number: Some(n + 1), judged }
}

fn card(own: u64) -> CardNumber {
    CardNumber::compose("31049900", own).expect("a card number")
}

fn at(second: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_700_000_000 + second as i64).expect("a time of this century")
}

/// A folder that goes away with the measurement.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("opentsm-collection-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
