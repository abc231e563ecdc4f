//! The operators' fare tables, on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::InstitutionId;

use super::{ClearingTables, Postgres, book};
use crate::clearing::fares::{FareRow, Fares, decide, same_fares, unknown};
use crate::clearing::lists::ProposalDecided;
use crate::clearing::{Books, Step};
use crate::error::Result;
use crate::postgres::database::{Db, single, step, view};
use crate::postgres::rows::{body, column, first, many, one, params, run};

/// The tables.
pub(in crate::postgres) const FARES_3: &str = r#"
CREATE TABLE fares (
    operator TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, text TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (operator, version)
);
"#;

async fn version(db: &Db<'_>, operator: &InstitutionId, version: u32) -> Result<Option<FareRow>> {
    let sql = "SELECT body FROM fares WHERE operator = $1 AND version = $2";
    one(db, "fare table", sql, params![operator.as_str(), i64::from(version)]).await
}

async fn all(db: &Db<'_>, operator: &InstitutionId) -> Result<Vec<FareRow>> {
    let sql = "SELECT body FROM fares WHERE operator = $1 ORDER BY version";
    many(db, "fare table", sql, params![operator.as_str()]).await
}

#[async_trait]
impl Fares for Postgres<ClearingTables> {
    async fn propose_fares(&self, row: FareRow, text: String) -> Result<FareRow> {
        step!(self, db, {
            if let Some(stored) = version(db, &row.operator, row.head.version).await? {
                return same_fares(stored, &row);
            }
            let sql = "INSERT INTO fares (operator, version, text, body) VALUES ($1, $2, $3, $4)";
            let key = (row.operator.as_str(), i64::from(row.head.version));
            run(db, sql, params![key.0, key.1, text.as_str(), body(&row)?]).await?;
            Ok(row.clone())
        })
    }

    async fn decide_fares(
        &self,
        operator: &InstitutionId,
        of: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<FareRow> {
        step!(self, db, {
            let row = version(db, operator, of).await?.ok_or_else(|| unknown(of))?;
            let Some(after) = decide(&row, &all(db, operator).await?, decided.clone())? else {
                return Ok(row);
            };
            book(db, Step::default(), &books).await?;
            let sql = "UPDATE fares SET body = $3 WHERE operator = $1 AND version = $2";
            run(db, sql, params![operator.as_str(), i64::from(of), body(&after)?]).await?;
            Ok(after)
        })
    }

    async fn fares(&self, operator: &InstitutionId) -> Result<Vec<FareRow>> {
        single!(self, db, all(db, operator).await)
    }

    async fn fare_text(&self, operator: &InstitutionId, of: u32) -> Result<Option<(FareRow, String)>> {
        view!(self, db, {
            let Some(row) = version(db, operator, of).await? else { return Ok(None) };
            let sql = "SELECT text FROM fares WHERE operator = $1 AND version = $2";
            let key = params![operator.as_str(), i64::from(of)];
            let text = first(db, sql, key, |row| column::<String>(row, 0)).await?;
            Ok(text.map(|text| (row, text)))
        })
    }
}
