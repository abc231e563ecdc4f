//! Load of the purse (PBOC 2.0 part 2, load transaction): the host verifies MAC1, sends MAC2,
//! verifies TAC.
//!
//! ```text
//! INITIALIZE FOR LOAD  ->  balance, counter N, random, MAC1
//! LoadSession::begin       MAC1 proves card, balance, counter and terminal number
//! LoadSession::credit  ->  CREDIT FOR LOAD with MAC2  ->  TAC
//! verify_tac               the card credited
//! ```

use super::online;
use crate::{
    Amount, DateTime, Key, Tac, TerminalNumber,
    commands::{CreditForLoad, LOAD},
    crypto,
};

pub use online::{OnlineFacts as LoadFacts, mac1_input, session_seed};

/// A load whose MAC1 is verified.
pub type LoadSession = online::OnlineSession<LOAD>;

impl LoadSession {
    /// Authorises the credit.
    pub fn credit(&self, at: DateTime) -> CreditForLoad {
        CreditForLoad { at, mac2: self.mac2(at) }
    }
}

/// What MAC2 covers: amount, type, terminal, date, time.
pub fn mac2_input(amount: Amount, terminal: TerminalNumber, at: DateTime) -> Vec<u8> {
    online::mac2_input::<LOAD>(amount, terminal, at)
}

/// What TAC covers: balance after, counter before, amount, type, terminal, date, time.
pub fn tac_input(facts: &LoadFacts) -> Vec<u8> {
    online::proof_input::<LOAD>(facts)
}

/// The TAC that the card must answer.
pub fn tac(tac_key: &Key, facts: &LoadFacts) -> Tac {
    Tac::new(crypto::folded_mac(tac_key, &tac_input(facts)))
}

/// Whether `found` proves the load; compared in constant time.
#[must_use]
pub fn verify_tac(tac_key: &Key, facts: &LoadFacts, found: Tac) -> bool {
    tac(tac_key, facts) == found
}
