//! The clearing centre's store on SQLite. Transfers, balances and card transactions are columns.

mod card_sums;
pub(super) mod closing;
pub(super) mod collection;
mod differences;
pub(super) mod fares;
pub(super) mod lists;
pub(super) mod payouts;
pub(super) mod seals;
pub(super) mod settlement;
pub(super) mod standings;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tsm_domain::money::ledger::{self, Balance, LedgerView, PendingFate, Posting};
use tsm_domain::money::{
    Account, AccountKind, CardAccount, CardAccountEvent, CardTransaction, LoadProof, MoneyTotals,
    TransactionKey, Transfer, TransferKind,
};
use tsm_domain::{CardNumber, SeId, TransferId};

use super::rows::{all, amount, body, fen, first, limit, many, nanoseconds, one, run};
use super::shared::put_with;
use super::{ClearingSchema, Sqlite};
use crate::clearing::columns::{
    TRANSACTION_COLUMNS, TRANSFER_COLUMNS, TransactionRow, TransferRow, account_kind,
};
use crate::clearing::*;
use crate::error::{Result, StorageError};

/// A transfer out of its columns.
fn transfer_row(row: &Row<'_>) -> rusqlite::Result<TransferRow> {
    Ok(TransferRow {
        id: row.get(0)?,
        debit: row.get(1)?,
        debit_card: row.get(2)?,
        credit: row.get(3)?,
        credit_card: row.get(4)?,
        amount_fen: row.get(5)?,
        kind: row.get(6)?,
        pending: row.get(7)?,
        code: row.get(8)?,
        order_id: row.get(9)?,
        at: row.get(10)?,
    })
}

/// The ledger as a step sees it, its own earlier transfers included.
struct View<'a>(&'a Connection);

impl LedgerView for View<'_> {
    type Error = StorageError;

    fn transfer(&self, id: TransferId) -> Result<Option<Transfer>> {
        let sql = format!("SELECT {TRANSFER_COLUMNS} FROM transfers WHERE id = ?1");
        first(self.0, &sql, [id.to_string()], transfer_row)?.map(|row| row.transfer()).transpose()
    }

    fn fate(&self, pending: TransferId) -> Result<PendingFate> {
        let sql = "SELECT fate FROM pending_fates WHERE pending = ?1";
        match first(self.0, sql, [pending.to_string()], |row| row.get::<_, String>(0))?.as_deref() {
            None => Ok(PendingFate::Open),
            Some("posted") => Ok(PendingFate::Posted),
            Some("voided") => Ok(PendingFate::Voided),
            Some(other) => Err(StorageError::corrupt("transfer", format!("fate {other}"))),
        }
    }

    fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance> {
        let sql = "SELECT posted_fen, reserved_fen FROM balances WHERE card = ?1 AND account = ?2";
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        match first(self.0, sql, params![card.as_str(), kind.name()], read)? {
            None => Ok(Balance::default()),
            Some((posted, reserved)) => Ok(Balance { posted: amount(posted)?, reserved: amount(reserved)? }),
        }
    }
}

fn append(db: &Connection, posting: Posting) -> Result<()> {
    for (card, kind, balance) in posting.balances {
        let sql = "INSERT OR REPLACE INTO balances (card, account, posted_fen, reserved_fen) VALUES (?1, ?2, ?3, ?4)";
        run(db, sql, params![card.as_str(), kind.name(), fen(balance.posted)?, fen(balance.reserved)?])?;
    }
    let Some(transfer) = posting.append else { return Ok(()) };
    let (kind, pending, fate) = match transfer.kind {
        TransferKind::Single => ("single", None, None),
        TransferKind::Pending => ("pending", None, None),
        TransferKind::Post(pending) => ("post", Some(pending.to_string()), Some("posted")),
        TransferKind::Void(pending) => ("void", Some(pending.to_string()), Some("voided")),
    };
    if let (Some(pending), Some(fate)) = (&pending, fate) {
        run(db, "INSERT INTO pending_fates (pending, fate) VALUES (?1, ?2)", params![pending, fate])?;
    }
    let card_of = |account: Account| account.card().map(|card| card.as_str().to_owned());
    let (debit_card, credit_card) = (card_of(transfer.debit), card_of(transfer.credit));
    let sql = format!(
        "INSERT INTO transfers (card, {TRANSFER_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    run(
        db,
        &sql,
        params![
            debit_card.as_ref().or(credit_card.as_ref()),
            transfer.id.to_string(),
            transfer.debit.kind().name(),
            debit_card,
            transfer.credit.kind().name(),
            credit_card,
            fen(transfer.amount)?,
            kind,
            pending,
            transfer.code.name(),
            transfer.order.map(|order| order.to_string()),
            nanoseconds(transfer.at)
        ],
    )?;
    Ok(())
}

fn book(db: &Connection, mut step: Step, books: Books) -> Result<()> {
    for transfer in &books.transfers {
        let posting = ledger::check(&View(db), transfer)??;
        step.transferred(transfer, posting.append.as_ref());
        if let Some(made) = &posting.append {
            settlement::enter(db, made)?;
        }
        append(db, posting)?;
    }
    put_with(db, &books.deliveries, step.notes(books.notes)?, &books.incidents)
}

fn account_row(db: &Connection, card: CardNumber) -> Result<Option<AccountRow>> {
    one(db, "card account", "SELECT body FROM accounts WHERE card = ?1", [card.as_str()])
}

fn transactions_of(db: &Connection, card: CardNumber, most: usize) -> Result<Vec<CardTransaction>> {
    let sql = format!(
        "SELECT {TRANSACTION_COLUMNS} FROM transactions WHERE card = ?1
         ORDER BY at DESC, counter DESC, kind DESC LIMIT ?2"
    );
    let rows = all(db, &sql, params![card.as_str(), limit(most)], transaction_row)?;
    rows.iter().map(|row| row.transaction(card)).collect()
}

fn put_account(db: &Connection, row: &AccountRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO accounts (card, opened_at, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![row.card.as_str(), nanoseconds(row.opened_at), body(row)?])?;
    Ok(())
}

fn change_account(
    db: &Connection,
    card: CardNumber,
    books: Books,
    changes: &[AccountChange],
) -> Result<CardAccount> {
    let row = account_row(db, card)?.ok_or_else(|| StorageError::unknown("card account", card))?;
    let (mut step, account) = Step::account(&row, changes)?;
    let at = books.notes.iter().map(|note| note.at).max().unwrap_or(row.opened_at);
    let listed = lists::frozen(db, card, &row.account, &account, at)?;
    if let Some(edit) = &listed {
        step.listed(edit, at);
    }
    book(db, step, books)?;
    if let Some(edit) = &listed {
        lists::put(db, edit)?;
    }
    put_account(db, &AccountRow { account: account.clone(), ..row })?;
    Ok(account)
}

/// A card transaction out of its columns.
fn transaction_row(row: &Row<'_>) -> rusqlite::Result<TransactionRow> {
    Ok(TransactionRow {
        counter: row.get(0)?,
        kind: row.get(1)?,
        amount_fen: row.get(2)?,
        balance_after_fen: row.get(3)?,
        terminal: row.get(4)?,
        at: row.get(5)?,
        tac: row.get(6)?,
    })
}

/// What is recorded in the place of a transaction, or in that of its twin.
fn known_transaction(db: &Connection, key: TransactionKey) -> Result<Option<CardTransaction>> {
    let sql = format!(
        "SELECT {} FROM transactions WHERE card = ?1 AND counter = ?2 AND kind IN (?3, ?4) \
         ORDER BY kind <> ?3 LIMIT 1",
        TRANSACTION_COLUMNS
    );
    let twin = key.kind.twin().unwrap_or(key.kind);
    let params = params![key.card.as_str(), key.counter, key.kind.to_byte(), twin.to_byte()];
    first(db, &sql, params, transaction_row)?.map(|row| row.transaction(key.card)).transpose()
}

fn record(db: &Connection, transaction: &CardTransaction, books: Books) -> Result<Recorded> {
    if let Some(known) = known_transaction(db, transaction.key)? {
        return Ok(recorded_before(&known, transaction));
    }
    let on_sheet = crate::clearing::settlement::transaction_of(transaction, &books);
    book(db, Step::recorded(transaction), books)?;
    // After the guards of the books: a refused row of a file leaves nothing on the sheet.
    settlement::enter_transaction(db, on_sheet)?;
    let tac = match transaction.proof {
        LoadProof::Tac(tac) => Some(tac.0.to_vec()),
        LoadProof::TacUnavailable => None,
    };
    let sql = format!(
        "INSERT INTO transactions (card, {}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        TRANSACTION_COLUMNS
    );
    run(
        db,
        &sql,
        params![
            transaction.key.card.as_str(),
            transaction.key.counter,
            transaction.key.kind.to_byte(),
            fen(transaction.amount)?,
            transaction.balance_after.map(fen).transpose()?,
            transaction.terminal.to_string(),
            nanoseconds(transaction.at),
            tac
        ],
    )?;
    Ok(Recorded::New)
}

fn totals(db: &Connection) -> Result<MoneyTotals> {
    // Pending and void transfers move nothing.
    let sql = "SELECT debit, credit, sum(amount_fen) FROM transfers WHERE kind IN ('single', 'post') GROUP BY debit, credit";
    let read =
        |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
    let mut totals = MoneyTotals::default();
    for (debit, credit, sum) in all(db, sql, [], read)? {
        let sum = amount(sum)?;
        totals.add_sums(account_kind(&debit)?, sum, tsm_domain::Fen::ZERO);
        totals.add_sums(account_kind(&credit)?, tsm_domain::Fen::ZERO, sum);
    }
    Ok(totals)
}

#[async_trait]
impl ClearingStore for Sqlite<ClearingSchema> {
    async fn open_account(
        &self,
        card: CardNumber,
        se: SeId,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<AccountRow> {
        self.write(move |db| {
            if let Some(known) = account_row(db, card)? {
                return if known.account.state.carrier() == Some(se) {
                    Ok(known)
                } else {
                    Err(StorageError::conflict("card account", card))
                };
            }
            book(db, Step::opened(card, se, at), books)?;
            let row = AccountRow { card, account: CardAccount::opening(se), opened_at: at };
            put_account(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn account(&self, card: CardNumber) -> Result<Option<AccountRow>> {
        self.read(|db| account_row(db, card))
    }

    async fn accounts(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<AccountRow>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM accounts WHERE card > ?1 ORDER BY card LIMIT ?2";
        self.read(|db| many(db, "card account", sql, params![after, limit(most)]))
    }

    async fn accounts_that(
        &self,
        standing: Standing,
        prefix: Option<&str>,
        after: Option<CardNumber>,
        most: usize,
    ) -> Result<Vec<AccountRow>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let stands_so = standings::condition(standing);
        let sql = format!(
            "SELECT body FROM accounts WHERE {stands_so} AND card > ?1
             AND (?2 IS NULL OR substr(card, 1, 8) = ?2) ORDER BY card LIMIT ?3"
        );
        self.read(|db| many(db, "card account", &sql, params![after, prefix, limit(most)]))
    }

    async fn apply_event(
        &self,
        card: CardNumber,
        event: CardAccountEvent,
        books: Books,
    ) -> Result<CardAccount> {
        self.write(move |db| change_account(db, card, books, &[AccountChange::Event(event)])).await
    }

    async fn set_frozen(
        &self,
        card: CardNumber,
        reason: Option<String>,
        books: Books,
    ) -> Result<CardAccount> {
        let change = [AccountChange::frozen(reason)];
        self.write(move |db| change_account(db, card, books, &change)).await
    }

    async fn transfer(&self, books: Books) -> Result<()> {
        self.write(move |db| book(db, Step::default(), books)).await
    }

    async fn record_transaction(&self, transaction: CardTransaction, books: Books) -> Result<Recorded> {
        self.write(move |db| record(db, &transaction, books)).await
    }

    async fn transaction(&self, key: TransactionKey) -> Result<Option<CardTransaction>> {
        self.read(|db| known_transaction(db, key))
    }

    async fn transactions_of(&self, card: CardNumber, most: usize) -> Result<Vec<CardTransaction>> {
        self.read(|db| transactions_of(db, card, most))
    }

    async fn transfers_of(&self, card: CardNumber) -> Result<Vec<Transfer>> {
        let sql = format!("SELECT {TRANSFER_COLUMNS} FROM transfers WHERE card = ?1 ORDER BY at, id");
        let rows = self.read(|db| all(db, &sql, [card.as_str()], transfer_row))?;
        rows.iter().map(TransferRow::transfer).collect()
    }

    async fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance> {
        self.read(|db| View(db).balance(card, kind))
    }

    async fn totals(&self) -> Result<MoneyTotals> {
        self.read(totals)
    }
}
