//! Ordered migrations on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::migration::{MigrationOrder, MigrationStage};
use tsm_domain::{OperationId, SeId};

use crate::error::{Result, StorageError};
use crate::se_tsm::migrations::{MigrationOrdered, Migrations, moved};
use crate::shared::Note;
use crate::sqlite::rows::{body, many, nanoseconds, one, run};
use crate::sqlite::shared::append_notes;
use crate::sqlite::{SeTsmSchema, Sqlite};

pub(in crate::sqlite) const MIGRATIONS_2: &str = "
CREATE TABLE migration_orders (
    id TEXT PRIMARY KEY, from_se TEXT NOT NULL, to_se TEXT NOT NULL, at INTEGER NOT NULL,
    open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX migration_orders_from ON migration_orders (from_se, at, id);
CREATE INDEX migration_orders_to ON migration_orders (to_se, at, id);
";

const OF_SE: &str =
    "SELECT body FROM migration_orders WHERE from_se = ?1 OR to_se = ?1 ORDER BY at DESC, id DESC";

fn migration(db: &Connection, id: OperationId) -> Result<Option<MigrationOrder>> {
    one(db, "migration", "SELECT body FROM migration_orders WHERE id = ?1", [id.to_string()])
}

fn migrations_of(db: &Connection, se: SeId) -> Result<Vec<MigrationOrder>> {
    many(db, "migration", OF_SE, [se.to_string()])
}

fn put(db: &Connection, order: &MigrationOrder) -> Result<()> {
    run(
        db,
        "INSERT INTO migration_orders (id, from_se, to_se, at, open, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET open = ?5, body = ?6",
        params![
            order.id.to_string(),
            order.from.to_string(),
            order.to.to_string(),
            nanoseconds(order.at),
            order.stage.is_open(),
            body(order)?
        ],
    )?;
    Ok(())
}

fn order_migration(db: &Connection, order: MigrationOrder, notes: Vec<Note>) -> Result<MigrationOrdered> {
    if let Some(known) = migration(db, order.id)? {
        return Ok(MigrationOrdered::Accepted(known));
    }
    for se in [order.from, order.to] {
        let others = migrations_of(db, se)?;
        if let Some(busy) = others.into_iter().find(|known| known.excludes(&order)) {
            return Ok(MigrationOrdered::Busy(busy));
        }
    }
    put(db, &order)?;
    append_notes(db, notes)?;
    Ok(MigrationOrdered::Accepted(order))
}

#[async_trait]
impl Migrations for Sqlite<SeTsmSchema> {
    async fn order_migration(&self, order: MigrationOrder, notes: Vec<Note>) -> Result<MigrationOrdered> {
        self.write(move |db| order_migration(db, order, notes)).await
    }

    async fn migration(&self, id: OperationId) -> Result<Option<MigrationOrder>> {
        self.read(|db| migration(db, id))
    }

    async fn migrations_of(&self, se: SeId) -> Result<Vec<MigrationOrder>> {
        self.read(|db| migrations_of(db, se))
    }

    async fn move_migration(
        &self,
        id: OperationId,
        to: MigrationStage,
        notes: Vec<Note>,
    ) -> Result<MigrationOrder> {
        self.write(move |db| {
            let known = migration(db, id)?.ok_or_else(|| StorageError::unknown("migration", id))?;
            let Some(next) = moved(&known, to)? else { return Ok(known) };
            put(db, &next)?;
            append_notes(db, notes)?;
            Ok(next)
        })
        .await
    }
}
