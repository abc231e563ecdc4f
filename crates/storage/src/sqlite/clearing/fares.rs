//! The operators' fare tables, on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::InstitutionId;

use super::{ClearingSchema, Sqlite, book};
use crate::clearing::fares::{FareRow, Fares, decide, same_fares, unknown};
use crate::clearing::lists::ProposalDecided;
use crate::clearing::{Books, Step};
use crate::error::Result;
use crate::sqlite::rows::{body, first, many, one, run};

/// The tables.
pub(in crate::sqlite) const FARES_3: &str = "
CREATE TABLE fares (
    operator TEXT NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (operator, version)
) WITHOUT ROWID;
";

fn version(db: &Connection, operator: &InstitutionId, version: u32) -> Result<Option<FareRow>> {
    let sql = "SELECT body FROM fares WHERE operator = ?1 AND version = ?2";
    one(db, "fare table", sql, params![operator.as_str(), version])
}

fn all(db: &Connection, operator: &InstitutionId) -> Result<Vec<FareRow>> {
    let sql = "SELECT body FROM fares WHERE operator = ?1 ORDER BY version";
    many(db, "fare table", sql, [operator.as_str()])
}

#[async_trait]
impl Fares for Sqlite<ClearingSchema> {
    async fn propose_fares(&self, row: FareRow, text: String) -> Result<FareRow> {
        self.write(move |db| {
            if let Some(stored) = version(db, &row.operator, row.head.version)? {
                return same_fares(stored, &row);
            }
            let sql = "INSERT INTO fares (operator, version, text, body) VALUES (?1, ?2, ?3, ?4)";
            run(db, sql, params![row.operator.as_str(), row.head.version, text, body(&row)?])?;
            Ok(row)
        })
        .await
    }

    async fn decide_fares(
        &self,
        operator: &InstitutionId,
        of: u32,
        decided: ProposalDecided,
        books: Books,
    ) -> Result<FareRow> {
        let operator = operator.clone();
        self.write(move |db| {
            let row = version(db, &operator, of)?.ok_or_else(|| unknown(of))?;
            let Some(after) = decide(&row, &all(db, &operator)?, decided)? else { return Ok(row) };
            book(db, Step::default(), books)?;
            let sql = "UPDATE fares SET body = ?3 WHERE operator = ?1 AND version = ?2";
            run(db, sql, params![operator.as_str(), of, body(&after)?])?;
            Ok(after)
        })
        .await
    }

    async fn fares(&self, operator: &InstitutionId) -> Result<Vec<FareRow>> {
        self.read(|db| all(db, operator))
    }

    async fn fare_text(&self, operator: &InstitutionId, of: u32) -> Result<Option<(FareRow, String)>> {
        self.read(|db| {
            let Some(row) = version(db, operator, of)? else { return Ok(None) };
            let sql = "SELECT text FROM fares WHERE operator = ?1 AND version = ?2";
            let text = first(db, sql, params![operator.as_str(), of], |row| row.get::<_, String>(0))?;
            Ok(text.map(|text| (row, text)))
        })
    }
}
