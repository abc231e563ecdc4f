//! The closings of cards on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::money::{AccountKind, CardAccount, Closing};
use tsm_domain::{CardNumber, OperationId};

use super::{ClearingTables, Postgres, account_row, balance, change_account, transactions_of};
use crate::clearing::closing::is_new;
use crate::clearing::{AccountChange, Books, CardBooks, ClosingStep, Closings};
use crate::error::Result;
use crate::postgres::database::{Db, single, step, view};
use crate::postgres::rows::{body, many, nanoseconds, one, params, run};

/// The tables.
pub(in crate::postgres) const CLOSING_2: &str = r#"
CREATE TABLE closings (
    card TEXT COLLATE "C" NOT NULL, begun_at BIGINT NOT NULL, operation TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (card, operation)
);
"#;

async fn closing(db: &Db<'_>, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
    let sql = "SELECT body FROM closings WHERE card = $1 AND operation = $2";
    one(db, "closing", sql, params![card.as_str(), operation.to_string()]).await
}

async fn closings_of(db: &Db<'_>, card: CardNumber) -> Result<Vec<Closing>> {
    let sql = "SELECT body FROM closings WHERE card = $1 ORDER BY begun_at DESC, operation DESC";
    many(db, "closing", sql, params![card.as_str()]).await
}

async fn make(db: &Db<'_>, made: &ClosingStep) -> Result<CardAccount> {
    let ClosingStep { after, events, books, .. } = made;
    if !is_new(made, closing(db, after.card, after.operation).await?.as_ref())? {
        return change_account(db, after.card, &Books::default(), &[]).await;
    }
    let account = change_account(db, after.card, books, &AccountChange::events(events)).await?;
    let sql = "INSERT INTO closings (card, begun_at, operation, body) VALUES ($1, $2, $3, $4)
        ON CONFLICT (card, operation) DO UPDATE SET body = excluded.body";
    let at = nanoseconds(after.begun_at);
    run(db, sql, params![after.card.as_str(), at, after.operation.to_string(), body(after)?]).await?;
    Ok(account)
}

#[async_trait]
impl Closings for Postgres<ClearingTables> {
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
        single!(self, db, closing(db, card, operation).await)
    }

    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>> {
        single!(self, db, closings_of(db, card).await)
    }

    async fn card_books(&self, card: CardNumber) -> Result<Option<CardBooks>> {
        view!(self, db, {
            let Some(row) = account_row(db, card).await? else { return Ok(None) };
            Ok(Some(CardBooks {
                row,
                closings: closings_of(db, card).await?,
                transactions: transactions_of(db, card, usize::MAX).await?,
                purse: balance(db, card, AccountKind::Purse).await?.posted,
            }))
        })
    }

    async fn step_closing(&self, made: ClosingStep) -> Result<CardAccount> {
        step!(self, db, make(db, &made).await)
    }
}
