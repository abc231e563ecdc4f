//! Orders paid from a transit card, on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::money::{CentreWord, PayerToken, PurchaseBegun, PurseAttempt, PurseCard};
use tsm_domain::{CardNumber, DeliveryId, OrderId};

use super::{known_order, save};
use crate::error::Result;
use crate::payment::{OnlinePurchases, PaymentRow, ProvenDebit};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, limit, many, one, params, run};
use crate::postgres::shared::{end_delivery, put_with};
use crate::postgres::{PaymentTables, Postgres};
use crate::rules::{self, DebitStep, Watch};
use crate::shared::{Delivery, Incident};

/// What was added to the tables.
pub(in crate::postgres) const PURSE_3: &str = r#"
ALTER TABLE orders ADD COLUMN waits_for TEXT COLLATE "C";
ALTER TABLE orders ADD COLUMN created_at BIGINT;
CREATE INDEX orders_waiting ON orders (waits_for, created_at, id) WHERE waits_for IS NOT NULL;
CREATE TABLE purse_cards (card TEXT COLLATE "C" PRIMARY KEY, body TEXT NOT NULL);
"#;

async fn card(db: &Db<'_>, card: CardNumber) -> Result<PurseCard> {
    let sql = "SELECT body FROM purse_cards WHERE card = $1";
    let known = one(db, "card", sql, params![card.as_str()]).await?;
    Ok(known.unwrap_or_else(|| PurseCard::new(card)))
}

async fn put_card(db: &Db<'_>, card: &PurseCard) -> Result<()> {
    run(
        db,
        "INSERT INTO purse_cards (card, body) VALUES ($1, $2)
         ON CONFLICT (card) DO UPDATE SET body = excluded.body",
        params![card.card.as_str(), body(card)?],
    )
    .await?;
    Ok(())
}

async fn attempted(db: &Db<'_>, order: OrderId, number: u32) -> Result<(PaymentRow, PurseCard)> {
    let row = known_order(db, order).await?;
    let card = card(db, rules::card_of_attempt(&row, number)?).await?;
    Ok((row, card))
}

#[async_trait]
impl OnlinePurchases for Postgres<PaymentTables> {
    async fn purse_card(&self, number: CardNumber) -> Result<PurseCard> {
        single!(self, db, card(db, number).await)
    }

    async fn intend_purchase(
        &self,
        order: OrderId,
        begun: PurchaseBegun,
        at: jiff::Timestamp,
        watch: Delivery,
    ) -> Result<PurseAttempt> {
        step!(self, db, {
            let (row, card) = (known_order(db, order).await?, card(db, begun.card).await?);
            let (row, card, attempt) = rules::intend_purchase(row, card, begun, at)?;
            put_card(db, &card).await?;
            save(db, row, std::slice::from_ref(&watch)).await?;
            Ok(attempt)
        })
    }

    async fn give_attempt_up(&self, order: OrderId, number: u32, watch: DeliveryId) -> Result<PaymentRow> {
        step!(self, db, {
            let (row, card) = attempted(db, order, number).await?;
            let (row, card, fate) = rules::attempt_given_up(row, card, number)?;
            put_card(db, &card).await?;
            if fate == Watch::Ends {
                end_delivery(db, watch).await?;
            }
            save(db, row, &[]).await
        })
    }

    async fn prove_debit(&self, proven: ProvenDebit) -> Result<PaymentRow> {
        step!(self, db, {
            let (row, card) = attempted(db, proven.order, proven.number).await?;
            let Some(step) = rules::debit_proven(row.clone(), card, proven.clone())? else { return Ok(row) };
            let DebitStep { watch, row, card, deliveries, incident } = step;
            put_card(db, &card).await?;
            end_delivery(db, watch).await?;
            put_with(db, &[], &[], incident.as_slice()).await?;
            save(db, row, &deliveries).await
        })
    }

    async fn debit_was_told(
        &self,
        order: OrderId,
        number: u32,
        word: CentreWord,
        incident: Option<Incident>,
    ) -> Result<()> {
        step!(self, db, {
            let (row, card) = attempted(db, order, number).await?;
            let (row, card) = rules::debit_told(row, card, number, word)?;
            put_card(db, &card).await?;
            put_with(db, &[], &[], incident.as_slice()).await?;
            save(db, row, &[]).await.map(drop)
        })
    }

    async fn orders_addressed_to(&self, payer: PayerToken, most: usize) -> Result<Vec<PaymentRow>> {
        let sql = "SELECT body FROM orders WHERE waits_for = $1 ORDER BY created_at, id LIMIT $2";
        single!(self, db, many(db, "payment order", sql, params![payer.to_string(), limit(most)]).await)
    }
}
