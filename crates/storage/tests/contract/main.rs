//! What every store must do, checked on the store in memory, on SQLite and, with the feature
//! `postgres`, on PostgreSQL alike.

mod arrivals;
mod clearing;
mod clerks;
mod closing;
mod collection;
mod desk;
mod fares;
mod journal;
mod lists;
mod memory_only;
mod online_purchase;
mod payment;
mod payouts;
#[cfg(feature = "postgres")]
mod postgres_only;
#[cfg(feature = "postgres")]
mod postgres_server;
mod sample;
mod se_tsm;
mod settlement;
mod shared;
mod sp_tsm;
mod sqlite_only;
mod standings;
#[cfg(feature = "postgres")]
mod throw_away_postgres;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tsm_storage::memory::{MemoryClearing, MemoryPayment, MemorySeTsm, MemorySpTsm};
use tsm_storage::sqlite::{SqliteClearing, SqlitePayment, SqliteSeTsm, SqliteSpTsm};
use tsm_storage::{ClearingStore, PaymentStore, SeTsmStore, SpTsmStore};

/// A file of its own, with SQLite's companions, that goes away with the test.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("opentsm-contract-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("store.sqlite")
    }

    fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn on_se_tsm(check: impl AsyncFn(&dyn SeTsmStore)) {
    check(&MemorySeTsm::new()).await;
    let file = TemporaryFile::new();
    check(&SqliteSeTsm::open(&file.path()).unwrap()).await;
    #[cfg(feature = "postgres")]
    check(&postgres_server::store::<tsm_storage::postgres::SeTsmTables>().await).await;
}

async fn on_sp_tsm(check: impl AsyncFn(&dyn SpTsmStore)) {
    check(&MemorySpTsm::new()).await;
    let file = TemporaryFile::new();
    check(&SqliteSpTsm::open(&file.path()).unwrap()).await;
    #[cfg(feature = "postgres")]
    check(&postgres_server::store::<tsm_storage::postgres::SpTsmTables>().await).await;
}

async fn on_clearing(check: impl AsyncFn(&dyn ClearingStore)) {
    check(&MemoryClearing::new()).await;
    let file = TemporaryFile::new();
    check(&SqliteClearing::open(&file.path()).unwrap()).await;
    #[cfg(feature = "postgres")]
    check(&postgres_server::store::<tsm_storage::postgres::ClearingTables>().await).await;
}

async fn on_payment(check: impl AsyncFn(&dyn PaymentStore)) {
    check(&MemoryPayment::new()).await;
    let file = TemporaryFile::new();
    check(&SqlitePayment::open(&file.path()).unwrap()).await;
    #[cfg(feature = "postgres")]
    check(&postgres_server::store::<tsm_storage::postgres::PaymentTables>().await).await;
}
