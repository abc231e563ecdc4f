//! The collection of terminal transactions on PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tsm_domain::money::{AccountKind, Numbering};
use tsm_domain::{AsideId, CardNumber, InstitutionId};

use super::lists::put_lock;
use super::{ClearingTables, Postgres, balance, book, change_account, record};
use crate::clearing::collection::*;
use crate::clearing::columns::place_of;
use crate::clearing::{AccountChange, Books, Step};
use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{all, body, column, limit, many, nanoseconds, one, params, parse, run};

/// The tables.
pub(in crate::postgres) const COLLECTION_2: &str = r#"
CREATE TABLE files (
    institution TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, stage TEXT COLLATE "C" NOT NULL,
    begun_at BIGINT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (institution, name)
);
CREATE INDEX files_to_take ON files (begun_at, institution, name) WHERE stage = 'received';
CREATE TABLE file_parts (
    institution TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, start BIGINT NOT NULL,
    content BYTEA NOT NULL, PRIMARY KEY (institution, name, start)
);
CREATE TABLE file_outcomes (
    institution TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL, start BIGINT NOT NULL,
    letters TEXT NOT NULL, PRIMARY KEY (institution, name, start)
);
CREATE TABLE aside (
    id TEXT COLLATE "C" PRIMARY KEY, institution TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
    open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX aside_open ON aside (at, id) WHERE open;
CREATE TABLE numberings (
    counted TEXT COLLATE "C" PRIMARY KEY, whole BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE INDEX numberings_with_gaps ON numberings (counted) WHERE NOT whole;
CREATE TABLE doubts (card TEXT COLLATE "C" PRIMARY KEY, since BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX doubts_by_time ON doubts (since, card);
"#;

/// The rows that were kept aside, by card.
pub(in crate::postgres) const ASIDE_3: &str = r#"
ALTER TABLE aside ADD COLUMN card TEXT COLLATE "C";
UPDATE aside SET card = body::json -> 'reported' ->> 'card';
CREATE INDEX aside_of_card ON aside (card, at, id) WHERE card IS NOT NULL;
"#;

/// The files that have not ended.
pub(in crate::postgres) const FILES_6: &str = r#"
CREATE INDEX files_unfinished ON files (begun_at, institution, name) WHERE stage = 'receiving';
"#;

async fn find_file(db: &Db<'_>, key: &FileKey) -> Result<Option<FileRow>> {
    let sql = "SELECT body FROM files WHERE institution = $1 AND name = $2";
    one(db, "file", sql, params![key.institution.as_str(), key.name]).await
}

async fn known_file(db: &Db<'_>, key: &FileKey) -> Result<FileRow> {
    find_file(db, key).await?.ok_or_else(|| StorageError::unknown("file", &key.name))
}

async fn put_file(db: &Db<'_>, row: &FileRow) -> Result<()> {
    let sql = "INSERT INTO files (institution, name, stage, begun_at, body) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (institution, name) DO UPDATE SET stage = excluded.stage, begun_at = excluded.begun_at,
             body = excluded.body";
    let key = &row.key;
    let at = nanoseconds(row.begun_at);
    run(db, sql, params![key.institution.as_str(), key.name, row.stage.name(), at, body(row)?]).await?;
    Ok(())
}

async fn put_part(db: &Db<'_>, key: &FileKey, start: u64, content: &[u8]) -> Result<()> {
    let sql = "INSERT INTO file_parts (institution, name, start, content) VALUES ($1, $2, $3, $4)";
    run(db, sql, params![key.institution.as_str(), key.name, position(start)?, content]).await?;
    Ok(())
}

async fn forget_parts(db: &Db<'_>, key: &FileKey) -> Result<()> {
    let sql = "DELETE FROM file_parts WHERE institution = $1 AND name = $2";
    run(db, sql, params![key.institution.as_str(), key.name]).await.map(drop)
}

fn position(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|error| StorageError::corrupt("position", error))
}

async fn numbering(db: &Db<'_>, of: Counted) -> Result<Numbering> {
    let sql = "SELECT body FROM numberings WHERE counted = $1";
    Ok(one(db, "numbering", sql, params![of.key()]).await?.unwrap_or_default())
}

/// The sequences, in one query. One that has not begun is there, and empty.
async fn numberings(db: &Db<'_>, of: &BTreeSet<Counted>) -> Result<BTreeMap<Counted, Numbering>> {
    let keys: Vec<String> = of.iter().map(|counted| counted.key()).collect();
    let sql = "SELECT counted, body FROM numberings WHERE counted = ANY($1)";
    let read = |row: &tokio_postgres::Row| Ok((column::<String>(row, 0)?, column::<String>(row, 1)?));
    let mut found: BTreeMap<Counted, Numbering> =
        of.iter().map(|counted| (*counted, Numbering::default())).collect();
    for (key, text) in all(db, sql, params![keys], read).await? {
        found.insert(Counted::from_key(&key)?, parse("numbering", &text)?);
    }
    Ok(found)
}

async fn put_numberings<'a>(
    db: &Db<'_>,
    changed: impl Iterator<Item = (Counted, &'a Numbering)>,
) -> Result<()> {
    let (mut keys, mut whole, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (counted, numbering) in changed {
        keys.push(counted.key());
        whole.push(numbering.is_whole());
        bodies.push(body(numbering)?);
    }
    let sql = "INSERT INTO numberings (counted, whole, body)
         SELECT * FROM unnest($1::text[], $2::boolean[], $3::text[])
         ON CONFLICT (counted) DO UPDATE SET whole = excluded.whole, body = excluded.body";
    run(db, sql, params![keys, whole, bodies]).await?;
    Ok(())
}

async fn aside(db: &Db<'_>, id: AsideId) -> Result<Option<AsideRow>> {
    one(db, "row kept aside", "SELECT body FROM aside WHERE id = $1", params![id.to_string()]).await
}

async fn put_aside(db: &Db<'_>, row: &AsideRow) -> Result<()> {
    let sql = "INSERT INTO aside (id, institution, at, open, card, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET open = excluded.open, body = excluded.body";
    let (reported, at) = (&row.reported, nanoseconds(row.reported.at));
    let (institution, id) = (reported.institution.as_str(), reported.id.to_string());
    let card = reported.card.as_ref().map(CardNumber::as_str);
    run(db, sql, params![id, institution, at, row.closed.is_none(), card, body(row)?]).await?;
    Ok(())
}

/// Deals with a row that was kept aside, unless that was done.
pub(super) async fn close(db: &Db<'_>, id: AsideId, closed: AsideClosed) -> Result<()> {
    match aside(db, id).await?.filter(|row| row.closed.is_none()) {
        Some(row) => put_aside(db, &row.closed_by(closed)).await,
        None => Ok(()),
    }
}

async fn doubt(db: &Db<'_>, card: CardNumber) -> Result<Option<DoubtRow>> {
    one(db, "doubt", "SELECT body FROM doubts WHERE card = $1", params![card.as_str()]).await
}

async fn take_rows(db: &Db<'_>, step: &TakeStep) -> Result<Vec<RowOutcome>> {
    let file = match &step.file {
        Some((key, before)) => Some(advanced(known_file(db, key).await?, *before, step.rows.len() as u64)?),
        None => None,
    };
    let mut taking = Taking::default();
    taking.numberings = numberings(db, &Taking::counted(step)).await?;
    for row in &step.rows {
        taking.came(row);
        match &row.judged {
            Judged::Purchase { transaction, transfer, note } => {
                let recorded = record(db, transaction, &books_of(transfer.as_ref(), note)).await;
                let ended = match Purchased::of(recorded)? {
                    Ok(recorded) => {
                        let purse = balance(db, transaction.key.card, AccountKind::Purse).await?;
                        Purchased::Recorded(recorded, purse.posted)
                    }
                    Err(refusal) => Purchased::Refused(refusal),
                };
                taking.purchased(row, transaction, ended);
            }
            Judged::Lock(lock) => {
                put_lock(db, lock).await?;
                taking.locked(row);
            }
            Judged::Aside { reason, transaction } => taking.keep(row, *reason, transaction.as_ref()),
        }
    }
    finish(db, taking, file.map(|file| (file, step))).await
}

async fn finish(db: &Db<'_>, taking: Taking, file: Option<(FileRow, &TakeStep)>) -> Result<Vec<RowOutcome>> {
    put_numberings(db, taking.changed()).await?;
    if let Some((file, step)) = file {
        let sql = "INSERT INTO file_outcomes (institution, name, start, letters) VALUES ($1, $2, $3, $4)";
        let start = position(step.file.as_ref().map_or(0, |(_, before)| *before))?;
        run(db, sql, params![file.key.institution.as_str(), file.key.name, start, taking.letters()]).await?;
        put_file(db, &file).await?;
    }
    for (row, note) in taking.aside {
        if aside(db, row.reported.id).await?.is_none() {
            let books = Books { notes: note.into_iter().collect(), ..Books::default() };
            book(db, Step::default(), &books).await?;
            put_aside(db, &row).await?;
        }
    }
    let healed: Vec<String> = taking.healed.iter().map(|(id, _)| id.to_string()).collect();
    let sql = "SELECT body FROM aside WHERE id = ANY($1) AND open";
    let open: Vec<AsideRow> = many(db, "row kept aside", sql, params![healed]).await?;
    for row in open {
        let at = taking.healed.iter().find(|(id, _)| *id == row.reported.id).map(|(_, at)| *at);
        let at = at.unwrap_or(row.reported.at);
        put_aside(db, &row.closed_by(AsideClosed { at, how: "taken".into() })).await?;
    }
    for new in taking.doubts {
        let row = graver(doubt(db, new.card).await?, new);
        let sql = "INSERT INTO doubts (card, since, body) VALUES ($1, $2, $3)
         ON CONFLICT (card) DO UPDATE SET since = excluded.since, body = excluded.body";
        run(db, sql, params![row.card.as_str(), nanoseconds(row.since), body(&row)?]).await?;
    }
    Ok(taking.outcomes)
}

#[async_trait]
impl Collection for Postgres<ClearingTables> {
    async fn begin_file(&self, file: FileRow, upload: Option<FileKey>) -> Result<FileBegun> {
        step!(self, db, {
            let Some(stored) = find_file(db, &file.key).await? else {
                put_file(db, &file).await?;
                return Ok(FileBegun::Here(file.clone()));
            };
            let needed = match &upload {
                Some(key) => Needed::by(find_file(db, key).await?),
                None => Needed::AsItIs,
            };
            match begun(stored, file.clone(), needed)? {
                Begun::Known(row) => Ok(FileBegun::Here(row)),
                Begun::Anew(row) => {
                    forget_parts(db, &row.key).await?;
                    put_file(db, &row).await.map(|()| FileBegun::Here(row))
                }
                Begun::Busy => Ok(FileBegun::Busy),
            }
        })
    }

    async fn append_file(&self, file: &FileRow, part: FilePart) -> Result<FileRow> {
        step!(self, db, {
            let row = same_file(known_file(db, &file.key).await?, file)?;
            let Some(next) = appended(&row, &part) else { return Ok(row) };
            put_part(db, &file.key, part.offset, &part.bytes).await?;
            put_file(db, &next).await?;
            Ok(next)
        })
    }

    async fn restart_file(&self, file: &FileRow) -> Result<FileRow> {
        step!(self, db, {
            let row = restarted(same_file(known_file(db, &file.key).await?, file)?)?;
            forget_parts(db, &file.key).await?;
            put_file(db, &row).await?;
            Ok(row)
        })
    }

    async fn move_file(&self, file: &FileRow, stage: FileStage, rows: u64) -> Result<FileRow> {
        step!(self, db, {
            let row = same_file(known_file(db, &file.key).await?, file)?;
            let row = moved(row, stage.clone(), rows)?;
            put_file(db, &row).await?;
            Ok(row)
        })
    }

    async fn record_file(&self, file: FileRow, content: Vec<u8>) -> Result<FileRow> {
        step!(self, db, {
            if let Some(stored) = find_file(db, &file.key).await? {
                return same_file(stored, &file);
            }
            if let Some(batch) = file.batch {
                let counted = Counted::Batches(batch.terminal);
                let mut known = numbering(db, counted).await?;
                known.take(batch.sequence, file.begun_at);
                put_numberings(db, std::iter::once((counted, &known))).await?;
            }
            put_part(db, &file.key, 0, &content).await?;
            put_file(db, &file).await?;
            Ok(file.clone())
        })
    }

    async fn file(&self, key: FileKey) -> Result<Option<FileRow>> {
        single!(self, db, find_file(db, &key).await)
    }

    async fn file_bytes(&self, key: FileKey, from: u64, length: usize) -> Result<Vec<u8>> {
        let (from, to) = (position(from)?, position(from.saturating_add(length as u64))?);
        // The part in which the bytes begin may begin before them.
        let sql = "SELECT start, content FROM file_parts WHERE institution = $1 AND name = $2 AND start < $4
             AND start >= coalesce((SELECT max(start) FROM file_parts WHERE institution = $1 AND name = $2 AND start <= $3), 0)
             ORDER BY start";
        let parts = single!(self, db, {
            let params = params![key.institution.as_str(), key.name, from, to];
            all(db, sql, params, |row| Ok((column::<i64>(row, 0)?, column::<Vec<u8>>(row, 1)?))).await
        })?;
        Ok(piece(parts, from, to))
    }

    async fn unfinished_files(&self, most: usize) -> Result<Vec<FileRow>> {
        let sql =
            "SELECT body FROM files WHERE stage = 'receiving' ORDER BY begun_at, institution, name LIMIT $1";
        single!(self, db, many(db, "file", sql, params![limit(most)]).await)
    }

    async fn files_to_take(&self, most: usize) -> Result<Vec<FileRow>> {
        let sql =
            "SELECT body FROM files WHERE stage = 'received' ORDER BY begun_at, institution, name LIMIT $1";
        single!(self, db, many(db, "file", sql, params![limit(most)]).await)
    }

    async fn files_of(&self, institution: &InstitutionId, after: &str, most: usize) -> Result<Vec<FileRow>> {
        let sql = "SELECT body FROM files WHERE institution = $1 AND name > $2 ORDER BY name LIMIT $3";
        single!(self, db, many(db, "file", sql, params![institution.as_str(), after, limit(most)]).await)
    }

    async fn take_rows(&self, step: TakeStep) -> Result<Vec<RowOutcome>> {
        step!(self, db, take_rows(db, &step).await)
    }

    async fn outcomes(&self, key: FileKey) -> Result<Vec<RowOutcome>> {
        let sql = "SELECT letters FROM file_outcomes WHERE institution = $1 AND name = $2 ORDER BY start";
        let params = params![key.institution.as_str(), key.name];
        let letters = single!(self, db, all(db, sql, params, |row| column::<String>(row, 0)).await)?;
        RowOutcome::from_letters(&letters.concat())
    }

    async fn waiting_aside(&self, after: Option<AsidePlace>, most: usize) -> Result<Vec<AsideRow>> {
        let at = after.map_or(i64::MIN, |after| nanoseconds(after.at));
        let id = after.map(|after| after.id.to_string()).unwrap_or_default();
        let sql = "SELECT body FROM aside WHERE open AND (at, id) > ($1, $2)
             AND body::json ->> 'reason' IN (SELECT json_array_elements_text($3::text::json))
             ORDER BY at, id LIMIT $4";
        let reasons = serde_json::json!(AsideReason::WAITING).to_string();
        single!(self, db, many(db, "row kept aside", sql, params![at, id, reasons, limit(most)]).await)
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
        let sql = "SELECT body FROM aside WHERE open AND (at, id) > ($1, $2)
             AND ($3::text IS NULL OR institution = $3) ORDER BY at, id LIMIT $4";
        single!(self, db, many(db, "row kept aside", sql, params![at, id, institution, limit(most)]).await)
    }

    async fn aside_of(&self, card: CardNumber, most: usize) -> Result<Vec<AsideRow>> {
        let sql = "SELECT body FROM aside WHERE card = $1 ORDER BY at, id LIMIT $2";
        single!(self, db, many(db, "row kept aside", sql, params![card.as_str(), limit(most)]).await)
    }

    async fn aside(&self, id: AsideId) -> Result<Option<AsideRow>> {
        single!(self, db, aside(db, id).await)
    }

    async fn close_aside(&self, id: AsideId, closed: AsideClosed, books: Books) -> Result<AsideRow> {
        step!(self, db, {
            let known = aside(db, id).await?.ok_or_else(|| StorageError::unknown("row kept aside", id))?;
            if known.closed.is_some() {
                return Ok(known);
            }
            book(db, Step::default(), &books).await?;
            let row = known.closed_by(closed.clone());
            put_aside(db, &row).await?;
            Ok(row)
        })
    }

    async fn numbering(&self, of: Counted) -> Result<Numbering> {
        single!(self, db, numbering(db, of).await)
    }

    async fn expect_number(&self, of: Counted, number: u64, at: jiff::Timestamp) -> Result<()> {
        step!(self, db, {
            let mut known = numbering(db, of).await?;
            known.expect(number, at);
            put_numberings(db, std::iter::once((of, &known))).await
        })
    }

    async fn gaps(&self, after: Option<Counted>, most: usize) -> Result<Vec<(Counted, Numbering)>> {
        let after = after.map(Counted::key).unwrap_or_default();
        let sql =
            "SELECT counted, body FROM numberings WHERE NOT whole AND counted > $1 ORDER BY counted LIMIT $2";
        let rows = single!(self, db, {
            let read = |row: &tokio_postgres::Row| Ok((column::<String>(row, 0)?, column::<String>(row, 1)?));
            all(db, sql, params![after, limit(most)], read).await
        })?;
        rows.iter().map(|(key, text)| Ok((Counted::from_key(key)?, parse("numbering", text)?))).collect()
    }

    async fn doubts(&self, after: Option<DoubtRow>, most: usize) -> Result<Vec<DoubtRow>> {
        let (since, card) = place_of(after.as_ref());
        let sql = "SELECT body FROM doubts WHERE (since, card) > ($1, $2) ORDER BY since, card LIMIT $3";
        single!(self, db, many(db, "doubt", sql, params![since, card, limit(most)]).await)
    }

    async fn settle_doubt(&self, settled: DoubtRow, freeze: Option<String>, books: Books) -> Result<()> {
        step!(self, db, {
            if doubt(db, settled.card).await? != Some(settled) {
                return Ok(());
            }
            match &freeze {
                Some(reason) => {
                    let frozen = [AccountChange::Frozen(reason.clone())];
                    change_account(db, settled.card, &books, &frozen).await?;
                }
                None => book(db, Step::default(), &books).await?,
            }
            run(db, "DELETE FROM doubts WHERE card = $1", params![settled.card.as_str()]).await?;
            Ok(())
        })
    }
}
