//! Migrations that were ordered at the platform (P-5.5.4.d and e).

use async_trait::async_trait;
use tsm_domain::migration::{MigrationOrder, MigrationStage};
use tsm_domain::{OperationId, SeId};

use crate::error::{Result, StorageError};
use crate::shared::Note;

/// The result of ordering a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationOrdered {
    /// It is ordered, now or since before.
    Accepted(MigrationOrder),
    /// This other one moves the application of one of the two SEs.
    Busy(MigrationOrder),
}

/// Ordered migrations.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// Orders a migration. Run again, it gives the one that was ordered.
    async fn order_migration(&self, order: MigrationOrder, notes: Vec<Note>) -> Result<MigrationOrdered>;
    /// An ordered migration.
    async fn migration(&self, id: OperationId) -> Result<Option<MigrationOrder>>;
    /// The migrations that an SE has part in, newest first.
    async fn migrations_of(&self, se: SeId) -> Result<Vec<MigrationOrder>>;
    /// Moves a migration along. Moving it to where it is changes nothing; a step that cannot follow is a
    /// conflict.
    async fn move_migration(
        &self,
        id: OperationId,
        to: MigrationStage,
        notes: Vec<Note>,
    ) -> Result<MigrationOrder>;
}

/// The order after a step; none when it is there already.
pub(crate) fn moved(known: &MigrationOrder, to: MigrationStage) -> Result<Option<MigrationOrder>> {
    if known.stage == to {
        return Ok(None);
    }
    if !known.stage.may_become(to) {
        return Err(StorageError::conflict("migration", known.id));
    }
    Ok(Some(MigrationOrder { stage: to, ..known.clone() }))
}
