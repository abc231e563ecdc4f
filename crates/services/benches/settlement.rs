//! How fast, and in how much memory, a day is settled and reconciled:
//! `cargo bench -p tsm-services --bench settlement -- --rows 1000000`.
//!
//! The day's sheets are filled beforehand, nine purchases to one paid top-up; the payment statement is taken
//! in pages, with every thousandth line missing. Then the day is settled (sums, ledger, files with digests) and
//! reconciled three ways, each timed. The differences that are found are counted against those that were made.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tsm_domain::environment::{Clock, Entropy};
use tsm_domain::money::settlement::{BasisPoints, BusinessDay, FeeRule, FeeSchedule};
use tsm_domain::money::{StatementKind, StatementLine};
use tsm_domain::{CardNumber, Fen, OrderId, TerminalNumber};
use tsm_keys::SoftwareKeyService;
use tsm_services::clearing::{Clearing, Duties, Parts, Terminals};
use tsm_services::runtime::{Environment, Spawner, Timer};
use tsm_storage::clearing::Settlements as _;
use tsm_storage::clearing::settlement::{BUCKETS, DayRow, StatementHead, StatementRow};
use tsm_storage::sqlite::SqliteClearing;
use uuid::Uuid;

const PREFIX: &str = "31049990";
/// One transaction in so many is a top-up.
const TOP_UP_EACH: u64 = 10;
/// One statement line in so many is missing.
const MISSING_EACH: u64 = 1_000;
/// Terminals of each of the operators.
const TERMINALS: u64 = 200;
const OPERATORS: [&str; 4] = ["METRO", "BUS-1", "BUS-2", "FERRY"];

struct Fixed(jiff::Timestamp);

impl Clock for Fixed {
    fn now(&self) -> jiff::Timestamp {
        self.0
    }
}

struct Random;

impl Entropy for Random {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system has randomness");
    }
}

struct Tokio;

impl Spawner for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}

impl Timer for Tokio {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--rows").skip(1);
    let rows: u64 = arguments.next().and_then(|rows| rows.parse().ok()).unwrap_or(100_000);
    let directory = std::env::temp_dir().join(format!("opentsm-settlement-bench-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory for the store");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(rows, &directory.join("centre.sqlite")));
    std::fs::remove_dir_all(&directory).expect("the directory is ours");
}

async fn measure(rows: u64, path: &Path) {
    let day: BusinessDay = "2026-11-20".parse().expect("a day");
    drop(SqliteClearing::open(path).expect("a store"));
    let filled = Instant::now();
    fill(path, day, rows);
    println!("filled in {:.1} s, {} MiB", filled.elapsed().as_secs_f64(), file_mib(path));

    let store = Arc::new(SqliteClearing::open(path).expect("a store"));
    let (lines, missing) = timed("statement", rows / TOP_UP_EACH, take_statement(&store, day, rows)).await;
    let centre = centre(store.clone(), day);
    let settled = timed("settlement", rows, centre.settle_day(day)).await.expect("it settles");
    let statement = Some(StatementHead { lines, ..StatementHead::default() });
    store.put_day(DayRow { statement, ..settled }).await.expect("it is stored");
    let (_, done) = timed("reconciliation", rows, centre.reconcile_day(day)).await.expect("it reconciles");
    assert_eq!(done.found, missing, "every missing line is found, and nothing else");
    let files = store.files(day, &"METRO".parse().expect("a number")).await.expect("files");
    println!(
        "{} rows of three lists, {} references, {} differences, {} files of METRO",
        done.rows,
        done.references,
        done.found,
        files.len()
    );
}

async fn timed<T>(what: &str, rows: u64, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    let seconds = started.elapsed().as_secs_f64();
    let rate = rows as f64 / seconds;
    println!("{what:<16} {rows:>10} rows {seconds:>8.1} s {rate:>12.0} rows/s, peak {} MiB", peak_mib());
    done
}

/// The transactions of a bucket, in order of reference.
fn reference(bucket: u16, number: u64) -> OrderId {
    // The rest of an identity is as random as a digest, and rises within its bucket.
    let rest = (u128::from(number) << 64) | u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    OrderId::from_uuid(Uuid::from_u128((u128::from(bucket) << 118) | rest))
}

fn of_bucket(bucket: u16, rows: u64) -> u64 {
    let buckets = u64::from(BUCKETS);
    rows / buckets + u64::from(u64::from(bucket) < rows % buckets)
}

/// Fills the sheets as the centre's steps would have, bucket by bucket.
fn fill(path: &Path, day: BusinessDay, rows: u64) {
    let file = rusqlite::Connection::open(path).expect("the file");
    file.pragma_update(None, "synchronous", "OFF").expect("a pragma");
    let day_number = day.number();
    let mut serial = 0_u64;
    for bucket in 0..BUCKETS {
        file.execute_batch("BEGIN").expect("a transaction");
        let mut transaction = file
            .prepare_cached("INSERT INTO day_transactions (bucket, day, reference, card, counter, kind, amount_fen, balance_after_fen, terminal, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")
            .expect("a statement");
        let mut entry = file
            .prepare_cached("INSERT INTO day_entries (bucket, day, reference, entry, id, card, amount_fen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .expect("a statement");
        for number in 0..of_bucket(bucket, rows) {
            serial += 1;
            let bytes = reference(bucket, number).as_uuid().into_bytes();
            let card = CardNumber::compose(PREFIX, serial % 2_000_000).expect("a card");
            let is_top_up = number % TOP_UP_EACH == 0;
            let (kind, amount) = if is_top_up { (2, 5_000) } else { (9, 100 + (serial % 700) as i64) };
            let counter = (serial / 2_000_000) as i64 + 1;
            let terminal = terminal(serial).to_string();
            let at = 1_795_000_000_000_000_000_i64 + serial as i64;
            transaction
                .execute(rusqlite::params![
                    bucket,
                    day_number,
                    bytes,
                    card.as_str(),
                    counter,
                    kind,
                    amount,
                    9_000,
                    terminal,
                    at
                ])
                .expect("a row");
            let names: &[&str] = if is_top_up { &["loaded", "payment_confirmed"] } else { &["spent"] };
            for name in names {
                entry
                    .execute(rusqlite::params![bucket, day_number, bytes, name, bytes, card.as_str(), amount])
                    .expect("a row");
            }
        }
        file.execute_batch("COMMIT").expect("a commit");
    }
}

fn terminal(serial: u64) -> TerminalNumber {
    let number = serial % (TERMINALS * OPERATORS.len() as u64);
    format!("0999{number:08}").parse().expect("a terminal")
}

/// Takes the statement as a stream of pages in the platform's order: not that of the orders.
async fn take_statement(store: &SqliteClearing, day: BusinessDay, rows: u64) -> (u64, u64) {
    let (mut page, mut number, mut missing) = (Vec::new(), 0, 0);
    for place in 0..rows / u64::from(BUCKETS) + 1 {
        for bucket in (0..BUCKETS).filter(|bucket| place < of_bucket(*bucket, rows)) {
            if !place.is_multiple_of(TOP_UP_EACH) {
                continue;
            }
            number += 1;
            if number % MISSING_EACH == 0 {
                missing += 1;
                continue;
            }
            let line = StatementLine {
                order: reference(bucket, place),
                payment: format!("P{number}").parse().expect("a reference"),
                kind: StatementKind::Paid,
                amount: Fen::new(5_000),
                at: day.cut(),
            };
            page.push(StatementRow { number, line });
            if page.len() == 16_384 {
                store.put_statement(day, std::mem::take(&mut page)).await.expect("it is stored");
            }
        }
    }
    store.put_statement(day, page).await.expect("it is stored");
    (number - missing, missing)
}

fn centre(store: Arc<SqliteClearing>, day: BusinessDay) -> Arc<Clearing> {
    let points = |points| BasisPoints::new(points).expect("at most the whole");
    let rule = FeeRule {
        operator: None,
        issuer: None,
        from: "2026-01-01".parse().expect("a day"),
        until: None,
        rate: points(60),
        issuer_share: points(30),
        acquirer_share: points(20),
    };
    let duties = Duties {
        fees: FeeSchedule::new(vec![rule]).expect("one rule"),
        ..Duties::of_issuer(PREFIX, "CITY".parse().expect("a number"))
    };
    let of = |operator: usize| {
        let numbers = (0..TERMINALS).map(|terminal| terminal * OPERATORS.len() as u64 + operator as u64);
        Terminals::of(OPERATORS[operator], numbers.map(terminal))
    };
    let terminals = (0..OPERATORS.len()).map(of).fold(Terminals::default(), Terminals::and);
    let environment = Environment {
        clock: Arc::new(Fixed(day.cut())),
        entropy: Arc::new(Random),
        spawner: Arc::new(Tokio),
        timer: Arc::new(Tokio),
    };
    Clearing::new(Parts {
        store,
        keys: Arc::new(SoftwareKeyService::in_memory(Arc::new(Random))),
        environment,
        institutions: Vec::new(),
        issuers: Vec::new(),
        sealing_key: "sealing/centre/parked-cards/1".parse().expect("a name"),
        terminals,
        duties,
    })
}

fn file_mib(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len() >> 20)
}

/// The most memory that this process had (`VmHWM`); zero where the system does not tell.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
