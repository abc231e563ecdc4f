//! The cash in a top-up terminal: where each note is, in the terminal's own store.
//!
//! ```text
//! taken --> held --> kept        the card proved that it has the money
//!            |  `--> given back  the issuer cancelled: nothing was credited, and cannot be
//!            `-- stays           nobody knows yet; the card is asked when it comes back
//! ```

use serde::{Deserialize, Serialize};
use tsm_epurse::{DateTime, file::ApplicationSerial};
use uuid::Uuid;

use crate::hex_field;

/// Cash for a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CashRecord {
    /// The terminal's number for it.
    pub operation: Uuid,
    /// The card.
    #[serde(with = "hex_field")]
    pub card: ApplicationSerial,
    /// How much.
    pub amount_fen: u32,
    /// When it was taken.
    #[serde(with = "hex_field")]
    pub at: DateTime,
    /// How many attempts were begun at the issuer.
    pub attempts: u32,
    /// Where it is.
    pub place: CashPlace,
}

/// Where cash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CashPlace {
    /// In the terminal, and not yet its own.
    Held,
    /// In the terminal, and its own: the card has the money.
    Kept,
    /// With the rider again.
    GivenBack,
}

/// A change of where cash is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CashChange {
    /// It was put in.
    Taken(CashRecord),
    /// The issuer is about to be asked, once more.
    Attempted {
        /// The terminal's number for it.
        operation: Uuid,
    },
    /// It went from where it was held.
    Moved {
        /// The terminal's number for it.
        operation: Uuid,
        /// Where to.
        place: CashPlace,
    },
}

/// All the cash of a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CashBox {
    held: Vec<CashRecord>,
    kept_fen: u64,
    given_back_fen: u64,
}

impl CashBox {
    /// Cash whose operation is not over.
    pub fn held(&self) -> &[CashRecord] {
        &self.held
    }

    /// The held cash with this number.
    pub fn find(&self, operation: Uuid) -> Option<&CashRecord> {
        self.held.iter().find(|record| record.operation == operation)
    }

    /// What was taken and is held, in all.
    pub fn held_fen(&self) -> u64 {
        self.held.iter().map(|record| u64::from(record.amount_fen)).sum()
    }

    /// What was taken and kept, in all.
    pub const fn kept_fen(&self) -> u64 {
        self.kept_fen
    }

    /// What was taken and given back, in all.
    pub const fn given_back_fen(&self) -> u64 {
        self.given_back_fen
    }

    pub(crate) fn apply(&mut self, change: &CashChange) {
        match change {
            CashChange::Taken(record) => self.held.push(record.clone()),
            CashChange::Attempted { operation } => {
                let record = self.held.iter_mut().find(|record| record.operation == *operation);
                if let Some(record) = record {
                    record.attempts = record.attempts.saturating_add(1);
                }
            }
            CashChange::Moved { operation, place } => {
                let Some(found) = self.held.iter().position(|record| record.operation == *operation) else {
                    return;
                };
                match place {
                    CashPlace::Held => {}
                    CashPlace::Kept => self.kept_fen += u64::from(self.held.remove(found).amount_fen),
                    CashPlace::GivenBack => {
                        self.given_back_fen += u64::from(self.held.remove(found).amount_fen);
                    }
                }
            }
        }
    }
}
