//! Stores on PostgreSQL, for operators who outgrow one machine: many processes of one role share one store.
//!
//! A step is one SERIALIZABLE transaction; where PostgreSQL finds that steps were in each other's way
//! (40001, 40P01) the step runs again, which it may by the traits' contract. Leases of SEs and messages of
//! the outbox are taken in short READ COMMITTED transactions that lock the one row they are about, so that
//! many clients who want the same one queue instead of failing. A step under a fence locks the lease row
//! too: a take-over waits for it, or it is fenced out. A look that takes several statements is one REPEATABLE
//! READ transaction, so that nothing looks broken that was only read at two moments.
//!
//! Nothing here depends on advisory locks, on LISTEN and NOTIFY, on sequences or on large transactions, so
//! that engines which speak PostgreSQL's protocol and spread their rows over many machines can carry the
//! same code (`docs/scale.md`).
//!
//! Each service has a namespace (a PostgreSQL schema) of its own, which carries the mark of the service and
//! the number of its last migration. A caller that goes away before the commit cancels its step.

mod clearing;
mod clerks;
mod database;
mod payment;
mod rows;
mod schema;
mod se_tsm;
mod shared;
mod sp_tsm;

use std::marker::PhantomData;

use database::Database;
pub use database::{OpenError, Options};
pub use schema::{ClearingTables, PaymentTables, SeTsmTables, SpTsmTables, Tables};

/// The SE-TSM's store on PostgreSQL.
pub type PostgresSeTsm = Postgres<SeTsmTables>;
/// The SP-TSM's store on PostgreSQL.
pub type PostgresSpTsm = Postgres<SpTsmTables>;
/// The clearing centre's store on PostgreSQL.
pub type PostgresClearing = Postgres<ClearingTables>;
/// The payment sandbox's store on PostgreSQL.
pub type PostgresPayment = Postgres<PaymentTables>;

/// Removes a namespace with all that is in it, for a city that was made to be thrown away. A namespace that is
/// not there is no error; one that is no store of ours is left alone.
pub async fn forget(url: &str, options: Options) -> Result<(), OpenError> {
    database::forget(url, options).await
}

/// How often the server at `url` has synced its log, for all who use it, since its statistics began; from
/// `pg_stat_wal` of PostgreSQL 15 to 17.
pub async fn log_syncs(url: &str) -> crate::error::Result<u64> {
    database::log_syncs(url).await
}

/// A store on PostgreSQL.
#[derive(Debug)]
pub struct Postgres<S> {
    database: Database,
    tables: PhantomData<fn() -> S>,
}

impl<S: Tables> Postgres<S> {
    /// Connects to the server that `url` names (`postgres://user@host/database`), makes the service's
    /// namespace where there is none, and migrates it. Several processes may do so at once.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        Ok(Self { database: Database::open::<S>(url, options).await?, tables: PhantomData })
    }

    /// How many transactions were run again because steps were in each other's way.
    pub fn retries(&self) -> u64 {
        self.database.retries()
    }
}
