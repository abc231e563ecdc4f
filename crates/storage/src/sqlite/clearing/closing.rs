//! The closings of cards on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::money::{AccountKind, CardAccount, Closing, LedgerView as _};
use tsm_domain::{CardNumber, OperationId};

use super::{ClearingSchema, Sqlite, View, account_row, change_account, transactions_of};
use crate::clearing::closing::is_new;
use crate::clearing::{AccountChange, CardBooks, ClosingStep, Closings};
use crate::error::Result;
use crate::sqlite::rows::{body, many, nanoseconds, one, run};

/// The tables.
pub(in crate::sqlite) const CLOSING_2: &str = "
CREATE TABLE closings (
    card TEXT NOT NULL, begun_at INTEGER NOT NULL, operation TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (card, operation)
) WITHOUT ROWID;
";

fn closing(db: &Connection, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
    let sql = "SELECT body FROM closings WHERE card = ?1 AND operation = ?2";
    one(db, "closing", sql, params![card.as_str(), operation.to_string()])
}

fn closings_of(db: &Connection, card: CardNumber) -> Result<Vec<Closing>> {
    let sql = "SELECT body FROM closings WHERE card = ?1 ORDER BY begun_at DESC, operation DESC";
    many(db, "closing", sql, [card.as_str()])
}

fn make(db: &Connection, step: ClosingStep) -> Result<CardAccount> {
    let ClosingStep { after, events, books, .. } = &step;
    if !is_new(&step, closing(db, after.card, after.operation)?.as_ref())? {
        return change_account(db, after.card, crate::clearing::Books::default(), &[]);
    }
    let account = change_account(db, after.card, books.clone(), &AccountChange::events(events))?;
    let sql = "INSERT OR REPLACE INTO closings (card, begun_at, operation, body) VALUES (?1, ?2, ?3, ?4)";
    let at = nanoseconds(after.begun_at);
    run(db, sql, params![after.card.as_str(), at, after.operation.to_string(), body(after)?])?;
    Ok(account)
}

#[async_trait]
impl Closings for Sqlite<ClearingSchema> {
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
        self.read(|db| closing(db, card, operation))
    }

    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>> {
        self.read(|db| closings_of(db, card))
    }

    async fn card_books(&self, card: CardNumber) -> Result<Option<CardBooks>> {
        self.read(|db| {
            let Some(row) = account_row(db, card)? else { return Ok(None) };
            Ok(Some(CardBooks {
                row,
                closings: closings_of(db, card)?,
                transactions: transactions_of(db, card, usize::MAX)?,
                purse: View(db).balance(card, AccountKind::Purse)?.posted,
            }))
        })
    }

    async fn step_closing(&self, step: ClosingStep) -> Result<CardAccount> {
        self.write(move |db| make(db, step)).await
    }
}
