//! Cases of the desk on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId, SeId};

use super::store_with;
use crate::error::{Result, StorageError};
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, LossFollowed, LossWord, check_opens, decides};
use crate::sqlite::rows::{body, first, many, nanoseconds, one, run};
use crate::sqlite::{SpTsmSchema, Sqlite};

pub(in crate::sqlite) const DESK_3: &str = "
CREATE TABLE desk_cases (
    id TEXT PRIMARY KEY, card TEXT NOT NULL, at INTEGER NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX desk_cases_of_card ON desk_cases (card, at, id);
";

pub(in crate::sqlite) const LOSSES_5: &str = "
CREATE TABLE losses_followed (se TEXT PRIMARY KEY, change INTEGER NOT NULL) WITHOUT ROWID;
";

fn followed(db: &Connection, se: SeId) -> Result<Option<u64>> {
    let sql = "SELECT change FROM losses_followed WHERE se = ?1";
    let change = first(db, sql, [se.to_string()], |row| row.get::<_, i64>(0))?;
    change
        .map(u64::try_from)
        .transpose()
        .map_err(|error| StorageError::corrupt("change of the loss list", error))
}

fn put_followed(db: &Connection, word: &LossWord) -> Result<()> {
    let change = i64::try_from(word.change);
    let change = change.map_err(|error| StorageError::corrupt("change of the loss list", error))?;
    let sql = "INSERT OR REPLACE INTO losses_followed (se, change) VALUES (?1, ?2)";
    run(db, sql, params![word.se.to_string(), change]).map(drop)
}

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

    async fn loss_followed(&self, se: SeId) -> Result<Option<u64>> {
        self.read(|db| followed(db, se))
    }

    async fn follow_loss(&self, word: LossWord) -> Result<LossFollowed> {
        self.write(move |db| {
            if !word.is_newer_than(followed(db, word.se)?) {
                return Ok(LossFollowed::Before);
            }
            put_followed(db, &word)?;
            for new in &word.opened {
                check_opens(case(db, new.id)?.as_ref(), new)?;
                put(db, new)?;
            }
            for (before, after) in &word.decided {
                if decides(case(db, before.id)?, before, after)? {
                    put(db, after)?;
                }
            }
            store_with(db, word.with)?;
            Ok(LossFollowed::Now)
        })
        .await
    }
}
