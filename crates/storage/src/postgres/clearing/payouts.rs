//! Payouts to operators, on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::InstitutionId;
use tsm_domain::money::settlement::BusinessDay;

use super::{ClearingTables, Postgres, book};
use crate::clearing::lists::ProposalDecided;
use crate::clearing::payouts::{OperatorPayouts, PayoutRow, Proposed, WHAT, decide, proposed, unknown};
use crate::clearing::{Books, Step};
use crate::columns::limit;
use crate::error::Result;
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, many, one, params, run};

/// The tables.
pub(in crate::postgres) const PAYOUTS_4: &str = r#"
CREATE TABLE operator_payouts (
    day BIGINT NOT NULL, operator TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, waits BOOLEAN NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (day, operator, number)
);
CREATE INDEX operator_payouts_waiting ON operator_payouts (day, operator, number) WHERE waits;
"#;

async fn put(db: &Db<'_>, row: &PayoutRow) -> Result<()> {
    let sql = "INSERT INTO operator_payouts (day, operator, number, waits, body) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (day, operator, number) DO UPDATE SET waits = excluded.waits, body = excluded.body";
    let key = (row.day.number(), row.operator.as_str(), i64::from(row.number));
    run(db, sql, params![key.0, key.1, key.2, row.decided.is_none(), body(row)?]).await.map(drop)
}

#[async_trait]
impl OperatorPayouts for Postgres<ClearingTables> {
    async fn propose_payout(&self, row: PayoutRow, books: Books) -> Result<PayoutRow> {
        step!(self, db, {
            let sql = "SELECT body FROM operator_payouts WHERE day = $1 AND operator = $2 ORDER BY number";
            let key = params![row.day.number(), row.operator.as_str()];
            let earlier: Vec<PayoutRow> = many(db, WHAT, sql, key).await?;
            match proposed(&earlier, row.clone()) {
                Proposed::Known(known) => Ok(known),
                Proposed::New(new) => {
                    book(db, Step::default(), &books).await?;
                    put(db, &new).await?;
                    Ok(new)
                }
            }
        })
    }

    async fn decide_payout(
        &self,
        day: BusinessDay,
        operator: &InstitutionId,
        number: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<PayoutRow> {
        step!(self, db, {
            let sql = "SELECT body FROM operator_payouts WHERE day = $1 AND operator = $2 AND number = $3";
            let key = params![day.number(), operator.as_str(), i64::from(number)];
            let known: Option<PayoutRow> = one(db, WHAT, sql, key).await?;
            let row = known.ok_or_else(|| unknown(day, operator))?;
            let Some(after) = decide(&row, decided.clone())? else { return Ok(row) };
            book(db, Step::default(), &books).await?;
            put(db, &after).await?;
            Ok(after)
        })
    }

    async fn payouts(&self, day: BusinessDay) -> Result<Vec<PayoutRow>> {
        let sql = "SELECT body FROM operator_payouts WHERE day = $1 ORDER BY operator, number";
        single!(self, db, many(db, WHAT, sql, params![day.number()]).await)
    }

    async fn waiting_payouts(&self, most: usize) -> Result<Vec<PayoutRow>> {
        let sql = "SELECT body FROM operator_payouts WHERE waits ORDER BY day, operator, number LIMIT $1";
        single!(self, db, many(db, WHAT, sql, params![limit(most)]).await)
    }
}
