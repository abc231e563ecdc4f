//! Cases of the desk on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::desk::DeskCase;
use tsm_domain::{CardNumber, OperationId};

use super::store_with;
use crate::error::Result;
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, many, nanoseconds, one, params, run};
use crate::postgres::{Postgres, SpTsmTables};
use crate::sp_tsm::With;
use crate::sp_tsm::desk::{DeskCases, decides};

pub(in crate::postgres) const DESK_3: &str = r#"
CREATE TABLE desk_cases (
    id TEXT COLLATE "C" PRIMARY KEY, card TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
    open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX desk_cases_of_card ON desk_cases (card, at, id);
"#;

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
}
