//! One PostgreSQL namespace: its connections, transactions, retries and migrations.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Transaction,
};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, IsolationLevel, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::schema::Tables;
use crate::error::{Result, StorageError};

/// So many times a step runs before its caller is told that the store is busy.
const RUNS: u32 = 60;

/// The longest pause between two runs of a step.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// How long a step waits for a connection, and a connection for the server.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a store uses the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace (PostgreSQL schema); `None` for the service's usual one. Two providers' SP-TSMs in one
    /// database have one each.
    pub namespace: Option<String>,
    /// At most so many connections at once.
    pub connections: usize,
    /// How connections are encrypted; `None` allows a server on this machine only.
    pub tls: Option<rustls::ClientConfig>,
}

impl Default for Options {
    fn default() -> Self {
        Self { namespace: None, connections: 16, tls: None }
    }
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be read. It may hold a password, so it is not repeated here.
    #[error("the address of the database cannot be read; it looks like postgres://user@host/database")]
    Address(#[source] tokio_postgres::Error),
    /// The rows would travel over a network in the clear.
    #[error("the database at {host} is on another machine; connections to it must be encrypted")]
    Unencrypted {
        /// The host.
        host: String,
    },
    /// The name of the namespace is not plain.
    #[error("{0} cannot name a namespace; small letters, digits and _ can, up to 63, a letter first")]
    Namespace(String),
    /// The pool of connections cannot be made.
    #[error("the connections to the database cannot be set up")]
    Connections(#[from] deadpool_postgres::BuildError),
    /// The server is not there, or lets nobody in.
    #[error("the database does not let us in")]
    Connect(#[from] deadpool_postgres::PoolError),
    /// A migration fails.
    #[error("the tables of the {service} cannot be made in {namespace}")]
    Migrate {
        /// The service.
        service: &'static str,
        /// The namespace.
        namespace: String,
        /// PostgreSQL's own words.
        source: tokio_postgres::Error,
    },
    /// Another service's namespace.
    #[error("{namespace} belongs to the {found}, not to the {service}")]
    AnotherService {
        /// The namespace.
        namespace: String,
        /// The service that wanted it.
        service: &'static str,
        /// Whose it is.
        found: String,
    },
    /// A newer program's namespace.
    #[error("{namespace} was migrated to version {found}; this program knows versions up to {known}")]
    Newer {
        /// The namespace.
        namespace: String,
        /// Its version.
        found: usize,
        /// The last version that this program knows.
        known: usize,
    },
}

#[derive(Debug)]
pub(super) struct Database {
    pool: Pool,
    retries: AtomicU64,
}

impl Database {
    pub(super) async fn open<S: Tables>(url: &str, options: Options) -> std::result::Result<Self, OpenError> {
        let namespace = options.namespace.clone().unwrap_or_else(|| S::NAMESPACE.to_owned());
        let database = Self { pool: connections(url, options, &namespace)?, retries: AtomicU64::new(0) };
        database.migrate::<S>(&namespace).await?;
        Ok(database)
    }

    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(super) async fn client(&self) -> Result<Client> {
        self.pool.get().await.map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    /// Waits before a step's next run, or gives up. The pauses grow, and differ between clients that
    /// collided.
    pub(super) async fn pause(&self, run: &mut u32) -> Result<()> {
        *run += 1;
        if *run >= RUNS {
            return Err(StorageError::Unavailable("other steps were in the way each time".into()));
        }
        let ticket = self.retries.fetch_add(1, Ordering::Relaxed);
        let most = Duration::from_micros(500).saturating_mul(1 << (*run).min(10)).min(LONGEST_PAUSE);
        // The golden ratio spreads consecutive tickets evenly.
        let share = ticket.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let nanoseconds = (most.as_nanos() as u64).saturating_mul(share) >> 32;
        tokio::time::sleep(Duration::from_nanos(nanoseconds)).await;
        Ok(())
    }

    async fn migrate<S: Tables>(&self, namespace: &str) -> std::result::Result<(), OpenError> {
        let failed = |source| OpenError::Migrate { service: S::SERVICE, namespace: namespace.into(), source };
        let mut run = 0;
        loop {
            let mut client = self.pool.get().await?;
            let source = match migrate_once::<S>(&mut client, namespace).await {
                Ok(answer) => return answer,
                Err(source) => source,
            };
            drop(client);
            // Another process makes the same tables at the same time.
            let collided = is_collision(&source)
                || matches!(
                    source.code(),
                    Some(
                        &SqlState::DUPLICATE_SCHEMA
                            | &SqlState::DUPLICATE_TABLE
                            | &SqlState::DUPLICATE_OBJECT
                    )
                );
            if !collided || self.pause(&mut run).await.is_err() {
                return Err(failed(source));
            }
        }
    }
}

/// Removes a namespace that carries our mark.
pub(super) async fn forget(url: &str, options: Options) -> std::result::Result<(), OpenError> {
    let namespace = options.namespace.clone().unwrap_or_default();
    let pool = connections(url, options, &namespace)?;
    let client = pool.get().await?;
    let failed = |source| OpenError::Migrate { service: "store", namespace: namespace.clone(), source };
    let marked = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'migrations'";
    if client.query_opt(marked, &[&namespace]).await.map_err(failed)?.is_some() {
        client.batch_execute(&format!("DROP SCHEMA \"{namespace}\" CASCADE")).await.map_err(failed)?;
    }
    Ok(())
}

/// The syncs of the server's log so far.
pub(super) async fn log_syncs(url: &str) -> Result<u64> {
    let unavailable = |error: &dyn std::error::Error| StorageError::Unavailable(error.to_string());
    let pool = connections(url, Options::default(), "public").map_err(|error| unavailable(&error))?;
    let client = pool.get().await.map_err(|error| unavailable(&error))?;
    let asked = async {
        // What the sessions counted for themselves is added to the server's view first.
        client.execute("SELECT pg_stat_force_next_flush()", &[]).await?;
        client.query_one("SELECT wal_sync FROM pg_stat_wal", &[]).await
    };
    let row = asked.await.map_err(|error| unavailable(&error))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

fn connections(url: &str, options: Options, namespace: &str) -> std::result::Result<Pool, OpenError> {
    check_name(namespace)?;
    let mut config = Config::from_str(url).map_err(OpenError::Address)?;
    config.connect_timeout(PATIENCE).application_name(namespace);
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match options.tls {
        Some(tls) => {
            config.ssl_mode(SslMode::Require);
            Manager::from_config(config, MakeRustlsConnect::new(tls), manager_config)
        }
        None => {
            check_local(&config)?;
            config.ssl_mode(SslMode::Disable);
            Manager::from_config(config, NoTls, manager_config)
        }
    };
    let setup = session_setup(namespace);
    let pool = Pool::builder(manager)
        .max_size(options.connections.max(1))
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(PATIENCE))
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(move |client, _| {
            let setup = setup.clone();
            Box::pin(async move { client.batch_execute(&setup).await.map_err(HookError::Backend) })
        }))
        .build()?;
    Ok(pool)
}

fn check_name(namespace: &str) -> std::result::Result<(), OpenError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = namespace.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if begins && namespace.len() <= 63 && namespace.bytes().all(plain) {
        Ok(())
    } else {
        Err(OpenError::Namespace(namespace.to_owned()))
    }
}

fn check_local(config: &Config) -> std::result::Result<(), OpenError> {
    let is_local =
        |name: &str| name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut far = config.get_hosts().iter().filter_map(|host| match host {
        Host::Tcp(name) if !is_local(name) => Some(name.clone()),
        Host::Tcp(_) => None,
        #[cfg(unix)]
        Host::Unix(_) => None,
    });
    let mut far_addresses =
        config.get_hostaddrs().iter().filter(|address| !address.is_loopback()).map(ToString::to_string);
    match far.next().or_else(|| far_addresses.next()) {
        Some(host) => Err(OpenError::Unencrypted { host }),
        None => Ok(()),
    }
}

// An answered step must survive a crash whatever the server's default is, and no client may hold rows for
// ever.
fn session_setup(namespace: &str) -> String {
    format!(
        "SET search_path TO \"{namespace}\"; SET statement_timeout = '30s'; SET lock_timeout = '10s';
         SET idle_in_transaction_session_timeout = '30s';
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

type Migrated = std::result::Result<(), OpenError>;

// All in one transaction, under the lock of the row that holds the version. The inner result is final.
async fn migrate_once<S: Tables>(
    client: &mut Client,
    namespace: &str,
) -> std::result::Result<Migrated, tokio_postgres::Error> {
    let db_tx = client.transaction().await?;
    let there = db_tx.query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&namespace]).await?;
    if there.is_none() {
        db_tx.batch_execute(&format!("CREATE SCHEMA \"{namespace}\"")).await?;
    }
    db_tx
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS migrations (one BIGINT PRIMARY KEY, service TEXT NOT NULL, version BIGINT NOT NULL)",
        )
        .await?;
    let sql = "INSERT INTO migrations (one, service, version) VALUES (1, $1, 0) ON CONFLICT (one) DO NOTHING";
    db_tx.execute(sql, &[&S::SERVICE]).await?;
    let row =
        db_tx.query_one("SELECT service, version FROM migrations WHERE one = 1 FOR UPDATE", &[]).await?;
    let (found_service, version): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
    if found_service != S::SERVICE {
        let namespace = namespace.to_owned();
        return Ok(Err(OpenError::AnotherService { namespace, service: S::SERVICE, found: found_service }));
    }
    let (found, known) = (usize::try_from(version).unwrap_or(usize::MAX), S::MIGRATIONS.len());
    if found > known {
        return Ok(Err(OpenError::Newer { namespace: namespace.to_owned(), found, known }));
    }
    for migration in &S::MIGRATIONS[found..] {
        for script in *migration {
            db_tx.batch_execute(script).await?;
        }
    }
    // There are a handful of migrations, so the number fits.
    db_tx.execute("UPDATE migrations SET version = $1 WHERE one = 1", &[&(known as i64)]).await?;
    db_tx.commit().await?;
    Ok(Ok(()))
}

/// Whether running the transaction again may help. A key that another client has just taken (23505) is found
/// by the next run, which decides what that means.
fn is_collision(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(
            &SqlState::T_R_SERIALIZATION_FAILURE
                | &SqlState::T_R_DEADLOCK_DETECTED
                | &SqlState::UNIQUE_VIOLATION
        )
    )
}

enum Link<'a> {
    Transaction(Transaction<'a>),
    /// Each statement would be a transaction of its own, and see another moment: there is one only.
    Single(&'a Client, AtomicBool),
}

/// The database as a step sees it.
pub(super) struct Db<'a> {
    link: Link<'a>,
    collided: AtomicBool,
}

impl<'a> Db<'a> {
    /// A transaction; `None` when the connection was lost since it was last used, and another may do.
    pub(super) async fn begin(client: &'a mut Client, level: IsolationLevel) -> Option<Self> {
        // REPEATABLE READ is the level of those who look only.
        let is_look = matches!(level, IsolationLevel::RepeatableRead);
        let builder = client.build_transaction().isolation_level(level).read_only(is_look);
        let db_tx = builder.start().await.ok()?;
        Some(Self { link: Link::Transaction(db_tx), collided: AtomicBool::new(false) })
    }

    /// One statement, which is a transaction by itself.
    pub(super) fn single(client: &'a Client) -> Self {
        Self { link: Link::Single(client, AtomicBool::new(false)), collided: AtomicBool::new(false) }
    }

    /// Whoever asks twice outside a transaction would put two moments together.
    fn check_alone(&self) {
        if let Link::Single(_, asked) = &self.link {
            let again = asked.swap(true, Ordering::Relaxed);
            debug_assert!(!again, "several statements are one view or one step");
        }
    }

    /// Commits what a step did, or rolls a refused step back. `None` asks for another run.
    pub(super) async fn finish<T>(self, result: Result<T>) -> Option<Result<T>> {
        if self.collided.load(Ordering::Relaxed) {
            // Dropping the transaction rolls it back.
            return None;
        }
        let (value, db_tx) = match (result, self.link) {
            (Ok(value), Link::Transaction(db_tx)) => (value, db_tx),
            (result, _) => return Some(result),
        };
        match db_tx.commit().await {
            Ok(()) => Some(Ok(value)),
            Err(error) if is_collision(&error) => None,
            Err(error) => Some(Err(unavailable(&error))),
        }
    }

    pub(super) async fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.check_alone();
        let rows = async {
            match &self.link {
                Link::Transaction(db_tx) => db_tx.query(&db_tx.prepare_cached(sql).await?, params).await,
                Link::Single(client, _) => client.query(&client.prepare_cached(sql).await?, params).await,
            }
        };
        rows.await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn execute(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<usize> {
        self.check_alone();
        let changed = async {
            match &self.link {
                Link::Transaction(db_tx) => db_tx.execute(&db_tx.prepare_cached(sql).await?, params).await,
                Link::Single(client, _) => client.execute(&client.prepare_cached(sql).await?, params).await,
            }
        };
        let changed = changed.await.map_err(|error| self.failed(&error))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn failed(&self, error: &tokio_postgres::Error) -> StorageError {
        if is_collision(error) {
            self.collided.store(true, Ordering::Relaxed);
        }
        unavailable(error)
    }
}

fn unavailable(error: &tokio_postgres::Error) -> StorageError {
    // The driver's own sentence leaves out what the server said. A row that collides is in its details,
    // which are not repeated: they hold numbers of cards.
    let said = error.as_db_error().map(|said| format!("{} ({})", said.message(), said.code().code()));
    StorageError::Unavailable(said.unwrap_or_else(|| error.to_string()))
}

/// Runs `$body` over `$db` in a transaction, again and again while others are in its way.
macro_rules! transaction {
    ($store:expr, $level:expr, $db:ident, $body:expr) => {{
        let mut run = 0;
        loop {
            let mut client = match $store.database.client().await {
                Ok(client) => client,
                Err(error) => break Err(error),
            };
            if let Some(db) = crate::postgres::database::Db::begin(&mut client, $level).await {
                let result: crate::error::Result<_> = async {
                    let $db = &db;
                    $body
                }
                .await;
                if let Some(result) = db.finish(result).await {
                    break result;
                }
            }
            drop(client);
            if let Err(error) = $store.database.pause(&mut run).await {
                break Err(error);
            }
        }
    }};
}

/// A step: one SERIALIZABLE transaction.
macro_rules! step {
    ($store:expr, $db:ident, $body:expr) => {
        crate::postgres::database::transaction!(
            $store,
            tokio_postgres::IsolationLevel::Serializable,
            $db,
            $body
        )
    };
}

/// A step about one row, which it locks: one short READ COMMITTED transaction.
macro_rules! short {
    ($store:expr, $db:ident, $body:expr) => {
        crate::postgres::database::transaction!(
            $store,
            tokio_postgres::IsolationLevel::ReadCommitted,
            $db,
            $body
        )
    };
}

/// A look of several statements at one moment: a REPEATABLE READ transaction, which nobody is in the way of.
macro_rules! view {
    ($store:expr, $db:ident, $body:expr) => {
        crate::postgres::database::transaction!(
            $store,
            tokio_postgres::IsolationLevel::RepeatableRead,
            $db,
            $body
        )
    };
}

/// One statement by itself.
macro_rules! single {
    ($store:expr, $db:ident, $body:expr) => {{
        let mut run = 0;
        loop {
            let client = match $store.database.client().await {
                Ok(client) => client,
                Err(error) => break Err(error),
            };
            let db = crate::postgres::database::Db::single(&client);
            let result: crate::error::Result<_> = async {
                let $db = &db;
                $body
            }
            .await;
            if let Some(result) = db.finish(result).await {
                break result;
            }
            drop(client);
            if let Err(error) = $store.database.pause(&mut run).await {
                break Err(error);
            }
        }
    }};
}

pub(super) use {short, single, step, transaction, view};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_plain_name() {
        for good in ["se_tsm", "sp_tsm_2", "a"] {
            check_name(good).unwrap();
        }
        let long = "a".repeat(64);
        for bad in ["", "1a", "Se", "a-b", "a\"; DROP", &long] {
            assert!(matches!(check_name(bad), Err(OpenError::Namespace(_))), "{bad}");
        }
    }

    #[test]
    fn nothing_goes_over_a_network_in_the_clear() {
        for near in
            ["postgres://a@localhost/b", "postgres://a@127.0.0.1/b", "postgres://a@[::1]/b", "host=/run/pg"]
        {
            check_local(&near.parse().unwrap()).unwrap();
        }
        for far in [
            "postgres://a@db.example/b",
            "postgres://a@10.0.0.1/b",
            "host=localhost,db.example",
            "host=localhost hostaddr=10.0.0.1",
        ] {
            assert!(
                matches!(check_local(&far.parse().unwrap()), Err(OpenError::Unencrypted { .. })),
                "{far}"
            );
        }
    }
}
