//! Between columns and values.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};
use tsm_domain::Fen;

use super::database::Db;
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

/// A record as it stands in a `body` column.
pub(super) fn body(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record).map_err(|error| StorageError::corrupt("record", error))
}

/// A record out of a `body` column.
pub(super) fn parse<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| StorageError::corrupt(what, error))
}

/// A column of a row.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(|error| StorageError::corrupt("row", error))
}

/// A column that holds a number of a narrower kind.
pub(super) fn narrow<T: TryFrom<i64, Error: std::fmt::Display>>(row: &Row, index: usize) -> Result<T> {
    T::try_from(column(row, index)?).map_err(|error| StorageError::corrupt("row", error))
}

/// A column that holds the text of a value.
pub(super) fn from_text<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &'static str,
    text: &str,
) -> Result<T> {
    text.parse().map_err(|error: T::Err| StorageError::corrupt(what, error))
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

/// An instant as a column. Columns order and select; past the year 2262 they stand still.
pub(super) fn nanoseconds(at: jiff::Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at > jiff::Timestamp::UNIX_EPOCH {
        i64::MAX
    } else {
        i64::MIN
    })
}

/// An instant out of a column.
pub(super) fn instant(nanoseconds: i64) -> Result<jiff::Timestamp> {
    let nanoseconds = i128::from(nanoseconds);
    jiff::Timestamp::from_nanosecond(nanoseconds).map_err(|error| StorageError::corrupt("instant", error))
}

/// An amount as a column.
pub(super) fn fen(amount: Fen) -> Result<i64> {
    i64::try_from(amount.get()).map_err(|error| StorageError::corrupt("amount", error))
}

/// An amount out of a column.
pub(super) fn amount(column: i64) -> Result<Fen> {
    u64::try_from(column).map(Fen::new).map_err(|error| StorageError::corrupt("amount", error))
}

/// A limit as SQL takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
