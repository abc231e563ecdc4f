//! The clearing centre's store on PostgreSQL. Transfers, balances and card transactions are columns.

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

use std::collections::HashMap;

use async_trait::async_trait;
use tokio_postgres::Row;
use tsm_domain::money::ledger::{self, Balance, LedgerView, PendingFate, Posting};
use tsm_domain::money::{
    Account, AccountKind, CardAccount, CardAccountEvent, CardTransaction, LoadProof, MoneyTotals,
    TransactionKey, Transfer, TransferKind,
};
use tsm_domain::{CardNumber, SeId, TransferId};

use super::database::{Db, single, step};
use super::rows::{
    all, amount, body, column, fen, first, limit, many, nanoseconds, narrow, one, params, run,
};
use super::shared::put_with;
use super::{ClearingTables, Postgres};
use crate::clearing::columns::{
    TRANSACTION_COLUMNS, TRANSFER_COLUMNS, TransactionRow, TransferRow, account_kind,
};
use crate::clearing::*;
use crate::error::{Result, StorageError};

/// A transfer out of its columns.
fn transfer_row(row: &Row) -> Result<TransferRow> {
    Ok(TransferRow {
        id: column(row, 0)?,
        debit: column(row, 1)?,
        debit_card: column(row, 2)?,
        credit: column(row, 3)?,
        credit_card: column(row, 4)?,
        amount_fen: column(row, 5)?,
        kind: column(row, 6)?,
        pending: column(row, 7)?,
        code: column(row, 8)?,
        order_id: column(row, 9)?,
        at: column(row, 10)?,
    })
}

/// What a step has looked up of the ledger.
///
/// The ledger's rules look things up as they go, and cannot wait for a server. So they are asked with what is
/// known; where they need more they name it, it is looked up, and they are asked again.
#[derive(Default)]
struct Known {
    transfers: HashMap<TransferId, Option<Transfer>>,
    fates: HashMap<TransferId, PendingFate>,
    balances: HashMap<(CardNumber, AccountKind), Balance>,
}

/// What has to be looked up.
enum Missing {
    Transfer(TransferId),
    Fate(TransferId),
    Balance(CardNumber, AccountKind),
}

impl LedgerView for Known {
    type Error = Missing;

    fn transfer(&self, id: TransferId) -> std::result::Result<Option<Transfer>, Missing> {
        self.transfers.get(&id).cloned().ok_or(Missing::Transfer(id))
    }

    fn fate(&self, pending: TransferId) -> std::result::Result<PendingFate, Missing> {
        self.fates.get(&pending).copied().ok_or(Missing::Fate(pending))
    }

    fn balance(&self, card: CardNumber, kind: AccountKind) -> std::result::Result<Balance, Missing> {
        self.balances.get(&(card, kind)).copied().ok_or(Missing::Balance(card, kind))
    }
}

impl Known {
    async fn look_up(&mut self, db: &Db<'_>, missing: Missing) -> Result<()> {
        match missing {
            Missing::Transfer(id) => {
                let sql = format!("SELECT {TRANSFER_COLUMNS} FROM transfers WHERE id = $1");
                let found = first(db, &sql, params![id.to_string()], transfer_row).await?;
                self.transfers.insert(id, found.map(|row| row.transfer()).transpose()?);
            }
            Missing::Fate(pending) => {
                self.fates.insert(pending, fate(db, pending).await?);
            }
            Missing::Balance(card, kind) => {
                self.balances.insert((card, kind), balance(db, card, kind).await?);
            }
        }
        Ok(())
    }
}

async fn fate(db: &Db<'_>, pending: TransferId) -> Result<PendingFate> {
    let sql = "SELECT fate FROM pending_fates WHERE pending = $1";
    match first(db, sql, params![pending.to_string()], |row| column::<String>(row, 0)).await?.as_deref() {
        None => Ok(PendingFate::Open),
        Some("posted") => Ok(PendingFate::Posted),
        Some("voided") => Ok(PendingFate::Voided),
        Some(other) => Err(StorageError::corrupt("transfer", format!("fate {other}"))),
    }
}

async fn balance(db: &Db<'_>, card: CardNumber, kind: AccountKind) -> Result<Balance> {
    let sql = "SELECT posted_fen, reserved_fen FROM balances WHERE card = $1 AND account = $2";
    let read = |row: &Row| Ok((column::<i64>(row, 0)?, column::<i64>(row, 1)?));
    match first(db, sql, params![card.as_str(), kind.name()], read).await? {
        None => Ok(Balance::default()),
        Some((posted, reserved)) => Ok(Balance { posted: amount(posted)?, reserved: amount(reserved)? }),
    }
}

async fn check(db: &Db<'_>, transfer: &Transfer) -> Result<Posting> {
    let mut known = Known::default();
    loop {
        match ledger::check(&known, transfer) {
            Ok(answer) => return Ok(answer?),
            Err(missing) => known.look_up(db, missing).await?,
        }
    }
}

async fn append(db: &Db<'_>, posting: Posting) -> Result<()> {
    for (card, kind, balance) in posting.balances {
        let sql = "INSERT INTO balances (card, account, posted_fen, reserved_fen) VALUES ($1, $2, $3, $4)
         ON CONFLICT (card, account) DO UPDATE SET posted_fen = excluded.posted_fen, reserved_fen = excluded.reserved_fen";
        run(db, sql, params![card.as_str(), kind.name(), fen(balance.posted)?, fen(balance.reserved)?])
            .await?;
    }
    let Some(transfer) = posting.append else { return Ok(()) };
    let (kind, pending, fate) = match transfer.kind {
        TransferKind::Single => ("single", None, None),
        TransferKind::Pending => ("pending", None, None),
        TransferKind::Post(pending) => ("post", Some(pending.to_string()), Some("posted")),
        TransferKind::Void(pending) => ("void", Some(pending.to_string()), Some("voided")),
    };
    if let (Some(pending), Some(fate)) = (&pending, fate) {
        run(db, "INSERT INTO pending_fates (pending, fate) VALUES ($1, $2)", params![pending, fate]).await?;
    }
    let card_of = |account: Account| account.card().map(|card| card.as_str().to_owned());
    let (debit_card, credit_card) = (card_of(transfer.debit), card_of(transfer.credit));
    let sql = format!(
        "INSERT INTO transfers (card, {TRANSFER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
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
    )
    .await?;
    Ok(())
}

async fn book(db: &Db<'_>, mut step: Step, books: &Books) -> Result<()> {
    for transfer in &books.transfers {
        let posting = check(db, transfer).await?;
        step.transferred(transfer, posting.append.as_ref());
        if let Some(made) = &posting.append {
            settlement::enter(db, made).await?;
        }
        append(db, posting).await?;
    }
    put_with(db, &books.deliveries, &step.notes(books.notes.clone())?, &books.incidents).await
}

async fn account_row(db: &Db<'_>, card: CardNumber) -> Result<Option<AccountRow>> {
    one(db, "card account", "SELECT body FROM accounts WHERE card = $1", params![card.as_str()]).await
}

async fn transactions_of(db: &Db<'_>, card: CardNumber, most: usize) -> Result<Vec<CardTransaction>> {
    let sql = format!(
        "SELECT {TRANSACTION_COLUMNS} FROM transactions WHERE card = $1
         ORDER BY at DESC, counter DESC, kind DESC LIMIT $2"
    );
    let rows = all(db, &sql, params![card.as_str(), limit(most)], transaction_row).await?;
    rows.iter().map(|row| row.transaction(card)).collect()
}

async fn put_account(db: &Db<'_>, row: &AccountRow) -> Result<()> {
    let sql = "INSERT INTO accounts (card, opened_at, body) VALUES ($1, $2, $3)
         ON CONFLICT (card) DO UPDATE SET opened_at = excluded.opened_at, body = excluded.body";
    run(db, sql, params![row.card.as_str(), nanoseconds(row.opened_at), body(row)?]).await?;
    Ok(())
}

async fn change_account(
    db: &Db<'_>,
    card: CardNumber,
    books: &Books,
    changes: &[AccountChange],
) -> Result<CardAccount> {
    let row = account_row(db, card).await?.ok_or_else(|| StorageError::unknown("card account", card))?;
    let (mut step, account) = Step::account(&row, changes)?;
    let at = books.notes.iter().map(|note| note.at).max().unwrap_or(row.opened_at);
    let listed = lists::frozen(db, card, &row.account, &account, at).await?;
    if let Some(edit) = &listed {
        step.listed(edit, at);
    }
    book(db, step, books).await?;
    if let Some(edit) = &listed {
        lists::put(db, edit).await?;
    }
    put_account(db, &AccountRow { account: account.clone(), ..row }).await?;
    Ok(account)
}

/// A card transaction out of its columns.
fn transaction_row(row: &Row) -> Result<TransactionRow> {
    Ok(TransactionRow {
        counter: narrow(row, 0)?,
        kind: narrow(row, 1)?,
        amount_fen: column(row, 2)?,
        balance_after_fen: column(row, 3)?,
        terminal: column(row, 4)?,
        at: column(row, 5)?,
        tac: column(row, 6)?,
    })
}

/// What is recorded in the place of a transaction, or in that of its twin.
async fn known_transaction(db: &Db<'_>, key: TransactionKey) -> Result<Option<CardTransaction>> {
    let sql = format!(
        "SELECT {} FROM transactions WHERE card = $1 AND counter = $2 AND kind IN ($3, $4) \
         ORDER BY kind <> $3 LIMIT 1",
        TRANSACTION_COLUMNS
    );
    let twin = key.kind.twin().unwrap_or(key.kind);
    let kinds = [key.kind, twin].map(|kind| i64::from(kind.to_byte()));
    let params = params![key.card.as_str(), i64::from(key.counter), kinds[0], kinds[1]];
    first(db, &sql, params, transaction_row).await?.map(|row| row.transaction(key.card)).transpose()
}

async fn record(db: &Db<'_>, transaction: &CardTransaction, books: &Books) -> Result<Recorded> {
    if let Some(known) = known_transaction(db, transaction.key).await? {
        return Ok(recorded_before(&known, transaction));
    }
    book(db, Step::recorded(transaction), books).await?;
    // After the guards of the books: a refused row of a file leaves nothing on the sheet.
    settlement::enter_transaction(db, transaction, books).await?;
    let tac = match transaction.proof {
        LoadProof::Tac(tac) => Some(tac.0.to_vec()),
        LoadProof::TacUnavailable => None,
    };
    let sql = format!(
        "INSERT INTO transactions (card, {}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        TRANSACTION_COLUMNS
    );
    run(
        db,
        &sql,
        params![
            transaction.key.card.as_str(),
            i64::from(transaction.key.counter),
            i64::from(transaction.key.kind.to_byte()),
            fen(transaction.amount)?,
            transaction.balance_after.map(fen).transpose()?,
            transaction.terminal.to_string(),
            nanoseconds(transaction.at),
            tac
        ],
    )
    .await?;
    Ok(Recorded::New)
}

async fn totals(db: &Db<'_>) -> Result<MoneyTotals> {
    // Pending and void transfers move nothing.
    let sql = "SELECT debit, credit, sum(amount_fen)::bigint FROM transfers WHERE kind IN ('single', 'post') GROUP BY debit, credit";
    let read = |row: &Row| Ok((column::<String>(row, 0)?, column::<String>(row, 1)?, column::<i64>(row, 2)?));
    let mut totals = MoneyTotals::default();
    for (debit, credit, sum) in all(db, sql, params![], read).await? {
        let sum = amount(sum)?;
        totals.add_sums(account_kind(&debit)?, sum, tsm_domain::Fen::ZERO);
        totals.add_sums(account_kind(&credit)?, tsm_domain::Fen::ZERO, sum);
    }
    Ok(totals)
}

#[async_trait]
impl ClearingStore for Postgres<ClearingTables> {
    async fn open_account(
        &self,
        card: CardNumber,
        se: SeId,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<AccountRow> {
        step!(self, db, {
            if let Some(known) = account_row(db, card).await? {
                return if known.account.state.carrier() == Some(se) {
                    Ok(known)
                } else {
                    Err(StorageError::conflict("card account", card))
                };
            }
            book(db, Step::opened(card, se, at), &books).await?;
            let row = AccountRow { card, account: CardAccount::opening(se), opened_at: at };
            put_account(db, &row).await?;
            Ok(row)
        })
    }

    async fn account(&self, card: CardNumber) -> Result<Option<AccountRow>> {
        single!(self, db, account_row(db, card).await)
    }

    async fn accounts(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<AccountRow>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM accounts WHERE card > $1 ORDER BY card LIMIT $2";
        single!(self, db, many(db, "card account", sql, params![after, limit(most)]).await)
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
            "SELECT body FROM accounts WHERE {stands_so} AND card > $1
             AND ($2::text IS NULL OR left(card, 8) = $2) ORDER BY card LIMIT $3"
        );
        single!(self, db, many(db, "card account", &sql, params![after, prefix, limit(most)]).await)
    }

    async fn apply_event(
        &self,
        card: CardNumber,
        event: CardAccountEvent,
        books: Books,
    ) -> Result<CardAccount> {
        step!(self, db, change_account(db, card, &books, &[AccountChange::Event(event)]).await)
    }

    async fn set_frozen(
        &self,
        card: CardNumber,
        reason: Option<String>,
        books: Books,
    ) -> Result<CardAccount> {
        let change = [AccountChange::frozen(reason)];
        step!(self, db, change_account(db, card, &books, &change).await)
    }

    async fn transfer(&self, books: Books) -> Result<()> {
        step!(self, db, book(db, Step::default(), &books).await)
    }

    async fn record_transaction(&self, transaction: CardTransaction, books: Books) -> Result<Recorded> {
        step!(self, db, record(db, &transaction, &books).await)
    }

    async fn transaction(&self, key: TransactionKey) -> Result<Option<CardTransaction>> {
        single!(self, db, known_transaction(db, key).await)
    }

    async fn transactions_of(&self, card: CardNumber, most: usize) -> Result<Vec<CardTransaction>> {
        single!(self, db, transactions_of(db, card, most).await)
    }

    async fn transfers_of(&self, card: CardNumber) -> Result<Vec<Transfer>> {
        let sql = format!("SELECT {TRANSFER_COLUMNS} FROM transfers WHERE card = $1 ORDER BY at, id");
        let rows = single!(self, db, all(db, &sql, params![card.as_str()], transfer_row).await)?;
        rows.iter().map(TransferRow::transfer).collect()
    }

    async fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance> {
        single!(self, db, balance(db, card, kind).await)
    }

    async fn totals(&self) -> Result<MoneyTotals> {
        single!(self, db, totals(db).await)
    }
}
