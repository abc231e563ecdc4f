//! The payment sandbox's store in memory.

mod purse;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tsm_domain::money::{PaymentEvent, PurseCard};
use tsm_domain::{CardNumber, Fen, OrderId, PayerId, PaymentReference, TransferId};

use super::Memory;
use super::shared::{Shared, has_shared};
use crate::error::{Result, StorageError};
use crate::payment::*;
use crate::rules;
use crate::shared::Delivery;

/// What the payment sandbox keeps.
#[derive(Debug, Default)]
pub struct PaymentState {
    shared: Shared,
    orders: BTreeMap<OrderId, PaymentRow>,
    refunds: BTreeMap<TransferId, Refund>,
    open: BTreeSet<(jiff::Timestamp, OrderId)>,
    cards: BTreeMap<CardNumber, PurseCard>,
}

has_shared!(PaymentState);

impl PaymentState {
    fn order(&self, order: OrderId) -> Result<PaymentRow> {
        self.orders.get(&order).cloned().ok_or_else(|| StorageError::unknown("payment order", order))
    }

    fn save(&mut self, row: PaymentRow, notifications: Vec<Delivery>) -> PaymentRow {
        self.open.remove(&(row.expires_at, row.order.order));
        if let Some(until) = row.open_until() {
            self.open.insert((until, row.order.order));
        }
        self.orders.insert(row.order.order, row.clone());
        self.shared.put_with(notifications, Vec::new(), Vec::new());
        row
    }
}

#[async_trait]
impl PaymentStore for Memory<PaymentState> {
    async fn create_order(&self, row: PaymentRow) -> Result<PaymentRow> {
        self.write(|state| {
            if let Some(known) = state.orders.get(&row.order.order) {
                rules::check_same_payment_order(known, &row)?;
                return Ok(known.clone());
            }
            Ok(state.save(row, Vec::new()))
        })
    }

    async fn order(&self, order: OrderId) -> Result<Option<PaymentRow>> {
        self.read(|state| Ok(state.orders.get(&order).cloned()))
    }

    async fn pay(
        &self,
        order: OrderId,
        payer: PayerId,
        payment: PaymentReference,
        amount: Fen,
        at: jiff::Timestamp,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow> {
        self.write(|state| {
            let before = state.order(order)?;
            let moved = rules::moved_payment(before.clone(), PaymentEvent::Paid { payment, amount })?;
            if moved == before {
                return Ok(moved);
            }
            Ok(state.save(PaymentRow { payer: Some(payer), paid_at: Some(at), ..moved }, notifications))
        })
    }

    async fn close_order(&self, order: OrderId, at: jiff::Timestamp) -> Result<PaymentRow> {
        self.write(|state| {
            let closed = rules::closed_payment(state.order(order)?, at)?;
            Ok(state.save(closed, Vec::new()))
        })
    }

    async fn refund(&self, refund: Refund, notifications: Vec<Delivery>) -> Result<PaymentRow> {
        self.write(|state| {
            let row = state.order(refund.order)?;
            if let Some(known) = state.refunds.get(&refund.id) {
                return check_same_refund(known, &refund).map(|()| row);
            }
            let moved = rules::moved_payment(row, PaymentEvent::Refund(refund.amount))?;
            state.refunds.insert(refund.id, refund);
            Ok(state.save(moved, notifications))
        })
    }

    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>> {
        self.read(|state| {
            let mut found: Vec<_> =
                state.refunds.values().filter(|refund| refund.order == order).cloned().collect();
            found.sort_by_key(|refund| (refund.at, refund.id));
            Ok(found)
        })
    }

    async fn paid_between(&self, from: jiff::Timestamp, to: jiff::Timestamp) -> Result<Vec<PaymentRow>> {
        self.read(|state| {
            let in_time = |row: &&PaymentRow| row.paid_at.is_some_and(|at| from <= at && at < to);
            let mut found: Vec<_> = state.orders.values().filter(in_time).cloned().collect();
            found.sort_by_key(|row| (row.paid_at, row.order.order));
            Ok(found)
        })
    }

    async fn refunds_between(
        &self,
        from: jiff::Timestamp,
        to: jiff::Timestamp,
    ) -> Result<Vec<(Refund, PaymentRow)>> {
        self.read(|state| {
            let in_time = |refund: &&Refund| from <= refund.at && refund.at < to;
            let mut found: Vec<_> = state.refunds.values().filter(in_time).cloned().collect();
            found.sort_by_key(|refund| (refund.at, refund.id));
            found.into_iter().map(|refund| Ok((refund.clone(), state.order(refund.order)?))).collect()
        })
    }

    async fn pay_after_close(
        &self,
        payer: PayerId,
        payment: PaymentReference,
        refund: Refund,
        notifications: Vec<Delivery>,
    ) -> Result<PaymentRow> {
        self.write(|state| {
            let row = state.order(refund.order)?;
            if let Some(known) = state.refunds.get(&refund.id) {
                return check_same_refund(known, &refund).map(|()| row);
            }
            let moved = rules::paid_after_close(row, payer, payment, refund.at)?;
            state.refunds.insert(refund.id, refund);
            Ok(state.save(moved, notifications))
        })
    }

    async fn expired_orders(&self, now: jiff::Timestamp, limit: usize) -> Result<Vec<OrderId>> {
        self.read(|state| {
            let over = state.open.iter().take_while(|(until, _)| *until <= now);
            Ok(over.map(|(_, order)| *order).take(limit).collect())
        })
    }

    async fn next_expiry(&self) -> Result<Option<jiff::Timestamp>> {
        self.read(|state| Ok(state.open.first().map(|(until, _)| *until)))
    }
}
