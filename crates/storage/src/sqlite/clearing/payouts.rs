//! Payouts to operators, on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::InstitutionId;
use tsm_domain::money::settlement::BusinessDay;

use super::{ClearingSchema, Sqlite, book};
use crate::clearing::lists::ProposalDecided;
use crate::clearing::payouts::{OperatorPayouts, PayoutRow, Proposed, WHAT, decide, proposed, unknown};
use crate::clearing::{Books, Step};
use crate::columns::limit;
use crate::error::Result;
use crate::sqlite::rows::{body, many, one, run};

/// The tables.
pub(in crate::sqlite) const PAYOUTS_4: &str = "
CREATE TABLE operator_payouts (
    day INTEGER NOT NULL, operator TEXT NOT NULL, number INTEGER NOT NULL, waits INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (day, operator, number)
) WITHOUT ROWID;
CREATE INDEX operator_payouts_waiting ON operator_payouts (day, operator, number) WHERE waits = 1;
";

fn put(db: &Connection, row: &PayoutRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO operator_payouts (day, operator, number, waits, body)
        VALUES (?1, ?2, ?3, ?4, ?5)";
    let key = (row.day.number(), row.operator.as_str(), row.number);
    run(db, sql, params![key.0, key.1, key.2, row.decided.is_none(), body(row)?]).map(drop)
}

#[async_trait]
impl OperatorPayouts for Sqlite<ClearingSchema> {
    async fn propose_payout(&self, row: PayoutRow, books: Books) -> Result<PayoutRow> {
        self.write(move |db| {
            let sql = "SELECT body FROM operator_payouts WHERE day = ?1 AND operator = ?2 ORDER BY number";
            let earlier: Vec<PayoutRow> =
                many(db, WHAT, sql, params![row.day.number(), row.operator.as_str()])?;
            match proposed(&earlier, row) {
                Proposed::Known(known) => Ok(known),
                Proposed::New(new) => {
                    book(db, Step::default(), books)?;
                    put(db, &new)?;
                    Ok(new)
                }
            }
        })
        .await
    }

    async fn decide_payout(
        &self,
        day: BusinessDay,
        operator: &InstitutionId,
        number: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<PayoutRow> {
        let operator = operator.clone();
        self.write(move |db| {
            let sql = "SELECT body FROM operator_payouts WHERE day = ?1 AND operator = ?2 AND number = ?3";
            let known: Option<PayoutRow> =
                one(db, WHAT, sql, params![day.number(), operator.as_str(), number])?;
            let row = known.ok_or_else(|| unknown(day, &operator))?;
            let Some(after) = decide(&row, decided)? else { return Ok(row) };
            book(db, Step::default(), books)?;
            put(db, &after)?;
            Ok(after)
        })
        .await
    }

    async fn payouts(&self, day: BusinessDay) -> Result<Vec<PayoutRow>> {
        let sql = "SELECT body FROM operator_payouts WHERE day = ?1 ORDER BY operator, number";
        self.read(|db| many(db, WHAT, sql, [day.number()]))
    }

    async fn waiting_payouts(&self, most: usize) -> Result<Vec<PayoutRow>> {
        let sql = "SELECT body FROM operator_payouts WHERE waits = 1 ORDER BY day, operator, number LIMIT ?1";
        self.read(|db| many(db, WHAT, sql, [limit(most)]))
    }
}
