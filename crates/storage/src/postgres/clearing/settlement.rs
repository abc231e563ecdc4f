//! Days of business on PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::Row;
use tsm_domain::money::reconciliation::{CardItem, Difference, EntryKind, LedgerItem};
use tsm_domain::money::settlement::{BusinessDay, Pair, Settlement, Volume};
use tsm_domain::money::{
    CardTransaction, MoneyTotals, StatementKind, StatementLine, TransactionKey, TransactionType, Transfer,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, InstitutionId, OrderId, TransferId};

use super::{ClearingTables, Postgres, book, card_sums, differences, transfer_row};
use crate::clearing::columns::TRANSFER_COLUMNS;
use crate::clearing::settlement::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step, view};
use crate::postgres::rows::{
    all, amount, body, column, fen, first, from_text, instant, limit, many, nanoseconds, narrow, one, params,
    run,
};

/// The tables.
pub(in crate::postgres) const SETTLEMENT_2: &str = r#"
CREATE TABLE day_entries (
    bucket BIGINT NOT NULL, day BIGINT NOT NULL, reference BYTEA NOT NULL, entry TEXT COLLATE "C" NOT NULL,
    id BYTEA NOT NULL, card TEXT COLLATE "C", amount_fen BIGINT NOT NULL,
    PRIMARY KEY (bucket, day, reference, entry, id)
);
CREATE TABLE day_transactions (
    bucket BIGINT NOT NULL, day BIGINT NOT NULL, reference BYTEA NOT NULL,
    card TEXT COLLATE "C" NOT NULL, counter BIGINT NOT NULL, kind BIGINT NOT NULL,
    amount_fen BIGINT NOT NULL, balance_after_fen BIGINT, terminal TEXT COLLATE "C" NOT NULL, at BIGINT NOT NULL,
    PRIMARY KEY (bucket, day, reference, card, counter, kind)
);
CREATE TABLE statement_lines (
    bucket BIGINT NOT NULL, day BIGINT NOT NULL, number BIGINT NOT NULL, reference BYTEA NOT NULL,
    refund BYTEA, payment TEXT COLLATE "C" NOT NULL, amount_fen BIGINT NOT NULL, at BIGINT NOT NULL,
    PRIMARY KEY (bucket, day, number)
);
CREATE TABLE business_days (day BIGINT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE settlement_parts (
    day BIGINT NOT NULL, operator TEXT COLLATE "C" NOT NULL, issuer TEXT COLLATE "C" NOT NULL, bucket BIGINT NOT NULL,
    number BIGINT NOT NULL, gross_fen BIGINT NOT NULL,
    PRIMARY KEY (day, operator, issuer, bucket)
);
CREATE TABLE settlements (
    day BIGINT NOT NULL, operator TEXT COLLATE "C" NOT NULL, issuer TEXT COLLATE "C" NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (day, operator, issuer)
);
CREATE TRIGGER settlements_are_kept BEFORE UPDATE OR DELETE ON settlements
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER settlements_are_not_emptied BEFORE TRUNCATE ON settlements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TABLE settlement_files (
    day BIGINT NOT NULL, operator TEXT COLLATE "C" NOT NULL, number BIGINT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (day, operator, number)
);
CREATE TABLE differences (
    id TEXT COLLATE "C" PRIMARY KEY, day BIGINT NOT NULL, state TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C" NOT NULL, reference BYTEA, card TEXT COLLATE "C", ripens BIGINT, body TEXT NOT NULL
);
CREATE INDEX differences_in_order ON differences (day, id);
CREATE INDEX differences_of_reference ON differences (reference);
CREATE INDEX differences_waiting ON differences (ripens) WHERE state = 'waiting';
CREATE TABLE confirmed_payments (reference BYTEA PRIMARY KEY, at BIGINT NOT NULL);
"#;

const FIRST_DAY: &str = "SELECT min(day) FROM (
    SELECT min(day) AS day FROM day_entries UNION ALL SELECT min(day) FROM day_transactions) AS sheets";

async fn last_closed(db: &Db<'_>) -> Result<Option<BusinessDay>> {
    let sql = "SELECT max(day) FROM business_days";
    let found = first(db, sql, params![], |row| column::<Option<i64>>(row, 0)).await?;
    found.flatten().map(day_of).transpose()
}

fn day_of(number: i64) -> Result<BusinessDay> {
    BusinessDay::from_number(number).map_err(|error| StorageError::corrupt("day", error))
}

async fn place(db: &Db<'_>, reference: OrderId, at: jiff::Timestamp) -> Result<Place> {
    Ok(Place { bucket: bucket_of(reference), day: open_day(at, last_closed(db).await?) })
}

pub(super) fn bytes_of(reference: OrderId) -> Vec<u8> {
    reference.as_uuid().as_bytes().to_vec()
}

fn uuid_of(bytes: &[u8]) -> Result<uuid::Uuid> {
    uuid::Uuid::from_slice(bytes).map_err(|error| StorageError::corrupt("identity", error))
}

fn order_of(bytes: &[u8]) -> Result<OrderId> {
    uuid_of(bytes).map(OrderId::from_uuid)
}

/// Puts a transfer on its day's sheet.
pub(super) async fn enter(db: &Db<'_>, transfer: &Transfer) -> Result<()> {
    match entry_of(transfer) {
        Some(entry) => put_entry(db, &entry, transfer.at).await,
        None => Ok(()),
    }
}

async fn put_entry(db: &Db<'_>, entry: &DayEntry, at: jiff::Timestamp) -> Result<()> {
    let place = place(db, entry.item.reference, at).await?;
    let sql = "INSERT INTO day_entries (bucket, day, reference, entry, id, card, amount_fen)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let item = &entry.item;
    let card = item.card.as_ref().map(CardNumber::as_str);
    let (reference, id) = (bytes_of(item.reference), entry.id.as_uuid().as_bytes().to_vec());
    let (name, fen) = (item.entry.name(), fen(item.amount)?);
    let (bucket, day) = (i64::from(place.bucket), place.day.number());
    run(db, sql, params![bucket, day, reference, name, id, card, fen]).await?;
    Ok(())
}

/// Puts a card's transaction on its day's sheet.
pub(super) async fn enter_transaction(
    db: &Db<'_>,
    transaction: &CardTransaction,
    books: &Books,
) -> Result<()> {
    let Some((row, received_at)) = transaction_of(transaction, books) else { return Ok(()) };
    let place = place(db, row.item.reference, received_at).await?;
    let sql = "INSERT INTO day_transactions
        (bucket, day, reference, card, counter, kind, amount_fen, balance_after_fen, terminal, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let key = row.item.key;
    run(
        db,
        sql,
        params![
            i64::from(place.bucket),
            place.day.number(),
            bytes_of(row.item.reference),
            key.card.as_str(),
            i64::from(key.counter),
            i64::from(key.kind.to_byte()),
            fen(row.item.amount)?,
            row.balance_after.map(fen).transpose()?,
            row.terminal.to_string(),
            nanoseconds(row.at)
        ],
    )
    .await?;
    Ok(())
}

pub(super) fn transaction_type(byte: u8) -> Result<TransactionType> {
    TransactionType::from_byte(byte)
        .ok_or_else(|| StorageError::corrupt("transaction", format!("type {byte:02X}")))
}

pub(super) fn text<T: std::str::FromStr<Err: std::fmt::Display>>(row: &Row, index: usize) -> Result<T> {
    from_text("row", column(row, index)?)
}

fn day_transaction(row: &Row) -> Result<DayTransaction> {
    let kind = transaction_type(narrow(row, 3)?)?;
    let key = TransactionKey { card: text(row, 1)?, counter: narrow(row, 2)?, kind };
    Ok(DayTransaction {
        item: CardItem { reference: order_of(column(row, 0)?)?, key, amount: amount(column(row, 4)?)? },
        balance_after: column::<Option<i64>>(row, 5)?.map(amount).transpose()?,
        terminal: text(row, 6)?,
        at: instant(column(row, 7)?)?,
    })
}

fn day_entry(row: &Row) -> Result<DayEntry> {
    let name: &str = column(row, 1)?;
    let entry = EntryKind::from_name(name).ok_or_else(|| StorageError::corrupt("sheet entry", name))?;
    let card: Option<&str> = column(row, 3)?;
    let card = card.map(|card| from_text("sheet entry", card)).transpose()?;
    let reference = order_of(column(row, 0)?)?;
    let item = LedgerItem { reference, entry, card, amount: amount(column(row, 4)?)? };
    Ok(DayEntry { item, id: TransferId::from_uuid(uuid_of(column(row, 2)?)?) })
}

const LINE_COLUMNS: &str = "number, reference, refund, payment, amount_fen, at";

fn statement_row(row: &Row) -> Result<StatementRow> {
    let refund = column::<Option<&[u8]>>(row, 2)?.map(uuid_of).transpose()?.map(TransferId::from_uuid);
    let line = StatementLine {
        order: order_of(column(row, 1)?)?,
        payment: text(row, 3)?,
        kind: refund.map_or(StatementKind::Paid, |refund| StatementKind::Refunded { refund }),
        amount: amount(column(row, 4)?)?,
        at: instant(column(row, 5)?)?,
    };
    Ok(StatementRow { number: narrow(row, 0)?, line })
}

fn volume(row: &Row, number: usize, gross: usize) -> Result<Volume> {
    Ok(Volume { number: narrow(row, number)?, gross: amount(column(row, gross)?)? })
}

/// Says whether a row is new; a row that is taken by something else is a conflict.
fn same_or_new<T: PartialEq>(
    known: Option<T>,
    again: &T,
    what: &'static str,
    key: impl ToString,
) -> Result<bool> {
    match known {
        None => Ok(true),
        Some(known) if known == *again => Ok(false),
        Some(_) => Err(StorageError::conflict(what, key)),
    }
}

async fn day_row(db: &Db<'_>, day: BusinessDay) -> Result<Option<DayRow>> {
    one(db, "closed day", "SELECT body FROM business_days WHERE day = $1", params![day.number()]).await
}

async fn put_day_row(db: &Db<'_>, row: &DayRow) -> Result<()> {
    let sql = "INSERT INTO business_days (day, body) VALUES ($1, $2)
        ON CONFLICT (day) DO UPDATE SET body = excluded.body";
    run(db, sql, params![row.day.number(), body(row)?]).await?;
    Ok(())
}

/// The lines of a statement, column by column: one statement inserts them all.
#[derive(Default)]
struct Lines {
    buckets: Vec<i64>,
    numbers: Vec<i64>,
    references: Vec<Vec<u8>>,
    refunds: Vec<Option<Vec<u8>>>,
    payments: Vec<String>,
    amounts: Vec<i64>,
    times: Vec<i64>,
}

impl Lines {
    fn of(rows: &[StatementRow]) -> Result<Self> {
        let mut lines = Self::default();
        for StatementRow { number, line } in rows {
            let number = i64::try_from(*number).map_err(|error| StorageError::corrupt("statement", error))?;
            lines.buckets.push(i64::from(bucket_of(line.order)));
            lines.numbers.push(number);
            lines.references.push(bytes_of(line.order));
            lines.refunds.push(match line.kind {
                StatementKind::Paid => None,
                StatementKind::Refunded { refund } => Some(refund.as_uuid().as_bytes().to_vec()),
            });
            lines.payments.push(line.payment.as_str().to_owned());
            lines.amounts.push(fen(line.amount)?);
            lines.times.push(nanoseconds(line.at));
        }
        Ok(lines)
    }
}

async fn put_lines(db: &Db<'_>, day: BusinessDay, rows: &[StatementRow]) -> Result<()> {
    let lines = Lines::of(rows)?;
    let sql = "INSERT INTO statement_lines (bucket, day, number, reference, refund, payment, amount_fen, at)
        SELECT bucket, $1, number, reference, refund, payment, amount_fen, at
        FROM unnest($2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::text[], $7::bigint[], $8::bigint[])
            AS line (bucket, number, reference, refund, payment, amount_fen, at)
        ON CONFLICT (bucket, day, number) DO NOTHING";
    let Lines { buckets, numbers, references, refunds, payments, amounts, times } = &lines;
    let values =
        params![day.number(), *buckets, *numbers, *references, *refunds, *payments, *amounts, *times];
    if run(db, sql, values).await? == rows.len() {
        return Ok(());
    }
    // Some were there: they must be the same.
    for row in rows {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM statement_lines WHERE bucket = $1 AND day = $2 AND number = $3"
        );
        let number = i64::try_from(row.number).map_err(|error| StorageError::corrupt("statement", error))?;
        let key = params![i64::from(bucket_of(row.line.order)), day.number(), number];
        let known = first(db, &sql, key, statement_row).await?;
        same_or_new(known, row, "statement line", row.number)?;
    }
    Ok(())
}

async fn put_part(db: &Db<'_>, day: BusinessDay, part: &SettlementPart) -> Result<()> {
    let Pair { operator, issuer } = &part.pair;
    let (operator, issuer) = (operator.as_str(), issuer.as_str());
    let (day, bucket) = (day.number(), i64::from(part.bucket));
    let number = i64::try_from(part.volume.number).map_err(|error| StorageError::corrupt("part", error))?;
    let gross = fen(part.volume.gross)?;
    let sql = "INSERT INTO settlement_parts (day, operator, issuer, bucket, number, gross_fen)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (day, operator, issuer, bucket) DO NOTHING";
    if run(db, sql, params![day, operator, issuer, bucket, number, gross]).await? == 1 {
        return Ok(());
    }
    let sql = "SELECT number, gross_fen FROM settlement_parts
        WHERE day = $1 AND operator = $2 AND issuer = $3 AND bucket = $4";
    let known = first(db, sql, params![day, operator, issuer, bucket], |row| volume(row, 0, 1)).await?;
    same_or_new(known, &part.volume, "settlement part", part.bucket).map(drop)
}

async fn settle(db: &Db<'_>, settlement: &Settlement, books: &Books) -> Result<()> {
    let day = settlement.day.number();
    let Pair { operator, issuer } = &settlement.pair;
    let (operator, issuer) = (operator.as_str(), issuer.as_str());
    let sql = "SELECT body FROM settlements WHERE day = $1 AND operator = $2 AND issuer = $3";
    let known = one(db, "settlement", sql, params![day, operator, issuer]).await?;
    if !same_or_new(known, settlement, "settlement", settlement.day)? {
        return Ok(());
    }
    book(db, Step::settled(settlement), books).await?;
    let sql = "INSERT INTO settlements (day, operator, issuer, body) VALUES ($1, $2, $3, $4)";
    run(db, sql, params![day, operator, issuer, body(settlement)?]).await?;
    Ok(())
}

async fn put_file(db: &Db<'_>, file: &SettlementFile) -> Result<()> {
    let (day, operator, number) = (file.day.number(), file.operator.as_str(), i64::from(file.number));
    let sql = "SELECT body FROM settlement_files WHERE day = $1 AND operator = $2 AND number = $3";
    let known = one(db, "settlement file", sql, params![day, operator, number]).await?;
    if !same_or_new(known, file, "settlement file", file.number)? {
        return Ok(());
    }
    let sql = "INSERT INTO settlement_files (day, operator, number, body) VALUES ($1, $2, $3, $4)";
    run(db, sql, params![day, operator, number, body(file)?]).await?;
    Ok(())
}

#[async_trait]
impl Settlements for Postgres<ClearingTables> {
    async fn close_day(&self, day: BusinessDay, at: jiff::Timestamp) -> Result<DayRow> {
        step!(self, db, {
            if let Some(known) = day_row(db, day).await? {
                return Ok(known);
            }
            let row = DayRow::closed(day, at);
            put_day_row(db, &row).await?;
            Ok(row)
        })
    }

    async fn day(&self, day: BusinessDay) -> Result<Option<DayRow>> {
        single!(self, db, day_row(db, day).await)
    }

    async fn days(&self, most: usize) -> Result<Vec<DayRow>> {
        let sql = "SELECT body FROM business_days ORDER BY day DESC LIMIT $1";
        single!(self, db, many(db, "closed day", sql, params![limit(most)]).await)
    }

    async fn first_day(&self) -> Result<Option<BusinessDay>> {
        single!(self, db, {
            let found = first(db, FIRST_DAY, params![], |row| column::<Option<i64>>(row, 0)).await?;
            found.flatten().map(day_of).transpose()
        })
    }

    async fn put_day(&self, row: DayRow) -> Result<()> {
        step!(self, db, {
            day_row(db, row.day).await?.ok_or_else(|| StorageError::unknown("closed day", row.day))?;
            put_day_row(db, &row).await
        })
    }

    async fn day_transactions(
        &self,
        place: Place,
        after: Option<&CardItem>,
        most: usize,
    ) -> Result<Vec<DayTransaction>> {
        let sql = "SELECT reference, card, counter, kind, amount_fen, balance_after_fen, terminal, at
            FROM day_transactions
            WHERE bucket = $1 AND day = $2 AND (reference, card, counter, kind) > ($3, $4, $5, $6)
            ORDER BY reference, card, counter, kind LIMIT $7";
        let reference = after.map(|item| bytes_of(item.reference)).unwrap_or_default();
        let card = after.map_or("", |item| item.key.card.as_str());
        let (counter, kind) = after.map_or((0, 0), |item| (item.key.counter, item.key.kind.to_byte()));
        let (counter, kind) = (i64::from(counter), i64::from(kind));
        let (bucket, day) = (i64::from(place.bucket), place.day.number());
        let values = params![bucket, day, reference, card, counter, kind, limit(most)];
        single!(self, db, all(db, sql, values, day_transaction).await)
    }

    async fn day_entries(
        &self,
        place: Place,
        after: Option<&DayEntry>,
        most: usize,
    ) -> Result<Vec<DayEntry>> {
        let sql = "SELECT reference, entry, id, card, amount_fen FROM day_entries
            WHERE bucket = $1 AND day = $2 AND (reference, entry, id) > ($3, $4, $5)
            ORDER BY reference, entry, id LIMIT $6";
        let reference = after.map(|entry| bytes_of(entry.item.reference)).unwrap_or_default();
        let name = after.map_or("", |entry| entry.item.entry.name());
        let id = after.map(|entry| entry.id.as_uuid().as_bytes().to_vec()).unwrap_or_default();
        let (bucket, day) = (i64::from(place.bucket), place.day.number());
        let values = params![bucket, day, reference, name, id, limit(most)];
        single!(self, db, all(db, sql, values, day_entry).await)
    }

    async fn statement_lines(
        &self,
        place: Place,
        after: Option<&StatementRow>,
        most: usize,
    ) -> Result<Vec<StatementRow>> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM statement_lines
             WHERE bucket = $1 AND day = $2 AND (reference, number) > ($3, $4)
             ORDER BY reference, number LIMIT $5"
        );
        let reference = after.map(|row| bytes_of(row.line.order)).unwrap_or_default();
        let number = after.map_or(0, |row| i64::try_from(row.number).unwrap_or(i64::MAX));
        let (bucket, day) = (i64::from(place.bucket), place.day.number());
        let values = params![bucket, day, reference, number, limit(most)];
        single!(self, db, all(db, &sql, values, statement_row).await)
    }

    async fn purchases(&self, place: Place) -> Result<Vec<TerminalVolume>> {
        let sql =
            "SELECT substr(card, 1, 8), terminal, count(*), sum(amount_fen)::bigint FROM day_transactions
            WHERE bucket = $1 AND day = $2 AND kind <> $3 GROUP BY 1, 2 ORDER BY 1, 2";
        let (bucket, day) = (i64::from(place.bucket), place.day.number());
        let values = params![bucket, day, i64::from(TransactionType::Load.to_byte())];
        let read = |row: &Row| {
            let (prefix, terminal) = (column(row, 0)?, text(row, 1)?);
            Ok(TerminalVolume { prefix, terminal, volume: volume(row, 2, 3)? })
        };
        single!(self, db, all(db, sql, values, read).await)
    }

    async fn put_statement(&self, day: BusinessDay, lines: Vec<StatementRow>) -> Result<()> {
        // In the order of the table: a page that several lines go to is found once.
        let mut lines = lines;
        lines.sort_by_key(|row| (bucket_of(row.line.order), row.number));
        step!(self, db, put_lines(db, day, &lines).await)
    }

    async fn forget_statement(&self, place: Place, numbers: std::ops::Range<u64>) -> Result<()> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (from, to) = (signed(numbers.start), signed(numbers.end));
        step!(self, db, {
            may_forget(day_row(db, place.day).await?.as_ref(), place, &numbers)?;
            let sql = "DELETE FROM statement_lines
                WHERE bucket = $1 AND day = $2 AND number >= $3 AND number < $4";
            let values = params![i64::from(place.bucket), place.day.number(), from, to];
            run(db, sql, values).await.map(drop)
        })
    }

    async fn put_parts(&self, day: BusinessDay, parts: Vec<SettlementPart>) -> Result<()> {
        step!(self, db, {
            for part in &parts {
                put_part(db, day, part).await?;
            }
            Ok(())
        })
    }

    async fn parts(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementPart>> {
        let sql =
            "SELECT issuer, bucket, number, gross_fen FROM settlement_parts WHERE day = $1 AND operator = $2
            ORDER BY issuer, bucket";
        let read = |row: &Row| {
            let pair = Pair { issuer: text(row, 0)?, operator: operator.clone() };
            Ok(SettlementPart { bucket: narrow(row, 1)?, pair, volume: volume(row, 2, 3)? })
        };
        single!(self, db, all(db, sql, params![day.number(), operator.as_str()], read).await)
    }

    async fn pairs(&self, day: BusinessDay) -> Result<Vec<(Pair, Volume)>> {
        let sql = "SELECT operator, issuer, sum(number)::bigint, sum(gross_fen)::bigint FROM settlement_parts
            WHERE day = $1 GROUP BY operator, issuer ORDER BY operator, issuer";
        let read =
            |row: &Row| Ok((Pair { operator: text(row, 0)?, issuer: text(row, 1)? }, volume(row, 2, 3)?));
        single!(self, db, all(db, sql, params![day.number()], read).await)
    }

    async fn settle(&self, settlement: Settlement, books: Books) -> Result<()> {
        step!(self, db, settle(db, &settlement, &books).await)
    }

    async fn settlements(&self, day: BusinessDay) -> Result<Vec<Settlement>> {
        let sql = "SELECT body FROM settlements WHERE day = $1 ORDER BY operator, issuer";
        single!(self, db, many(db, "settlement", sql, params![day.number()]).await)
    }

    async fn put_files(&self, files: Vec<SettlementFile>) -> Result<()> {
        step!(self, db, {
            for file in &files {
                put_file(db, file).await?;
            }
            Ok(())
        })
    }

    async fn files(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementFile>> {
        let sql = "SELECT body FROM settlement_files WHERE day = $1 AND operator = $2 ORDER BY number";
        single!(self, db, many(db, "settlement file", sql, params![day.number(), operator.as_str()]).await)
    }

    async fn put_differences(&self, found: Vec<Difference>) -> Result<usize> {
        step!(self, db, {
            let mut new = 0;
            for difference in &found {
                new += differences::put(db, difference, "NOTHING").await?;
            }
            Ok(new)
        })
    }

    async fn difference(&self, id: DifferenceId) -> Result<Option<Difference>> {
        single!(self, db, differences::by_id(db, id).await)
    }

    async fn differences_of(&self, reference: OrderId) -> Result<Vec<Difference>> {
        let sql = "SELECT body FROM differences WHERE reference = $1 ORDER BY day, id";
        single!(self, db, many(db, "difference", sql, params![bytes_of(reference)]).await)
    }

    async fn differences(&self, query: &DifferenceQuery, most: usize) -> Result<Vec<Difference>> {
        single!(self, db, differences::list(db, query, most).await)
    }

    async fn change_difference(&self, before: &Difference, after: Difference, books: Books) -> Result<()> {
        step!(self, db, differences::change(db, before, &after, &books).await)
    }

    async fn ripen(&self, day: BusinessDay) -> Result<usize> {
        let mut ripe = 0;
        loop {
            let more: Result<usize> = step!(self, db, differences::ripen(db, day).await);
            match more? {
                0 => return Ok(ripe),
                more => ripe += more,
            }
        }
    }

    async fn confirm_payment(
        &self,
        order: OrderId,
        card: CardNumber,
        amount: Fen,
        books: Books,
        at: jiff::Timestamp,
    ) -> Result<bool> {
        step!(self, db, {
            let sql = "INSERT INTO confirmed_payments (reference, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            if run(db, sql, params![bytes_of(order), nanoseconds(at)]).await? == 0 {
                return Ok(false);
            }
            book(db, Step::default(), &books).await?;
            let entry = EntryKind::PaymentReported;
            let item = LedgerItem { reference: order, entry, card: Some(card), amount };
            put_entry(db, &DayEntry { item, id: TransferId::from_uuid(order.as_uuid()) }, at).await?;
            Ok(true)
        })
    }

    async fn transfer_by_id(&self, id: TransferId) -> Result<Option<Transfer>> {
        let sql = format!("SELECT {TRANSFER_COLUMNS} FROM transfers WHERE id = $1");
        let found = single!(self, db, first(db, &sql, params![id.to_string()], transfer_row).await)?;
        found.map(|row| row.transfer()).transpose()
    }

    async fn card_sums(&self, after: Option<CardNumber>, most: usize) -> Result<CardPage> {
        view!(self, db, card_sums::page(db, after, most).await)
    }

    async fn totals_of(&self, prefix: &str) -> Result<MoneyTotals> {
        // Card numbers are digits; a colon comes after all of them.
        let sql = "SELECT debit, credit, sum(amount_fen)::bigint FROM transfers
            WHERE card >= $1 AND card < $2 AND kind IN ('single', 'post') GROUP BY debit, credit";
        let end = format!("{prefix}:");
        single!(self, db, card_sums::totals(db, sql, params![prefix, end]).await)
    }

    async fn lost_of(&self, prefix: &str) -> Result<MoneyTotals> {
        let sql = "SELECT debit, credit, sum(amount_fen)::bigint FROM transfers
            WHERE card IS NULL AND code IN ('payment_lost', 'refund_lost') AND order_id IN
                (SELECT order_id FROM transfers WHERE card >= $1 AND card < $2)
            GROUP BY debit, credit";
        let end = format!("{prefix}:");
        single!(self, db, card_sums::totals(db, sql, params![prefix, end]).await)
    }

    async fn cardless_totals(&self) -> Result<MoneyTotals> {
        let sql = "SELECT debit, credit, sum(amount_fen)::bigint FROM transfers
            WHERE card IS NULL AND kind IN ('single', 'post') GROUP BY debit, credit";
        single!(self, db, card_sums::totals(db, sql, params![]).await)
    }
}
