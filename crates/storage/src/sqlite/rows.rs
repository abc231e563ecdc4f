//! Between columns and values.

use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tsm_domain::Fen;

use crate::error::{Result, StorageError};

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::corrupt("row", error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// A record as it stands in a `body` column.
pub(super) fn body(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record).map_err(|error| StorageError::corrupt("record", error))
}

/// A record out of a `body` column.
pub(super) fn parse<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| StorageError::corrupt(what, error))
}

/// A column that holds the text of a value.
pub(super) fn from_text<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &'static str,
    text: &str,
) -> Result<T> {
    text.parse().map_err(|error: T::Err| StorageError::corrupt(what, error))
}

/// Runs a statement; gives how many rows it changed.
pub(super) fn run(db: &Connection, sql: &str, params: impl Params) -> Result<usize> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}

/// The first row, read by `read`.
pub(super) fn first<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>> {
    Ok(db.prepare_cached(sql)?.query_row(params, read).optional()?)
}

/// All rows, read by `read`.
pub(super) fn all<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params, read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The record in the first column of the first row.
pub(super) fn one<T: DeserializeOwned>(
    db: &Connection,
    what: &'static str,
    sql: &str,
    params: impl Params,
) -> Result<Option<T>> {
    let found = first(db, sql, params, |row| row.get::<_, String>(0))?;
    found.map(|text| parse(what, &text)).transpose()
}

/// The records in the first column of all rows.
pub(super) fn many<T: DeserializeOwned>(
    db: &Connection,
    what: &'static str,
    sql: &str,
    params: impl Params,
) -> Result<Vec<T>> {
    let found = all(db, sql, params, |row| row.get::<_, String>(0))?;
    found.iter().map(|text| parse(what, text)).collect()
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
