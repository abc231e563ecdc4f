//! Between columns and values.

use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use super::database::Db;
pub(super) use crate::columns::{amount, body, fen, from_text, instant, limit, nanoseconds, parse};
use crate::error::{Result, StorageError};

/// Parameters of a statement.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The parameters of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &(dyn tokio_postgres::types::ToSql + Sync)),*]
    };
}
pub(super) use params;

/// A column of a row.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| StorageError::corrupt("row", error))
}

/// A column that holds a number of a narrower kind.
pub(super) fn narrow<T: TryFrom<i64, Error: std::fmt::Display>>(row: &Row, index: usize) -> Result<T> {
    T::try_from(column(row, index)?).map_err(|error| StorageError::corrupt("row", error))
}

/// Runs a statement; gives how many rows it changed.
pub(super) async fn run(db: &Db<'_>, sql: &str, params: Params<'_>) -> Result<usize> {
    db.execute(sql, params).await
}

/// The first row, read by `read`.
pub(super) async fn first<T>(
    db: &Db<'_>,
    sql: &str,
    params: Params<'_>,
    read: impl FnOnce(&Row) -> Result<T>,
) -> Result<Option<T>> {
    db.query(sql, params).await?.first().map(read).transpose()
}

/// All rows, read by `read`.
pub(super) async fn all<T>(
    db: &Db<'_>,
    sql: &str,
    params: Params<'_>,
    read: impl FnMut(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    db.query(sql, params).await?.iter().map(read).collect()
}

/// The record in the first column of the first row.
pub(super) async fn one<T: DeserializeOwned>(
    db: &Db<'_>,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<Option<T>> {
    let rows = db.query(sql, params).await?;
    rows.first().map(|row| parse(what, column(row, 0)?)).transpose()
}

/// The records in the first column of all rows.
pub(super) async fn many<T: DeserializeOwned>(
    db: &Db<'_>,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<Vec<T>> {
    db.query(sql, params).await?.iter().map(|row| parse(what, column(row, 0)?)).collect()
}
