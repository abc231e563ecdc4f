//! Arrivals in memory.

use async_trait::async_trait;
use tsm_domain::arrival::{Arrival, ArrivalState};
use tsm_domain::card::CardRecord;
use tsm_domain::{CardNumber, Msisdn, OperationId, SeId};
use tsm_iso7816::Aid;

use super::SpTsmState;
use crate::error::{Result, StorageError};
use crate::memory::Memory;
use crate::sp_tsm::With;
use crate::sp_tsm::arrivals::{
    ArrivalOrdered, Arrivals, CardHolder, HolderData, ParkedReturned, check_may_arrive, excludes, given_up,
    returned,
};

impl SpTsmState {
    fn known_arrival(&self, operation: OperationId) -> Result<Arrival> {
        self.arrivals.get(&operation).cloned().ok_or_else(|| StorageError::unknown("migration", operation))
    }
}

#[async_trait]
impl Arrivals for Memory<SpTsmState> {
    async fn order_arrival(&self, arrival: Arrival, with: With) -> Result<ArrivalOrdered> {
        self.write(|state| {
            if let Some(known) = state.arrivals.get(&arrival.operation) {
                return Ok(ArrivalOrdered::Accepted(known.clone()));
            }
            if let Some(busy) = state.arrivals.values().find(|known| excludes(known, &arrival)) {
                return Ok(ArrivalOrdered::Busy(busy.clone()));
            }
            check_may_arrive(state.cards.get(&arrival.card))?;
            state.arrivals.insert(arrival.operation, arrival.clone());
            state.with(with);
            Ok(ArrivalOrdered::Accepted(arrival))
        })
    }

    async fn return_parked(&self, card: CardNumber, with: With) -> Result<ParkedReturned> {
        self.write(|state| {
            let known = state.cards.get(&card).cloned();
            let known = known.ok_or_else(|| StorageError::unknown("card", card))?;
            let mut open = state.arrivals.values().filter(|arrival| arrival.state.is_open());
            if let Some(busy) = open.find(|arrival| arrival.card == card) {
                return Ok(ParkedReturned::Busy(busy.clone()));
            }
            let Some(returned) = returned(&known)? else { return Ok(ParkedReturned::Returned(known)) };
            state.put_card(returned.clone());
            state.with(with);
            Ok(ParkedReturned::Returned(returned))
        })
    }

    async fn arrival(&self, operation: OperationId) -> Result<Option<Arrival>> {
        self.read(|state| Ok(state.arrivals.get(&operation).cloned()))
    }

    async fn open_arrival(&self, se: SeId, application: Aid) -> Result<Option<Arrival>> {
        self.read(|state| {
            let mut open = state.arrivals.values().filter(|known| known.state.is_open());
            Ok(open.find(|known| known.se == se && known.application == application).cloned())
        })
    }

    async fn arrival_of(&self, card: CardNumber) -> Result<Option<Arrival>> {
        self.read(|state| {
            let mut open = state.arrivals.values().filter(|known| known.state.is_open());
            Ok(open.find(|known| known.card == card).cloned())
        })
    }

    async fn move_arrival(&self, operation: OperationId, to: ArrivalState, with: With) -> Result<Arrival> {
        self.write(|state| {
            let known = state.known_arrival(operation)?;
            if known.state == to {
                return Ok(known);
            }
            let moved = Arrival { state: known.state.moved_to(to)?, ..known };
            state.arrivals.insert(operation, moved.clone());
            state.with(with);
            Ok(moved)
        })
    }

    async fn give_up_arrival(&self, operation: OperationId, with: With) -> Result<Arrival> {
        self.write(|state| {
            let known = state.known_arrival(operation)?;
            if known.state == ArrivalState::GivenUp {
                return Ok(known);
            }
            let card = state.cards.get(&known.card).cloned();
            let (ended, card) = given_up(known, card)?;
            if let Some(card) = card {
                state.put_card(card);
            }
            state.arrivals.insert(operation, ended.clone());
            state.with(with);
            Ok(ended)
        })
    }

    async fn holder(&self, card: CardNumber) -> Result<Option<CardHolder>> {
        self.read(|state| Ok(state.holders.get(&card).cloned()))
    }

    async fn set_holder(&self, card: CardNumber, holder: CardHolder, with: With) -> Result<()> {
        self.write(|state| {
            state.holders.insert(card, holder);
            state.with(with);
            Ok(())
        })
    }

    async fn holder_written(&self, card: CardNumber, number: Msisdn, with: With) -> Result<()> {
        self.write(|state| {
            let due = CardHolder { number, data: HolderData::Due };
            if state.holders.get(&card) == Some(&due) {
                state.holders.insert(card, CardHolder { data: HolderData::Current, ..due });
                state.with(with);
            }
            Ok(())
        })
    }

    async fn cards_of(&self, number: &Msisdn) -> Result<Vec<CardRecord>> {
        self.read(|state| {
            let own = state.holders.iter().filter(|(_, holder)| holder.number == *number);
            Ok(own.filter_map(|(card, _)| state.cards.get(card).cloned()).collect())
        })
    }
}
