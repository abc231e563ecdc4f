//! What the purse computes: its amounts and counters, and the transactions on them.
//!
//! Everything here is pure: a transaction is begun with what the card stores and a random number, and ends in
//! an outcome that the applet commits in one atomic write, or in a refusal with a status word.

pub mod authentication;
pub mod load;
pub mod overdraft;
pub mod pin;
pub mod purchase;
pub mod secure_messaging;
mod state;
pub mod unload;

pub use state::{PurseState, StateError};

use tsm_iso7816::StatusWord;

/// Why the purse refuses a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The MAC is wrong.
    #[error("the MAC is wrong")]
    Mac,
    /// The purse and its overdraft do not cover the amount.
    #[error("the purse does not cover the amount")]
    Insufficient,
    /// The purse cannot hold as much.
    #[error("the purse cannot hold as much")]
    Overflow,
    /// The counter is at its last value.
    #[error("the transaction counter is at its limit")]
    CounterAtLimit,
    /// More of the overdraft is used than the new limit allows.
    #[error("more overdraft is used than the new limit allows")]
    OverdraftUsed,
}

impl Refusal {
    /// What the card answers.
    pub const fn status_word(self) -> StatusWord {
        match self {
            Self::Mac => StatusWord::MAC_INCORRECT,
            Self::Insufficient => StatusWord::AMOUNT_INSUFFICIENT,
            Self::Overflow | Self::OverdraftUsed => StatusWord::CONDITIONS_NOT_SATISFIED,
            Self::CounterAtLimit => StatusWord::COUNTER_AT_LIMIT,
        }
    }
}

impl From<Refusal> for StatusWord {
    fn from(refusal: Refusal) -> Self {
        refusal.status_word()
    }
}

#[cfg(test)]
mod tests;
