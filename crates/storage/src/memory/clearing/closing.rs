//! The closings of cards in memory.

use async_trait::async_trait;
use tsm_domain::money::{CardAccount, Closing};
use tsm_domain::{CardNumber, OperationId};

use super::ClearingState;
use crate::clearing::closing::is_new;
use crate::clearing::{AccountChange, ClosingStep, Closings};
use crate::error::Result;
use crate::memory::Memory;

#[async_trait]
impl Closings for Memory<ClearingState> {
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
        self.read(|state| Ok(state.closings.get(&(card, operation)).cloned()))
    }

    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>> {
        self.read(|state| {
            let of_card = state.closings.values().filter(|closing| closing.card == card);
            let mut found: Vec<_> = of_card.cloned().collect();
            found.sort_by_key(|closing| std::cmp::Reverse((closing.begun_at, closing.operation)));
            Ok(found)
        })
    }

    async fn step_closing(&self, step: ClosingStep) -> Result<CardAccount> {
        self.write(|state| {
            let key = (step.after.card, step.after.operation);
            let row = state.account(step.after.card)?;
            if !is_new(&step, state.closings.get(&key))? {
                return Ok(row.account);
            }
            let events = AccountChange::events(&step.events);
            let account = state.change_account(row.card, &events, step.books)?;
            state.closings.insert(key, step.after);
            Ok(account)
        })
    }
}
