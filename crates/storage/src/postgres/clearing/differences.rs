//! Differences between the books and what others say, on PostgreSQL: found, listed, closed by two people.

use tsm_domain::money::reconciliation::{Difference, DifferenceState, Evidence};
use tsm_domain::money::settlement::BusinessDay;
use tsm_domain::{CardNumber, DifferenceId};

use super::settlement::bytes_of;
use super::{book, collection};
use crate::clearing::settlement::{DifferenceQuery, closed_with};
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::postgres::database::Db;
use crate::postgres::rows::{body, limit, many, one, params, run};
use crate::postgres::shared::close_incident;

pub(super) async fn by_id(db: &Db<'_>, id: DifferenceId) -> Result<Option<Difference>> {
    one(db, "difference", "SELECT body FROM differences WHERE id = $1", params![id.to_string()]).await
}

pub(super) async fn put(db: &Db<'_>, difference: &Difference, on_conflict: &str) -> Result<usize> {
    let sql = format!(
        "INSERT INTO differences (id, day, state, cause, reference, card, ripens, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO {on_conflict}"
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
    .await
}

const REPLACE: &str = "UPDATE SET state = excluded.state, ripens = excluded.ripens, body = excluded.body";

pub(super) async fn change(
    db: &Db<'_>,
    before: &Difference,
    after: &Difference,
    books: &Books,
) -> Result<()> {
    let known = by_id(db, after.id).await?.ok_or_else(|| StorageError::unknown("difference", after.id))?;
    if known == *after {
        return Ok(());
    }
    if known != *before {
        return Err(StorageError::conflict("difference", after.id));
    }
    book(db, Step::default(), books).await?;
    if let Some((evidence, aside, closed)) = closed_with(after) {
        match evidence {
            Evidence::Aside { row, incident } => {
                collection::close(db, row, aside).await?;
                close_incident(db, incident, closed).await?;
            }
            Evidence::Incident(incident) => close_incident(db, incident, closed).await?,
            Evidence::Missing { .. } => {}
        }
    }
    put(db, after, REPLACE).await.map(drop)
}

pub(super) async fn ripen(db: &Db<'_>, day: BusinessDay) -> Result<usize> {
    let sql = "SELECT body FROM differences WHERE state = 'waiting' AND ripens < $1 LIMIT 256";
    let ripe: Vec<Difference> = many(db, "difference", sql, params![day.number()]).await?;
    for difference in &ripe {
        let open = Difference { state: DifferenceState::Open, ..difference.clone() };
        put(db, &open, REPLACE).await?;
    }
    Ok(ripe.len())
}

pub(super) async fn list(db: &Db<'_>, query: &DifferenceQuery, most: usize) -> Result<Vec<Difference>> {
    let (day, id) = match query.after {
        Some((day, id)) => (day.number(), id.to_string()),
        None => (i64::MIN, String::new()),
    };
    let sql = "SELECT body FROM differences WHERE (day, id) > ($1, $2)
        AND ($3::bigint IS NULL OR day = $3) AND ($4::text IS NULL OR cause = $4)
        AND CASE WHEN $5::text IS NULL THEN state <> 'waiting' ELSE state = $5 END
        AND ($6::text IS NULL OR substr(card, 1, length($6)) = $6)
        ORDER BY day, id LIMIT $7";
    let cause = query.cause.map(|cause| cause.name());
    let on = query.day.map(BusinessDay::number);
    let values = params![day, id, on, cause, query.state, query.prefix, limit(most)];
    many(db, "difference", sql, values).await
}
