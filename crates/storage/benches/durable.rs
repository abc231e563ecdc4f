//! Durable top-ups: every step that the SP-TSM's store takes for one, on SQLite and on PostgreSQL with their
//! disks synced, beside a bare loop of as many commits on the same engine in the same run.
//!
//! `cargo bench --package tsm-storage --features postgres --bench durable`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tsm_domain::card::{CardRecord, CardState};
use tsm_domain::money::{Attempt, Tac};
use tsm_domain::{CardNumber, ConversationId, DeliveryId, Fen, OnlineCounter, OrderId, SeId};
use tsm_iso7816::Aid;
use tsm_storage::postgres::{Options, PostgresSpTsm, log_syncs};
use tsm_storage::shared::{Begun, ChainKey, Claim, Conversation, ConversationEnd, Delivery, Fence, Note};
use tsm_storage::sp_tsm::{SpChange, TopUpOrder, TopUpOrderState, With};
use tsm_storage::sqlite::{SpTsmSchema, Sqlite};
use tsm_storage::{SpTsmStore, StorageError};

#[expect(dead_code, reason = "tests share one server, which is not synced")]
#[path = "../tests/contract/throw_away_postgres.rs"]
mod throw_away_postgres;

const CLIENTS: [u64; 3] = [1, 16, 128];
const TOP_UPS_OF_A_CLIENT: u64 = 40;
const AMOUNT: Fen = Fen::new(100);
const MAXIMUM: Fen = Fen::new(1_000_000);
const INSTANCE: Aid = Aid::constant(&[0xA0, 0, 0, 6, 0x32, 1, 1, 5]);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("two threads").block_on(async {
        println!(
            "{:<12} {:>8} {:>12} {:>16} {:>14} {:>18}",
            "store", "clients", "top-ups/s", "syncs a top-up", "syncs/s", "of a bare loop"
        );
        on_sqlite().await;
        on_postgres().await;
    });
}

/// One measured row: what was done, how often the disk was synced for it, and how fast the bare loop syncs.
fn print(store: &str, clients: u64, seconds: f64, syncs: u64, bare_per_second: f64) {
    let top_ups = (clients * TOP_UPS_OF_A_CLIENT) as f64;
    let syncs_per_second = syncs as f64 / seconds;
    println!(
        "{store:<12} {clients:>8} {:>12.0} {:>16.2} {syncs_per_second:>14.0} {:>10.0} % ({bare_per_second:.0}/s)",
        top_ups / seconds,
        syncs as f64 / top_ups,
        100.0 * syncs_per_second / bare_per_second,
    );
}

async fn on_sqlite() {
    for clients in CLIENTS {
        let folder = Folder::new(&format!("sqlite-{clients}"));
        let store = Arc::new(Sqlite::<SpTsmSchema>::open(&folder.0.join("sp.sqlite")).expect("a new file"));
        cards(&*store, clients).await;
        let before = store.commits();
        let seconds = run(store.clone(), clients).await;
        // In WAL mode with synchronous=FULL each commit syncs the log once.
        let syncs = store.commits() - before;
        print("SQLite", clients, seconds, syncs, bare_sqlite(&folder.0, syncs.clamp(200, 2_000)));
    }
}

/// As many commits of one small row, one after the other, on a file of the same folder.
fn bare_sqlite(folder: &Path, commits: u64) -> f64 {
    let connection = rusqlite::Connection::open(folder.join("bare.sqlite")).expect("a new file");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bare (n INTEGER PRIMARY KEY, body TEXT)",
        )
        .expect("a new table");
    let started = Instant::now();
    for _ in 0..commits {
        connection
            .prepare_cached("INSERT INTO bare (body) VALUES (hex(randomblob(150)))")
            .and_then(|mut insert| insert.execute([]))
            .expect("an insertion");
    }
    commits as f64 / started.elapsed().as_secs_f64()
}

async fn on_postgres() {
    let socket = throw_away_postgres::start(throw_away_postgres::Syncing::On);
    let url = format!("host={} user=tsm dbname=postgres", socket.display());
    let (beside, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the server is there");
    tokio::spawn(connection);
    for clients in CLIENTS {
        let options =
            Options { namespace: Some(format!("bench_{clients}")), connections: 16, ..Options::default() };
        let store = Arc::new(PostgresSpTsm::open(&url, options).await.expect("a new namespace"));
        cards(&*store, clients).await;
        let before = log_syncs(&url).await.expect("PostgreSQL 15 to 17");
        let seconds = run(store, clients).await;
        let syncs = log_syncs(&url).await.expect("PostgreSQL 15 to 17") - before;
        print("PostgreSQL", clients, seconds, syncs, bare_postgres(&beside, syncs.clamp(200, 2_000)).await);
    }
}

async fn bare_postgres(beside: &tokio_postgres::Client, commits: u64) -> f64 {
    let table = "CREATE TABLE IF NOT EXISTS bare (n BIGINT GENERATED ALWAYS AS IDENTITY, body TEXT)";
    beside.batch_execute(table).await.expect("a new table");
    let insert =
        beside.prepare("INSERT INTO bare (body) VALUES (repeat('x', 300))").await.expect("a statement");
    let started = Instant::now();
    for _ in 0..commits {
        beside.execute(&insert, &[]).await.expect("an insertion");
    }
    commits as f64 / started.elapsed().as_secs_f64()
}

/// Lets the clients top up at once, each its own card; gives the seconds.
async fn run<S: SpTsmStore + 'static>(store: Arc<S>, clients: u64) -> f64 {
    let started = Instant::now();
    let work = (0..clients).map(|client| tokio::spawn(top_ups(store.clone(), client)));
    for done in join_all(work).await {
        done.expect("no client panics").expect("every step is stored");
    }
    started.elapsed().as_secs_f64()
}

/// A card for each client.
async fn cards<S: SpTsmStore>(store: &S, clients: u64) {
    for client in 0..clients {
        let fence = link(store, client, id(client, 0)).await.expect("nobody else is there");
        let record = CardRecord {
            card: card(client),
            se: se(client),
            instance: INSTANCE,
            order: OrderId::from_uuid(id(client, 0)),
            keys: "city/purse".parse().expect("a reference"),
            key_version: 1,
            algorithm: 0,
            state: CardState::Active,
            proven: None,
            closing: None,
            lock: None,
            frozen: None,
            issued_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let change = SpChange { cards: vec![record], ..SpChange::default() };
        store.commit(fence, change).await.expect("a new card");
    }
}

/// Every step of the SP-TSM for a client's top-ups, in the order of the flow.
async fn top_ups<S: SpTsmStore>(store: Arc<S>, client: u64) -> Result<(), StorageError> {
    let at = jiff::Timestamp::UNIX_EPOCH;
    for number in 1..=TOP_UPS_OF_A_CLIENT {
        let order = OrderId::from_uuid(id(client, number));
        let new = TopUpOrder {
            order,
            card: card(client),
            se: se(client),
            amount: AMOUNT,
            created_at: at,
            state: TopUpOrderState::AwaitingPayment,
        };
        store.order_top_up(new).await?;
        let reference = format!("pay-{client}-{number}").parse().expect("a reference");
        let paid = with(client, number, "paid");
        let reported = paid.deliveries[0].id;
        store.confirm_payment(order, reference, AMOUNT, paid).await?;
        store.delivered(reported).await?;
        let fence = link(&*store, client, id(client, number)).await?;
        let terminal = store.next_terminal_number(card(client), 1).await?;
        let counter = u16::try_from(number).expect("few top-ups");
        let balance = Fen::new((number - 1) * AMOUNT.get());
        let attempt = Attempt { terminal, counter: OnlineCounter(counter), balance };
        store.intend_load(fence, order, attempt, MAXIMUM, at, With::default()).await?;
        let loaded = with(client, number, "loaded");
        let reported = loaded.deliveries[0].id;
        store.record_loaded(fence, order, terminal, Tac([1, 2, 3, 4]), at, loaded).await?;
        let end = ConversationEnd { at, outcome: "done".into(), status_word: None };
        store.end_conversation(fence, end).await?;
        store.top_up_told(order).await?;
        store.delivered(reported).await?;
    }
    Ok(())
}

async fn link<S: SpTsmStore + ?Sized>(
    store: &S,
    client: u64,
    conversation: uuid::Uuid,
) -> Result<Fence, StorageError> {
    let row = Conversation {
        id: ConversationId::from_uuid(conversation),
        se: se(client),
        purpose: "top-up".into(),
        started_at: jiff::Timestamp::UNIX_EPOCH,
        ended: None,
        server: None,
    };
    let until = jiff::Timestamp::MAX;
    match store.begin_conversation(row, Claim::TakeOver, jiff::Timestamp::UNIX_EPOCH, until).await? {
        Begun::Granted(fence) => Ok(fence),
        Begun::Busy { .. } => unreachable!("a take-over is never busy"),
    }
}

/// A message to the centre and a journal entry, as each step of the flow has them.
fn with(client: u64, number: u64, event: &str) -> With {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let kind = if event == "paid" { 1 << 32 } else { 2 << 32 };
    let body = "{\"order\":\"01234567-89ab-cdef-0123-456789abcdef\",\"amount_fen\":100}".to_owned();
    let id = DeliveryId::from_uuid(id(client, number | kind));
    let delivery = Delivery {
        id,
        to: "centre".into(),
        kind: event.into(),
        body,
        created_at: at,
        due_at: at,
        attempts: 0,
    };
    let chain = ChainKey::Card(card(client));
    let note = Note { chain, at, actor: "sp-tsm".into(), event: event.into(), detail: "{}".into() };
    With { deliveries: vec![delivery], notes: vec![note], ..With::default() }
}

fn se(client: u64) -> SeId {
    SeId::new(&client.to_be_bytes()).expect("eight bytes")
}

fn card(client: u64) -> CardNumber {
    CardNumber::compose("31049900", client).expect("a short number")
}

fn id(client: u64, number: u64) -> uuid::Uuid {
    // Spread like random identities, and the same in each run.
    let spread = u128::from(client << 40 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    uuid::Uuid::from_u128(spread)
}

/// A folder that goes away with its store.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("opentsm-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
