//! The payment sandbox's store on SQLite.

pub(in crate::sqlite) mod purse;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tsm_domain::money::PaymentEvent;
use tsm_domain::{Fen, OrderId, PayerId, PaymentReference, TransferId};

use super::rows::{all, amount, body, fen, first, from_text, instant, limit, many, nanoseconds, one, run};
use super::shared::put_with;
use super::{PaymentSchema, Sqlite};
use crate::error::{Result, StorageError};
use crate::payment::*;
use crate::rules;
use crate::shared::Delivery;

fn order(db: &Connection, order: OrderId) -> Result<Option<PaymentRow>> {
    one(db, "payment order", "SELECT body FROM orders WHERE id = ?1", [order.to_string()])
}

fn known_order(db: &Connection, id: OrderId) -> Result<PaymentRow> {
    order(db, id)?.ok_or_else(|| StorageError::unknown("payment order", id))
}

fn save(db: &Connection, row: PaymentRow, notifications: &[Delivery]) -> Result<PaymentRow> {
    run(
        db,
        "INSERT OR REPLACE INTO orders (id, amount_fen, paid_at, open_until, waits_for, created_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.order.order.to_string(),
            fen(row.order.amount)?,
            row.paid_at.map(nanoseconds),
            row.open_until().map(nanoseconds),
            row.waits_for().map(|payer| payer.to_string()),
            nanoseconds(row.created_at),
            body(&row)?
        ],
    )?;
    put_with(db, notifications, Vec::new(), &[])?;
    Ok(row)
}

/// What was added to the tables.
pub(in crate::sqlite) const PAYMENT_2: &str = "
ALTER TABLE orders ADD COLUMN open_until INTEGER;
CREATE INDEX orders_open ON orders (open_until, id) WHERE open_until IS NOT NULL;
CREATE INDEX refunds_by_time ON refunds (at, id);
";

type RefundColumns = (String, String, i64, i64);

fn read_refund(row: &Row<'_>) -> rusqlite::Result<RefundColumns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn parse_refund((id, order, amount_fen, at): RefundColumns) -> Result<Refund> {
    Ok(Refund {
        id: from_text("refund", &id)?,
        order: from_text("refund", &order)?,
        amount: amount(amount_fen)?,
        at: instant(at)?,
    })
}

fn known_refund(db: &Connection, id: TransferId) -> Result<Option<Refund>> {
    let sql = "SELECT id, order_id, amount_fen, at FROM refunds WHERE id = ?1";
    first(db, sql, [id.to_string()], read_refund)?.map(parse_refund).transpose()
}

fn pay_back(db: &Connection, refund: &Refund, notifications: &[Delivery]) -> Result<PaymentRow> {
    let row = known_order(db, refund.order)?;
    if let Some(known) = known_refund(db, refund.id)? {
        return check_same_refund(&known, refund).map(|()| row);
    }
    let moved = rules::moved_payment(row, PaymentEvent::Refund(refund.amount))?;
    put_refund(db, refund)?;
    save(db, moved, notifications)
}

fn put_refund(db: &Connection, refund: &Refund) -> Result<()> {
    run(
        db,
        "INSERT INTO refunds (id, order_id, amount_fen, at) VALUES (?1, ?2, ?3, ?4)",
        params![refund.id.to_string(), refund.order.to_string(), fen(refund.amount)?, nanoseconds(refund.at)],
    )?;
    Ok(())
}

#[async_trait]
impl PaymentStore for Sqlite<PaymentSchema> {
    async fn create_order(&self, row: PaymentRow) -> Result<PaymentRow> {
        self.write(move |db| {
            if let Some(known) = order(db, row.order.order)? {
                return rules::check_same_payment_order(&known, &row).map(|()| known);
            }
            save(db, row, &[])
        })
        .await
    }

    async fn order(&self, id: OrderId) -> Result<Option<PaymentRow>> {
        self.read(|db| order(db, id))
    }

    async fn pay(
        &self,
        id: OrderId,
        payer: PayerId,
        payment: PaymentReference,
        amount: Fen,
        at: jiff::Timestamp,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow> {
        self.write(move |db| {
            let before = known_order(db, id)?;
            let moved = rules::moved_payment(before.clone(), PaymentEvent::Paid { payment, amount })?;
            if moved == before {
                return Ok(moved);
            }
            save(db, PaymentRow { payer: Some(payer), paid_at: Some(at), ..moved }, &notifications)
        })
        .await
    }

    async fn close_order(&self, id: OrderId, at: jiff::Timestamp) -> Result<PaymentRow> {
        self.write(move |db| save(db, rules::closed_payment(known_order(db, id)?, at)?, &[])).await
    }

    async fn refund(&self, refund: Refund, notifications: Vec<Delivery>) -> Result<PaymentRow> {
        self.write(move |db| pay_back(db, &refund, &notifications)).await
    }

    async fn refunds_of(&self, id: OrderId) -> Result<Vec<Refund>> {
        let sql = "SELECT id, order_id, amount_fen, at FROM refunds WHERE order_id = ?1 ORDER BY at, id";
        let rows = self.read(|db| all(db, sql, [id.to_string()], read_refund))?;
        rows.into_iter().map(parse_refund).collect()
    }

    async fn paid_between(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<Vec<PaymentRow>> {
        let sql = "SELECT body FROM orders WHERE paid_at >= ?1 AND paid_at < ?2 ORDER BY paid_at, id";
        self.read(|db| many(db, "payment order", sql, params![nanoseconds(from), nanoseconds(to)]))
    }

    async fn refunds_between(
        &self,
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<Vec<(Refund, PaymentRow)>> {
        let sql =
            "SELECT id, order_id, amount_fen, at FROM refunds WHERE at >= ?1 AND at < ?2 ORDER BY at, id";
        self.read(|db| {
            let rows = all(db, sql, params![nanoseconds(from), nanoseconds(to)], read_refund)?;
            let rows = rows.into_iter().map(|row| {
                let refund = parse_refund(row)?;
                let order = known_order(db, refund.order)?;
                Ok((refund, order))
            });
            rows.collect()
        })
    }

    async fn pay_after_close(
        &self,
        payer: PayerId,
        payment: PaymentReference,
        refund: Refund,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow> {
        self.write(move |db| {
            let row = known_order(db, refund.order)?;
            if let Some(known) = known_refund(db, refund.id)? {
                return check_same_refund(&known, &refund).map(|()| row);
            }
            let moved = rules::paid_after_close(row, payer, payment, refund.at)?;
            put_refund(db, &refund)?;
            save(db, moved, &notifications)
        })
        .await
    }

    async fn expired_orders(&self, now: jiff::Timestamp, most: usize) -> Result<Vec<OrderId>> {
        let sql = "SELECT id FROM orders WHERE open_until <= ?1 ORDER BY open_until, id LIMIT ?2";
        let rows = self
            .read(|db| all(db, sql, params![nanoseconds(now), limit(most)], |row| row.get::<_, String>(0)))?;
        rows.iter().map(|id| from_text("payment order", id)).collect()
    }

    async fn next_expiry(&self) -> Result<Option<jiff::Timestamp>> {
        let sql =
            "SELECT open_until FROM orders WHERE open_until IS NOT NULL ORDER BY open_until, id LIMIT 1";
        self.read(|db| first(db, sql, [], |row| row.get::<_, i64>(0)))?.map(instant).transpose()
    }
}
