//! What the clearing centre's journal says of a card: each step's changes, in full, so that the journal alone
//! gives the centre's state again.
//!
//! One entry is one step of the store, which is atomic, and carries everything that the step changed about
//! one card: [`JournalEvent`]. The store makes the event from the change itself, so no step can forget it.
//! The chain an entry stands in names its card, so an event never repeats the card number.
//!
//! [`CardReplay`] applies the events of one card in order; [`Difference`] names what a store and its journal
//! do not agree on.

mod replay;
pub mod seal;

use serde::{Deserialize, Serialize};

pub use replay::{CardReplay, CardRows, Difference, ReplayRefusal};
pub use seal::{HeadProof, Seal, SealBroken, SealedHead, SignedSeal};

use crate::amount::Fen;
use crate::id::{CardNumber, OrderId, SeId, TerminalNumber, TransferId};
use crate::money::black_list::{ListKind, ListVersion};
use crate::money::card_account::CardAccountEvent;
use crate::money::ledger::{Transfer, TransferCode, TransferKind};
use crate::money::settlement::Settlement;
use crate::money::top_up::LoadProof;
use crate::money::transaction::{CardTransaction, TransactionKey, TransactionType};

/// The version in which events are written.
pub const VERSION: u16 = 1;

/// One entry of a card's journal: everything that one step changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEvent {
    /// The version of the form. Entries of version 0 were written before entries carried their changes.
    #[serde(default)]
    pub v: u16,
    /// The changes, in order. Empty for a remark, which changes nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A change of what the centre knows of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The account was opened for this SE.
    Opened {
        /// The SE that the card is being written to.
        se: SeId,
        /// When.
        at: jiff::Timestamp,
    },
    /// The account moved along its states.
    Moved(CardAccountEvent),
    /// The card was frozen for value.
    Frozen {
        /// The reason, in words.
        reason: String,
    },
    /// The card was released.
    Released,
    /// Money moved.
    Transferred(TransferMade),
    /// A card transaction was recorded.
    Recorded(TransactionRecorded),
    /// The card was put on a list that terminals get.
    Listed {
        /// The list.
        list: ListKind,
        /// The version of the list that first has it.
        version: ListVersion,
    },
    /// The card was taken off a list.
    Unlisted {
        /// The list.
        list: ListKind,
        /// The version of the list that first lacks it.
        version: ListVersion,
    },
    /// A reported transaction was kept aside; it moved no money.
    Quarantined {
        /// The transaction as it was reported.
        transaction: TransactionRecorded,
        /// Why, a stable word: `wrong-tac`, `repeated-tac`, …
        reason: String,
    },
    /// What an operator's terminals took of an issuer's cards on one day was settled. It stands in the chain of
    /// that day: an entry in the chain of each card would make the end of a day as much work as the day.
    Settled(Settlement),
}

/// A transfer without its card; its accounts follow from its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferMade {
    /// Its identity.
    pub id: TransferId,
    /// Why.
    pub code: TransferCode,
    /// The amount.
    pub amount: Fen,
    /// Its kind.
    pub kind: TransferKind,
    /// The order it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// When.
    pub at: jiff::Timestamp,
}

/// A card transaction without its card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionRecorded {
    /// The counter after it.
    pub counter: u16,
    /// The type.
    pub kind: TransactionType,
    /// The amount.
    pub amount: Fen,
    /// The balance after it, where the record tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<Fen>,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// When the terminal says it happened.
    pub at: jiff::Timestamp,
    /// The proof.
    pub proof: LoadProof,
}

impl JournalEvent {
    /// An event of today's version.
    pub const fn new(changes: Vec<Change>) -> Self {
        Self { v: VERSION, changes }
    }
}

impl Change {
    /// A stable word for the change, for an entry that nobody gave another.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "account-opened",
            Self::Moved(event) => match event {
                CardAccountEvent::Opened(_) => "card-live",
                CardAccountEvent::OpeningGivenUp { .. } => "opening-given-up",
                CardAccountEvent::ClosingBegun(_) => "closing-begun",
                CardAccountEvent::ClosingUndone => "closing-undone",
                CardAccountEvent::Parked(_) => "parked",
                CardAccountEvent::MigrationIn(_) => "migration-in",
                CardAccountEvent::ClaimReleased(_) => "claim-released",
                CardAccountEvent::RefundOrdered => "refund-ordered",
                CardAccountEvent::RefundPaid => "refund-paid",
            },
            Self::Frozen { .. } => "frozen",
            Self::Released => "released",
            Self::Transferred(_) => "transferred",
            Self::Recorded(_) => "transaction-recorded",
            Self::Listed { .. } => "listed",
            Self::Unlisted { .. } => "unlisted",
            Self::Quarantined { .. } => "quarantined",
            Self::Settled(_) => "settled",
        }
    }
}

impl TransferMade {
    /// The part of a transfer that its card and code do not tell.
    pub fn of(transfer: &Transfer) -> Self {
        Self {
            id: transfer.id,
            code: transfer.code,
            amount: transfer.amount,
            kind: transfer.kind,
            order: transfer.order,
            at: transfer.at,
        }
    }

    /// The transfer, about no card; none where its code is about one.
    pub fn about_none(&self) -> Option<Transfer> {
        let transfer = self.code.between_controls(self.id, self.amount, self.at)?;
        Some(Transfer { kind: self.kind, order: self.order, ..transfer })
    }

    /// The transfer, about this card.
    pub fn about(&self, card: CardNumber) -> Transfer {
        let transfer = self.code.transfer(self.id, card, self.amount, self.at);
        Transfer { kind: self.kind, order: self.order, ..transfer }
    }
}

impl TransactionRecorded {
    /// A transaction without its card.
    pub fn of(transaction: &CardTransaction) -> Self {
        Self {
            counter: transaction.key.counter,
            kind: transaction.key.kind,
            amount: transaction.amount,
            balance_after: transaction.balance_after,
            terminal: transaction.terminal,
            at: transaction.at,
            proof: transaction.proof,
        }
    }

    /// The transaction, of this card.
    pub fn of_card(&self, card: CardNumber) -> CardTransaction {
        CardTransaction {
            key: TransactionKey { card, counter: self.counter, kind: self.kind },
            amount: self.amount,
            balance_after: self.balance_after,
            terminal: self.terminal,
            at: self.at,
            proof: self.proof,
        }
    }
}
