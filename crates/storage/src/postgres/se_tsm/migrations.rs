//! Ordered migrations on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::migration::{MigrationOrder, MigrationStage};
use tsm_domain::{OperationId, SeId};

use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, many, nanoseconds, one, params, run};
use crate::postgres::shared::append_notes;
use crate::postgres::{Postgres, SeTsmTables};
use crate::se_tsm::migrations::{MigrationOrdered, Migrations, moved};
use crate::shared::Note;

pub(in crate::postgres) const MIGRATIONS_2: &str = r#"
CREATE TABLE migration_orders (
    id TEXT COLLATE "C" PRIMARY KEY, from_se TEXT COLLATE "C" NOT NULL, to_se TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL, open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX migration_orders_from ON migration_orders (from_se, at, id);
CREATE INDEX migration_orders_to ON migration_orders (to_se, at, id);
"#;

const OF_SE: &str =
    "SELECT body FROM migration_orders WHERE from_se = $1 OR to_se = $1 ORDER BY at DESC, id DESC";

async fn migration(db: &Db<'_>, id: OperationId) -> Result<Option<MigrationOrder>> {
    one(db, "migration", "SELECT body FROM migration_orders WHERE id = $1", params![id.to_string()]).await
}

async fn migrations_of(db: &Db<'_>, se: SeId) -> Result<Vec<MigrationOrder>> {
    many(db, "migration", OF_SE, params![se.to_string()]).await
}

async fn put(db: &Db<'_>, order: &MigrationOrder) -> Result<()> {
    run(
        db,
        "INSERT INTO migration_orders (id, from_se, to_se, at, open, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET open = $5, body = $6",
        params![
            order.id.to_string(),
            order.from.to_string(),
            order.to.to_string(),
            nanoseconds(order.at),
            order.stage.is_open(),
            body(order)?
        ],
    )
    .await?;
    Ok(())
}

async fn order_migration(db: &Db<'_>, order: &MigrationOrder, notes: &[Note]) -> Result<MigrationOrdered> {
    if let Some(known) = migration(db, order.id).await? {
        return Ok(MigrationOrdered::Accepted(known));
    }
    for se in [order.from, order.to] {
        let others = migrations_of(db, se).await?;
        if let Some(busy) = others.into_iter().find(|known| known.excludes(order)) {
            return Ok(MigrationOrdered::Busy(busy));
        }
    }
    put(db, order).await?;
    append_notes(db, notes).await?;
    Ok(MigrationOrdered::Accepted(order.clone()))
}

#[async_trait]
impl Migrations for Postgres<SeTsmTables> {
    async fn order_migration(&self, order: MigrationOrder, notes: Vec<Note>) -> Result<MigrationOrdered> {
        step!(self, db, order_migration(db, &order, &notes).await)
    }

    async fn migration(&self, id: OperationId) -> Result<Option<MigrationOrder>> {
        single!(self, db, migration(db, id).await)
    }

    async fn migrations_of(&self, se: SeId) -> Result<Vec<MigrationOrder>> {
        single!(self, db, migrations_of(db, se).await)
    }

    async fn move_migration(
        &self,
        id: OperationId,
        to: MigrationStage,
        notes: Vec<Note>,
    ) -> Result<MigrationOrder> {
        step!(self, db, {
            let known = migration(db, id).await?.ok_or_else(|| StorageError::unknown("migration", id))?;
            let Some(next) = moved(&known, to)? else { return Ok(known) };
            put(db, &next).await?;
            append_notes(db, &notes).await?;
            Ok(next)
        })
    }
}
