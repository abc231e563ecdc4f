//! What the books say of each card and of all of them, summed from the transfers, on SQLite.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use tsm_domain::money::MoneyTotals;
use tsm_domain::money::audit::CardSums;
use tsm_domain::{CardNumber, Fen};

use super::settlement::transaction_type;
use crate::clearing::AccountRow;
use crate::clearing::columns::account_kind;
use crate::clearing::settlement::CardPage;
use crate::error::Result;
use crate::sqlite::rows::{all, amount, from_text, limit, many};

pub(super) fn page(db: &Connection, after: Option<CardNumber>, most: usize) -> Result<CardPage> {
    let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
    let sql = "SELECT body FROM accounts WHERE card > ?1 ORDER BY card LIMIT ?2";
    let accounts: Vec<AccountRow> = many(db, "card account", sql, params![after, limit(most)])?;
    let next = if accounts.len() < most { None } else { accounts.last().map(|row| row.card) };
    // Card numbers are digits; a colon comes after all of them.
    let last = next.map_or_else(|| ":".to_owned(), |card| card.as_str().to_owned());
    let mut sums: BTreeMap<CardNumber, CardSums> = BTreeMap::new();
    for row in accounts {
        let sum = sums.entry(row.card).or_insert_with(|| CardSums::new(row.card));
        (sum.state, sum.is_frozen) = (Some(row.account.state), row.account.freeze.is_some());
    }
    let range = params![after, last];
    let sql = "SELECT card, debit, credit, sum(amount_fen) FROM transfers
        WHERE card > ?1 AND card <= ?2 AND kind IN ('single', 'post') GROUP BY card, debit, credit";
    let read = |row: &Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, i64>(3)?,
        ))
    };
    for (card, debit, credit, sum) in all(db, sql, range, read)? {
        let card = from_text("transfer", &card)?;
        let moved = (account_kind(&debit)?, account_kind(&credit)?, amount(sum)?);
        sums.entry(card).or_insert_with(|| CardSums::new(card)).moved.push(moved);
    }
    let sql = "SELECT card, account, posted_fen FROM balances WHERE card > ?1 AND card <= ?2";
    let read =
        |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
    for (card, account, posted) in all(db, sql, range, read)? {
        let card = from_text("balance", &card)?;
        let sum = sums.entry(card).or_insert_with(|| CardSums::new(card));
        sum.held.insert(account_kind(&account)?, amount(posted)?);
    }
    let sql = "SELECT card, kind, sum(amount_fen) FROM transactions WHERE card > ?1 AND card <= ?2 GROUP BY card, kind";
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u8>(1)?, row.get::<_, i64>(2)?));
    for (card, kind, proven) in all(db, sql, range, read)? {
        let card = from_text("transaction", &card)?;
        let sum = sums.entry(card).or_insert_with(|| CardSums::new(card));
        sum.transactions.insert(transaction_type(kind)?, amount(proven)?);
    }
    Ok(CardPage { cards: sums.into_values().collect(), next })
}

pub(super) fn totals(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<MoneyTotals> {
    let read =
        |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
    let mut totals = MoneyTotals::default();
    for (debit, credit, sum) in all(db, sql, values, read)? {
        let sum = amount(sum)?;
        totals.add_sums(account_kind(&debit)?, sum, Fen::ZERO);
        totals.add_sums(account_kind(&credit)?, Fen::ZERO, sum);
    }
    Ok(totals)
}
