//! JT/T 978 electronic purse: files, commands, keys, MACs, and the data that a card is
//! personalised with; the PSAM's commands; Mifare Classic data and our Mifare card manager.
//!
//! Standards: JT/T 978 (purse part, which follows PBOC 2.0 part 2) and JT/T 1059. Where their
//! text is not public the choice is ours and is said at the place.
//!
//! [`host`] holds what a TSM, a PSAM or a clearing centre computes, [`card`] what the purse
//! computes. The two share values, layouts and cipher primitives only: each composes its own
//! MAC inputs, so that one mistake cannot agree with itself.
//!
//! This crate reads no clock, no randomness, no file and no socket; a card random or a challenge
//! is always passed in. No parser panics on input.

mod bytes;
mod error;
#[cfg(test)]
mod halves;
#[cfg(test)]
mod vectors;

pub mod algorithm;
pub mod card;
pub mod commands;
pub mod crypto;
pub mod diversification;
pub mod file;
pub mod host;
pub mod image;
pub mod key;

pub mod mifare;
pub mod personalization;
pub mod psam;
pub mod select;
pub mod values;

pub use algorithm::Algorithm;
pub use error::{CommandError, LayoutError};
pub use image::CardImage;
pub use key::{Key, KeyCheckValue, KeyRole, KeySet, SessionKey};
pub use values::{
    Amount, CardFactor, CardRandom, Challenge, Date, DateTime, IssuerFactor, KeyIndex, KeyVersion, Mac,
    OfflineCounter, OnlineCounter, OverdraftLimit, RecordNumber, Sfi, Tac, TerminalNumber, TerminalSequence,
    Time, TransactionSequence, TransactionType,
};
