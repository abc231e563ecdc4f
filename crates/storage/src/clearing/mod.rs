//! The store of the clearing centre.

pub(crate) mod closing;
pub mod collection;
pub(crate) mod columns;
pub mod fares;
pub(crate) mod journal;
pub mod lists;
pub mod payouts;
pub mod replay;
pub(crate) mod seals;
pub mod settlement;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tsm_domain::money::ledger::Balance;
use tsm_domain::money::{
    AccountKind, CardAccount, CardAccountEvent, CardAccountRefusal, CardAccountState, CardTransaction,
    LoadProof, MoneyTotals, TransactionKey, Transfer,
};
use tsm_domain::{CardNumber, SeId};

pub use closing::{CardBooks, ClosingStep, Closings};
pub use collection::Collection;
pub use fares::Fares;
pub(crate) use journal::Step;
pub use journal::event_of;
pub use lists::{Lists, LockRow};
pub use payouts::OperatorPayouts;
pub use seals::{SealOver, Seals};
pub use settlement::Settlements;

use crate::clerks::Clerks;
use crate::error::Result;
use crate::shared::{Chains, Delivery, Incident, Incidents, Note, Outbox, Sessions};

/// What goes with a step at the centre: transfers in the ledger, journal entries, messages, incidents. All
/// of it is stored, or nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Books {
    /// Transfers, in order. One that was made before changes nothing.
    pub transfers: Vec<Transfer>,
    /// Journal entries.
    pub notes: Vec<Note>,
    /// Messages to send.
    pub deliveries: Vec<Delivery>,
    /// Incidents.
    pub incidents: Vec<Incident>,
}

/// A card's account, and the card it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// The card.
    pub card: CardNumber,
    /// The account.
    pub account: CardAccount,
    /// When it was opened.
    pub opened_at: jiff::Timestamp,
}

/// What somebody has to look at in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The card is on no phone: its value and data are kept here.
    Parked,
    /// Money is owed to its rider.
    RefundPayable,
    /// It is frozen for value.
    Frozen,
}

impl Standing {
    /// Whether an account stands so.
    pub const fn fits(self, account: &CardAccount) -> bool {
        match self {
            Self::Parked => matches!(account.state, CardAccountState::Parked { .. }),
            Self::RefundPayable => matches!(account.state, CardAccountState::RefundPayable { .. }),
            Self::Frozen => account.freeze.is_some(),
        }
    }
}

/// How an account is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccountChange {
    /// It moves along its states.
    Event(CardAccountEvent),
    /// It is frozen for value, with this reason.
    Frozen(String),
    /// It is released.
    Released,
}

impl AccountChange {
    /// Moving along the states by these events, in order.
    pub(crate) fn events(events: &[CardAccountEvent]) -> Vec<Self> {
        events.iter().copied().map(Self::Event).collect()
    }

    /// Freezing with a reason, or releasing.
    pub(crate) fn frozen(reason: Option<String>) -> Self {
        reason.map_or(Self::Released, Self::Frozen)
    }

    /// The account after the change.
    pub(crate) fn of(&self, account: CardAccount) -> std::result::Result<CardAccount, CardAccountRefusal> {
        match self {
            Self::Event(event) => account.apply(*event),
            Self::Frozen(reason) => Ok(account.frozen(reason.clone())),
            Self::Released => Ok(account.released()),
        }
    }
}

/// The result of recording a card transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is new, and the books were moved.
    New,
    /// The same was recorded before; nothing changed.
    Before,
    /// Another transaction has that card, counter and type. Nothing was moved.
    Different(CardTransaction),
}

/// The store of the clearing centre.
#[async_trait]
pub trait ClearingStore:
    Outbox
    + Incidents
    + Chains
    + Sessions
    + Clerks
    + Closings
    + Collection
    + Lists
    + Fares
    + Seals
    + Settlements
    + OperatorPayouts
{
    /// Opens the account of a card that is about to be written to `se`, or gives the one that is there.
    /// A card that is on another SE is a conflict.
    async fn open_account(
        &self,
        card: CardNumber,
        se: SeId,
        at: jiff::Timestamp,
        books: Books,
    ) -> Result<AccountRow>;
    /// A card's account.
    async fn account(&self, card: CardNumber) -> Result<Option<AccountRow>>;
    /// Accounts in order of card number, from `after` on.
    async fn accounts(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<AccountRow>>;
    /// Accounts that stand so, in order of card number, from `after` on; of cards whose numbers begin with these
    /// eight digits, where any are given.
    async fn accounts_that(
        &self,
        standing: Standing,
        prefix: Option<&str>,
        after: Option<CardNumber>,
        limit: usize,
    ) -> Result<Vec<AccountRow>>;
    /// Moves an account along its states, with what that does to the books.
    async fn apply_event(
        &self,
        card: CardNumber,
        event: CardAccountEvent,
        books: Books,
    ) -> Result<CardAccount>;
    /// Freezes a card for value with a reason, or releases it.
    async fn set_frozen(&self, card: CardNumber, reason: Option<String>, books: Books)
    -> Result<CardAccount>;
    /// Makes transfers, in order, all or none.
    async fn transfer(&self, books: Books) -> Result<()>;
    /// Records a card transaction once, with what it does to the books.
    async fn record_transaction(&self, transaction: CardTransaction, books: Books) -> Result<Recorded>;
    /// The transaction that is recorded in this place: with this key, or of the other type that shares its counter.
    async fn transaction(&self, key: TransactionKey) -> Result<Option<CardTransaction>>;
    /// A card's transactions, newest first.
    async fn transactions_of(&self, card: CardNumber, limit: usize) -> Result<Vec<CardTransaction>>;
    /// A card's transfers, oldest first.
    async fn transfers_of(&self, card: CardNumber) -> Result<Vec<Transfer>>;
    /// What a card's account holds.
    async fn balance(&self, card: CardNumber, kind: AccountKind) -> Result<Balance>;
    /// The terms of the money equation, summed over all transfers.
    async fn totals(&self) -> Result<MoneyTotals>;
}

/// The same transaction may be reported by more than one way: what the card did is the same when amount and
/// terminal are, unless each has a TAC of its own. Plain and composite purchases share a counter: a card that has
/// made one of them at a counter cannot have made the other there, too.
pub(crate) fn recorded_before(known: &CardTransaction, again: &CardTransaction) -> Recorded {
    let is_same_proof = match (known.proof, again.proof) {
        (LoadProof::Tac(known), LoadProof::Tac(again)) => known == again,
        (LoadProof::TacUnavailable, _) | (_, LoadProof::TacUnavailable) => true,
    };
    let is_same = known.key == again.key && known.amount == again.amount && known.terminal == again.terminal;
    if is_same && is_same_proof { Recorded::Before } else { Recorded::Different(known.clone()) }
}
