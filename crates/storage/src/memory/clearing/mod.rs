//! The clearing centre's store in memory.

mod closing;
mod collection;
mod fares;
mod lists;
mod payouts;
mod seals;
mod settlement;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use tsm_domain::money::journal::{SealedHead, SignedSeal};
use tsm_domain::money::ledger::{Balance, Ledger, LedgerView as _};
use tsm_domain::money::{
    AccountKind, CardAccount, CardAccountEvent, CardTransaction, Closing, MoneyTotals, TransactionKey,
    TransactionType, Transfer,
};
use tsm_domain::{CardNumber, OperationId, SeId};

use super::shared::{Shared, has_shared};
use super::{Memory, PlantedBug};
use crate::clearing::*;
use crate::error::{Result, StorageError};

/// What the clearing centre keeps.
#[derive(Debug, Default)]
pub struct ClearingState {
    shared: Shared,
    accounts: BTreeMap<CardNumber, AccountRow>,
    ledger: Ledger,
    /// Where each card's transfers stand in the ledger.
    transfers_by_card: BTreeMap<CardNumber, Vec<usize>>,
    transactions: BTreeMap<TransactionKey, CardTransaction>,
    closings: BTreeMap<(CardNumber, OperationId), Closing>,
    seals: BTreeMap<u64, (SignedSeal, Vec<SealedHead>)>,
    sheets: settlement::Sheets,
    collection: collection::CollectionState,
    lists: lists::ListsState,
    fares: fares::FaresState,
    payouts: payouts::PayoutsState,
}

has_shared!(ClearingState);

impl ClearingState {
    // What can be refused comes first.
    fn book(&mut self, mut step: Step, books: Books) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut made = Vec::new();
        for transfer in &books.transfers {
            let Ok(known) = self.ledger.transfer(transfer.id);
            let is_new = known.is_none() && seen.insert(transfer.id);
            step.transferred(transfer, is_new.then_some(transfer));
            made.extend(is_new.then_some(transfer));
        }
        let notes = step.notes(books.notes)?;
        let recorded = self.ledger.transfers().len();
        self.ledger.record_all(&books.transfers)?;
        made.into_iter().for_each(|transfer| self.sheets.entry(transfer));
        self.index_transfers(recorded);
        self.shared.put_with(books.deliveries, notes, books.incidents);
        Ok(())
    }

    fn index_transfers(&mut self, from: usize) {
        for (index, transfer) in self.ledger.transfers().iter().enumerate().skip(from) {
            let cards = BTreeSet::from([transfer.debit.card(), transfer.credit.card()]);
            for card in cards.into_iter().flatten() {
                self.transfers_by_card.entry(card).or_default().push(index);
            }
        }
    }

    fn account(&self, card: CardNumber) -> Result<AccountRow> {
        self.accounts.get(&card).cloned().ok_or_else(|| StorageError::unknown("card account", card))
    }

    /// The transaction with this key, or of the other type that shares its counter.
    fn in_place_of(&self, key: TransactionKey) -> Option<&CardTransaction> {
        let at = |key| self.transactions.get(&key);
        let is_blind = self.shared.planted == Some(PlantedBug::PaidContradiction);
        at(key).or_else(|| at(key.twin().filter(|_| !is_blind)?))
    }

    fn record(&mut self, transaction: &CardTransaction, books: Books) -> Result<Recorded> {
        if let Some(known) = self.in_place_of(transaction.key) {
            return Ok(recorded_before(known, transaction));
        }
        self.book(Step::recorded(transaction), books.clone())?;
        self.sheets.transaction(transaction, &books);
        self.transactions.insert(transaction.key, transaction.clone());
        Ok(Recorded::New)
    }

    fn change_account(
        &mut self,
        card: CardNumber,
        changes: &[AccountChange],
        books: Books,
    ) -> Result<CardAccount> {
        let row = self.account(card)?;
        let (mut step, account) = Step::account(&row, changes)?;
        let at = books.notes.iter().map(|note| note.at).max().unwrap_or(row.opened_at);
        let listed = self.lists.frozen(card, &row.account, &account, at);
        if let Some(edit) = &listed {
            step.listed(edit, at);
        }
        self.book(step, books)?;
        if let Some(edit) = listed {
            self.lists.put(edit);
        }
        self.accounts.insert(card, AccountRow { account: account.clone(), ..row });
        Ok(account)
    }
}

fn transactions_of(state: &ClearingState, card: CardNumber, limit: usize) -> Vec<CardTransaction> {
    let first = TransactionKey { card, counter: 0, kind: TransactionType::Load };
    let of_card = state.transactions.range(first..).take_while(|(key, _)| key.card == card);
    let mut found: Vec<_> = of_card.map(|(_, transaction)| transaction.clone()).collect();
    found.sort_by_key(|transaction| std::cmp::Reverse((transaction.at, transaction.key)));
    found.truncate(limit);
    found
}

#[async_trait]
impl ClearingStore for Memory<ClearingState> {
    async fn open_account(
        &self,
        card: CardNumber,
        se: SeId,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<AccountRow> {
        self.write(|state| {
            if let Some(known) = state.accounts.get(&card) {
                return if known.account.state.carrier() == Some(se) {
                    Ok(known.clone())
                } else {
                    Err(StorageError::conflict("card account", card))
                };
            }
            state.book(Step::opened(card, se, at), books)?;
            let row = AccountRow { card, account: CardAccount::opening(se), opened_at: at };
            state.accounts.insert(card, row.clone());
            Ok(row)
        })
    }

    async fn account(&self, card: CardNumber) -> Result<Option<AccountRow>> {
        self.read(|state| Ok(state.accounts.get(&card).cloned()))
    }

    async fn accounts(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<AccountRow>> {
        self.read(|state| {
            let later = state.accounts.values().filter(|row| after.is_none_or(|after| row.card > after));
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn accounts_that(
        &self,
        standing: Standing,
        prefix: Option<&str>,
        after: Option<CardNumber>,
        limit: usize,
    ) -> Result<Vec<AccountRow>> {
        self.read(|state| {
            let fits = |row: &&AccountRow| {
                standing.fits(&row.account)
                    && after.is_none_or(|after| row.card > after)
                    && prefix.is_none_or(|prefix| row.card.as_str().starts_with(prefix))
            };
            Ok(state.accounts.values().filter(fits).take(limit).cloned().collect())
        })
    }

    async fn apply_event(
        &self,
        card: CardNumber,
        event: CardAccountEvent,
        books: Books,
    ) -> Result<CardAccount> {
        self.write(|state| state.change_account(card, &[AccountChange::Event(event)], books))
    }

    async fn set_frozen(
        &self,
        card: CardNumber,
        reason: Option<String>,
        books: Books,
    ) -> Result<CardAccount> {
        self.write(|state| state.change_account(card, &[AccountChange::frozen(reason)], books))
    }

    async fn transfer(&self, books: Books) -> Result<()> {
        self.write(|state| state.book(Step::default(), books))
    }

    async fn record_transaction(&self, transaction: CardTransaction, books: Books) -> Result<Recorded> {
        self.write(|state| state.record(&transaction, books))
    }

    async fn transaction(&self, key: TransactionKey) -> Result<Option<CardTransaction>> {
        self.read(|state| Ok(state.in_place_of(key).cloned()))
    }

    async fn transactions_of(&self, card: CardNumber, limit: usize) -> Result<Vec<CardTransaction>> {
        self.read(|state| Ok(transactions_of(state, card, limit)))
    }

    async fn transfers_of(&self, card: CardNumber) -> Result<Vec<Transfer>> {
        self.read(|state| {
            let indices = state.transfers_by_card.get(&card).into_iter().flatten();
            let mut found: Vec<_> = indices.map(|index| state.ledger.transfers()[*index].clone()).collect();
            found.sort_by_key(|transfer| (transfer.at, transfer.id));
            Ok(found)
        })
    }

    async fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance> {
        self.read(|state| {
            let Ok(balance) = state.ledger.balance(card, kind);
            Ok(balance)
        })
    }

    async fn totals(&self) -> Result<MoneyTotals> {
        self.read(|state| Ok(MoneyTotals::of_transfers(state.ledger.transfers())))
    }
}
