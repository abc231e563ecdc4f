//! Between values and the columns of either engine: the same text, the same numbers.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tsm_domain::Fen;
use tsm_domain::bytes::Sha256Digest;

use crate::error::{Result, StorageError};
use crate::shared::Entry;

/// A record as it stands in a `body` column.
pub(crate) fn body(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record).map_err(|error| StorageError::corrupt("record", error))
}

/// A record out of a `body` column.
pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| StorageError::corrupt(what, error))
}

/// Journal entries out of their columns `hash` and `body`. The hash stands in a column of its own too; where the
/// two differ someone has changed the file.
pub(crate) fn checked_entries(rows: Vec<(Vec<u8>, String)>) -> Result<Vec<Entry>> {
    let entries = rows.into_iter().map(|(hash, text)| {
        let entry: Entry = parse("journal entry", &text)?;
        let hash: Option<[u8; 32]> = hash.try_into().ok();
        if hash.map(Sha256Digest) == Some(entry.hash) {
            Ok(entry)
        } else {
            Err(StorageError::corrupt("journal entry", "its hash was changed"))
        }
    });
    entries.collect()
}

/// A column that holds the text of a value.
pub(crate) fn from_text<T: std::str::FromStr<Err: std::fmt::Display>>(
    what: &'static str,
    text: &str,
) -> Result<T> {
    text.parse().map_err(|error: T::Err| StorageError::corrupt(what, error))
}

/// An instant as a column. Columns order and select; past the year 2262 they stand still.
pub(crate) fn nanoseconds(at: jiff::Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at > jiff::Timestamp::UNIX_EPOCH {
        i64::MAX
    } else {
        i64::MIN
    })
}

/// An instant out of a column.
pub(crate) fn instant(nanoseconds: i64) -> Result<jiff::Timestamp> {
    let nanoseconds = i128::from(nanoseconds);
    jiff::Timestamp::from_nanosecond(nanoseconds).map_err(|error| StorageError::corrupt("instant", error))
}

/// An amount as a column.
pub(crate) fn fen(amount: Fen) -> Result<i64> {
    i64::try_from(amount.get()).map_err(|error| StorageError::corrupt("amount", error))
}

/// An amount out of a column.
pub(crate) fn amount(column: i64) -> Result<Fen> {
    u64::try_from(column).map(Fen::new).map_err(|error| StorageError::corrupt("amount", error))
}

/// A limit as SQL takes it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
