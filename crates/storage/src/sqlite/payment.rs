//! The payment sandbox's store on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use tsm_domain::money::PaymentEvent;
use tsm_domain::{Fen, OrderId, PayerId, PaymentReference, TransferId};

use super::rows::{all, amount, body, fen, first, from_text, instant, many, nanoseconds, one, run};
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
        "INSERT OR REPLACE INTO orders (id, amount_fen, paid_at, body) VALUES (?1, ?2, ?3, ?4)",
        params![
            row.order.order.to_string(),
            fen(row.order.amount)?,
            row.paid_at.map(nanoseconds),
            body(&row)?
        ],
    )?;
    put_with(db, notifications, Vec::new(), &[])?;
    Ok(row)
}

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
    run(
        db,
        "INSERT INTO refunds (id, order_id, amount_fen, at) VALUES (?1, ?2, ?3, ?4)",
        params![refund.id.to_string(), refund.order.to_string(), fen(refund.amount)?, nanoseconds(refund.at)],
    )?;
    save(db, moved, notifications)
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
}
