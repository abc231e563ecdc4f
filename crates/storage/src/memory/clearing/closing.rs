//! The closings of cards in memory.

use async_trait::async_trait;
use tsm_domain::money::{AccountKind, CardAccount, Closing, LedgerView as _};
use tsm_domain::{CardNumber, OperationId};

use super::{ClearingState, transactions_of};
use crate::clearing::closing::is_new;
use crate::clearing::{AccountChange, CardBooks, ClosingStep, Closings};
use crate::error::Result;
use crate::memory::Memory;

fn closings_of(state: &ClearingState, card: CardNumber) -> Vec<Closing> {
    let of_card = state.closings.values().filter(|closing| closing.card == card);
    let mut found: Vec<_> = of_card.cloned().collect();
    found.sort_by_key(|closing| std::cmp::Reverse((closing.begun_at, closing.operation)));
    found
}

#[async_trait]
impl Closings for Memory<ClearingState> {
    async fn closing(&self, card: CardNumber, operation: OperationId) -> Result<Option<Closing>> {
        self.read(|state| Ok(state.closings.get(&(card, operation)).cloned()))
    }

    async fn closings_of(&self, card: CardNumber) -> Result<Vec<Closing>> {
        self.read(|state| Ok(closings_of(state, card)))
    }

    async fn card_books(&self, card: CardNumber) -> Result<Option<CardBooks>> {
        self.read(|state| {
            let Some(row) = state.accounts.get(&card).cloned() else { return Ok(None) };
            let Ok(purse) = state.ledger.balance(card, AccountKind::Purse);
            let closings = closings_of(state, card);
            let transactions = transactions_of(state, card, usize::MAX);
            Ok(Some(CardBooks { row, closings, transactions, purse: purse.posted }))
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
