//! The black and grey lists on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::money::{CardAccount, ListAction, ListChange, ListVersion};
use tsm_domain::{CardNumber, InstitutionId, ProposalId};

use super::{ClearingSchema, Sqlite, account_row, book};
use crate::clearing::lists::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::sqlite::rows::{body, first, limit, many, nanoseconds, one, run};

/// The tables.
pub(in crate::sqlite) const LISTS_2: &str = "
CREATE TABLE list_changes (
    version INTEGER PRIMARY KEY, card TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE listings (card TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE locks (
    card TEXT NOT NULL, terminal TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (card, terminal, number)
) WITHOUT ROWID;
CREATE TABLE list_proposals (
    id TEXT PRIMARY KEY, at INTEGER NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX list_proposals_open ON list_proposals (at, id) WHERE open = 1;
CREATE TABLE terminal_statuses (
    terminal TEXT PRIMARY KEY, institution TEXT NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX terminal_statuses_of ON terminal_statuses (institution, terminal);
";

/// Which word about the loss of a card was followed last.
pub(in crate::sqlite) const LOSSES_5: &str = "
CREATE TABLE losses_followed (card TEXT PRIMARY KEY, change INTEGER NOT NULL) WITHOUT ROWID;
";

fn loss_followed(db: &Connection, card: CardNumber) -> Result<Option<u64>> {
    let sql = "SELECT change FROM losses_followed WHERE card = ?1";
    let change = first(db, sql, [card.as_str()], |row| row.get::<_, i64>(0))?;
    change.map(u64::try_from).transpose().map_err(|error| StorageError::corrupt("loss", error))
}

fn version(db: &Connection) -> Result<ListVersion> {
    let sql = "SELECT max(version) FROM list_changes";
    let last = first(db, sql, [], |row| row.get::<_, Option<i64>>(0))?.flatten().unwrap_or(0);
    u64::try_from(last).map(ListVersion).map_err(|error| StorageError::corrupt("list version", error))
}

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| StorageError::corrupt("list version", error))
}

fn listing(db: &Connection, card: CardNumber) -> Result<Option<Listing>> {
    one(db, "listing", "SELECT body FROM listings WHERE card = ?1", [card.as_str()])
}

fn put_listing(db: &Connection, listing: &Listing) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO listings (card, body) VALUES (?1, ?2)";
    run(db, sql, params![listing.listed.card.as_str(), body(listing)?])?;
    Ok(())
}

/// Stores an edit of the list.
pub(super) fn put(db: &Connection, edit: &ListEdit) -> Result<()> {
    let change = &edit.change;
    let sql = "INSERT INTO list_changes (version, card, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![number(change.version.0)?, change.card.as_str(), body(change)?])?;
    match &edit.listing {
        Some(listing) => put_listing(db, listing),
        None => run(db, "DELETE FROM listings WHERE card = ?1", [change.card.as_str()]).map(drop),
    }
}

/// What freezing or releasing an account does to the list.
pub(super) fn frozen(
    db: &Connection,
    card: CardNumber,
    before: &CardAccount,
    after: &CardAccount,
    at: jiff::Timestamp,
) -> Result<Option<ListEdit>> {
    if before.freeze == after.freeze {
        return Ok(None);
    }
    let current = listing(db, card)?;
    let Some(action) = frozen_action(current.as_ref(), before, after) else { return Ok(None) };
    Ok(edit(card, current.as_ref(), action, version(db)?, at))
}

fn make(
    db: &Connection,
    card: CardNumber,
    action: ListAction,
    at: jiff::Timestamp,
    books: Books,
) -> Result<()> {
    let Some(edit) = edit(card, listing(db, card)?.as_ref(), action, version(db)?, at) else { return Ok(()) };
    let mut step = Step::default();
    step.listed(&edit, at);
    book(db, step, books)?;
    put(db, &edit)
}

/// Records a lock once.
pub(super) fn put_lock(db: &Connection, lock: &LockRow) -> Result<()> {
    let sql =
        "INSERT INTO locks (card, terminal, number, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let key = params![lock.card.as_str(), lock.terminal.to_string(), number(lock.number)?, body(lock)?];
    if run(db, sql, key)? == 0 {
        return Ok(());
    }
    match listing(db, lock.card)? {
        Some(listing) => put_listing(db, &locked(listing, lock)),
        None => Ok(()),
    }
}

fn proposal(db: &Connection, id: ProposalId) -> Result<Option<ProposalRow>> {
    one(db, "list proposal", "SELECT body FROM list_proposals WHERE id = ?1", [id.to_string()])
}

fn put_proposal(db: &Connection, row: &ProposalRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO list_proposals (id, at, open, body) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![row.id.to_string(), nanoseconds(row.at), row.decided.is_none(), body(row)?])?;
    Ok(())
}

#[async_trait]
impl Lists for Sqlite<ClearingSchema> {
    async fn list_version(&self) -> Result<ListVersion> {
        self.read(version)
    }

    async fn list_changes(&self, since: ListVersion, most: usize) -> Result<Vec<ListChange>> {
        let sql = "SELECT body FROM list_changes WHERE version > ?1 ORDER BY version LIMIT ?2";
        self.read(|db| many(db, "list change", sql, params![number(since.0)?, limit(most)]))
    }

    async fn listings(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<Listing>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM listings WHERE card > ?1 ORDER BY card LIMIT ?2";
        self.read(|db| many(db, "listing", sql, params![after, limit(most)]))
    }

    async fn listing(&self, card: CardNumber) -> Result<Option<Listing>> {
        self.read(|db| listing(db, card))
    }

    async fn edit_list(
        &self,
        card: CardNumber,
        action: ListAction,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<Option<Listing>> {
        self.write(move |db| {
            make(db, card, action, at, books)?;
            listing(db, card)
        })
        .await
    }

    async fn follow_loss(&self, word: LossWord, books: Books) -> Result<Option<Listing>> {
        self.write(move |db| {
            let card = word.card;
            if word.is_newer_than(loss_followed(db, card)?) {
                let row = account_row(db, card)?.ok_or_else(|| StorageError::unknown("account", card))?;
                if let Some(action) = word.action(listing(db, card)?.as_ref(), &row.account) {
                    make(db, card, action, word.at, books)?;
                }
                let sql = "INSERT OR REPLACE INTO losses_followed (card, change) VALUES (?1, ?2)";
                run(db, sql, params![card.as_str(), number(word.change)?])?;
            }
            listing(db, card)
        })
        .await
    }

    async fn record_lock(&self, lock: LockRow) -> Result<Option<Listing>> {
        self.write(move |db| {
            put_lock(db, &lock)?;
            listing(db, lock.card)
        })
        .await
    }

    async fn propose(&self, new: ProposalRow) -> Result<ProposalRow> {
        self.write(move |db| match proposal(db, new.id)? {
            Some(stored) => same_proposal(stored, &new),
            None => put_proposal(db, &new).map(|()| new),
        })
        .await
    }

    async fn decide(&self, id: ProposalId, by: ProposalDecided, books: Books) -> Result<ProposalRow> {
        self.write(move |db| {
            let stored = proposal(db, id)?.ok_or_else(|| StorageError::unknown("list proposal", id))?;
            let at = by.at;
            let (row, action) = decided(stored, by)?;
            if let Some(action) = action {
                make(db, row.card, action, at, books)?;
            }
            put_proposal(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn proposals(&self, most: usize) -> Result<Vec<ProposalRow>> {
        let sql = "SELECT body FROM list_proposals WHERE open = 1 ORDER BY at, id LIMIT ?1";
        self.read(|db| many(db, "list proposal", sql, [limit(most)]))
    }

    async fn proposal(&self, id: ProposalId) -> Result<Option<ProposalRow>> {
        self.read(|db| proposal(db, id))
    }

    async fn put_terminal_status(&self, status: TerminalStatusRow) -> Result<()> {
        self.write(move |db| {
            let terminal = status.terminal.to_string();
            let sql = "SELECT body FROM terminal_statuses WHERE terminal = ?1";
            let known: Option<TerminalStatusRow> = one(db, "terminal status", sql, [&terminal])?;
            let Some(status) = status.after(known.as_ref()) else { return Ok(()) };
            let sql =
                "INSERT OR REPLACE INTO terminal_statuses (terminal, institution, body) VALUES (?1, ?2, ?3)";
            run(db, sql, params![terminal, status.institution.as_str(), body(&status)?])?;
            Ok(())
        })
        .await
    }

    async fn terminal_statuses(&self, institution: &InstitutionId) -> Result<Vec<TerminalStatusRow>> {
        let sql = "SELECT body FROM terminal_statuses WHERE institution = ?1 ORDER BY terminal";
        self.read(|db| many(db, "terminal status", sql, [institution.as_str()]))
    }
}
