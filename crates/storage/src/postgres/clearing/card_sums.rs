//! What the books say of each card and of all of them, summed from the transfers, on PostgreSQL.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tsm_domain::money::MoneyTotals;
use tsm_domain::money::audit::CardSums;
use tsm_domain::{CardNumber, Fen};

use super::settlement::{text, transaction_type};
use crate::clearing::AccountRow;
use crate::clearing::columns::account_kind;
use crate::clearing::settlement::CardPage;
use crate::error::Result;
use crate::postgres::database::Db;
use crate::postgres::rows::{Params, all, amount, column, limit, many, narrow, params};

pub(super) async fn page(db: &Db<'_>, after: Option<CardNumber>, most: usize) -> Result<CardPage> {
    let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
    let sql = "SELECT body FROM accounts WHERE card > $1 ORDER BY card LIMIT $2";
    let accounts: Vec<AccountRow> = many(db, "card account", sql, params![after, limit(most)]).await?;
    let next = if accounts.len() < most { None } else { accounts.last().map(|row| row.card) };
    // Card numbers are digits; a colon comes after all of them.
    let last = next.map_or_else(|| ":".to_owned(), |card| card.as_str().to_owned());
    let mut sums: BTreeMap<CardNumber, CardSums> = BTreeMap::new();
    for row in accounts {
        let sum = sums.entry(row.card).or_insert_with(|| CardSums::new(row.card));
        (sum.state, sum.is_frozen) = (Some(row.account.state), row.account.freeze.is_some());
    }
    let sql = "SELECT card, debit, credit, sum(amount_fen)::bigint FROM transfers
        WHERE card > $1 AND card <= $2 AND kind IN ('single', 'post') GROUP BY card, debit, credit";
    let moved = |row: &Row| {
        let kind = |index| account_kind(column(row, index)?);
        Ok((text(row, 0)?, kind(1)?, kind(2)?, amount(column(row, 3)?)?))
    };
    for (card, debit, credit, sum) in all(db, sql, params![after, last], moved).await? {
        sums.entry(card).or_insert_with(|| CardSums::new(card)).moved.push((debit, credit, sum));
    }
    let sql = "SELECT card, account, posted_fen FROM balances WHERE card > $1 AND card <= $2";
    let held = |row: &Row| Ok((text(row, 0)?, account_kind(column(row, 1)?)?, amount(column(row, 2)?)?));
    for (card, account, posted) in all(db, sql, params![after, last], held).await? {
        sums.entry(card).or_insert_with(|| CardSums::new(card)).held.insert(account, posted);
    }
    let sql = "SELECT card, kind, sum(amount_fen)::bigint FROM transactions
        WHERE card > $1 AND card <= $2 GROUP BY card, kind";
    let proven =
        |row: &Row| Ok((text(row, 0)?, transaction_type(narrow(row, 1)?)?, amount(column(row, 2)?)?));
    for (card, kind, sum) in all(db, sql, params![after, last], proven).await? {
        sums.entry(card).or_insert_with(|| CardSums::new(card)).transactions.insert(kind, sum);
    }
    Ok(CardPage { cards: sums.into_values().collect(), next })
}

pub(super) async fn totals(db: &Db<'_>, sql: &str, values: Params<'_>) -> Result<MoneyTotals> {
    let read = |row: &Row| {
        let kind = |index| account_kind(column(row, index)?);
        Ok((kind(0)?, kind(1)?, amount(column(row, 2)?)?))
    };
    let mut totals = MoneyTotals::default();
    for (debit, credit, sum) in all(db, sql, values, read).await? {
        totals.add_sums(debit, sum, Fen::ZERO);
        totals.add_sums(credit, Fen::ZERO, sum);
    }
    Ok(totals)
}
