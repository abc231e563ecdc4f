//! A transaction that a card made, as the centre records it: once.

use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::id::{CardNumber, TerminalNumber};
use crate::money::top_up::LoadProof;

/// The kinds of purse transactions (byte 9 of the transaction log).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TransactionType {
    /// Load of the purse.
    Load,
    /// Unload: the online debit of a return.
    Unload,
    /// Plain purchase.
    Purchase,
    /// Change of the overdraft limit.
    OverdraftUpdate,
    /// Composite purchase with a data cache.
    CompositePurchase,
}

impl TransactionType {
    /// The type byte of the transaction log.
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Load => 0x02,
            Self::Unload => 0x03,
            Self::Purchase => 0x06,
            Self::OverdraftUpdate => 0x07,
            Self::CompositePurchase => 0x09,
        }
    }

    /// The type that a byte of the transaction log names.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x02 => Some(Self::Load),
            0x03 => Some(Self::Unload),
            0x06 => Some(Self::Purchase),
            0x07 => Some(Self::OverdraftUpdate),
            0x09 => Some(Self::CompositePurchase),
            _ => None,
        }
    }

    /// Whether the online counter numbers it.
    pub const fn is_online(self) -> bool {
        match self {
            Self::Load | Self::Unload | Self::OverdraftUpdate => true,
            Self::Purchase | Self::CompositePurchase => false,
        }
    }

    /// The other type whose transactions the same counter numbers: a card makes one of the two.
    pub const fn twin(self) -> Option<Self> {
        match self {
            Self::Purchase => Some(Self::CompositePurchase),
            Self::CompositePurchase => Some(Self::Purchase),
            Self::Load | Self::Unload | Self::OverdraftUpdate => None,
        }
    }
}

impl TransactionKey {
    /// The place of the other type at the same counter.
    pub fn twin(self) -> Option<Self> {
        self.kind.twin().map(|kind| Self { kind, ..self })
    }
}

/// What makes a card transaction one and the same, however often it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransactionKey {
    /// The card.
    pub card: CardNumber,
    /// The counter after the transaction (N+1), online or offline as the type says.
    pub counter: u16,
    /// The type.
    pub kind: TransactionType,
}

/// A card transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardTransaction {
    /// What makes it unique.
    pub key: TransactionKey,
    /// The amount.
    pub amount: Fen,
    /// The balance after it, where the record tells it.
    pub balance_after: Option<Fen>,
    /// The terminal.
    pub terminal: TerminalNumber,
    /// When the terminal says it happened.
    pub at: jiff::Timestamp,
    /// The proof.
    pub proof: LoadProof,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_bytes_round_trip() {
        let known: Vec<_> =
            (0..=0xFF).filter_map(TransactionType::from_byte).map(TransactionType::to_byte).collect();
        assert_eq!(known, [0x02, 0x03, 0x06, 0x07, 0x09]);
    }
}
