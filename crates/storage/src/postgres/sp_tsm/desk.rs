//! Cases of the desk on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId, SeId};

use super::store_with;
use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, column, first, many, nanoseconds, one, params, run};
use crate::postgres::{Postgres, SpTsmTables};
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, LossFollowed, LossWord, check_opens, decides};

pub(in crate::postgres) const DESK_3: &str = r#"
CREATE TABLE desk_cases (
    id TEXT COLLATE "C" PRIMARY KEY, card TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
    open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX desk_cases_of_card ON desk_cases (card, at, id);
"#;

pub(in crate::postgres) const LOSSES_5: &str = r#"
CREATE TABLE losses_followed (se TEXT COLLATE "C" PRIMARY KEY, change BIGINT NOT NULL);
"#;

async fn followed(db: &Db<'_>, se: SeId) -> Result<Option<u64>> {
    let sql = "SELECT change FROM losses_followed WHERE se = $1";
    let change = first(db, sql, params![se.to_string()], |row| column::<i64>(row, 0)).await?;
    change
        .map(u64::try_from)
        .transpose()
        .map_err(|error| StorageError::corrupt("change of the loss list", error))
}

async fn put_followed(db: &Db<'_>, word: &LossWord) -> Result<()> {
    let change = i64::try_from(word.change);
    let change = change.map_err(|error| StorageError::corrupt("change of the loss list", error))?;
    let sql = "INSERT INTO losses_followed (se, change) VALUES ($1, $2)
         ON CONFLICT (se) DO UPDATE SET change = excluded.change";
    run(db, sql, params![word.se.to_string(), change]).await.map(drop)
}

async fn case(db: &Db<'_>, id: OperationId) -> Result<Option<DeskCase>> {
    one(db, "case", "SELECT body FROM desk_cases WHERE id = $1", params![id.to_string()]).await
}

async fn put(db: &Db<'_>, case: &DeskCase) -> Result<()> {
    run(
        db,
        "INSERT INTO desk_cases (id, card, at, open, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (id) DO UPDATE SET open = $4, body = $5",
        params![
            case.id.to_string(),
            case.card.as_str(),
            nanoseconds(case.opened.at),
            case.is_open(),
            body(case)?
        ],
    )
    .await?;
    Ok(())
}

#[async_trait]
impl DeskCases for Postgres<SpTsmTables> {
    async fn open_case(&self, new: DeskCase, with: With) -> Result<DeskCase> {
        step!(self, db, {
            if let Some(known) = case(db, new.id).await? {
                return Ok(known);
            }
            put(db, &new).await?;
            store_with(db, &with).await?;
            Ok(new.clone())
        })
    }

    async fn desk_case(&self, id: OperationId) -> Result<Option<DeskCase>> {
        single!(self, db, case(db, id).await)
    }

    async fn cases_of(&self, card: CardNumber) -> Result<Vec<DeskCase>> {
        let sql = "SELECT body FROM desk_cases WHERE card = $1 ORDER BY at DESC, id DESC";
        single!(self, db, many(db, "case", sql, params![card.as_str()]).await)
    }

    async fn decide_case(&self, before: &DeskCase, after: DeskCase, with: With) -> Result<()> {
        step!(self, db, {
            if decides(case(db, before.id).await?, before, &after)? {
                put(db, &after).await?;
                store_with(db, &with).await?;
            }
            Ok(())
        })
    }

    async fn loss_followed(&self, se: SeId) -> Result<Option<u64>> {
        single!(self, db, followed(db, se).await)
    }

    async fn follow_loss(&self, word: LossWord) -> Result<LossFollowed> {
        step!(self, db, {
            if !word.is_newer_than(followed(db, word.se).await?) {
                return Ok(LossFollowed::Before);
            }
            put_followed(db, &word).await?;
            for new in &word.opened {
                check_opens(case(db, new.id).await?.as_ref(), new)?;
                put(db, new).await?;
            }
            for (before, after) in &word.decided {
                if decides(case(db, before.id).await?, before, after)? {
                    put(db, after).await?;
                }
            }
            store_with(db, &word.with).await?;
            Ok(LossFollowed::Now)
        })
    }
}
