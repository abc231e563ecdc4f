//! The seals over the journals on PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::Row;
use tsm_domain::bytes::Sha256Digest;
use tsm_domain::money::Transfer;
use tsm_domain::money::journal::{SealedHead, SignedSeal};

use super::{ClearingTables, Postgres, transfer_row};
use crate::clearing::columns::{TRANSFER_COLUMNS, TransferRow};
use crate::clearing::seals::{bounds, is_new_seal};
use crate::clearing::{SealOver, Seals};
use crate::error::{Result, StorageError};
use crate::postgres::database::{short, single};
use crate::postgres::rows::{all, body, column, first, limit, many, nanoseconds, one, params, run};
use crate::shared::ChainKey;

/// The tables. Each entry is marked as unsealed by the step that appends it, whichever that is. The marks are
/// only ever added and taken away, so sealing does not stand in the way of the cards' own steps.
pub(in crate::postgres) const SEALS_2: &str = r#"
CREATE TABLE seals (number BIGINT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE sealed_heads (
    chain TEXT COLLATE "C" NOT NULL, entry BIGINT NOT NULL, seal BIGINT NOT NULL, hash BYTEA NOT NULL,
    PRIMARY KEY (chain, entry)
);
CREATE INDEX heads_of_seal ON sealed_heads (seal, chain);
CREATE TABLE unsealed (chain TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (chain, number));
INSERT INTO unsealed (chain, number) SELECT chain, max(number) FROM chains GROUP BY chain;
CREATE FUNCTION mark_unsealed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO unsealed (chain, number) VALUES (NEW.chain, NEW.number); RETURN NULL; END $$;
CREATE TRIGGER entries_are_sealed_later AFTER INSERT ON chains
    FOR EACH ROW EXECUTE FUNCTION mark_unsealed();
"#;

fn number(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| StorageError::corrupt("seal", error))
}

fn from_column(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|error| StorageError::corrupt("seal", error))
}

fn head(chain: String, number: i64, hash: Vec<u8>) -> Result<SealedHead> {
    let hash = hash.try_into().map_err(|_| StorageError::corrupt("seal", "a hash has another length"))?;
    Ok(SealedHead { chain, number: from_column(number)?, hash: Sha256Digest(hash) })
}

fn read_head(row: &Row) -> Result<SealedHead> {
    head(column(row, 0)?, column(row, 1)?, column(row, 2)?)
}

#[async_trait]
impl Seals for Postgres<ClearingTables> {
    async fn unsealed_heads(&self, most: usize) -> Result<Vec<SealedHead>> {
        let sql = "SELECT head.chain, head.number, head.hash FROM
                (SELECT chain, max(number) AS number FROM unsealed GROUP BY chain ORDER BY chain LIMIT $1) last
            JOIN chains head ON head.chain = last.chain AND head.number = last.number ORDER BY head.chain";
        single!(self, db, all(db, sql, params![limit(most)], read_head).await)
    }

    async fn put_seal(&self, seal: SignedSeal, heads: Vec<SealedHead>) -> Result<()> {
        short!(self, db, {
            let own = number(seal.seal.number)?;
            let sql = "INSERT INTO seals (number, body) VALUES ($1, $2) ON CONFLICT (number) DO NOTHING";
            if run(db, sql, params![own, body(&seal)?]).await? == 0 {
                let sql = "SELECT body FROM seals WHERE number = $1";
                let stored: Option<SignedSeal> = one(db, "seal", sql, params![own]).await?;
                return is_new_seal(stored.as_ref(), &seal).map(drop);
            }
            for head in &heads {
                let entry = number(head.number)?;
                let sql = "INSERT INTO sealed_heads (chain, entry, seal, hash) VALUES ($1, $2, $3, $4)";
                run(db, sql, params![head.chain, entry, own, &head.hash.0[..]]).await?;
                let sql = "DELETE FROM unsealed WHERE chain = $1 AND number <= $2";
                run(db, sql, params![head.chain, entry]).await?;
            }
            Ok(())
        })
    }

    async fn last_seal(&self) -> Result<Option<SignedSeal>> {
        let sql = "SELECT body FROM seals ORDER BY number DESC LIMIT 1";
        single!(self, db, one(db, "seal", sql, params![]).await)
    }

    async fn seals(&self, after: u64, most: usize) -> Result<Vec<SignedSeal>> {
        let sql = "SELECT body FROM seals WHERE number > $1 ORDER BY number LIMIT $2";
        single!(self, db, many(db, "seal", sql, params![number(after)?, limit(most)]).await)
    }

    async fn sealed_heads(&self, seal: u64) -> Result<Vec<SealedHead>> {
        let sql = "SELECT chain, entry, hash FROM sealed_heads WHERE seal = $1 ORDER BY chain";
        single!(self, db, all(db, sql, params![number(seal)?], read_head).await)
    }

    async fn control_transfers_on(&self, day: jiff::civil::Date) -> Result<Vec<Transfer>> {
        let (from, until) = bounds(day)?;
        let sql = format!(
            "SELECT {TRANSFER_COLUMNS} FROM transfers WHERE card IS NULL AND at >= $1 AND at < $2 ORDER BY at, id"
        );
        let (from, until) = (nanoseconds(from), nanoseconds(until));
        let rows = single!(self, db, all(db, &sql, params![from, until], transfer_row).await)?;
        rows.iter().map(TransferRow::transfer).collect()
    }

    async fn seal_over(&self, chain: ChainKey, entry: u64) -> Result<Option<SealOver>> {
        let chain = chain.to_text();
        let sql = "SELECT chain, entry, hash, seal FROM sealed_heads
            WHERE chain = $1 AND entry >= $2 ORDER BY entry LIMIT 1";
        let read = |row: &Row| Ok(SealOver { seal: from_column(column(row, 3)?)?, head: read_head(row)? });
        single!(self, db, first(db, sql, params![chain, number(entry)?], read).await)
    }
}
