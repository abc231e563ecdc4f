//! Arrivals on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::CardRecord;
use tsm_domain::{CardNumber, Msisdn, OperationId, SeId};
use tsm_iso7816::Aid;

use super::{card, put_card, store_with};
use crate::error::{Result, StorageError};
use crate::sp_tsm::With;
use crate::sp_tsm::arrivals::{
    ArrivalOrdered, Arrivals, CardHolder, HolderData, ParkedReturned, check_may_arrive, excludes, given_up,
    returned,
};
use crate::sqlite::rows::{body, first, from_text, many, one, run};
use crate::sqlite::{SpTsmSchema, Sqlite};

/// Whose cards are whose was in the orders before.
pub(in crate::sqlite) const ARRIVALS_2: &str = "
CREATE TABLE arrivals (
    operation TEXT PRIMARY KEY, card TEXT NOT NULL, se TEXT NOT NULL, application TEXT NOT NULL,
    open INTEGER NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX arrivals_open_of_card ON arrivals (card) WHERE open = 1;
CREATE UNIQUE INDEX arrivals_open_on_se ON arrivals (se, application) WHERE open = 1;
CREATE TABLE holders (
    card TEXT PRIMARY KEY, number TEXT NOT NULL, due INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX holders_by_number ON holders (number, card);
INSERT INTO holders (card, number)
    SELECT card, json_extract(body, '$.number') FROM card_orders
    WHERE json_extract(body, '$.number') IS NOT NULL;
";

pub(super) fn arrival(db: &Connection, operation: OperationId) -> Result<Option<Arrival>> {
    let sql = "SELECT body FROM arrivals WHERE operation = ?1";
    one(db, "migration", sql, [operation.to_string()])
}

pub(super) fn put_arrival(db: &Connection, arrival: &Arrival) -> Result<()> {
    run(
        db,
        "INSERT INTO arrivals (operation, card, se, application, open, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (operation) DO UPDATE SET open = ?5, body = ?6",
        params![
            arrival.operation.to_string(),
            arrival.card.as_str(),
            arrival.se.to_string(),
            arrival.application.to_string(),
            arrival.state.is_open(),
            body(arrival)?
        ],
    )?;
    Ok(())
}

pub(super) fn put_holder(db: &Connection, card: CardNumber, number: &Msisdn) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO holders (card, number) VALUES (?1, ?2)";
    run(db, sql, params![card.as_str(), number.as_str()])?;
    Ok(())
}

fn known_arrival(db: &Connection, operation: OperationId) -> Result<Arrival> {
    arrival(db, operation)?.ok_or_else(|| StorageError::unknown("migration", operation))
}

fn open_arrival(db: &Connection, se: SeId, application: Aid) -> Result<Option<Arrival>> {
    let sql = "SELECT body FROM arrivals WHERE se = ?1 AND application = ?2 AND open = 1";
    one(db, "migration", sql, params![se.to_string(), application.to_string()])
}

fn arrival_of(db: &Connection, card: CardNumber) -> Result<Option<Arrival>> {
    one(db, "migration", "SELECT body FROM arrivals WHERE card = ?1 AND open = 1", [card.as_str()])
}

fn order_arrival(db: &Connection, new: Arrival, with: With) -> Result<ArrivalOrdered> {
    if let Some(known) = arrival(db, new.operation)? {
        return Ok(ArrivalOrdered::Accepted(known));
    }
    let others = [arrival_of(db, new.card)?, open_arrival(db, new.se, new.application)?];
    if let Some(busy) = others.into_iter().flatten().find(|known| excludes(known, &new)) {
        return Ok(ArrivalOrdered::Busy(busy));
    }
    check_may_arrive(card(db, new.card)?.as_ref())?;
    put_arrival(db, &new)?;
    store_with(db, with)?;
    Ok(ArrivalOrdered::Accepted(new))
}

fn return_parked(db: &Connection, number: CardNumber, with: With) -> Result<ParkedReturned> {
    let known = card(db, number)?.ok_or_else(|| StorageError::unknown("card", number))?;
    if let Some(busy) = arrival_of(db, number)? {
        return Ok(ParkedReturned::Busy(busy));
    }
    let Some(returned) = returned(&known)? else { return Ok(ParkedReturned::Returned(known)) };
    put_card(db, &returned)?;
    store_with(db, with)?;
    Ok(ParkedReturned::Returned(returned))
}

#[async_trait]
impl Arrivals for Sqlite<SpTsmSchema> {
    async fn order_arrival(&self, new: Arrival, with: With) -> Result<ArrivalOrdered> {
        self.write(move |db| order_arrival(db, new, with)).await
    }

    async fn return_parked(&self, card: CardNumber, with: With) -> Result<ParkedReturned> {
        self.write(move |db| return_parked(db, card, with)).await
    }

    async fn arrival(&self, operation: OperationId) -> Result<Option<Arrival>> {
        self.read(|db| arrival(db, operation))
    }

    async fn open_arrival(&self, se: SeId, application: Aid) -> Result<Option<Arrival>> {
        self.read(|db| open_arrival(db, se, application))
    }

    async fn arrival_of(&self, card: CardNumber) -> Result<Option<Arrival>> {
        self.read(|db| arrival_of(db, card))
    }

    async fn move_arrival(&self, operation: OperationId, to: ArrivalState, with: With) -> Result<Arrival> {
        self.write(move |db| {
            let known = known_arrival(db, operation)?;
            if known.state == to {
                return Ok(known);
            }
            let moved = Arrival { state: known.state.moved_to(to)?, ..known };
            put_arrival(db, &moved)?;
            store_with(db, with)?;
            Ok(moved)
        })
        .await
    }

    async fn give_up_arrival(&self, operation: OperationId, with: With) -> Result<Arrival> {
        self.write(move |db| {
            let known = known_arrival(db, operation)?;
            if known.state == ArrivalState::GivenUp {
                return Ok(known);
            }
            let written = card(db, known.card)?;
            let (ended, written) = given_up(known, written)?;
            if let Some(card) = written {
                put_card(db, &card)?;
            }
            put_arrival(db, &ended)?;
            store_with(db, with)?;
            Ok(ended)
        })
        .await
    }

    async fn holder(&self, card: CardNumber) -> Result<Option<CardHolder>> {
        let sql = "SELECT number, due FROM holders WHERE card = ?1";
        let found = self.read(|db| {
            first(db, sql, [card.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
        })?;
        let Some((number, due)) = found else { return Ok(None) };
        let data = if due { HolderData::Due } else { HolderData::Current };
        Ok(Some(CardHolder { number: from_text("number", &number)?, data }))
    }

    async fn set_holder(&self, card: CardNumber, holder: CardHolder, with: With) -> Result<()> {
        self.write(move |db| {
            let sql = "INSERT OR REPLACE INTO holders (card, number, due) VALUES (?1, ?2, ?3)";
            let due = holder.data == HolderData::Due;
            run(db, sql, params![card.as_str(), holder.number.as_str(), due])?;
            store_with(db, with)
        })
        .await
    }

    async fn holder_written(&self, card: CardNumber, number: Msisdn, with: With) -> Result<()> {
        self.write(move |db| {
            let sql = "UPDATE holders SET due = 0 WHERE card = ?1 AND number = ?2 AND due = 1";
            match run(db, sql, params![card.as_str(), number.as_str()])? {
                0 => Ok(()),
                _ => store_with(db, with),
            }
        })
        .await
    }

    async fn cards_of(&self, number: &Msisdn) -> Result<Vec<CardRecord>> {
        let sql = "SELECT cards.body FROM holders JOIN cards ON cards.card = holders.card
             WHERE holders.number = ?1 ORDER BY cards.card";
        self.read(|db| many(db, "card", sql, [number.as_str()]))
    }
}
