//! Between columns and values.

use rusqlite::{Connection, OptionalExtension as _, Params, Row};
use serde::de::DeserializeOwned;

pub(super) use crate::columns::{amount, body, fen, from_text, instant, limit, nanoseconds, parse};
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
