//! The SP-TSM's store on SQLite.

pub(super) mod arrivals;
pub(super) mod desk;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, ProvenPurse};
use tsm_domain::money::{Attempt, Evidence, ProvenObservation, Resolution, Tac, TopUp};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::{
    CardNumber, ConversationId, Fen, OperationId, OrderId, PaymentReference, SeId, TerminalNumber,
};
use tsm_iso7816::Aid;

use super::rows::{body, fen, first, from_text, limit, many, nanoseconds, one, run};
use super::shared::{check_fence, end, put_with};
use super::{SpTsmSchema, Sqlite};
use crate::error::{Result, StorageError};
use crate::rules;
use crate::shared::Fence;
use crate::sp_tsm::arrivals::{check_arrival_follows, check_comes_back};
use crate::sp_tsm::*;

const fn purpose(to: ConsentTo) -> &'static str {
    match to {
        ConsentTo::Download => "download",
        ConsentTo::Deletion => "deletion",
        ConsentTo::Absence => "absence",
    }
}

fn store_with(db: &Connection, with: With) -> Result<()> {
    put_with(db, &with.deliveries, with.notes, &with.incidents)
}

fn consent(db: &Connection, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>> {
    let sql = "SELECT body FROM consents WHERE conversation = ?1 AND purpose = ?2";
    one(db, "consent", sql, params![conversation.to_string(), purpose(to)])
}

fn put_consent(db: &Connection, consent: &Consent) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO consents (conversation, purpose, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![consent.conversation.to_string(), purpose(consent.to), body(consent)?])?;
    Ok(())
}

fn card(db: &Connection, card: CardNumber) -> Result<Option<CardRecord>> {
    one(db, "card", "SELECT body FROM cards WHERE card = ?1", [card.as_str()])
}

fn known_card(db: &Connection, number: CardNumber) -> Result<CardRecord> {
    card(db, number)?.ok_or_else(|| StorageError::unknown("card", number))
}

fn put_card(db: &Connection, card: &CardRecord) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO cards (card, se, body) VALUES (?1, ?2, ?3)";
    run(db, sql, params![card.card.as_str(), card.se.to_string(), body(card)?])?;
    Ok(())
}

fn card_order(db: &Connection, order: OrderId) -> Result<Option<CardOrder>> {
    one(db, "card order", "SELECT body FROM card_orders WHERE id = ?1", [order.to_string()])
}

fn put_card_order(db: &Connection, order: &CardOrder) -> Result<()> {
    let open = !matches!(order.state, CardOrderState::Told | CardOrderState::GivenUp);
    run(
        db,
        "INSERT INTO card_orders (id, card, se, application, created_at, open, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET card = ?2, se = ?3, application = ?4, created_at = ?5, open = ?6, body = ?7",
        params![
            order.order.to_string(),
            order.card.as_str(),
            order.se.to_string(),
            order.application.to_string(),
            nanoseconds(order.created_at),
            open,
            body(order)?
        ],
    )?;
    Ok(())
}

fn order_card(db: &Connection, order: CardOrder, with: With) -> Result<CardOrdered> {
    if let Some(known) = card_order(db, order.order)? {
        return Ok(CardOrdered::Accepted(known));
    }
    let ordered = first(db, "SELECT 1 FROM card_orders WHERE card = ?1", [order.card.as_str()], |_| Ok(()))?;
    if ordered.is_some() || card(db, order.card)?.is_some() {
        return Ok(CardOrdered::NumberTaken);
    }
    put_card_order(db, &order)?;
    if let Some(number) = &order.number {
        arrivals::put_holder(db, order.card, number)?;
    }
    store_with(db, with)?;
    Ok(CardOrdered::Accepted(order))
}

fn top_up(db: &Connection, order: OrderId) -> Result<Option<TopUpOrder>> {
    one(db, "top-up order", "SELECT body FROM top_ups WHERE id = ?1", [order.to_string()])
}

fn known_top_up(db: &Connection, order: OrderId) -> Result<TopUpOrder> {
    top_up(db, order)?.ok_or_else(|| StorageError::unknown("top-up order", order))
}

/// What was added to the tables.
pub(in crate::sqlite) const UNPAID_2: &str = "
ALTER TABLE top_ups ADD COLUMN unpaid INTEGER NOT NULL DEFAULT 0;
UPDATE top_ups SET unpaid = 1 WHERE json_extract(body, '$.state') = 'AwaitingPayment';
CREATE INDEX top_ups_unpaid ON top_ups (created_at, id) WHERE unpaid = 1;
";

/// Which payment paid which order. Where old files say that one paid two, the first stands.
pub(in crate::sqlite) const PAYMENTS_6: &str = "
CREATE TABLE top_up_payments (payment TEXT PRIMARY KEY, top_up TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO top_up_payments (payment, top_up)
    SELECT json_extract(body, '$.state.Paid.payment'), id FROM top_ups
    WHERE json_extract(body, '$.state.Paid.payment') IS NOT NULL
    ORDER BY created_at, id ON CONFLICT (payment) DO NOTHING;
";

fn order_paid_by(db: &Connection, payment: &PaymentReference) -> Result<Option<OrderId>> {
    let sql = "SELECT top_up FROM top_up_payments WHERE payment = ?1";
    let found = first(db, sql, [payment.as_str()], |row| row.get::<_, String>(0))?;
    found.map(|text| from_text("order", &text)).transpose()
}

fn put_payment(db: &Connection, payment: &PaymentReference, order: OrderId) -> Result<()> {
    let sql = "INSERT INTO top_up_payments (payment, top_up) VALUES (?1, ?2)";
    run(db, sql, params![payment.as_str(), order.to_string()])?;
    Ok(())
}

fn put_top_up(db: &Connection, order: &TopUpOrder) -> Result<()> {
    run(
        db,
        "INSERT INTO top_ups (id, card, amount_fen, created_at, open, body, unpaid)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET open = ?5, body = ?6, unpaid = ?7",
        params![
            order.order.to_string(),
            order.card.as_str(),
            fen(order.amount)?,
            nanoseconds(order.created_at),
            order.is_open(),
            body(order)?,
            order.state == TopUpOrderState::AwaitingPayment,
        ],
    )?;
    Ok(())
}

fn open_top_ups(db: &Connection, card: CardNumber) -> Result<Vec<TopUpOrder>> {
    let sql = "SELECT body FROM top_ups WHERE card = ?1 AND open = 1 ORDER BY created_at, id";
    many(db, "top-up order", sql, [card.as_str()])
}

// An order, its top-up and its card, for a step under a fence.
fn for_step(db: &Connection, fence: Fence, order: OrderId) -> Result<(TopUpOrder, TopUp, CardRecord)> {
    check_fence(db, fence)?;
    let row = known_top_up(db, order)?;
    let card = known_card(db, row.card)?;
    rules::check_card_on(&card, fence)?;
    let top_up = rules::paid(&row)?;
    Ok((row, top_up, card))
}

fn save(
    db: &Connection,
    row: TopUpOrder,
    moved: &TopUp,
    card: Option<&CardRecord>,
    with: With,
) -> Result<()> {
    put_top_up(db, &rules::with_stage(row, moved))?;
    if let Some(card) = card {
        put_card(db, card)?;
    }
    store_with(db, with)
}

fn last_attempt(db: &Connection, card: CardNumber) -> Result<Option<(u32, TerminalNumber)>> {
    let sql = "SELECT count, terminal FROM attempts WHERE card = ?1";
    let found = first(db, sql, [card.as_str()], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, String>(1)?)))?;
    found.map(|(count, text)| Ok((count, from_text("terminal number", &text)?))).transpose()
}

fn next_terminal_number(db: &Connection, card: CardNumber, station: u16) -> Result<TerminalNumber> {
    let count = last_attempt(db, card)?.map_or(0, |(count, _)| count) + 1;
    let exhausted = |error: tsm_domain::IdError| StorageError::conflict("terminal number", error);
    let terminal = TerminalNumber::for_attempt(station, count).map_err(exhausted)?;
    let sql = "INSERT OR REPLACE INTO attempts (card, count, terminal) VALUES (?1, ?2, ?3)";
    run(db, sql, params![card.as_str(), count, terminal.to_string()])?;
    Ok(terminal)
}

fn commit(db: &Connection, fence: Fence, change: SpChange) -> Result<()> {
    check_fence(db, fence)?;
    for next in &change.cards {
        let stored = card(db, next.card)?;
        rules::check_card_follows(stored.as_ref(), next)?;
        check_comes_back(stored.as_ref(), next, &change.arrivals)?;
        put_card(db, next)?;
    }
    for next in &change.orders {
        rules::check_order_follows(card_order(db, next.order)?.as_ref(), next)?;
        put_card_order(db, next)?;
    }
    for next in &change.arrivals {
        check_arrival_follows(arrivals::arrival(db, next.operation)?.as_ref(), next)?;
        arrivals::put_arrival(db, next)?;
    }
    for domain in &change.domains {
        let sql = "INSERT OR REPLACE INTO domains_on_se (se, domain, body) VALUES (?1, ?2, ?3)";
        run(db, sql, params![fence.se.to_string(), domain.aid.to_string(), body(domain)?])?;
    }
    put_with(db, &change.deliveries, change.notes, &change.incidents)?;
    match change.end {
        Some(ended) => end(db, fence, ended),
        None => Ok(()),
    }
}

#[async_trait]
impl SpTsmStore for Sqlite<SpTsmSchema> {
    async fn record_consent(&self, new: Consent) -> Result<Consent> {
        self.write(move |db| {
            if let Some(known) = consent(db, new.conversation, new.to)? {
                return Ok(known);
            }
            put_consent(db, &new)?;
            Ok(new)
        })
        .await
    }

    async fn consent(&self, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>> {
        self.read(|db| consent(db, conversation, to))
    }

    async fn report_result(
        &self,
        conversation: ConversationId,
        to: ConsentTo,
        result: String,
        with: With,
    ) -> Result<()> {
        self.write(move |db| {
            let known = consent(db, conversation, to)?
                .ok_or_else(|| StorageError::unknown("consent", conversation))?;
            if known.result.is_some() {
                return Ok(());
            }
            put_consent(db, &Consent { result: Some(result), ..known })?;
            store_with(db, with)
        })
        .await
    }

    async fn order_card(&self, order: CardOrder, with: With) -> Result<CardOrdered> {
        self.write(move |db| order_card(db, order, with)).await
    }

    async fn card_order(&self, order: OrderId) -> Result<Option<CardOrder>> {
        self.read(|db| card_order(db, order))
    }

    async fn open_card_order(&self, se: SeId, application: Aid) -> Result<Option<CardOrder>> {
        let sql = "SELECT body FROM card_orders WHERE se = ?1 AND application = ?2 AND open = 1
                   ORDER BY created_at DESC, id DESC LIMIT 1";
        self.read(|db| one(db, "card order", sql, params![se.to_string(), application.to_string()]))
    }

    async fn commit(&self, fence: Fence, change: SpChange) -> Result<()> {
        self.write(move |db| commit(db, fence, change)).await
    }

    async fn card(&self, number: CardNumber) -> Result<Option<CardRecord>> {
        self.read(|db| card(db, number))
    }

    async fn cards_on(&self, se: SeId) -> Result<Vec<CardRecord>> {
        let sql = "SELECT body FROM cards WHERE se = ?1 ORDER BY card";
        self.read(|db| many(db, "card", sql, [se.to_string()]))
    }

    async fn cards(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<CardRecord>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM cards WHERE card > ?1 ORDER BY card LIMIT ?2";
        self.read(|db| many(db, "card", sql, params![after, limit(most)]))
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        let sql = "SELECT body FROM domains_on_se WHERE se = ?1 ORDER BY domain";
        self.read(|db| many(db, "domain on an SE", sql, [se.to_string()]))
    }

    async fn card_told(&self, order: OrderId) -> Result<CardOrder> {
        self.write(move |db| {
            let row = card_order(db, order)?.ok_or_else(|| StorageError::unknown("card order", order))?;
            let state = row.state.moved_to(CardOrderState::Told)?;
            let told = CardOrder { state, ..row };
            put_card_order(db, &told)?;
            Ok(told)
        })
        .await
    }

    async fn card_closing_told(
        &self,
        card: CardNumber,
        operation: OperationId,
        with: With,
    ) -> Result<CardRecord> {
        self.write(move |db| {
            let row = known_card(db, card)?;
            let Some(told) = rules::closing_told(&row, operation)? else { return Ok(row) };
            put_card(db, &told)?;
            store_with(db, with)?;
            Ok(told)
        })
        .await
    }

    async fn set_frozen(&self, number: CardNumber, reason: Option<String>, with: With) -> Result<()> {
        self.write(move |db| {
            let open = open_top_ups(db, number)?;
            put_card(db, &rules::frozen(known_card(db, number)?, reason, &open))?;
            store_with(db, with)
        })
        .await
    }

    async fn order_top_up(&self, order: TopUpOrder) -> Result<TopUpOrder> {
        self.write(move |db| {
            if let Some(known) = top_up(db, order.order)? {
                return Ok(known);
            }
            put_top_up(db, &order)?;
            Ok(order)
        })
        .await
    }

    async fn top_up(&self, order: OrderId) -> Result<Option<TopUpOrder>> {
        self.read(|db| top_up(db, order))
    }

    async fn open_top_ups(&self, card: CardNumber) -> Result<Vec<TopUpOrder>> {
        self.read(|db| open_top_ups(db, card))
    }

    async fn top_ups_of(&self, card: CardNumber, most: usize) -> Result<Vec<TopUpOrder>> {
        let sql = "SELECT body FROM top_ups WHERE card = ?1 ORDER BY created_at DESC, id DESC LIMIT ?2";
        self.read(|db| many(db, "top-up order", sql, params![card.as_str(), limit(most)]))
    }

    async fn unpaid_top_ups(&self, before: jiff::Timestamp, most: usize) -> Result<Vec<TopUpOrder>> {
        let sql =
            "SELECT body FROM top_ups WHERE unpaid = 1 AND created_at < ?1 ORDER BY created_at, id LIMIT ?2";
        self.read(|db| many(db, "top-up order", sql, params![nanoseconds(before), limit(most)]))
    }

    async fn close_top_up(&self, order: OrderId) -> Result<TopUpOrder> {
        self.write(move |db| {
            let closed = rules::close(known_top_up(db, order)?)?;
            put_top_up(db, &closed)?;
            Ok(closed)
        })
        .await
    }

    async fn order_paid_by(&self, payment: &PaymentReference) -> Result<Option<OrderId>> {
        self.read(|db| order_paid_by(db, payment))
    }

    async fn confirm_payment(
        &self,
        order: OrderId,
        payment: PaymentReference,
        amount: Fen,
        with: With,
    ) -> Result<PaymentConfirmed> {
        self.write(move |db| {
            let paid_before = order_paid_by(db, &payment)?;
            let confirmed = rules::confirm(known_top_up(db, order)?, payment.clone(), amount, paid_before);
            if let PaymentConfirmed::Now(paid) = &confirmed {
                put_top_up(db, paid)?;
                put_payment(db, &payment, order)?;
                store_with(db, with)?;
            }
            Ok(confirmed)
        })
        .await
    }

    async fn next_terminal_number(&self, card: CardNumber, station: u16) -> Result<TerminalNumber> {
        self.write(move |db| next_terminal_number(db, card, station)).await
    }

    async fn intend_load(
        &self,
        fence: Fence,
        order: OrderId,
        attempt: Attempt,
        purse_maximum: Fen,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp> {
        self.write(move |db| {
            let (row, top_up, card) = for_step(db, fence, order)?;
            let last = last_attempt(db, row.card)?.map(|(_, terminal)| terminal);
            let mut others = open_top_ups(db, row.card)?;
            others.retain(|other| other.order != order);
            let (moved, card) = rules::intend(top_up, card, attempt, purse_maximum, at, last, &others)?;
            save(db, row, &moved, Some(&card), with)?;
            Ok(moved)
        })
        .await
    }

    async fn record_loaded(
        &self,
        fence: Fence,
        order: OrderId,
        terminal: TerminalNumber,
        tac: Tac,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp> {
        self.write(move |db| {
            let (row, top_up, card) = for_step(db, fence, order)?;
            let (moved, card) = rules::loaded(top_up, card, terminal, tac, at)?;
            save(db, row, &moved, Some(&card), with)?;
            Ok(moved)
        })
        .await
    }

    async fn settle_attempt(
        &self,
        fence: Fence,
        order: OrderId,
        seen: ProvenObservation,
        evidence: Evidence,
        at: jiff::Timestamp,
        with: WithOutcome,
    ) -> Result<(TopUp, Resolution)> {
        self.write(move |db| {
            let (row, top_up, card) = for_step(db, fence, order)?;
            let before = top_up.stage;
            let (moved, card, resolution) = rules::settle(top_up, card, &seen, evidence, at)?;
            let (always, of_outcome) = with.of(before, moved.stage);
            save(db, row, &moved, Some(&card), always)?;
            store_with(db, of_outcome)?;
            Ok((moved, resolution))
        })
        .await
    }

    async fn top_up_told(&self, order: OrderId) -> Result<TopUp> {
        self.write(move |db| {
            let row = known_top_up(db, order)?;
            let moved = rules::paid(&row)?.told()?;
            save(db, row, &moved, None, With::default())?;
            Ok(moved)
        })
        .await
    }

    async fn cancel_top_up(&self, order: OrderId, with: With) -> Result<TopUp> {
        self.write(move |db| {
            let row = known_top_up(db, order)?;
            let moved = rules::paid(&row)?.cancel()?;
            save(db, row, &moved, None, with)?;
            Ok(moved)
        })
        .await
    }

    async fn record_proven(&self, fence: Fence, card: CardNumber, proven: ProvenPurse) -> Result<()> {
        self.write(move |db| {
            check_fence(db, fence)?;
            let row = known_card(db, card)?;
            rules::check_card_on(&row, fence)?;
            put_card(db, &CardRecord { proven: Some(proven), ..row })
        })
        .await
    }
}
