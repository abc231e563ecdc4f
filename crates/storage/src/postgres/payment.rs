//! The payment sandbox's store on PostgreSQL.

pub(in crate::postgres) mod purse;

use async_trait::async_trait;
use tokio_postgres::Row;
use tsm_domain::money::PaymentEvent;
use tsm_domain::{Fen, OrderId, PayerId, PaymentReference, TransferId};

use super::database::{Db, single, step};
use super::rows::{
    all, amount, body, column, fen, first, from_text, instant, limit, many, nanoseconds, one, params, parse,
    run,
};
use super::shared::put_with;
use super::{PaymentTables, Postgres};
use crate::error::{Result, StorageError};
use crate::payment::*;
use crate::rules;
use crate::shared::Delivery;

async fn order(db: &Db<'_>, order: OrderId) -> Result<Option<PaymentRow>> {
    one(db, "payment order", "SELECT body FROM orders WHERE id = $1", params![order.to_string()]).await
}

async fn known_order(db: &Db<'_>, id: OrderId) -> Result<PaymentRow> {
    order(db, id).await?.ok_or_else(|| StorageError::unknown("payment order", id))
}

async fn save(db: &Db<'_>, row: PaymentRow, notifications: &[Delivery]) -> Result<PaymentRow> {
    run(
        db,
        "INSERT INTO orders (id, amount_fen, paid_at, open_until, waits_for, created_at, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET amount_fen = excluded.amount_fen, paid_at = excluded.paid_at,
             open_until = excluded.open_until, waits_for = excluded.waits_for, body = excluded.body",
        params![
            row.order.order.to_string(),
            fen(row.order.amount)?,
            row.paid_at.map(nanoseconds),
            row.open_until().map(nanoseconds),
            row.waits_for().map(|payer| payer.to_string()),
            nanoseconds(row.created_at),
            body(&row)?
        ],
    )
    .await?;
    put_with(db, notifications, &[], &[]).await?;
    Ok(row)
}

/// What was added to the tables.
pub(in crate::postgres) const PAYMENT_2: &str = "
ALTER TABLE orders ADD COLUMN open_until BIGINT;
CREATE INDEX orders_open ON orders (open_until, id) WHERE open_until IS NOT NULL;
CREATE INDEX refunds_by_time ON refunds (at, id);
";

type RefundColumns = (String, String, i64, i64);

fn read_refund(row: &Row) -> Result<RefundColumns> {
    Ok((column(row, 0)?, column(row, 1)?, column(row, 2)?, column(row, 3)?))
}

fn parse_refund((id, order, amount_fen, at): RefundColumns) -> Result<Refund> {
    Ok(Refund {
        id: from_text("refund", &id)?,
        order: from_text("refund", &order)?,
        amount: amount(amount_fen)?,
        at: instant(at)?,
    })
}

async fn known_refund(db: &Db<'_>, id: TransferId) -> Result<Option<Refund>> {
    let sql = "SELECT id, order_id, amount_fen, at FROM refunds WHERE id = $1";
    first(db, sql, params![id.to_string()], read_refund).await?.map(parse_refund).transpose()
}

async fn pay_back(db: &Db<'_>, refund: &Refund, notifications: &[Delivery]) -> Result<PaymentRow> {
    let row = known_order(db, refund.order).await?;
    if let Some(known) = known_refund(db, refund.id).await? {
        return check_same_refund(&known, refund).map(|()| row);
    }
    let moved = rules::moved_payment(row, PaymentEvent::Refund(refund.amount))?;
    put_refund(db, refund).await?;
    save(db, moved, notifications).await
}

async fn put_refund(db: &Db<'_>, refund: &Refund) -> Result<()> {
    run(
        db,
        "INSERT INTO refunds (id, order_id, amount_fen, at) VALUES ($1, $2, $3, $4)",
        params![refund.id.to_string(), refund.order.to_string(), fen(refund.amount)?, nanoseconds(refund.at)],
    )
    .await?;
    Ok(())
}

#[async_trait]
impl PaymentStore for Postgres<PaymentTables> {
    async fn create_order(&self, row: PaymentRow) -> Result<PaymentRow> {
        step!(self, db, {
            if let Some(known) = order(db, row.order.order).await? {
                return rules::check_same_payment_order(&known, &row).map(|()| known);
            }
            save(db, row.clone(), &[]).await
        })
    }

    async fn order(&self, id: OrderId) -> Result<Option<PaymentRow>> {
        single!(self, db, order(db, id).await)
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
        step!(self, db, {
            let before = known_order(db, id).await?;
            let moved = rules::moved_payment(
                before.clone(),
                PaymentEvent::Paid { payment: payment.clone(), amount },
            )?;
            if moved == before {
                return Ok(moved);
            }
            save(db, PaymentRow { payer: Some(payer.clone()), paid_at: Some(at), ..moved }, &notifications)
                .await
        })
    }

    async fn close_order(&self, id: OrderId, at: jiff::Timestamp) -> Result<PaymentRow> {
        step!(self, db, save(db, rules::closed_payment(known_order(db, id).await?, at)?, &[]).await)
    }

    async fn refund(&self, refund: Refund, notifications: Vec<Delivery>) -> Result<PaymentRow> {
        step!(self, db, pay_back(db, &refund, &notifications).await)
    }

    async fn refunds_of(&self, id: OrderId) -> Result<Vec<Refund>> {
        let sql = "SELECT id, order_id, amount_fen, at FROM refunds WHERE order_id = $1 ORDER BY at, id";
        let rows = single!(self, db, all(db, sql, params![id.to_string()], read_refund).await)?;
        rows.into_iter().map(parse_refund).collect()
    }

    async fn paid_between(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<Vec<PaymentRow>> {
        let sql = "SELECT body FROM orders WHERE paid_at >= $1 AND paid_at < $2 ORDER BY paid_at, id";
        single!(self, db, many(db, "payment order", sql, params![nanoseconds(from), nanoseconds(to)]).await)
    }

    async fn refunds_between(
        &self,
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<Vec<(Refund, PaymentRow)>> {
        let sql = "SELECT r.id, r.order_id, r.amount_fen, r.at, o.body FROM refunds r
                   JOIN orders o ON o.id = r.order_id WHERE r.at >= $1 AND r.at < $2 ORDER BY r.at, r.id";
        let read = |row: &Row| Ok((read_refund(row)?, column::<String>(row, 4)?));
        let rows = single!(self, db, all(db, sql, params![nanoseconds(from), nanoseconds(to)], read).await)?;
        let rows = rows.into_iter().map(|(refund, order)| {
            Ok((parse_refund(refund)?, parse::<PaymentRow>("payment order", &order)?))
        });
        rows.collect()
    }

    async fn pay_after_close(
        &self,
        payer: PayerId,
        payment: PaymentReference,
        refund: Refund,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow> {
        step!(self, db, {
            let row = known_order(db, refund.order).await?;
            if let Some(known) = known_refund(db, refund.id).await? {
                return check_same_refund(&known, &refund).map(|()| row);
            }
            let moved = rules::paid_after_close(row, payer.clone(), payment.clone(), refund.at)?;
            put_refund(db, &refund).await?;
            save(db, moved, &notifications).await
        })
    }

    async fn expired_orders(&self, now: jiff::Timestamp, most: usize) -> Result<Vec<OrderId>> {
        let sql = "SELECT id FROM orders WHERE open_until <= $1 ORDER BY open_until, id LIMIT $2";
        let read = |row: &Row| column::<String>(row, 0);
        let rows = single!(self, db, all(db, sql, params![nanoseconds(now), limit(most)], read).await)?;
        rows.iter().map(|id| from_text("payment order", id)).collect()
    }

    async fn next_expiry(&self) -> Result<Option<jiff::Timestamp>> {
        let sql =
            "SELECT open_until FROM orders WHERE open_until IS NOT NULL ORDER BY open_until, id LIMIT 1";
        let read = |row: &Row| column::<i64>(row, 0);
        single!(self, db, first(db, sql, params![], read).await)?.map(instant).transpose()
    }
}
