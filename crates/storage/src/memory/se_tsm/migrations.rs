//! Ordered migrations in memory.

use async_trait::async_trait;
use tsm_domain::migration::{MigrationOrder, MigrationStage};
use tsm_domain::{OperationId, SeId};

use super::SeTsmState;
use crate::error::{Result, StorageError};
use crate::memory::Memory;
use crate::se_tsm::migrations::{MigrationOrdered, Migrations, moved};
use crate::shared::Note;

#[async_trait]
impl Migrations for Memory<SeTsmState> {
    async fn order_migration(&self, order: MigrationOrder, notes: Vec<Note>) -> Result<MigrationOrdered> {
        self.write(|state| {
            if let Some(known) = state.migrations.get(&order.id) {
                return Ok(MigrationOrdered::Accepted(known.clone()));
            }
            if let Some(busy) = state.migrations.values().find(|known| known.excludes(&order)) {
                return Ok(MigrationOrdered::Busy(busy.clone()));
            }
            state.migrations.insert(order.id, order.clone());
            state.shared.append_notes(notes);
            Ok(MigrationOrdered::Accepted(order))
        })
    }

    async fn migration(&self, id: OperationId) -> Result<Option<MigrationOrder>> {
        self.read(|state| Ok(state.migrations.get(&id).cloned()))
    }

    async fn migrations_of(&self, se: SeId) -> Result<Vec<MigrationOrder>> {
        self.read(|state| {
            let own = state.migrations.values().filter(|known| known.from == se || known.to == se);
            let mut own: Vec<_> = own.cloned().collect();
            own.sort_by_key(|order| std::cmp::Reverse((order.at, order.id)));
            Ok(own)
        })
    }

    async fn move_migration(
        &self,
        id: OperationId,
        to: MigrationStage,
        notes: Vec<Note>,
    ) -> Result<MigrationOrder> {
        self.write(|state| {
            let known = state.migrations.get(&id).ok_or_else(|| StorageError::unknown("migration", id))?;
            let Some(next) = moved(known, to)? else { return Ok(known.clone()) };
            state.migrations.insert(id, next.clone());
            state.shared.append_notes(notes);
            Ok(next)
        })
    }
}
