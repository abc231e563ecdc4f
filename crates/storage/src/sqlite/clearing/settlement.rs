//! Days of business on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tsm_domain::money::ledger::LedgerView as _;
use tsm_domain::money::reconciliation::{CardItem, Difference, EntryKind, LedgerItem};
use tsm_domain::money::settlement::{BusinessDay, Pair, Settlement, Volume};
use tsm_domain::money::{
    MoneyTotals, StatementKind, StatementLine, TransactionKey, TransactionType, Transfer,
};
use tsm_domain::{CardNumber, DifferenceId, Fen, InstitutionId, OrderId, TransferId};

use super::{ClearingSchema, Sqlite, View, book, card_sums, differences};
use crate::clearing::settlement::*;
use crate::clearing::{Books, Step};
use crate::error::{Result, StorageError};
use crate::sqlite::rows::{
    all, amount, body, fen, first, from_text, instant, limit, many, nanoseconds, one, run,
};

/// The tables.
pub(in crate::sqlite) const SETTLEMENT_2: &str = "
CREATE TABLE day_entries (
    bucket INTEGER NOT NULL, day INTEGER NOT NULL, reference BLOB NOT NULL, entry TEXT NOT NULL, id BLOB NOT NULL,
    card TEXT, amount_fen INTEGER NOT NULL,
    PRIMARY KEY (bucket, day, reference, entry, id)
) WITHOUT ROWID;
CREATE TABLE day_transactions (
    bucket INTEGER NOT NULL, day INTEGER NOT NULL, reference BLOB NOT NULL,
    card TEXT NOT NULL, counter INTEGER NOT NULL, kind INTEGER NOT NULL,
    amount_fen INTEGER NOT NULL, balance_after_fen INTEGER, terminal TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (bucket, day, reference, card, counter, kind)
) WITHOUT ROWID;
CREATE TABLE statement_lines (
    bucket INTEGER NOT NULL, day INTEGER NOT NULL, number INTEGER NOT NULL, reference BLOB NOT NULL,
    refund BLOB, payment TEXT NOT NULL, amount_fen INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (bucket, day, number)
) WITHOUT ROWID;
CREATE TABLE business_days (day INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE settlement_parts (
    day INTEGER NOT NULL, operator TEXT NOT NULL, issuer TEXT NOT NULL, bucket INTEGER NOT NULL,
    number INTEGER NOT NULL, gross_fen INTEGER NOT NULL,
    PRIMARY KEY (day, operator, issuer, bucket)
) WITHOUT ROWID;
CREATE TABLE settlements (
    day INTEGER NOT NULL, operator TEXT NOT NULL, issuer TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (day, operator, issuer)
) WITHOUT ROWID;
CREATE TRIGGER settlements_are_not_changed BEFORE UPDATE ON settlements
BEGIN SELECT raise(ABORT, 'a settlement is never changed'); END;
CREATE TRIGGER settlements_are_not_deleted BEFORE DELETE ON settlements
BEGIN SELECT raise(ABORT, 'a settlement is never deleted'); END;
CREATE TABLE settlement_files (
    day INTEGER NOT NULL, operator TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (day, operator, number)
) WITHOUT ROWID;
CREATE TABLE differences (
    id TEXT PRIMARY KEY, day INTEGER NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL, reference BLOB, card TEXT,
    ripens INTEGER, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX differences_in_order ON differences (day, id);
CREATE INDEX differences_of_reference ON differences (reference);
CREATE INDEX differences_waiting ON differences (ripens) WHERE state = 'waiting';
CREATE TABLE confirmed_payments (reference BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
";

fn count(column: i64) -> Result<u64> {
    u64::try_from(column).map_err(|error| StorageError::corrupt("count", error))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn volume(number: i64, gross: i64) -> Result<Volume> {
    Ok(Volume { number: count(number)?, gross: amount(gross)? })
}

/// Before every key.
const NOTHING: &[u8] = &[];

const FIRST_DAY: &str = "SELECT min(day) FROM (
    SELECT min(day) AS day FROM day_entries UNION ALL SELECT min(day) FROM day_transactions)";

fn last_closed(db: &Connection) -> Result<Option<BusinessDay>> {
    let found = first(db, "SELECT max(day) FROM business_days", [], |row| row.get::<_, Option<i64>>(0))?;
    found.flatten().map(day_of).transpose()
}

fn day_of(number: i64) -> Result<BusinessDay> {
    BusinessDay::from_number(number).map_err(|error| StorageError::corrupt("day", error))
}

fn place(db: &Connection, reference: OrderId, at: jiff::Timestamp) -> Result<Place> {
    Ok(Place { bucket: bucket_of(reference), day: open_day(at, last_closed(db)?) })
}

pub(super) fn bytes_of(reference: OrderId) -> [u8; 16] {
    reference.as_uuid().into_bytes()
}

fn order_of(bytes: [u8; 16]) -> OrderId {
    OrderId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

/// Puts a transfer on its day's sheet.
pub(super) fn enter(db: &Connection, transfer: &Transfer) -> Result<()> {
    match entry_of(transfer) {
        Some(entry) => put_entry(db, &entry, transfer.at),
        None => Ok(()),
    }
}

fn put_entry(db: &Connection, entry: &DayEntry, at: jiff::Timestamp) -> Result<()> {
    let place = place(db, entry.item.reference, at)?;
    let sql = "INSERT INTO day_entries (bucket, day, reference, entry, id, card, amount_fen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let item = &entry.item;
    let card = item.card.as_ref().map(CardNumber::as_str);
    let (reference, id) = (bytes_of(item.reference), entry.id.as_uuid().into_bytes());
    let name = item.entry.name();
    run(db, sql, params![place.bucket, place.day.number(), reference, name, id, card, fen(item.amount)?])?;
    Ok(())
}

/// Puts a card's transaction on its day's sheet.
pub(super) fn enter_transaction(
    db: &Connection,
    transaction: Option<(DayTransaction, jiff::Timestamp)>,
) -> Result<()> {
    let Some((row, received_at)) = transaction else { return Ok(()) };
    let place = place(db, row.item.reference, received_at)?;
    let sql = "INSERT INTO day_transactions
        (bucket, day, reference, card, counter, kind, amount_fen, balance_after_fen, terminal, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let key = row.item.key;
    run(
        db,
        sql,
        params![
            place.bucket,
            place.day.number(),
            bytes_of(row.item.reference),
            key.card.as_str(),
            key.counter,
            key.kind.to_byte(),
            fen(row.item.amount)?,
            row.balance_after.map(fen).transpose()?,
            row.terminal.to_string(),
            nanoseconds(row.at)
        ],
    )?;
    Ok(())
}

pub(super) fn transaction_type(byte: u8) -> Result<TransactionType> {
    TransactionType::from_byte(byte)
        .ok_or_else(|| StorageError::corrupt("transaction", format!("type {byte:02X}")))
}

// The columns of a row, before they become values.
type TransactionColumns = ([u8; 16], String, u16, u8, i64, Option<i64>, String, i64);

fn day_transaction(columns: TransactionColumns) -> Result<DayTransaction> {
    let (reference, card, counter, kind, fen, balance, terminal, at) = columns;
    let card: CardNumber = from_text("transaction", &card)?;
    let key = TransactionKey { card, counter, kind: transaction_type(kind)? };
    Ok(DayTransaction {
        item: CardItem { reference: order_of(reference), key, amount: amount(fen)? },
        balance_after: balance.map(amount).transpose()?,
        terminal: from_text("transaction", &terminal)?,
        at: instant(at)?,
    })
}

fn day_row(db: &Connection, day: BusinessDay) -> Result<Option<DayRow>> {
    one(db, "closed day", "SELECT body FROM business_days WHERE day = ?1", [day.number()])
}

fn put_day_row(db: &Connection, row: &DayRow) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO business_days (day, body) VALUES (?1, ?2)";
    run(db, sql, params![row.day.number(), body(row)?])?;
    Ok(())
}

/// Inserts unless the key is taken; a row that is taken by something else is a conflict.
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

type LineColumns = (i64, [u8; 16], Option<[u8; 16]>, String, i64, i64);

const LINE_COLUMNS: &str = "number, reference, refund, payment, amount_fen, at";

fn line_columns(row: &Row<'_>) -> rusqlite::Result<LineColumns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
}

fn statement_row((number, order, refund, payment, fen, at): LineColumns) -> Result<StatementRow> {
    let refund = refund.map(|bytes| TransferId::from_uuid(uuid::Uuid::from_bytes(bytes)));
    let line = StatementLine {
        order: order_of(order),
        payment: from_text("statement line", &payment)?,
        kind: refund.map_or(StatementKind::Paid, |refund| StatementKind::Refunded { refund }),
        amount: amount(fen)?,
        at: instant(at)?,
    };
    Ok(StatementRow { number: count(number)?, line })
}

fn put_line(db: &Connection, day: BusinessDay, row: &StatementRow) -> Result<()> {
    let line = &row.line;
    let bucket = bucket_of(line.order);
    let refund = match line.kind {
        StatementKind::Paid => None,
        StatementKind::Refunded { refund } => Some(refund.as_uuid().into_bytes()),
    };
    let sql = "INSERT OR IGNORE INTO statement_lines (bucket, day, number, reference, refund, payment, amount_fen, at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (order, payment) = (bytes_of(line.order), line.payment.as_str());
    let values = params![
        bucket,
        day.number(),
        signed(row.number),
        order,
        refund,
        payment,
        fen(line.amount)?,
        nanoseconds(line.at)
    ];
    if run(db, sql, values)? == 1 {
        return Ok(());
    }
    let sql =
        format!("SELECT {LINE_COLUMNS} FROM statement_lines WHERE bucket = ?1 AND day = ?2 AND number = ?3");
    let known = first(db, &sql, params![bucket, day.number(), signed(row.number)], line_columns)?;
    same_or_new(known.map(statement_row).transpose()?, row, "statement line", row.number).map(drop)
}

fn put_part(db: &Connection, day: BusinessDay, part: &SettlementPart) -> Result<()> {
    let key = params![day.number(), part.pair.operator.as_str(), part.pair.issuer.as_str(), part.bucket];
    let sql = "SELECT number, gross_fen FROM settlement_parts WHERE day = ?1 AND operator = ?2 AND issuer = ?3 AND bucket = ?4";
    let known = first(db, sql, key, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let known = known.map(|(number, gross)| volume(number, gross));
    if !same_or_new(known.transpose()?, &part.volume, "settlement part", part.bucket)? {
        return Ok(());
    }
    let sql = "INSERT INTO settlement_parts (day, operator, issuer, bucket, number, gross_fen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let Pair { operator, issuer } = &part.pair;
    let (operator, issuer) = (operator.as_str(), issuer.as_str());
    let Volume { number, gross } = part.volume;
    run(db, sql, params![day.number(), operator, issuer, part.bucket, signed(number), fen(gross)?])?;
    Ok(())
}

fn settle(db: &Connection, settlement: &Settlement, books: Books) -> Result<()> {
    let day = settlement.day.number();
    let Pair { operator, issuer } = &settlement.pair;
    let key = params![day, operator.as_str(), issuer.as_str()];
    let sql = "SELECT body FROM settlements WHERE day = ?1 AND operator = ?2 AND issuer = ?3";
    let known = one(db, "settlement", sql, key)?;
    if !same_or_new(known, settlement, "settlement", settlement.day)? {
        return Ok(());
    }
    book(db, Step::settled(settlement), books)?;
    let sql = "INSERT INTO settlements (day, operator, issuer, body) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![day, operator.as_str(), issuer.as_str(), body(settlement)?])?;
    Ok(())
}

fn put_file(db: &Connection, file: &SettlementFile) -> Result<()> {
    let key = params![file.day.number(), file.operator.as_str(), file.number];
    let sql = "SELECT body FROM settlement_files WHERE day = ?1 AND operator = ?2 AND number = ?3";
    if !same_or_new(one(db, "settlement file", sql, key)?, file, "settlement file", file.number)? {
        return Ok(());
    }
    let sql = "INSERT INTO settlement_files (day, operator, number, body) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![file.day.number(), file.operator.as_str(), file.number, body(file)?])?;
    Ok(())
}

#[async_trait]
impl Settlements for Sqlite<ClearingSchema> {
    async fn close_day(&self, day: BusinessDay, at: jiff::Timestamp) -> Result<DayRow> {
        self.write(move |db| {
            if let Some(known) = day_row(db, day)? {
                return Ok(known);
            }
            let row = DayRow::closed(day, at);
            put_day_row(db, &row)?;
            Ok(row)
        })
        .await
    }

    async fn day(&self, day: BusinessDay) -> Result<Option<DayRow>> {
        self.read(|db| day_row(db, day))
    }

    async fn days(&self, most: usize) -> Result<Vec<DayRow>> {
        let sql = "SELECT body FROM business_days ORDER BY day DESC LIMIT ?1";
        self.read(|db| many(db, "closed day", sql, [limit(most)]))
    }

    async fn first_day(&self) -> Result<Option<BusinessDay>> {
        self.read(|db| {
            let found = first(db, FIRST_DAY, [], |row| row.get::<_, Option<i64>>(0))?;
            found.flatten().map(day_of).transpose()
        })
    }

    async fn put_day(&self, row: DayRow) -> Result<()> {
        self.write(move |db| {
            day_row(db, row.day)?.ok_or_else(|| StorageError::unknown("closed day", row.day))?;
            put_day_row(db, &row)
        })
        .await
    }

    async fn day_transactions(
        &self,
        place: Place,
        after: Option<&CardItem>,
        most: usize,
    ) -> Result<Vec<DayTransaction>> {
        let sql = "SELECT reference, card, counter, kind, amount_fen, balance_after_fen, terminal, at
            FROM day_transactions
            WHERE bucket = ?1 AND day = ?2 AND (reference, card, counter, kind) > (?3, ?4, ?5, ?6)
            ORDER BY reference, card, counter, kind LIMIT ?7";
        let reference = after.map(|item| bytes_of(item.reference));
        let reference = reference.as_ref().map_or(NOTHING, |bytes| &bytes[..]);
        let card = after.map_or("", |item| item.key.card.as_str());
        let (counter, kind) = after.map_or((0, 0), |item| (item.key.counter, item.key.kind.to_byte()));
        let values = params![place.bucket, place.day.number(), reference, card, counter, kind, limit(most)];
        let read = |row: &Row<'_>| {
            let reference: [u8; 16] = row.get(0)?;
            let (card, counter, kind) = (row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((reference, card, counter, kind, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?))
        };
        let rows = self.read(|db| all(db, sql, values, read))?;
        rows.into_iter().map(day_transaction).collect()
    }

    async fn day_entries(
        &self,
        place: Place,
        after: Option<&DayEntry>,
        most: usize,
    ) -> Result<Vec<DayEntry>> {
        let sql = "SELECT reference, entry, id, card, amount_fen FROM day_entries
            WHERE bucket = ?1 AND day = ?2 AND (reference, entry, id) > (?3, ?4, ?5)
            ORDER BY reference, entry, id LIMIT ?6";
        let reference = after.map(|entry| bytes_of(entry.item.reference));
        let reference = reference.as_ref().map_or(NOTHING, |bytes| &bytes[..]);
        let name = after.map_or("", |entry| entry.item.entry.name());
        let id = after.map(|entry| entry.id.as_uuid().into_bytes());
        let id = id.as_ref().map_or(NOTHING, |bytes| &bytes[..]);
        let values = params![place.bucket, place.day.number(), reference, name, id, limit(most)];
        type Columns = ([u8; 16], String, [u8; 16], Option<String>, i64);
        let read = |row: &Row<'_>| -> rusqlite::Result<Columns> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let rows = self.read(|db| all(db, sql, values, read))?;
        let entry = |(reference, name, id, card, fen): Columns| {
            let entry = EntryKind::from_name(&name);
            let entry = entry.ok_or_else(|| StorageError::corrupt("sheet entry", name))?;
            let card = card.map(|card| from_text("sheet entry", &card)).transpose()?;
            let item = LedgerItem { reference: order_of(reference), entry, card, amount: amount(fen)? };
            Ok(DayEntry { item, id: TransferId::from_uuid(uuid::Uuid::from_bytes(id)) })
        };
        rows.into_iter().map(entry).collect()
    }

    async fn statement_lines(
        &self,
        place: Place,
        after: Option<&StatementRow>,
        most: usize,
    ) -> Result<Vec<StatementRow>> {
        let sql = format!(
            "SELECT {LINE_COLUMNS} FROM statement_lines
             WHERE bucket = ?1 AND day = ?2 AND (reference, number) > (?3, ?4)
             ORDER BY reference, number LIMIT ?5"
        );
        let reference = after.map(|row| bytes_of(row.line.order));
        let reference = reference.as_ref().map_or(NOTHING, |bytes| &bytes[..]);
        let number = after.map_or(0, |row| signed(row.number));
        let values = params![place.bucket, place.day.number(), reference, number, limit(most)];
        let rows = self.read(|db| all(db, &sql, values, line_columns))?;
        rows.into_iter().map(statement_row).collect()
    }

    async fn purchases(&self, place: Place) -> Result<Vec<TerminalVolume>> {
        let sql = "SELECT substr(card, 1, 8), terminal, count(*), sum(amount_fen) FROM day_transactions
            WHERE bucket = ?1 AND day = ?2 AND kind <> ?3 GROUP BY 1, 2 ORDER BY 1, 2";
        let read = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        };
        let values = params![place.bucket, place.day.number(), TransactionType::Load.to_byte()];
        let rows = self.read(|db| all(db, sql, values, read))?;
        let at_terminal = |(prefix, terminal, number, gross): (String, String, i64, i64)| {
            let terminal = from_text("transaction", &terminal)?;
            Ok(TerminalVolume { prefix, terminal, volume: volume(number, gross)? })
        };
        rows.into_iter().map(at_terminal).collect()
    }

    async fn put_statement(&self, day: BusinessDay, lines: Vec<StatementRow>) -> Result<()> {
        // In the order of the table: a page that several lines go to is written once and stays at hand.
        let mut lines = lines;
        lines.sort_by_key(|row| (bucket_of(row.line.order), row.number));
        self.write(move |db| lines.iter().try_for_each(|row| put_line(db, day, row))).await
    }

    async fn forget_statement(&self, place: Place, numbers: std::ops::Range<u64>) -> Result<()> {
        self.write(move |db| {
            may_forget(day_row(db, place.day)?.as_ref(), place, &numbers)?;
            let sql =
                "DELETE FROM statement_lines WHERE bucket = ?1 AND day = ?2 AND number >= ?3 AND number < ?4";
            let (from, to) = (signed(numbers.start), signed(numbers.end));
            run(db, sql, params![place.bucket, place.day.number(), from, to]).map(drop)
        })
        .await
    }

    async fn put_parts(&self, day: BusinessDay, parts: Vec<SettlementPart>) -> Result<()> {
        self.write(move |db| parts.iter().try_for_each(|part| put_part(db, day, part))).await
    }

    async fn parts(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementPart>> {
        let sql =
            "SELECT issuer, bucket, number, gross_fen FROM settlement_parts WHERE day = ?1 AND operator = ?2
            ORDER BY issuer, bucket";
        let read = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, u16>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        };
        let rows = self.read(|db| all(db, sql, params![day.number(), operator.as_str()], read))?;
        let part = |(issuer, bucket, number, gross): (String, u16, i64, i64)| {
            let pair = Pair { issuer: from_text("settlement part", &issuer)?, operator: operator.clone() };
            Ok(SettlementPart { bucket, pair, volume: volume(number, gross)? })
        };
        rows.into_iter().map(part).collect()
    }

    async fn pairs(&self, day: BusinessDay) -> Result<Vec<(Pair, Volume)>> {
        let sql = "SELECT operator, issuer, sum(number), sum(gross_fen) FROM settlement_parts WHERE day = ?1
            GROUP BY operator, issuer ORDER BY operator, issuer";
        let read = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, i64>(3)?,
            ))
        };
        let rows = self.read(|db| all(db, sql, [day.number()], read))?;
        let pair = |(operator, issuer, number, gross): (String, String, i64, i64)| {
            let text = |text: &str| from_text("settlement part", text);
            let pair = Pair { operator: text(&operator)?, issuer: text(&issuer)? };
            Ok((pair, volume(number, gross)?))
        };
        rows.into_iter().map(pair).collect()
    }

    async fn settle(&self, settlement: Settlement, books: Books) -> Result<()> {
        self.write(move |db| settle(db, &settlement, books)).await
    }

    async fn settlements(&self, day: BusinessDay) -> Result<Vec<Settlement>> {
        let sql = "SELECT body FROM settlements WHERE day = ?1 ORDER BY operator, issuer";
        self.read(|db| many(db, "settlement", sql, [day.number()]))
    }

    async fn put_files(&self, files: Vec<SettlementFile>) -> Result<()> {
        self.write(move |db| files.iter().try_for_each(|file| put_file(db, file))).await
    }

    async fn files(&self, day: BusinessDay, operator: &InstitutionId) -> Result<Vec<SettlementFile>> {
        let sql = "SELECT body FROM settlement_files WHERE day = ?1 AND operator = ?2 ORDER BY number";
        self.read(|db| many(db, "settlement file", sql, params![day.number(), operator.as_str()]))
    }

    async fn put_differences(&self, found: Vec<Difference>) -> Result<usize> {
        self.write(move |db| {
            found.iter().try_fold(0, |new, difference| Ok(new + differences::put(db, difference, "IGNORE")?))
        })
        .await
    }

    async fn difference(&self, id: DifferenceId) -> Result<Option<Difference>> {
        self.read(|db| differences::by_id(db, id))
    }

    async fn differences_of(&self, reference: OrderId) -> Result<Vec<Difference>> {
        let sql = "SELECT body FROM differences WHERE reference = ?1 ORDER BY day, id";
        self.read(|db| many(db, "difference", sql, [bytes_of(reference)]))
    }

    async fn differences(&self, query: &DifferenceQuery, most: usize) -> Result<Vec<Difference>> {
        self.read(|db| differences::list(db, query, most))
    }

    async fn change_difference(&self, before: &Difference, after: Difference, books: Books) -> Result<()> {
        let before = before.clone();
        self.write(move |db| differences::change(db, &before, &after, books)).await
    }

    async fn ripen(&self, day: BusinessDay) -> Result<usize> {
        let mut ripe = 0;
        loop {
            match self.write(move |db| differences::ripen(db, day)).await? {
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
        self.write(move |db| {
            let sql = "INSERT OR IGNORE INTO confirmed_payments (reference, at) VALUES (?1, ?2)";
            if run(db, sql, params![bytes_of(order), nanoseconds(at)])? == 0 {
                return Ok(false);
            }
            book(db, Step::default(), books)?;
            let entry = EntryKind::PaymentReported;
            let item = LedgerItem { reference: order, entry, card: Some(card), amount };
            put_entry(db, &DayEntry { item, id: TransferId::from_uuid(order.as_uuid()) }, at)?;
            Ok(true)
        })
        .await
    }

    async fn transfer_by_id(&self, id: TransferId) -> Result<Option<Transfer>> {
        self.read(|db| View(db).transfer(id))
    }

    async fn card_sums(&self, after: Option<CardNumber>, most: usize) -> Result<CardPage> {
        self.read(|db| card_sums::page(db, after, most))
    }

    async fn totals_of(&self, prefix: &str) -> Result<MoneyTotals> {
        // Card numbers are digits; a colon comes after all of them.
        let sql = "SELECT debit, credit, sum(amount_fen) FROM transfers
            WHERE card >= ?1 AND card < ?1 || ':' AND kind IN ('single', 'post') GROUP BY debit, credit";
        self.read(|db| card_sums::totals(db, sql, params![prefix]))
    }

    async fn lost_of(&self, prefix: &str) -> Result<MoneyTotals> {
        let sql = "SELECT debit, credit, sum(amount_fen) FROM transfers
            WHERE card IS NULL AND code IN ('payment_lost', 'refund_lost') AND order_id IN
                (SELECT order_id FROM transfers WHERE card >= ?1 AND card < ?1 || ':')
            GROUP BY debit, credit";
        self.read(|db| card_sums::totals(db, sql, params![prefix]))
    }

    async fn cardless_totals(&self) -> Result<MoneyTotals> {
        let sql = "SELECT debit, credit, sum(amount_fen) FROM transfers
            WHERE card IS NULL AND kind IN ('single', 'post') GROUP BY debit, credit";
        self.read(|db| card_sums::totals(db, sql, []))
    }
}
