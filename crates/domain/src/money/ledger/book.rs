//! The ledger in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::{
    AccountKind, Balance, LedgerView, PendingFate, Posting, Transfer, TransferKind, TransferRefusal, check,
};
use crate::id::{CardNumber, TransferId};

/// A ledger in memory: the reference that stores are compared with.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    transfers: Vec<Transfer>,
    by_id: BTreeMap<TransferId, usize>,
    fates: BTreeMap<TransferId, PendingFate>,
    balances: BTreeMap<(CardNumber, AccountKind), Balance>,
}

impl LedgerView for Ledger {
    type Error = Infallible;

    fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, Infallible> {
        Ok(self.by_id.get(&id).map(|index| self.transfers[*index].clone()))
    }

    fn fate(&self, pending: TransferId) -> Result<PendingFate, Infallible> {
        Ok(self.fates.get(&pending).copied().unwrap_or(PendingFate::Open))
    }

    fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance, Infallible> {
        Ok(self.balances.get(&(card, kind)).copied().unwrap_or_default())
    }
}

impl Ledger {
    /// Makes a transfer. Making the same one again changes nothing.
    pub fn record(&mut self, transfer: &Transfer) -> Result<(), TransferRefusal> {
        let Ok(checked) = check(self, transfer);
        self.append(checked?);
        Ok(())
    }

    /// Makes transfers in order, all or none.
    pub fn record_all(&mut self, transfers: &[Transfer]) -> Result<(), TransferRefusal> {
        let mut staged = Staged { base: self, changes: Self::default() };
        for transfer in transfers {
            let Ok(checked) = check(&staged, transfer);
            staged.changes.append(checked?);
        }
        let changes = staged.changes;
        self.fates.extend(changes.fates);
        self.balances.extend(changes.balances);
        for transfer in changes.transfers {
            self.by_id.insert(transfer.id, self.transfers.len());
            self.transfers.push(transfer);
        }
        Ok(())
    }

    fn append(&mut self, posting: Posting) {
        for (card, kind, balance) in posting.balances {
            self.balances.insert((card, kind), balance);
        }
        let Some(transfer) = posting.append else { return };
        match transfer.kind {
            TransferKind::Post(pending) => self.fates.insert(pending, PendingFate::Posted),
            TransferKind::Void(pending) => self.fates.insert(pending, PendingFate::Voided),
            TransferKind::Single | TransferKind::Pending => None,
        };
        self.by_id.insert(transfer.id, self.transfers.len());
        self.transfers.push(transfer);
    }

    /// All transfers, oldest first.
    pub fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    /// Every balance of a card's account.
    pub fn balances(&self) -> impl Iterator<Item = (CardNumber, AccountKind, Balance)> + '_ {
        self.balances.iter().map(|((card, kind), balance)| (*card, *kind, *balance))
    }
}

// A ledger with changes that are not part of it yet.
struct Staged<'a> {
    base: &'a Ledger,
    changes: Ledger,
}

impl LedgerView for Staged<'_> {
    type Error = Infallible;

    fn transfer(&self, id: TransferId) -> Result<Option<Transfer>, Infallible> {
        match self.changes.transfer(id)? {
            Some(known) => Ok(Some(known)),
            None => self.base.transfer(id),
        }
    }

    fn fate(&self, pending: TransferId) -> Result<PendingFate, Infallible> {
        match self.changes.fates.get(&pending) {
            Some(fate) => Ok(*fate),
            None => self.base.fate(pending),
        }
    }

    fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance, Infallible> {
        match self.changes.balances.get(&(card, kind)) {
            Some(balance) => Ok(*balance),
            None => self.base.balance(card, kind),
        }
    }
}
