//! Stores on SQLite: one file per service, the embedded default.
//!
//! Each file is in WAL mode with `synchronous = FULL`, and has one writer thread. The thread takes all
//! steps that wait, runs each in a savepoint of one `BEGIN IMMEDIATE` transaction, commits once, and only
//! then answers: many steps share one sync of the disk, and a refused step takes nothing of the others with it.
//! A caller that goes away does not cancel its step. Reads have connections of their own and see
//! everything that was answered.
//!
//! A file carries the mark of its service, so that no service opens another's, and the number of its last
//! migration; a file that a newer program has migrated is refused.

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
use std::path::Path;

use rusqlite::Connection;

use database::Database;
pub use database::OpenError;
pub use schema::{ClearingSchema, PaymentSchema, Schema, SeTsmSchema, SpTsmSchema};

use crate::error::Result;

/// The SE-TSM's store on SQLite.
pub type SqliteSeTsm = Sqlite<SeTsmSchema>;
/// The SP-TSM's store on SQLite.
pub type SqliteSpTsm = Sqlite<SpTsmSchema>;
/// The clearing centre's store on SQLite.
pub type SqliteClearing = Sqlite<ClearingSchema>;
/// The payment sandbox's store on SQLite.
pub type SqlitePayment = Sqlite<PaymentSchema>;

/// How many commits all stores of this process made. Each syncs its file's log once (WAL, `synchronous = FULL`).
pub fn commits_of_process() -> u64 {
    Database::commits_of_process()
}

/// A store on SQLite. Dropping it waits for the steps that were handed in.
#[derive(Debug)]
pub struct Sqlite<S> {
    database: Database,
    schema: PhantomData<fn() -> S>,
}

impl<S: Schema> Sqlite<S> {
    /// Opens the file, makes it where there is none, and migrates it.
    pub fn open(path: &Path) -> std::result::Result<Self, OpenError> {
        Ok(Self { database: Database::open::<S>(path)?, schema: PhantomData })
    }

    /// How many commits the writer made. With the number of steps it tells how well they group.
    pub fn commits(&self) -> u64 {
        self.database.commits()
    }

    async fn write<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database.write(step).await
    }

    fn read<T>(&self, step: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.database.read(step)
    }
}
