//! The collection of terminal transactions on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::money::ledger::LedgerView as _;
use tsm_domain::money::{AccountKind, Numbering};
use tsm_domain::{AsideId, CardNumber, InstitutionId};

use super::lists::put_lock;
use super::{ClearingSchema, Sqlite, View, book, change_account, record};
use crate::clearing::collection::*;
use crate::clearing::columns::place_of;
use crate::clearing::{AccountChange, Books, Step};
use crate::error::{Result, StorageError};
use crate::sqlite::rows::{all, body, limit, many, nanoseconds, one, parse, run};

/// The tables.
pub(in crate::sqlite) const COLLECTION_2: &str = "
CREATE TABLE files (
    institution TEXT NOT NULL, name TEXT NOT NULL, stage TEXT NOT NULL, begun_at INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (institution, name)
) WITHOUT ROWID;
CREATE INDEX files_to_take ON files (begun_at, institution, name) WHERE stage = 'received';
CREATE TABLE file_parts (
    institution TEXT NOT NULL, name TEXT NOT NULL, start INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (institution, name, start)
);
CREATE TABLE file_outcomes (
    institution TEXT NOT NULL, name TEXT NOT NULL, start INTEGER NOT NULL, letters TEXT NOT NULL,
    PRIMARY KEY (institution, name, start)
) WITHOUT ROWID;
CREATE TABLE aside (
    id TEXT PRIMARY KEY, institution TEXT NOT NULL, at INTEGER NOT NULL, open INTEGER NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX aside_open ON aside (at, id) WHERE open = 1;
CREATE TABLE numberings (
    counted TEXT PRIMARY KEY, whole INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX numberings_with_gaps ON numberings (counted) WHERE whole = 0;
CREATE TABLE doubts (card TEXT PRIMARY KEY, since INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX doubts_by_time ON doubts (since, card);
";

/// The rows that were kept aside, by card.
pub(in crate::sqlite) const ASIDE_3: &str = "
ALTER TABLE aside ADD COLUMN card TEXT;
UPDATE aside SET card = json_extract(body, '$.reported.card');
CREATE INDEX aside_of_card ON aside (card, at, id) WHERE card IS NOT NULL;
";

/// The files that have not ended.
pub(in crate::sqlite) const FILES_6: &str = "
CREATE INDEX files_unfinished ON files (begun_at, institution, name) WHERE stage = 'receiving';
";

fn find_file(db: &Connection, key: &FileKey) -> Result<Option<FileRow>> {
    let sql = "SELECT body FROM files WHERE institution = ?1 AND name = ?2";
    one(db, "file", sql, params![key.institution.as_str(), key.name])
}

fn known_file(db: &Connection, key: &FileKey) -> Result<FileRow> {
    find_file(db, key)?.ok_or_else(|| StorageError::unknown("file", &key.name))
}

fn put_file(db: &Connection, row: &FileRow) -> Result<()> {
    let sql =
        "INSERT OR REPLACE INTO files (institution, name, stage, begun_at, body) VALUES (?1, ?2, ?3, ?4, ?5)";
    let key = &row.key;
    let at = nanoseconds(row.begun_at);
    run(db, sql, params![key.institution.as_str(), key.name, row.stage.name(), at, body(row)?])?;
    Ok(())
}

fn put_part(db: &Connection, key: &FileKey, start: u64, content: &[u8]) -> Result<()> {
    let sql = "INSERT INTO file_parts (institution, name, start, content) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![key.institution.as_str(), key.name, position(start)?, content])?;
    Ok(())
}

fn forget_parts(db: &Connection, key: &FileKey) -> Result<()> {
    let sql = "DELETE FROM file_parts WHERE institution = ?1 AND name = ?2";
    run(db, sql, params![key.institution.as_str(), key.name]).map(drop)
}

fn position(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| StorageError::corrupt("position", error))
}

fn numbering(db: &Connection, of: Counted) -> Result<Numbering> {
    let sql = "SELECT body FROM numberings WHERE counted = ?1";
    Ok(one(db, "numbering", sql, [of.key()])?.unwrap_or_default())
}

fn put_numbering(db: &Connection, of: Counted, numbering: &Numbering) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO numberings (counted, whole, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![of.key(), numbering.is_whole(), body(numbering)?])?;
    Ok(())
}

fn aside(db: &Connection, id: AsideId) -> Result<Option<AsideRow>> {
    one(db, "row kept aside", "SELECT body FROM aside WHERE id = ?1", [id.to_string()])
}

fn put_aside(db: &Connection, row: &AsideRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO aside (id, institution, at, open, card, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (reported, at) = (&row.reported, nanoseconds(row.reported.at));
    let (institution, id) = (reported.institution.as_str(), reported.id.to_string());
    let card = reported.card.as_ref().map(CardNumber::as_str);
    run(db, sql, params![id, institution, at, row.closed.is_none(), card, body(row)?])?;
    Ok(())
}

/// Deals with a row that was kept aside, unless that was done.
pub(super) fn close(db: &Connection, id: AsideId, closed: AsideClosed) -> Result<()> {
    match aside(db, id)?.filter(|row| row.closed.is_none()) {
        Some(row) => put_aside(db, &row.closed_by(closed)),
        None => Ok(()),
    }
}

fn doubt(db: &Connection, card: CardNumber) -> Result<Option<DoubtRow>> {
    one(db, "doubt", "SELECT body FROM doubts WHERE card = ?1", [card.as_str()])
}

fn take_rows(db: &Connection, step: &TakeStep) -> Result<Vec<RowOutcome>> {
    let file = match &step.file {
        Some((key, before)) => Some(advanced(known_file(db, key)?, *before, step.rows.len() as u64)?),
        None => None,
    };
    let mut taking = Taking::default();
    for counted in Taking::counted(step) {
        taking.numberings.insert(counted, numbering(db, counted)?);
    }
    for row in &step.rows {
        taking.came(row);
        match &row.judged {
            Judged::Purchase { transaction, transfer, note } => {
                let recorded = record(db, transaction, books_of(transfer.as_ref(), note));
                let ended = match Purchased::of(recorded)? {
                    Ok(recorded) => {
                        let purse = View(db).balance(transaction.key.card, AccountKind::Purse)?;
                        Purchased::Recorded(recorded, purse.posted)
                    }
                    Err(refusal) => Purchased::Refused(refusal),
                };
                taking.purchased(row, transaction, ended);
            }
            Judged::Lock(lock) => {
                put_lock(db, lock)?;
                taking.locked(row);
            }
            Judged::Aside { reason, transaction } => taking.keep(row, *reason, transaction.as_ref()),
        }
    }
    finish(db, taking, file.map(|file| (file, step)))
}

fn finish(db: &Connection, taking: Taking, file: Option<(FileRow, &TakeStep)>) -> Result<Vec<RowOutcome>> {
    for (counted, numbering) in taking.changed() {
        put_numbering(db, counted, numbering)?;
    }
    if let Some((file, step)) = file {
        let sql = "INSERT INTO file_outcomes (institution, name, start, letters) VALUES (?1, ?2, ?3, ?4)";
        let start = position(step.file.as_ref().map_or(0, |(_, before)| *before))?;
        run(db, sql, params![file.key.institution.as_str(), file.key.name, start, taking.letters()])?;
        put_file(db, &file)?;
    }
    for (row, note) in taking.aside {
        if aside(db, row.reported.id)?.is_none() {
            book(db, Step::default(), Books { notes: note.into_iter().collect(), ..Books::default() })?;
            put_aside(db, &row)?;
        }
    }
    for (id, at) in taking.healed {
        if let Some(row) = aside(db, id)?.filter(|row| row.closed.is_none()) {
            put_aside(db, &row.closed_by(AsideClosed { at, how: "taken".into() }))?;
        }
    }
    for new in taking.doubts {
        let row = graver(doubt(db, new.card)?, new);
        let sql = "INSERT OR REPLACE INTO doubts (card, since, body) VALUES (?1, ?2, ?3)";
        run(db, sql, params![row.card.as_str(), nanoseconds(row.since), body(&row)?])?;
    }
    Ok(taking.outcomes)
}

#[async_trait]
impl Collection for Sqlite<ClearingSchema> {
    async fn begin_file(&self, file: FileRow, upload: Option<FileKey>) -> Result<FileBegun> {
        self.write(move |db| {
            let Some(stored) = find_file(db, &file.key)? else {
                return put_file(db, &file).map(|()| FileBegun::Here(file));
            };
            let needed = match upload {
                Some(key) => Needed::by(find_file(db, &key)?),
                None => Needed::AsItIs,
            };
            match begun(stored, file, needed)? {
                Begun::Known(row) => Ok(FileBegun::Here(row)),
                Begun::Anew(row) => {
                    forget_parts(db, &row.key)?;
                    put_file(db, &row).map(|()| FileBegun::Here(row))
                }
                Begun::Busy => Ok(FileBegun::Busy),
            }
        })
        .await
    }

    async fn append_file(&self, file: &FileRow, part: FilePart) -> Result<FileRow> {
        let file = file.clone();
        self.write(move |db| {
            let row = same_file(known_file(db, &file.key)?, &file)?;
            let Some(next) = appended(&row, &part) else { return Ok(row) };
            put_part(db, &file.key, part.offset, &part.bytes)?;
            put_file(db, &next)?;
            Ok(next)
        })
        .await
    }

    async fn restart_file(&self, file: &FileRow) -> Result<FileRow> {
        let file = file.clone();
        self.write(move |db| {
            let row = restarted(same_file(known_file(db, &file.key)?, &file)?)?;
            forget_parts(db, &file.key)?;
            put_file(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn move_file(&self, file: &FileRow, stage: FileStage, rows: u64) -> Result<FileRow> {
        let file = file.clone();
        self.write(move |db| {
            let row = moved(same_file(known_file(db, &file.key)?, &file)?, stage, rows)?;
            put_file(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn record_file(&self, file: FileRow, content: Vec<u8>) -> Result<FileRow> {
        self.write(move |db| {
            if let Some(stored) = find_file(db, &file.key)? {
                return same_file(stored, &file);
            }
            if let Some(batch) = file.batch {
                let counted = Counted::Batches(batch.terminal);
                let mut known = numbering(db, counted)?;
                known.take(batch.sequence, file.begun_at);
                put_numbering(db, counted, &known)?;
            }
            put_part(db, &file.key, 0, &content)?;
            put_file(db, &file)?;
            Ok(file)
        })
        .await
    }

    async fn file(&self, key: FileKey) -> Result<Option<FileRow>> {
        self.read(|db| find_file(db, &key))
    }

    async fn file_bytes(&self, key: FileKey, from: u64, length: usize) -> Result<Vec<u8>> {
        let (from, to) = (position(from)?, position(from.saturating_add(length as u64))?);
        // The part in which the bytes begin may begin before them.
        let sql = "SELECT start, content FROM file_parts WHERE institution = ?1 AND name = ?2 AND start < ?4
             AND start >= coalesce((SELECT max(start) FROM file_parts WHERE institution = ?1 AND name = ?2 AND start <= ?3), 0)
             ORDER BY start";
        let parts = self.read(|db| {
            let params = params![key.institution.as_str(), key.name, from, to];
            all(db, sql, params, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        })?;
        Ok(piece(parts, from, to))
    }

    async fn unfinished_files(&self, most: usize) -> Result<Vec<FileRow>> {
        let sql =
            "SELECT body FROM files WHERE stage = 'receiving' ORDER BY begun_at, institution, name LIMIT ?1";
        self.read(|db| many(db, "file", sql, [limit(most)]))
    }

    async fn files_to_take(&self, most: usize) -> Result<Vec<FileRow>> {
        let sql =
            "SELECT body FROM files WHERE stage = 'received' ORDER BY begun_at, institution, name LIMIT ?1";
        self.read(|db| many(db, "file", sql, [limit(most)]))
    }

    async fn files_of(&self, institution: &InstitutionId, after: &str, most: usize) -> Result<Vec<FileRow>> {
        let sql = "SELECT body FROM files WHERE institution = ?1 AND name > ?2 ORDER BY name LIMIT ?3";
        self.read(|db| many(db, "file", sql, params![institution.as_str(), after, limit(most)]))
    }

    async fn take_rows(&self, step: TakeStep) -> Result<Vec<RowOutcome>> {
        self.write(move |db| take_rows(db, &step)).await
    }

    async fn outcomes(&self, key: FileKey) -> Result<Vec<RowOutcome>> {
        let sql = "SELECT letters FROM file_outcomes WHERE institution = ?1 AND name = ?2 ORDER BY start";
        let params = params![key.institution.as_str(), key.name];
        let letters = self.read(|db| all(db, sql, params, |row| row.get::<_, String>(0)))?;
        RowOutcome::from_letters(&letters.concat())
    }

    async fn waiting_aside(&self, after: Option<AsidePlace>, most: usize) -> Result<Vec<AsideRow>> {
        let at = after.map_or(i64::MIN, |after| nanoseconds(after.at));
        let id = after.map(|after| after.id.to_string()).unwrap_or_default();
        let sql = "SELECT body FROM aside WHERE open = 1 AND (at, id) > (?1, ?2)
             AND body ->> '$.reason' IN (SELECT value FROM json_each(?3)) ORDER BY at, id LIMIT ?4";
        let reasons = serde_json::json!(AsideReason::WAITING).to_string();
        self.read(|db| many(db, "row kept aside", sql, params![at, id, reasons, limit(most)]))
    }

    async fn kept_aside(
        &self,
        institution: Option<&InstitutionId>,
        after: Option<AsidePlace>,
        most: usize,
    ) -> Result<Vec<AsideRow>> {
        let at = after.map_or(i64::MIN, |after| nanoseconds(after.at));
        let id = after.map(|after| after.id.to_string()).unwrap_or_default();
        let institution = institution.map(InstitutionId::as_str);
        let sql = "SELECT body FROM aside WHERE open = 1 AND (at, id) > (?1, ?2)
             AND (?3 IS NULL OR institution = ?3) ORDER BY at, id LIMIT ?4";
        self.read(|db| many(db, "row kept aside", sql, params![at, id, institution, limit(most)]))
    }

    async fn aside_of(&self, card: CardNumber, most: usize) -> Result<Vec<AsideRow>> {
        let sql = "SELECT body FROM aside WHERE card = ?1 ORDER BY at, id LIMIT ?2";
        self.read(|db| many(db, "row kept aside", sql, params![card.as_str(), limit(most)]))
    }

    async fn aside(&self, id: AsideId) -> Result<Option<AsideRow>> {
        self.read(|db| aside(db, id))
    }

    async fn close_aside(&self, id: AsideId, closed: AsideClosed, books: Books) -> Result<AsideRow> {
        self.write(move |db| {
            let known = aside(db, id)?.ok_or_else(|| StorageError::unknown("row kept aside", id))?;
            if known.closed.is_some() {
                return Ok(known);
            }
            book(db, Step::default(), books)?;
            let row = known.closed_by(closed);
            put_aside(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn numbering(&self, of: Counted) -> Result<Numbering> {
        self.read(|db| numbering(db, of))
    }

    async fn expect_number(&self, of: Counted, number: u64, at: jiff::Timestamp) -> Result<()> {
        self.write(move |db| {
            let mut known = numbering(db, of)?;
            known.expect(number, at);
            put_numbering(db, of, &known)
        })
        .await
    }

    async fn gaps(&self, after: Option<Counted>, most: usize) -> Result<Vec<(Counted, Numbering)>> {
        let after = after.map(Counted::key).unwrap_or_default();
        let sql =
            "SELECT counted, body FROM numberings WHERE whole = 0 AND counted > ?1 ORDER BY counted LIMIT ?2";
        let rows = self.read(|db| {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            all(db, sql, params![after, limit(most)], read)
        })?;
        rows.iter().map(|(key, text)| Ok((Counted::from_key(key)?, parse("numbering", text)?))).collect()
    }

    async fn doubts(&self, after: Option<DoubtRow>, most: usize) -> Result<Vec<DoubtRow>> {
        let (since, card) = place_of(after.as_ref());
        self.read(|db| {
            let sql = "SELECT body FROM doubts WHERE (since, card) > (?1, ?2) ORDER BY since, card LIMIT ?3";
            many(db, "doubt", sql, params![since, card, limit(most)])
        })
    }

    async fn settle_doubt(&self, settled: DoubtRow, freeze: Option<String>, books: Books) -> Result<()> {
        self.write(move |db| {
            if doubt(db, settled.card)? != Some(settled) {
                return Ok(());
            }
            match freeze {
                Some(reason) => {
                    change_account(db, settled.card, books, &[AccountChange::Frozen(reason)])?;
                }
                None => book(db, Step::default(), books)?,
            }
            run(db, "DELETE FROM doubts WHERE card = ?1", [settled.card.as_str()])?;
            Ok(())
        })
        .await
    }
}
