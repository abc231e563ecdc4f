//! Differences between the books and what others say, on SQLite: found, listed, closed by two people.

use rusqlite::{Connection, params};
use tsm_domain::money::reconciliation::{Difference, DifferenceState, Evidence};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{CardNumber, DifferenceId};

use super::settlement::bytes_of;
use super::{book, collection};
use crate::clearing::settlement::{DifferenceQuery, closed_with};
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::sqlite::rows::{body, limit, many, one, run};
use crate::sqlite::shared::close_incident;

pub(super) fn by_id(db: &Connection, id: DifferenceId) -> Result<Option<Difference>> {
    one(db, "difference", "SELECT body FROM differences WHERE id = ?1", [id.to_string()])
}

pub(super) fn put(db: &Connection, difference: &Difference, replace: &str) -> Result<usize> {
    let sql = format!(
        "INSERT OR {replace} INTO differences (id, day, state, cause, reference, card, ripens, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
    );
    let ripens = match difference.state {
        DifferenceState::Waiting { until } => Some(until.number()),
        _ => None,
    };
    run(
        db,
        &sql,
        params![
            difference.id.to_string(),
            difference.day.number(),
            difference.state.name(),
            difference.cause.name(),
            difference.reference.map(bytes_of),
            difference.card.as_ref().map(CardNumber::as_str),
            ripens,
            body(difference)?
        ],
    )
}

pub(super) fn change(db: &Connection, before: &Difference, after: &Difference, books: Books) -> Result<()> {
    let known = by_id(db, after.id)?.ok_or_else(|| StorageError::unknown("difference", after.id))?;
    if known == *after {
        return Ok(());
    }
    if known != *before {
        return Err(StorageError::conflict("difference", after.id));
    }
    book(db, Step::default(), books)?;
    if let Some((evidence, aside, closed)) = closed_with(after) {
        match evidence {
            Evidence::Aside { row, incident } => {
                collection::close(db, row, aside)?;
                close_incident(db, incident, closed)?;
            }
            Evidence::Incident(incident) => close_incident(db, incident, closed)?,
            Evidence::Missing { .. } => {}
        }
    }
    put(db, after, "REPLACE").map(drop)
}

pub(super) fn ripen(db: &Connection, day: BusinessDay) -> Result<usize> {
    let sql = "SELECT body FROM differences WHERE state = 'waiting' AND ripens < ?1 LIMIT 256";
    let ripe: Vec<Difference> = many(db, "difference", sql, [day.number()])?;
    for difference in &ripe {
        put(db, &Difference { state: DifferenceState::Open, ..difference.clone() }, "REPLACE")?;
    }
    Ok(ripe.len())
}

pub(super) fn list(db: &Connection, query: &DifferenceQuery, most: usize) -> Result<Vec<Difference>> {
    let (day, id) = match query.after {
        Some((day, id)) => (day.number(), id.to_string()),
        None => (i64::MIN, String::new()),
    };
    let sql = "SELECT body FROM differences WHERE (day, id) > (?1, ?2)
        AND (?3 IS NULL OR day = ?3) AND (?4 IS NULL OR cause = ?4)
        AND CASE WHEN ?5 IS NULL THEN state <> 'waiting' ELSE state = ?5 END
        AND (?6 IS NULL OR substr(card, 1, length(?6)) = ?6)
        ORDER BY day, id LIMIT ?7";
    let cause = query.cause.map(|cause| cause.name());
    let on = query.day.map(BusinessDay::number);
    many(db, "difference", sql, params![day, id, on, cause, query.state, query.prefix, limit(most)])
}
