//! The seals over the journals on SQLite.

use async_trait::async_trait;
use rusqlite::{Row, params};
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::Transfer;
use tsm_domain::money::journal::{SealedHead, SignedSeal};

use super::{ClearingSchema, Sqlite, transfer_row};
use crate::clearing::columns::{TRANSFER_COLUMNS, TransferRow};
use crate::clearing::seals::{bounds, is_new_seal};
use crate::clearing::{SealOver, Seals};
use crate::error::{Result, StorageError};
use crate::shared::ChainKey;
use crate::sqlite::rows::{all, body, first, limit, many, nanoseconds, one, run};

/// The tables. Each entry is marked as unsealed by the step that appends it, whichever that is.
pub(in crate::sqlite) const SEALS_2: &str = "
CREATE TABLE seals (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE sealed_heads (
    chain TEXT NOT NULL, entry INTEGER NOT NULL, seal INTEGER NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY (chain, entry)
) WITHOUT ROWID;
CREATE INDEX heads_of_seal ON sealed_heads (seal, chain);
CREATE TABLE unsealed (chain TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (chain, number)) WITHOUT ROWID;
INSERT INTO unsealed (chain, number) SELECT chain, max(number) FROM chains GROUP BY chain;
CREATE TRIGGER entries_are_sealed_later AFTER INSERT ON chains
BEGIN INSERT INTO unsealed (chain, number) VALUES (new.chain, new.number); END;
";

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| StorageError::corrupt("seal", error))
}

fn from_column(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|error| StorageError::corrupt("seal", error))
}

fn read_head(row: &Row<'_>) -> rusqlite::Result<(String, i64, [u8; 32])> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn heads(rows: Vec<(String, i64, [u8; 32])>) -> Result<Vec<SealedHead>> {
    let head = |(chain, number, hash)| {
        Ok(SealedHead { chain, number: from_column(number)?, hash: Sha256Digest(hash) })
    };
    rows.into_iter().map(head).collect()
}

#[async_trait]
impl Seals for Sqlite<ClearingSchema> {
    async fn unsealed_heads(&self, most: usize) -> Result<Vec<SealedHead>> {
        let sql = "SELECT head.chain, head.number, head.hash FROM
                (SELECT chain, max(number) AS number FROM unsealed GROUP BY chain ORDER BY chain LIMIT ?1) last
            JOIN chains head ON head.chain = last.chain AND head.number = last.number ORDER BY head.chain";
        heads(self.read(|db| all(db, sql, [limit(most)], read_head))?)
    }

    async fn put_seal(&self, seal: SignedSeal, heads: Vec<SealedHead>) -> Result<()> {
        self.write(move |db| {
            let own = number(seal.seal.number)?;
            let stored = one(db, "seal", "SELECT body FROM seals WHERE number = ?1", [own])?;
            if !is_new_seal(stored.as_ref(), &seal)? {
                return Ok(());
            }
            run(db, "INSERT INTO seals (number, body) VALUES (?1, ?2)", params![own, body(&seal)?])?;
            for head in heads {
                let entry = number(head.number)?;
                let sql = "INSERT INTO sealed_heads (chain, entry, seal, hash) VALUES (?1, ?2, ?3, ?4)";
                run(db, sql, params![head.chain, entry, own, head.hash.0])?;
                let sql = "DELETE FROM unsealed WHERE chain = ?1 AND number <= ?2";
                run(db, sql, params![head.chain, entry])?;
            }
            Ok(())
        })
        .await
    }

    async fn last_seal(&self) -> Result<Option<SignedSeal>> {
        self.read(|db| one(db, "seal", "SELECT body FROM seals ORDER BY number DESC LIMIT 1", []))
    }

    async fn seals(&self, after: u64, most: usize) -> Result<Vec<SignedSeal>> {
        let sql = "SELECT body FROM seals WHERE number > ?1 ORDER BY number LIMIT ?2";
        self.read(|db| many(db, "seal", sql, params![number(after)?, limit(most)]))
    }

    async fn sealed_heads(&self, seal: u64) -> Result<Vec<SealedHead>> {
        let sql = "SELECT chain, entry, hash FROM sealed_heads WHERE seal = ?1 ORDER BY chain";
        heads(self.read(|db| all(db, sql, [number(seal)?], read_head))?)
    }

    async fn control_transfers_on(&self, day: jiff::civil::Date) -> Result<Vec<Transfer>> {
        let (from, until) = bounds(day)?;
        let sql = format!(
            "SELECT {TRANSFER_COLUMNS} FROM transfers WHERE card IS NULL AND at >= ?1 AND at < ?2 ORDER BY at, id"
        );
        let bounds = params![nanoseconds(from), nanoseconds(until)];
        let rows = self.read(|db| all(db, &sql, bounds, transfer_row))?;
        rows.iter().map(TransferRow::transfer).collect()
    }

    async fn seal_over(&self, chain: ChainKey, entry: u64) -> Result<Option<SealOver>> {
        let sql = "SELECT chain, entry, hash, seal FROM sealed_heads
            WHERE chain = ?1 AND entry >= ?2 ORDER BY entry LIMIT 1";
        let read = |row: &Row<'_>| Ok((read_head(row)?, row.get::<_, i64>(3)?));
        let found = self.read(|db| first(db, sql, params![chain.to_text(), number(entry)?], read))?;
        let Some((head, seal)) = found else { return Ok(None) };
        let head = heads(vec![head])?.pop().ok_or_else(|| StorageError::unknown("seal", seal))?;
        Ok(Some(SealOver { seal: from_column(seal)?, head }))
    }
}
