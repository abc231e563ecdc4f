//! Where each role keeps what it knows: a file of its own on the embedded database, or tables of its own on
//! a PostgreSQL that several processes share.

use std::sync::Arc;

use tsm_storage::postgres::{
    self, ClearingTables, PaymentTables, Postgres, SeTsmTables, SpTsmTables, Tables,
};
use tsm_storage::sqlite::{self, ClearingSchema, PaymentSchema, Schema, SeTsmSchema, SpTsmSchema, Sqlite};
use tsm_storage::{ClearingStore, PaymentStore, SeTsmStore, SpTsmStore};

use super::plan::{CityPlan, Database, Role};

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file of the embedded database.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// The shared database. Its own words are in the source.
    #[error("{error}{}", because(error))]
    Postgres {
        /// What happened.
        error: postgres::OpenError,
    },
}

/// The SE-TSM's store.
pub async fn se_tsm(plan: &CityPlan) -> Result<Arc<dyn SeTsmStore>, StoreError> {
    Ok(match &plan.database {
        None => Arc::new(file::<SeTsmSchema>(plan, Role::SeTsm)?),
        Some(database) => Arc::new(tables::<SeTsmTables>(database).await?),
    })
}

/// The SP-TSM's store.
pub async fn sp_tsm(plan: &CityPlan) -> Result<Arc<dyn SpTsmStore>, StoreError> {
    Ok(match &plan.database {
        None => Arc::new(file::<SpTsmSchema>(plan, Role::SpTsm)?),
        Some(database) => Arc::new(tables::<SpTsmTables>(database).await?),
    })
}

/// The clearing centre's store.
pub async fn clearing(plan: &CityPlan) -> Result<Arc<dyn ClearingStore>, StoreError> {
    Ok(match &plan.database {
        None => Arc::new(file::<ClearingSchema>(plan, Role::Clearing)?),
        Some(database) => Arc::new(tables::<ClearingTables>(database).await?),
    })
}

/// The payment sandbox's store.
pub async fn payment(plan: &CityPlan) -> Result<Arc<dyn PaymentStore>, StoreError> {
    Ok(match &plan.database {
        None => Arc::new(file::<PaymentSchema>(plan, Role::Payment)?),
        Some(database) => Arc::new(tables::<PaymentTables>(database).await?),
    })
}

/// Removes every table of the city from its shared database; one on files has none there.
pub async fn forget(plan: &CityPlan) -> Result<(), StoreError> {
    let Some(database) = &plan.database else { return Ok(()) };
    for service in
        [SeTsmTables::NAMESPACE, SpTsmTables::NAMESPACE, ClearingTables::NAMESPACE, PaymentTables::NAMESPACE]
    {
        postgres::forget(&database.url, options(database, service))
            .await
            .map_err(|error| StoreError::Postgres { error })?;
    }
    Ok(())
}

fn file<S: Schema>(plan: &CityPlan, role: Role) -> Result<Sqlite<S>, StoreError> {
    Ok(Sqlite::open(&plan.role(role).store)?)
}

async fn tables<S: Tables>(database: &Database) -> Result<Postgres<S>, StoreError> {
    let opened = Postgres::open(&database.url, options(database, S::NAMESPACE)).await;
    opened.map_err(|error| StoreError::Postgres { error })
}

fn options(database: &Database, service: &str) -> postgres::Options {
    let namespace = Some(format!("{}_{service}", database.city));
    postgres::Options { namespace, ..postgres::Options::default() }
}

fn because(error: &postgres::OpenError) -> String {
    let mut words = String::new();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        words.push_str(": ");
        words.push_str(&source.to_string());
        next = source.source();
    }
    words
}
