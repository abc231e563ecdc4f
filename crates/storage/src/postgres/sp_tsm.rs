//! The SP-TSM's store on PostgreSQL.

pub(super) mod arrivals;
pub(super) mod desk;

use async_trait::async_trait;
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, ProvenPurse};
use tsm_domain::money::{Attempt, Evidence, ProvenObservation, Resolution, Tac, TopUp};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::{
    CardNumber, ConversationId, Fen, OperationId, OrderId, PaymentReference, SeId, TerminalNumber,
};
use tsm_iso7816::Aid;

use super::database::{Db, single, step};
use super::rows::{body, column, fen, first, from_text, limit, many, nanoseconds, narrow, one, params, run};
use super::shared::{check_fence, end, put_with};
use super::{Postgres, SpTsmTables};
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

async fn store_with(db: &Db<'_>, with: &With) -> Result<()> {
    put_with(db, &with.deliveries, &with.notes, &with.incidents).await
}

async fn consent(db: &Db<'_>, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>> {
    let sql = "SELECT body FROM consents WHERE conversation = $1 AND purpose = $2";
    one(db, "consent", sql, params![conversation.to_string(), purpose(to)]).await
}

async fn put_consent(db: &Db<'_>, consent: &Consent) -> Result<()> {
    let sql = "INSERT INTO consents (conversation, purpose, body) VALUES ($1, $2, $3)
         ON CONFLICT (conversation, purpose) DO UPDATE SET body = excluded.body";
    run(db, sql, params![consent.conversation.to_string(), purpose(consent.to), body(consent)?]).await?;
    Ok(())
}

async fn card(db: &Db<'_>, card: CardNumber) -> Result<Option<CardRecord>> {
    one(db, "card", "SELECT body FROM cards WHERE card = $1", params![card.as_str()]).await
}

async fn known_card(db: &Db<'_>, number: CardNumber) -> Result<CardRecord> {
    card(db, number).await?.ok_or_else(|| StorageError::unknown("card", number))
}

async fn put_card(db: &Db<'_>, card: &CardRecord) -> Result<()> {
    let sql = "INSERT INTO cards (card, se, body) VALUES ($1, $2, $3)
         ON CONFLICT (card) DO UPDATE SET se = excluded.se, body = excluded.body";
    run(db, sql, params![card.card.as_str(), card.se.to_string(), body(card)?]).await?;
    Ok(())
}

async fn card_order(db: &Db<'_>, order: OrderId) -> Result<Option<CardOrder>> {
    one(db, "card order", "SELECT body FROM card_orders WHERE id = $1", params![order.to_string()]).await
}

async fn put_card_order(db: &Db<'_>, order: &CardOrder) -> Result<()> {
    let open = !matches!(order.state, CardOrderState::Told | CardOrderState::GivenUp);
    run(
        db,
        "INSERT INTO card_orders (id, card, se, application, created_at, open, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET card = $2, se = $3, application = $4, created_at = $5, open = $6, body = $7",
        params![
            order.order.to_string(),
            order.card.as_str(),
            order.se.to_string(),
            order.application.to_string(),
            nanoseconds(order.created_at),
            open,
            body(order)?
        ],
    ).await?;
    Ok(())
}

async fn order_card(db: &Db<'_>, order: &CardOrder, with: &With) -> Result<CardOrdered> {
    if let Some(known) = card_order(db, order.order).await? {
        return Ok(CardOrdered::Accepted(known));
    }
    let ordered =
        first(db, "SELECT 1 FROM card_orders WHERE card = $1", params![order.card.as_str()], |_| Ok(()))
            .await?;
    if ordered.is_some() || card(db, order.card).await?.is_some() {
        return Ok(CardOrdered::NumberTaken);
    }
    put_card_order(db, order).await?;
    if let Some(number) = &order.number {
        arrivals::put_holder(db, order.card, number).await?;
    }
    store_with(db, with).await?;
    Ok(CardOrdered::Accepted(order.clone()))
}

async fn top_up(db: &Db<'_>, order: OrderId) -> Result<Option<TopUpOrder>> {
    one(db, "top-up order", "SELECT body FROM top_ups WHERE id = $1", params![order.to_string()]).await
}

async fn known_top_up(db: &Db<'_>, order: OrderId) -> Result<TopUpOrder> {
    top_up(db, order).await?.ok_or_else(|| StorageError::unknown("top-up order", order))
}

/// What was added to the tables.
pub(in crate::postgres) const UNPAID_2: &str = "
ALTER TABLE top_ups ADD COLUMN unpaid BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE top_ups SET unpaid = TRUE WHERE body::json ->> 'state' = 'AwaitingPayment';
CREATE INDEX top_ups_unpaid ON top_ups (created_at, id) WHERE unpaid;
";

/// Which payment paid which order. Where old tables say that one paid two, the first stands.
pub(in crate::postgres) const PAYMENTS_6: &str = r#"
CREATE TABLE top_up_payments (payment TEXT COLLATE "C" PRIMARY KEY, top_up TEXT COLLATE "C" NOT NULL);
INSERT INTO top_up_payments (payment, top_up)
    SELECT body::json #>> '{state,Paid,payment}', id FROM top_ups
    WHERE body::json #>> '{state,Paid,payment}' IS NOT NULL
    ORDER BY created_at, id ON CONFLICT (payment) DO NOTHING;
"#;

async fn order_paid_by(db: &Db<'_>, payment: &PaymentReference) -> Result<Option<OrderId>> {
    let sql = "SELECT top_up FROM top_up_payments WHERE payment = $1";
    let found = first(db, sql, params![payment.as_str()], |row| column::<String>(row, 0)).await?;
    found.map(|text| from_text("order", &text)).transpose()
}

async fn put_payment(db: &Db<'_>, payment: &PaymentReference, order: OrderId) -> Result<()> {
    let sql = "INSERT INTO top_up_payments (payment, top_up) VALUES ($1, $2)";
    run(db, sql, params![payment.as_str(), order.to_string()]).await?;
    Ok(())
}

async fn put_top_up(db: &Db<'_>, order: &TopUpOrder) -> Result<()> {
    run(
        db,
        "INSERT INTO top_ups (id, card, amount_fen, created_at, open, body, unpaid)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET open = $5, body = $6, unpaid = $7",
        params![
            order.order.to_string(),
            order.card.as_str(),
            fen(order.amount)?,
            nanoseconds(order.created_at),
            order.is_open(),
            body(order)?,
            order.state == TopUpOrderState::AwaitingPayment,
        ],
    )
    .await?;
    Ok(())
}

async fn open_top_ups(db: &Db<'_>, card: CardNumber) -> Result<Vec<TopUpOrder>> {
    let sql = "SELECT body FROM top_ups WHERE card = $1 AND open ORDER BY created_at, id";
    many(db, "top-up order", sql, params![card.as_str()]).await
}

// An order, its top-up and its card, for a step under a fence.
async fn for_step(db: &Db<'_>, fence: Fence, order: OrderId) -> Result<(TopUpOrder, TopUp, CardRecord)> {
    check_fence(db, fence).await?;
    let row = known_top_up(db, order).await?;
    let card = known_card(db, row.card).await?;
    rules::check_card_on(&card, fence)?;
    let top_up = rules::paid(&row)?;
    Ok((row, top_up, card))
}

async fn save(
    db: &Db<'_>,
    row: TopUpOrder,
    moved: &TopUp,
    card: Option<&CardRecord>,
    with: &With,
) -> Result<()> {
    put_top_up(db, &rules::with_stage(row, moved)).await?;
    if let Some(card) = card {
        put_card(db, card).await?;
    }
    store_with(db, with).await
}

async fn last_attempt(db: &Db<'_>, card: CardNumber) -> Result<Option<(u32, TerminalNumber)>> {
    let sql = "SELECT count, terminal FROM attempts WHERE card = $1";
    let found =
        first(db, sql, params![card.as_str()], |row| Ok((narrow::<u32>(row, 0)?, column::<String>(row, 1)?)))
            .await?;
    found.map(|(count, text)| Ok((count, from_text("terminal number", &text)?))).transpose()
}

async fn next_terminal_number(db: &Db<'_>, card: CardNumber, station: u16) -> Result<TerminalNumber> {
    let count = last_attempt(db, card).await?.map_or(0, |(count, _)| count) + 1;
    let exhausted = |error: tsm_domain::IdError| StorageError::conflict("terminal number", error);
    let terminal = TerminalNumber::for_attempt(station, count).map_err(exhausted)?;
    let sql = "INSERT INTO attempts (card, count, terminal) VALUES ($1, $2, $3)
         ON CONFLICT (card) DO UPDATE SET count = excluded.count, terminal = excluded.terminal";
    run(db, sql, params![card.as_str(), i64::from(count), terminal.to_string()]).await?;
    Ok(terminal)
}

async fn commit(db: &Db<'_>, fence: Fence, change: &SpChange) -> Result<()> {
    check_fence(db, fence).await?;
    for next in &change.cards {
        let stored = card(db, next.card).await?;
        rules::check_card_follows(stored.as_ref(), next)?;
        check_comes_back(stored.as_ref(), next, &change.arrivals)?;
        put_card(db, next).await?;
    }
    for next in &change.orders {
        rules::check_order_follows(card_order(db, next.order).await?.as_ref(), next)?;
        put_card_order(db, next).await?;
    }
    for next in &change.arrivals {
        check_arrival_follows(arrivals::arrival(db, next.operation).await?.as_ref(), next)?;
        arrivals::put_arrival(db, next).await?;
    }
    for domain in &change.domains {
        let sql = "INSERT INTO domains_on_se (se, domain, body) VALUES ($1, $2, $3)
         ON CONFLICT (se, domain) DO UPDATE SET body = excluded.body";
        run(db, sql, params![fence.se.to_string(), domain.aid.to_string(), body(domain)?]).await?;
    }
    put_with(db, &change.deliveries, &change.notes, &change.incidents).await?;
    match &change.end {
        Some(ended) => end(db, fence, ended).await,
        None => Ok(()),
    }
}

#[async_trait]
impl SpTsmStore for Postgres<SpTsmTables> {
    async fn record_consent(&self, new: Consent) -> Result<Consent> {
        step!(self, db, {
            if let Some(known) = consent(db, new.conversation, new.to).await? {
                return Ok(known);
            }
            put_consent(db, &new).await?;
            Ok(new.clone())
        })
    }

    async fn consent(&self, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>> {
        single!(self, db, consent(db, conversation, to).await)
    }

    async fn report_result(
        &self,
        conversation: ConversationId,
        to: ConsentTo,
        result: String,
        with: With,
    ) -> Result<()> {
        step!(self, db, {
            let known = consent(db, conversation, to)
                .await?
                .ok_or_else(|| StorageError::unknown("consent", conversation))?;
            if known.result.is_some() {
                return Ok(());
            }
            put_consent(db, &Consent { result: Some(result.clone()), ..known }).await?;
            store_with(db, &with).await
        })
    }

    async fn order_card(&self, order: CardOrder, with: With) -> Result<CardOrdered> {
        step!(self, db, order_card(db, &order, &with).await)
    }

    async fn card_order(&self, order: OrderId) -> Result<Option<CardOrder>> {
        single!(self, db, card_order(db, order).await)
    }

    async fn open_card_order(&self, se: SeId, application: Aid) -> Result<Option<CardOrder>> {
        let sql = "SELECT body FROM card_orders WHERE se = $1 AND application = $2 AND open
                   ORDER BY created_at DESC, id DESC LIMIT 1";
        single!(self, db, one(db, "card order", sql, params![se.to_string(), application.to_string()]).await)
    }

    async fn commit(&self, fence: Fence, change: SpChange) -> Result<()> {
        step!(self, db, commit(db, fence, &change).await)
    }

    async fn card(&self, number: CardNumber) -> Result<Option<CardRecord>> {
        single!(self, db, card(db, number).await)
    }

    async fn cards_on(&self, se: SeId) -> Result<Vec<CardRecord>> {
        let sql = "SELECT body FROM cards WHERE se = $1 ORDER BY card";
        single!(self, db, many(db, "card", sql, params![se.to_string()]).await)
    }

    async fn cards(&self, after: Option<CardNumber>, most: usize) -> Result<Vec<CardRecord>> {
        let after = after.map(|card| card.as_str().to_owned()).unwrap_or_default();
        let sql = "SELECT body FROM cards WHERE card > $1 ORDER BY card LIMIT $2";
        single!(self, db, many(db, "card", sql, params![after, limit(most)]).await)
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        let sql = "SELECT body FROM domains_on_se WHERE se = $1 ORDER BY domain";
        single!(self, db, many(db, "domain on an SE", sql, params![se.to_string()]).await)
    }

    async fn card_told(&self, order: OrderId) -> Result<CardOrder> {
        step!(self, db, {
            let row =
                card_order(db, order).await?.ok_or_else(|| StorageError::unknown("card order", order))?;
            let state = row.state.moved_to(CardOrderState::Told)?;
            let told = CardOrder { state, ..row };
            put_card_order(db, &told).await?;
            Ok(told)
        })
    }

    async fn card_closing_told(
        &self,
        card: CardNumber,
        operation: OperationId,
        with: With,
    ) -> Result<CardRecord> {
        step!(self, db, {
            let row = known_card(db, card).await?;
            let Some(told) = rules::closing_told(&row, operation)? else { return Ok(row) };
            put_card(db, &told).await?;
            store_with(db, &with).await?;
            Ok(told)
        })
    }

    async fn set_frozen(&self, number: CardNumber, reason: Option<String>, with: With) -> Result<()> {
        step!(self, db, {
            let open = open_top_ups(db, number).await?;
            let row = rules::frozen(known_card(db, number).await?, reason.clone(), &open);
            put_card(db, &row).await?;
            store_with(db, &with).await
        })
    }

    async fn order_top_up(&self, order: TopUpOrder) -> Result<TopUpOrder> {
        step!(self, db, {
            if let Some(known) = top_up(db, order.order).await? {
                return Ok(known);
            }
            put_top_up(db, &order).await?;
            Ok(order.clone())
        })
    }

    async fn top_up(&self, order: OrderId) -> Result<Option<TopUpOrder>> {
        single!(self, db, top_up(db, order).await)
    }

    async fn open_top_ups(&self, card: CardNumber) -> Result<Vec<TopUpOrder>> {
        single!(self, db, open_top_ups(db, card).await)
    }

    async fn top_ups_of(&self, card: CardNumber, most: usize) -> Result<Vec<TopUpOrder>> {
        let sql = "SELECT body FROM top_ups WHERE card = $1 ORDER BY created_at DESC, id DESC LIMIT $2";
        single!(self, db, many(db, "top-up order", sql, params![card.as_str(), limit(most)]).await)
    }

    async fn unpaid_top_ups(&self, before: jiff::Timestamp, most: usize) -> Result<Vec<TopUpOrder>> {
        let sql =
            "SELECT body FROM top_ups WHERE unpaid AND created_at < $1 ORDER BY created_at, id LIMIT $2";
        let params = params![nanoseconds(before), limit(most)];
        single!(self, db, many(db, "top-up order", sql, params).await)
    }

    async fn close_top_up(&self, order: OrderId) -> Result<TopUpOrder> {
        step!(self, db, {
            let closed = rules::close(known_top_up(db, order).await?)?;
            put_top_up(db, &closed).await?;
            Ok(closed)
        })
    }

    async fn order_paid_by(&self, payment: &PaymentReference) -> Result<Option<OrderId>> {
        single!(self, db, order_paid_by(db, payment).await)
    }

    async fn confirm_payment(
        &self,
        order: OrderId,
        payment: PaymentReference,
        amount: Fen,
        with: With,
    ) -> Result<PaymentConfirmed> {
        step!(self, db, {
            let paid_before = order_paid_by(db, &payment).await?;
            let known = known_top_up(db, order).await?;
            let confirmed = rules::confirm(known, payment.clone(), amount, paid_before);
            if let PaymentConfirmed::Now(paid) = &confirmed {
                put_top_up(db, paid).await?;
                put_payment(db, &payment, order).await?;
                store_with(db, &with).await?;
            }
            Ok(confirmed)
        })
    }

    async fn next_terminal_number(&self, card: CardNumber, station: u16) -> Result<TerminalNumber> {
        step!(self, db, next_terminal_number(db, card, station).await)
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
        step!(self, db, {
            let (row, top_up, card) = for_step(db, fence, order).await?;
            let last = last_attempt(db, row.card).await?.map(|(_, terminal)| terminal);
            let mut others = open_top_ups(db, row.card).await?;
            others.retain(|other| other.order != order);
            let (moved, card) = rules::intend(top_up, card, attempt, purse_maximum, at, last, &others)?;
            save(db, row, &moved, Some(&card), &with).await?;
            Ok(moved)
        })
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
        step!(self, db, {
            let (row, top_up, card) = for_step(db, fence, order).await?;
            let (moved, card) = rules::loaded(top_up, card, terminal, tac, at)?;
            save(db, row, &moved, Some(&card), &with).await?;
            Ok(moved)
        })
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
        step!(self, db, {
            let (row, top_up, card) = for_step(db, fence, order).await?;
            let before = top_up.stage;
            let (moved, card, resolution) = rules::settle(top_up, card, &seen, evidence, at)?;
            let (always, of_outcome) = with.clone().of(before, moved.stage);
            save(db, row, &moved, Some(&card), &always).await?;
            store_with(db, &of_outcome).await?;
            Ok((moved, resolution))
        })
    }

    async fn top_up_told(&self, order: OrderId) -> Result<TopUp> {
        step!(self, db, {
            let row = known_top_up(db, order).await?;
            let moved = rules::paid(&row)?.told()?;
            save(db, row, &moved, None, &With::default()).await?;
            Ok(moved)
        })
    }

    async fn cancel_top_up(&self, order: OrderId, with: With) -> Result<TopUp> {
        step!(self, db, {
            let row = known_top_up(db, order).await?;
            let moved = rules::paid(&row)?.cancel()?;
            save(db, row, &moved, None, &with).await?;
            Ok(moved)
        })
    }

    async fn record_proven(&self, fence: Fence, card: CardNumber, proven: ProvenPurse) -> Result<()> {
        step!(self, db, {
            check_fence(db, fence).await?;
            let row = known_card(db, card).await?;
            rules::check_card_on(&row, fence)?;
            put_card(db, &CardRecord { proven: Some(proven), ..row }).await
        })
    }
}
