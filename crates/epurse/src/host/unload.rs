//! Unload: value leaves the purse online (PBOC 2.0 part 2, unload transaction). The answer's proof
//! is MAC3, under the folded unload key; its input is the load TAC's with type 03 (an assumption:
//! no public T-Union text has it).

use super::online;
use crate::{
    Amount, DateTime, Key, Mac, TerminalNumber,
    commands::{DebitForUnload, UNLOAD},
    crypto,
};

pub use online::{OnlineFacts as UnloadFacts, mac1_input, session_seed};

/// An unload whose MAC1 is verified.
pub type UnloadSession = online::OnlineSession<UNLOAD>;

impl UnloadSession {
    /// Authorises the debit.
    pub fn debit(&self, at: DateTime) -> DebitForUnload {
        DebitForUnload { at, mac2: self.mac2(at) }
    }
}

/// What MAC2 covers: amount, type, terminal, date, time.
pub fn mac2_input(amount: Amount, terminal: TerminalNumber, at: DateTime) -> Vec<u8> {
    online::mac2_input::<UNLOAD>(amount, terminal, at)
}

/// What MAC3 covers: balance after, counter before, amount, type, terminal, date, time.
pub fn mac3_input(facts: &UnloadFacts) -> Vec<u8> {
    online::proof_input::<UNLOAD>(facts)
}

/// Whether `found` proves the unload; compared in constant time.
#[must_use]
pub fn verify_mac3(unload_key: &Key, facts: &UnloadFacts, found: Mac) -> bool {
    Mac::new(crypto::folded_mac(unload_key, &mac3_input(facts))) == found
}
