//! Cases of the desk on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId};

use super::store_with;
use crate::error::Result;
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, decides};
use crate::sqlite::rows::{body, many, nanoseconds, one, run};
use crate::sqlite::{SpTsmSchema, Sqlite};

pub(in crate::sqlite) const DESK_3: &str = "
CREATE TABLE desk_cases (
    id TEXT PRIMARY KEY, card TEXT NOT NULL, at INTEGER NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX desk_cases_of_card ON desk_cases (card, at, id);
";

fn case(db: &Connection, id: OperationId) -> Result<Option<DeskCase>> {
    one(db, "case", "SELECT body FROM desk_cases WHERE id = ?1", [id.to_string()])
}

fn put(db: &Connection, case: &DeskCase) -> Result<()> {
    run(
        db,
        "INSERT INTO desk_cases (id, card, at, open, body) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO UPDATE SET open = ?4, body = ?5",
        params![
            case.id.to_string(),
            case.card.as_str(),
            nanoseconds(case.opened.at),
            case.is_open(),
            body(case)?
        ],
    )?;
    Ok(())
}

#[async_trait]
impl DeskCases for Sqlite<SpTsmSchema> {
    async fn open_case(&self, new: DeskCase, with: With) -> Result<DeskCase> {
        self.write(move |db| {
            if let Some(known) = case(db, new.id)? {
                return Ok(known);
            }
            put(db, &new)?;
            store_with(db, with)?;
            Ok(new)
        })
        .await
    }

    async fn desk_case(&self, id: OperationId) -> Result<Option<DeskCase>> {
        self.read(|db| case(db, id))
    }

    async fn cases_of(&self, card: CardNumber) -> Result<Vec<DeskCase>> {
        let sql = "SELECT body FROM desk_cases WHERE card = ?1 ORDER BY at DESC, id DESC";
        self.read(|db| many(db, "case", sql, [card.as_str()]))
    }

    async fn decide_case(&self, before: &DeskCase, after: DeskCase, with: With) -> Result<()> {
        let before = before.clone();
        self.write(move |db| {
            if decides(case(db, before.id)?, &before, &after)? {
                put(db, &after)?;
                store_with(db, with)?;
            }
            Ok(())
        })
        .await
    }
}
