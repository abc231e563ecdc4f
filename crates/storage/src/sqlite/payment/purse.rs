//! Orders paid from a transit card, on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::money::{CentreWord, PayerToken, PurchaseBegun, PurseAttempt, PurseCard};
use tsm_domain::{CardNumber, DeliveryId, OrderId};

use super::{known_order, save};
use crate::error::Result;
use crate::payment::{OnlinePurchases, PaymentRow, ProvenDebit};
use crate::rules::{self, DebitStep, Watch};
use crate::shared::{Delivery, Incident};
use crate::sqlite::rows::{body, limit, many, one, run};
use crate::sqlite::shared::{end_delivery, put_with};
use crate::sqlite::{PaymentSchema, Sqlite};

/// What was added to the tables.
pub(in crate::sqlite) const PURSE_3: &str = "
ALTER TABLE orders ADD COLUMN waits_for TEXT;
ALTER TABLE orders ADD COLUMN created_at INTEGER;
CREATE INDEX orders_waiting ON orders (waits_for, created_at, id) WHERE waits_for IS NOT NULL;
CREATE TABLE purse_cards (card TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
";

fn card(db: &Connection, card: CardNumber) -> Result<PurseCard> {
    let known = one(db, "card", "SELECT body FROM purse_cards WHERE card = ?1", [card.as_str()])?;
    Ok(known.unwrap_or_else(|| PurseCard::new(card)))
}

fn put_card(db: &Connection, card: &PurseCard) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO purse_cards (card, body) VALUES (?1, ?2)";
    run(db, sql, params![card.card.as_str(), body(card)?])?;
    Ok(())
}

fn attempted(db: &Connection, order: OrderId, number: u32) -> Result<(PaymentRow, PurseCard)> {
    let row = known_order(db, order)?;
    let card = card(db, rules::card_of_attempt(&row, number)?)?;
    Ok((row, card))
}

#[async_trait]
impl OnlinePurchases for Sqlite<PaymentSchema> {
    async fn purse_card(&self, number: CardNumber) -> Result<PurseCard> {
        self.read(|db| card(db, number))
    }

    async fn intend_purchase(
        &self,
        order: OrderId,
        begun: PurchaseBegun,
        at: jiff::Timestamp,
        watch: Delivery,
    ) -> Result<PurseAttempt> {
        self.write(move |db| {
            let (row, card) = (known_order(db, order)?, card(db, begun.card)?);
            let (row, card, attempt) = rules::intend_purchase(row, card, begun, at)?;
            put_card(db, &card)?;
            save(db, row, &[watch])?;
            Ok(attempt)
        })
        .await
    }

    async fn give_attempt_up(&self, order: OrderId, number: u32, watch: DeliveryId) -> Result<PaymentRow> {
        self.write(move |db| {
            let (row, card) = attempted(db, order, number)?;
            let (row, card, fate) = rules::attempt_given_up(row, card, number)?;
            put_card(db, &card)?;
            if fate == Watch::Ends {
                end_delivery(db, watch)?;
            }
            save(db, row, &[])
        })
        .await
    }

    async fn prove_debit(&self, proven: ProvenDebit) -> Result<PaymentRow> {
        self.write(move |db| {
            let (row, card) = attempted(db, proven.order, proven.number)?;
            let Some(step) = rules::debit_proven(row.clone(), card, proven)? else { return Ok(row) };
            let DebitStep { watch, row, card, deliveries, incident } = step;
            put_card(db, &card)?;
            end_delivery(db, watch)?;
            put_with(db, &[], Vec::new(), incident.as_slice())?;
            save(db, row, &deliveries)
        })
        .await
    }

    async fn debit_was_told(
        &self,
        order: OrderId,
        number: u32,
        word: CentreWord,
        incident: Option<Incident>,
    ) -> Result<()> {
        self.write(move |db| {
            let (row, card) = attempted(db, order, number)?;
            let (row, card) = rules::debit_told(row, card, number, word)?;
            put_card(db, &card)?;
            put_with(db, &[], Vec::new(), incident.as_slice())?;
            save(db, row, &[]).map(drop)
        })
        .await
    }

    async fn orders_addressed_to(&self, payer: PayerToken, most: usize) -> Result<Vec<PaymentRow>> {
        let sql = "SELECT body FROM orders WHERE waits_for = ?1 ORDER BY created_at, id LIMIT ?2";
        self.read(|db| many(db, "payment order", sql, params![payer.to_string(), limit(most)]))
    }
}
