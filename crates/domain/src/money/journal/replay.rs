//! The state of a card from its journal alone, and how it differs from a store's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;

use super::{Change, JournalEvent, VERSION};
use crate::id::{CardNumber, TransferId};
use crate::money::black_list::ListKind;
use crate::money::card_account::{CardAccount, CardAccountRefusal};
use crate::money::equation::MoneyTotals;
use crate::money::ledger::{AccountKind, Balance, Ledger, LedgerView as _, Transfer, TransferRefusal};
use crate::money::settlement::{Pair, Settlement};
use crate::money::transaction::{CardTransaction, TransactionKey, TransactionType};

/// A card as its journal tells it.
#[derive(Debug, Clone)]
pub struct CardReplay {
    card: CardNumber,
    account: Option<(CardAccount, jiff::Timestamp)>,
    ledger: Ledger,
    transactions: BTreeMap<TransactionKey, CardTransaction>,
    lists: BTreeSet<ListKind>,
    quarantined: usize,
}

/// Why an event does not follow from those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefusal {
    /// A form of entry that this program does not know.
    #[error("the entry has version {0}, and this program reads up to {VERSION}")]
    Version(u16),
    /// The entry was written before entries carried their changes.
    #[error("the entry was written before entries carried their changes")]
    BeforeChanges,
    /// The account was opened already.
    #[error("the account was opened before")]
    OpenedTwice,
    /// The account was not opened.
    #[error("no account was opened before it")]
    NotOpened,
    /// The account cannot do this.
    #[error(transparent)]
    Account(#[from] CardAccountRefusal),
    /// The ledger cannot do this.
    #[error(transparent)]
    Transfer(#[from] TransferRefusal),
    /// The same transfer again.
    #[error("transfer {0} was made before")]
    TransferTwice(TransferId),
    /// The same transaction again.
    #[error("the {kind:?} with counter {counter} was recorded before")]
    TransactionTwice {
        /// Its counter.
        counter: u16,
        /// Its type.
        kind: TransactionType,
    },
    /// A settlement is of a day, and of no card.
    #[error("a settlement stands in the chain of a card")]
    SettlementOfACard,
}

/// What a store has of one card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardRows {
    /// The account, and when it was opened.
    pub account: Option<(CardAccount, jiff::Timestamp)>,
    /// The transfers.
    pub transfers: Vec<Transfer>,
    /// The transactions.
    pub transactions: Vec<CardTransaction>,
    /// The balances of the card's accounts.
    pub balances: Vec<(AccountKind, Balance)>,
}

/// Something on which a store and its journal do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The accounts differ.
    Account {
        /// As the journal tells it.
        journal: Option<CardAccount>,
        /// As the store has it.
        store: Option<CardAccount>,
    },
    /// The store has a transfer that the journal does not tell: its entry was skipped.
    TransferNotJournalled(Transfer),
    /// The journal tells a transfer that the store has not.
    TransferNotStored(Transfer),
    /// The store has a transaction that the journal does not tell: its entry was skipped.
    TransactionNotJournalled(CardTransaction),
    /// The journal tells a transaction that the store has not.
    TransactionNotStored(CardTransaction),
    /// A balance differs.
    Balance {
        /// The account.
        kind: AccountKind,
        /// As the journal tells it.
        journal: Balance,
        /// As the store has it.
        store: Balance,
    },
    /// The store has a settlement that the journal does not tell.
    SettlementNotJournalled(Settlement),
    /// The journal tells a settlement that the store has not, or has otherwise.
    SettlementNotStored(Settlement),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |account: &Option<CardAccount>| match account {
            None => "unknown",
            Some(CardAccount { freeze: Some(_), .. }) => "frozen",
            Some(account) => account.state.words(),
        };
        match self {
            Self::Account { journal, store } => {
                let (journal, store) = (state(journal), state(store));
                write!(f, "the account is {store} in the store and {journal} by its journal")
            }
            Self::TransferNotJournalled(transfer) => {
                let (code, amount, id) = (transfer.code.name(), transfer.amount, transfer.id);
                write!(f, "no entry of the journal tells transfer {id} ({code}, {amount} yuan)")
            }
            Self::TransferNotStored(transfer) => {
                let (code, amount, id) = (transfer.code.name(), transfer.amount, transfer.id);
                write!(
                    f,
                    "the store lacks transfer {id} ({code}, {amount} yuan) of the journal, or has it otherwise"
                )
            }
            Self::TransactionNotJournalled(CardTransaction { key, amount, .. }) => {
                let TransactionKey { kind, counter, .. } = key;
                write!(f, "no entry of the journal tells the {kind:?} with counter {counter} ({amount} yuan)")
            }
            Self::TransactionNotStored(CardTransaction { key, amount, .. }) => {
                let TransactionKey { kind, counter, .. } = key;
                write!(
                    f,
                    "the store lacks the {kind:?} with counter {counter} ({amount} yuan) of the journal, or has it otherwise"
                )
            }
            Self::Balance { kind, journal, store } => write!(
                f,
                "account {} holds {} yuan in the store and {} by its journal",
                kind.name(),
                store.posted,
                journal.posted
            ),
            Self::SettlementNotJournalled(Settlement { day, pair, .. }) => {
                let Pair { operator, issuer } = pair;
                write!(
                    f,
                    "no entry of the journal tells the settlement of {day} between {operator} and {issuer}"
                )
            }
            Self::SettlementNotStored(Settlement { day, pair, .. }) => {
                let Pair { operator, issuer } = pair;
                write!(
                    f,
                    "the store lacks the settlement of {day} between {operator} and {issuer}, or has it otherwise"
                )
            }
        }
    }
}

impl CardReplay {
    /// A card of which nothing is known yet.
    pub fn new(card: CardNumber) -> Self {
        Self {
            card,
            account: None,
            ledger: Ledger::default(),
            transactions: BTreeMap::new(),
            lists: BTreeSet::new(),
            quarantined: 0,
        }
    }

    /// Applies the next entry's event.
    pub fn apply(&mut self, event: &JournalEvent) -> Result<(), ReplayRefusal> {
        match event.v {
            0 => return Err(ReplayRefusal::BeforeChanges),
            1..=VERSION => {}
            newer => return Err(ReplayRefusal::Version(newer)),
        }
        event.changes.iter().try_for_each(|change| self.change(change))
    }

    fn change(&mut self, change: &Change) -> Result<(), ReplayRefusal> {
        match change {
            Change::Opened { se, at } => {
                if self.account.is_some() {
                    return Err(ReplayRefusal::OpenedTwice);
                }
                self.account = Some((CardAccount::opening(*se), *at));
                Ok(())
            }
            Change::Moved(event) => self.change_account(|account| Ok(account.apply(*event)?)),
            Change::Frozen { reason } => self.change_account(|account| Ok(account.frozen(reason.clone()))),
            Change::Released => self.change_account(|account| Ok(account.released())),
            Change::Transferred(made) => self.transfer(&made.about(self.card)),
            Change::Recorded(recorded) => self.record(recorded.of_card(self.card)),
            Change::Listed { list, .. } => {
                self.lists.insert(*list);
                Ok(())
            }
            Change::Unlisted { list, .. } => {
                self.lists.remove(list);
                Ok(())
            }
            Change::Quarantined { .. } => {
                self.quarantined += 1;
                Ok(())
            }
            Change::Settled(_) => Err(ReplayRefusal::SettlementOfACard),
        }
    }

    fn change_account(
        &mut self,
        change: impl FnOnce(CardAccount) -> Result<CardAccount, ReplayRefusal>,
    ) -> Result<(), ReplayRefusal> {
        let (account, opened_at) = self.account.clone().ok_or(ReplayRefusal::NotOpened)?;
        self.account = Some((change(account)?, opened_at));
        Ok(())
    }

    fn transfer(&mut self, transfer: &Transfer) -> Result<(), ReplayRefusal> {
        let Ok::<_, Infallible>(known) = self.ledger.transfer(transfer.id);
        if known.is_some() {
            return Err(ReplayRefusal::TransferTwice(transfer.id));
        }
        Ok(self.ledger.record(transfer)?)
    }

    fn record(&mut self, transaction: CardTransaction) -> Result<(), ReplayRefusal> {
        let TransactionKey { counter, kind, .. } = transaction.key;
        match self.transactions.insert(transaction.key, transaction) {
            None => Ok(()),
            Some(_) => Err(ReplayRefusal::TransactionTwice { counter, kind }),
        }
    }

    /// The account, once it is opened.
    pub fn account(&self) -> Option<&CardAccount> {
        self.account.as_ref().map(|(account, _)| account)
    }

    /// What one of the card's accounts holds.
    pub fn balance(&self, kind: AccountKind) -> Balance {
        let Ok::<_, Infallible>(balance) = self.ledger.balance(self.card, kind);
        balance
    }

    /// The terms of the money equation that this card adds.
    pub fn totals(&self) -> MoneyTotals {
        MoneyTotals::of_transfers(self.ledger.transfers())
    }

    /// How many transfers and transactions the journal tells.
    pub fn counts(&self) -> (usize, usize) {
        (self.ledger.transfers().len(), self.transactions.len())
    }

    /// The lists that the card is on.
    pub fn lists(&self) -> impl Iterator<Item = ListKind> + '_ {
        self.lists.iter().copied()
    }

    /// How many reported transactions were kept aside.
    pub const fn quarantined(&self) -> usize {
        self.quarantined
    }

    /// Everything on which the rows of a store differ from the journal.
    pub fn differences(&self, rows: &CardRows) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.account != rows.account {
            let of = |side: &Option<(CardAccount, _)>| side.as_ref().map(|(account, _)| account.clone());
            found.push(Difference::Account { journal: of(&self.account), store: of(&rows.account) });
        }
        let stored: BTreeMap<_, _> = rows.transfers.iter().map(|transfer| (transfer.id, transfer)).collect();
        let told: BTreeMap<_, _> =
            self.ledger.transfers().iter().map(|transfer| (transfer.id, transfer)).collect();
        let (skipped, lost) = both_ways(&stored, &told);
        found.extend(skipped.cloned().map(Difference::TransferNotJournalled));
        found.extend(lost.cloned().map(Difference::TransferNotStored));
        let stored: BTreeMap<_, _> = rows.transactions.iter().map(|row| (row.key, row)).collect();
        let told: BTreeMap<_, _> = self.transactions.iter().map(|(key, row)| (*key, row)).collect();
        let (skipped, lost) = both_ways(&stored, &told);
        found.extend(skipped.cloned().map(Difference::TransactionNotJournalled));
        found.extend(lost.cloned().map(Difference::TransactionNotStored));
        for (kind, store) in &rows.balances {
            let journal = self.balance(*kind);
            if journal != *store {
                found.push(Difference::Balance { kind: *kind, journal, store: *store });
            }
        }
        found
    }
}

/// What only the store has, and what the journal tells and the store has not or has otherwise.
fn both_ways<'a, K: Ord, V: PartialEq>(
    stored: &'a BTreeMap<K, &'a V>,
    told: &'a BTreeMap<K, &'a V>,
) -> (impl Iterator<Item = &'a V>, impl Iterator<Item = &'a V>) {
    let skipped = stored.iter().filter(|(key, _)| !told.contains_key(key)).map(|(_, row)| *row);
    let lost = told.iter().filter(|(key, row)| stored.get(key) != Some(row)).map(|(_, row)| *row);
    (skipped, lost)
}
