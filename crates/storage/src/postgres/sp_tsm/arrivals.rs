//! Arrivals on PostgreSQL.

use async_trait::async_trait;
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::CardRecord;
use tsm_domain::{CardNumber, Msisdn, OperationId, SeId};
use tsm_iso7816::Aid;

use super::{card, put_card, store_with};
use crate::error::{Result, StorageError};
use crate::postgres::database::{Db, single, step};
use crate::postgres::rows::{body, column, first, from_text, many, one, params, run};
use crate::postgres::{Postgres, SpTsmTables};
use crate::sp_tsm::With;
use crate::sp_tsm::arrivals::{
    ArrivalOrdered, Arrivals, CardHolder, HolderData, ParkedReturned, check_may_arrive, excludes, given_up,
    returned,
};

/// Whose cards are whose was in the orders before.
pub(in crate::postgres) const ARRIVALS_2: &str = r#"
CREATE TABLE arrivals (
    operation TEXT COLLATE "C" PRIMARY KEY, card TEXT COLLATE "C" NOT NULL, se TEXT COLLATE "C" NOT NULL,
    application TEXT COLLATE "C" NOT NULL, open BOOLEAN NOT NULL, body TEXT NOT NULL
);
CREATE UNIQUE INDEX arrivals_open_of_card ON arrivals (card) WHERE open;
CREATE UNIQUE INDEX arrivals_open_on_se ON arrivals (se, application) WHERE open;
CREATE TABLE holders (
    card TEXT COLLATE "C" PRIMARY KEY, number TEXT COLLATE "C" NOT NULL, due BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX holders_by_number ON holders (number, card);
INSERT INTO holders (card, number)
    SELECT card, body::json ->> 'number' FROM card_orders WHERE body::json ->> 'number' IS NOT NULL;
"#;

pub(super) async fn arrival(db: &Db<'_>, operation: OperationId) -> Result<Option<Arrival>> {
    let sql = "SELECT body FROM arrivals WHERE operation = $1";
    one(db, "migration", sql, params![operation.to_string()]).await
}

pub(super) async fn put_arrival(db: &Db<'_>, arrival: &Arrival) -> Result<()> {
    run(
        db,
        "INSERT INTO arrivals (operation, card, se, application, open, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (operation) DO UPDATE SET open = $5, body = $6",
        params![
            arrival.operation.to_string(),
            arrival.card.as_str(),
            arrival.se.to_string(),
            arrival.application.to_string(),
            arrival.state.is_open(),
            body(arrival)?
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn put_holder(db: &Db<'_>, card: CardNumber, number: &Msisdn) -> Result<()> {
    let sql = "INSERT INTO holders (card, number) VALUES ($1, $2)
         ON CONFLICT (card) DO UPDATE SET number = excluded.number";
    run(db, sql, params![card.as_str(), number.as_str()]).await?;
    Ok(())
}

async fn known_arrival(db: &Db<'_>, operation: OperationId) -> Result<Arrival> {
    arrival(db, operation).await?.ok_or_else(|| StorageError::unknown("migration", operation))
}

async fn open_arrival(db: &Db<'_>, se: SeId, application: Aid) -> Result<Option<Arrival>> {
    let sql = "SELECT body FROM arrivals WHERE se = $1 AND application = $2 AND open";
    one(db, "migration", sql, params![se.to_string(), application.to_string()]).await
}

async fn arrival_of(db: &Db<'_>, card: CardNumber) -> Result<Option<Arrival>> {
    let sql = "SELECT body FROM arrivals WHERE card = $1 AND open";
    one(db, "migration", sql, params![card.as_str()]).await
}

async fn order_arrival(db: &Db<'_>, new: &Arrival, with: &With) -> Result<ArrivalOrdered> {
    if let Some(known) = arrival(db, new.operation).await? {
        return Ok(ArrivalOrdered::Accepted(known));
    }
    let others = [arrival_of(db, new.card).await?, open_arrival(db, new.se, new.application).await?];
    if let Some(busy) = others.into_iter().flatten().find(|known| excludes(known, new)) {
        return Ok(ArrivalOrdered::Busy(busy));
    }
    check_may_arrive(card(db, new.card).await?.as_ref())?;
    put_arrival(db, new).await?;
    store_with(db, with).await?;
    Ok(ArrivalOrdered::Accepted(new.clone()))
}

async fn return_parked(db: &Db<'_>, number: CardNumber, with: &With) -> Result<ParkedReturned> {
    let known = card(db, number).await?.ok_or_else(|| StorageError::unknown("card", number))?;
    if let Some(busy) = arrival_of(db, number).await? {
        return Ok(ParkedReturned::Busy(busy));
    }
    let Some(returned) = returned(&known)? else { return Ok(ParkedReturned::Returned(known)) };
    put_card(db, &returned).await?;
    store_with(db, with).await?;
    Ok(ParkedReturned::Returned(returned))
}

#[async_trait]
impl Arrivals for Postgres<SpTsmTables> {
    async fn order_arrival(&self, new: Arrival, with: With) -> Result<ArrivalOrdered> {
        step!(self, db, order_arrival(db, &new, &with).await)
    }

    async fn return_parked(&self, card: CardNumber, with: With) -> Result<ParkedReturned> {
        step!(self, db, return_parked(db, card, &with).await)
    }

    async fn arrival(&self, operation: OperationId) -> Result<Option<Arrival>> {
        single!(self, db, arrival(db, operation).await)
    }

    async fn open_arrival(&self, se: SeId, application: Aid) -> Result<Option<Arrival>> {
        single!(self, db, open_arrival(db, se, application).await)
    }

    async fn arrival_of(&self, card: CardNumber) -> Result<Option<Arrival>> {
        single!(self, db, arrival_of(db, card).await)
    }

    async fn move_arrival(&self, operation: OperationId, to: ArrivalState, with: With) -> Result<Arrival> {
        step!(self, db, {
            let known = known_arrival(db, operation).await?;
            if known.state == to {
                return Ok(known);
            }
            let moved = Arrival { state: known.state.moved_to(to)?, ..known };
            put_arrival(db, &moved).await?;
            store_with(db, &with).await?;
            Ok(moved)
        })
    }

    async fn give_up_arrival(&self, operation: OperationId, with: With) -> Result<Arrival> {
        step!(self, db, {
            let known = known_arrival(db, operation).await?;
            if known.state == ArrivalState::GivenUp {
                return Ok(known);
            }
            let written = card(db, known.card).await?;
            let (ended, written) = given_up(known, written)?;
            if let Some(card) = written {
                put_card(db, &card).await?;
            }
            put_arrival(db, &ended).await?;
            store_with(db, &with).await?;
            Ok(ended)
        })
    }

    async fn holder(&self, card: CardNumber) -> Result<Option<CardHolder>> {
        let sql = "SELECT number, due FROM holders WHERE card = $1";
        let found = single!(
            self,
            db,
            first(db, sql, params![card.as_str()], |row| {
                Ok((column::<String>(row, 0)?, column::<bool>(row, 1)?))
            })
            .await
        )?;
        let Some((number, due)) = found else { return Ok(None) };
        let data = if due { HolderData::Due } else { HolderData::Current };
        Ok(Some(CardHolder { number: from_text("number", &number)?, data }))
    }

    async fn set_holder(&self, card: CardNumber, holder: CardHolder, with: With) -> Result<()> {
        step!(self, db, {
            let sql = "INSERT INTO holders (card, number, due) VALUES ($1, $2, $3)
                 ON CONFLICT (card) DO UPDATE SET number = excluded.number, due = excluded.due";
            let due = holder.data == HolderData::Due;
            run(db, sql, params![card.as_str(), holder.number.as_str(), due]).await?;
            store_with(db, &with).await
        })
    }

    async fn holder_written(&self, card: CardNumber, number: Msisdn, with: With) -> Result<()> {
        step!(self, db, {
            let sql = "UPDATE holders SET due = FALSE WHERE card = $1 AND number = $2 AND due";
            match run(db, sql, params![card.as_str(), number.as_str()]).await? {
                0 => Ok(()),
                _ => store_with(db, &with).await,
            }
        })
    }

    async fn cards_of(&self, number: &Msisdn) -> Result<Vec<CardRecord>> {
        let sql = "SELECT cards.body FROM holders JOIN cards ON cards.card = holders.card
             WHERE holders.number = $1 ORDER BY cards.card";
        single!(self, db, many(db, "card", sql, params![number.as_str()]).await)
    }
}
