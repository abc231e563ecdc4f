//! The black and grey lists on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::money::{CardAccount, ListAction, ListChange, ListVersion};
use tsm_domain::{CardNumber, InstitutionId, ProposalId};

use super::{ClearingTables, Postgres, account_row, book};
use crate::clearing::lists::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, column, first, limit, many, nanoseconds, one, params, run};

/// The tables.
pub(in crate::postgres) const LISTS_2: &str = r#"
CREATE TABLE list_changes (version BIGINT PRIMARY KEY, card TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL);
CREATE TABLE listings (card TEXT COLLATE "C" PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE locks (
    card TEXT COLLATE "C" NOT NULL, terminal TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (card, terminal, number)
);
CREATE TABLE list_proposals (
    id TEXT COLLATE "C" PRIMARY KEY, at BIGINT NOT NULL, open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX list_proposals_open ON list_proposals (at, id) WHERE open;
CREATE TABLE terminal_statuses (
    terminal TEXT COLLATE "C" PRIMARY KEY, institution TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL
);
CREATE INDEX terminal_statuses_of ON terminal_statuses (institution, terminal);
"#;

/// Which word about the loss of a card was followed last.
pub(in crate::postgres) const LOSSES_5: &str = r#"
CREATE TABLE losses_followed (card TEXT COLLATE "C" PRIMARY KEY, change BIGINT NOT NULL);
"#;

async fn loss_followed(db: &Db<'_>, card: CardNumber) -> Result<Option<u64>> {
    let sql = "SELECT change FROM losses_followed WHERE card = $1";
    let change = first(db, sql, params![card.as_str()], |row| column::<i64>(row, 0)).await?;
    change.map(u64::try_from).transpose().map_err(|error| StorageError::corrupt("loss", error))
}

async fn version(db: &Db<'_>) -> Result<ListVersion> {
    let sql = "SELECT max(version) FROM list_changes";
    let last = first(db, sql, params![], |row| column::<Option<i64>>(row, 0)).await?.flatten().unwrap_or(0);
    u64::try_from(last).map(ListVersion).map_err(|error| StorageError::corrupt("list version", error))
}

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| StorageError::corrupt("list version", error))
}

async fn listing(db: &Db<'_>, card: CardNumber) -> Result<Option<Listing>> {
    one(db, "listing", "SELECT body FROM listings WHERE card = $1", params![card.as_str()]).await
}

async fn put_listing(db: &Db<'_>, listing: &Listing) -> Result<()> {
    let sql = "INSERT INTO listings (card, body) VALUES ($1, $2)
         ON CONFLICT (card) DO UPDATE SET body = excluded.body";
    run(db, sql, params![listing.listed.card.as_str(), body(listing)?]).await?;
    Ok(())
}

/// Stores an edit of the list.
pub(super) async fn put(db: &Db<'_>, edit: &ListEdit) -> Result<()> {
    let change = &edit.change;
    let sql = "INSERT INTO list_changes (version, card, body) VALUES ($1, $2, $3)";
    run(db, sql, params![number(change.version.0)?, change.card.as_str(), body(change)?]).await?;
    match &edit.listing {
        Some(listing) => put_listing(db, listing).await,
        None => {
            run(db, "DELETE FROM listings WHERE card = $1", params![change.card.as_str()]).await.map(drop)
        }
    }
}

/// What freezing or releasing an account does to the list.
pub(super) async fn frozen(
    db: &Db<'_>,
    card: CardNumber,
    before: &CardAccount,
    after: &CardAccount,
    at: jiff::Timestamp,
) -> Result<Option<ListEdit>> {
    if before.freeze == after.freeze {
        return Ok(None);
    }
    let current = listing(db, card).await?;
    let Some(action) = frozen_action(current.as_ref(), before, after) else { return Ok(None) };
    Ok(edit(card, current.as_ref(), action, version(db).await?, at))
}

async fn make(
    db: &Db<'_>,
    card: CardNumber,
    action: ListAction,
    at: jiff::Timestamp,
    books: &Books,
) -> Result<()> {
    let Some(edit) = edit(card, listing(db, card).await?.as_ref(), action, version(db).await?, at) else {
        return Ok(());
    };
    let mut step = Step::default();
    step.listed(&edit, at);
    book(db, step, books).await?;
    put(db, &edit).await
}

/// Records a lock once.
pub(super) async fn put_lock(db: &Db<'_>, lock: &LockRow) -> Result<()> {
    let sql =
        "INSERT INTO locks (card, terminal, number, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let key = params![lock.card.as_str(), lock.terminal.to_string(), number(lock.number)?, body(lock)?];
    if run(db, sql, key).await? == 0 {
        return Ok(());
    }
    match listing(db, lock.card).await? {
        Some(listing) => put_listing(db, &locked(listing, lock)).await,
        None => Ok(()),
    }
}

async fn proposal(db: &Db<'_>, id: ProposalId) -> Result<Option<ProposalRow>> {
    one(db, "list proposal", "SELECT body FROM list_proposals WHERE id = $1", params![id.to_string()]).await
}

async fn put_proposal(db: &Db<'_>, row: &ProposalRow) -> Result<()> {
    let sql = "INSERT INTO list_proposals (id, at, open, body) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET open = excluded.open, body = excluded.body";
    run(db, sql, params![row.id.to_string(), nanoseconds(row.at), row.decided.is_none(), body(row)?]).await?;
    Ok(())
}

#[async_trait]
impl Lists for Postgres<ClearingTables> {
    async fn list_version(&self) -> Result<ListVersion> {
        single!(self, db, version(db).await)
    }

    async fn list_changes(&self, since: ListVersion, most: usize) -> Result<Vec<ListChange>> {
        let sql = "SELECT body FROM list_changes WHERE version > $1 ORDER BY version LIMIT $2";
        single!(self, db, many(db, "list change", sql, params![number(since.0)?, limit(most)]).await)
    }

    async fn listings(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<Listing>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM listings WHERE card > $1 ORDER BY card LIMIT $2";
        single!(self, db, many(db, "listing", sql, params![after, limit(most)]).await)
    }

    async fn listing(&self, card: CardNumber) -> Result<Option<Listing>> {
        single!(self, db, listing(db, card).await)
    }

    async fn edit_list(
        &self,
        card: CardNumber,
        action: ListAction,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<Option<Listing>> {
        step!(self, db, {
            make(db, card, action, at, &books).await?;
            listing(db, card).await
        })
    }

    async fn follow_loss(&self, word: LossWord, books: Books) -> Result<Option<Listing>> {
        step!(self, db, {
            let card = word.card;
            if word.is_newer_than(loss_followed(db, card).await?) {
                let row = account_row(db, card).await?;
                let row = row.ok_or_else(|| StorageError::unknown("account", card))?;
                if let Some(action) = word.action(listing(db, card).await?.as_ref(), &row.account) {
                    make(db, card, action, word.at, &books).await?;
                }
                let sql = "INSERT INTO losses_followed (card, change) VALUES ($1, $2)
         ON CONFLICT (card) DO UPDATE SET change = excluded.change";
                run(db, sql, params![card.as_str(), number(word.change)?]).await?;
            }
            listing(db, card).await
        })
    }

    async fn record_lock(&self, lock: LockRow) -> Result<Option<Listing>> {
        step!(self, db, {
            put_lock(db, &lock).await?;
            listing(db, lock.card).await
        })
    }

    async fn propose(&self, new: ProposalRow) -> Result<ProposalRow> {
        step!(
            self,
            db,
            match proposal(db, new.id).await? {
                Some(stored) => same_proposal(stored, &new),
                None => put_proposal(db, &new).await.map(|()| new.clone()),
            }
        )
    }

    async fn decide(&self, id: ProposalId, by: ProposalDecided, books: Books) -> Result<ProposalRow> {
        step!(self, db, {
            let stored = proposal(db, id).await?.ok_or_else(|| StorageError::unknown("list proposal", id))?;
            let at = by.at;
            let (row, action) = decided(stored, by.clone())?;
            if let Some(action) = action {
                make(db, row.card, action, at, &books).await?;
            }
            put_proposal(db, &row).await?;
            Ok(row)
        })
    }

    async fn proposals(&self, most: usize) -> Result<Vec<ProposalRow>> {
        let sql = "SELECT body FROM list_proposals WHERE open ORDER BY at, id LIMIT $1";
        single!(self, db, many(db, "list proposal", sql, params![limit(most)]).await)
    }

    async fn proposal(&self, id: ProposalId) -> Result<Option<ProposalRow>> {
        single!(self, db, proposal(db, id).await)
    }

    async fn put_terminal_status(&self, status: TerminalStatusRow) -> Result<()> {
        step!(self, db, {
            let terminal = status.terminal.to_string();
            let sql = "SELECT body FROM terminal_statuses WHERE terminal = $1";
            let known: Option<TerminalStatusRow> =
                one(db, "terminal status", sql, params![&terminal]).await?;
            let Some(status) = status.clone().after(known.as_ref()) else { return Ok(()) };
            let sql = "INSERT INTO terminal_statuses (terminal, institution, body) VALUES ($1, $2, $3)
         ON CONFLICT (terminal) DO UPDATE SET institution = excluded.institution, body = excluded.body";
            run(db, sql, params![terminal, status.institution.as_str(), body(&status)?]).await?;
            Ok(())
        })
    }

    async fn terminal_statuses(&self, institution: &InstitutionId) -> Result<Vec<TerminalStatusRow>> {
        let sql = "SELECT body FROM terminal_statuses WHERE institution = $1 ORDER BY terminal";
        single!(self, db, many(db, "terminal status", sql, params![institution.as_str()]).await)
    }
}
