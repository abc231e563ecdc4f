//! Load of the purse (PBOC 2.0 part 2, load transaction): the host verifies MAC1, sends MAC2,
//! verifies TAC.
//!
//! ```text
//! INITIALIZE FOR LOAD  ->  balance, counter N, random, MAC1
//! LoadSession::begin       MAC1 proves card, balance, counter and terminal number
//! LoadSession::credit  ->  CREDIT FOR LOAD with MAC2  ->  TAC
//! verify_tac               the card credited
//! ```

use super::{AnswerRefused, check_algorithm, mac, online_seed};
use crate::{
    Amount, CardRandom, DateTime, Key, OnlineCounter, SessionKey, Tac, TerminalNumber,
    commands::{CreditForLoad, InitializeForLoad, InitializeForLoadResponse},
    crypto,
};

const TYPE: u8 = 0x02;

/// A load whose MAC1 is verified.
#[derive(Debug, Clone)]
pub struct LoadSession {
    session: SessionKey,
    amount: Amount,
    terminal: TerminalNumber,
}

impl LoadSession {
    /// Verifies the card's answer under the card's load key.
    pub fn begin(
        load_key: &Key,
        command: &InitializeForLoad,
        answer: &InitializeForLoadResponse,
    ) -> Result<Self, AnswerRefused> {
        check_algorithm(load_key.algorithm(), answer.algorithm)?;
        let session = crypto::session_key(load_key, session_seed(answer.random, answer.counter));
        if mac(&session, &mac1_input(answer.balance, command)) != answer.mac1 {
            return Err(AnswerRefused::Mac1);
        }
        Ok(Self { session, amount: command.amount, terminal: command.terminal })
    }

    /// Authorises the credit.
    pub fn credit(&self, at: DateTime) -> CreditForLoad {
        let mac2 = mac(&self.session, &mac2_input(self.amount, self.terminal, at));
        CreditForLoad { at, mac2 }
    }
}

/// What the session key is made from: random, online counter, 8000.
pub fn session_seed(random: CardRandom, counter: OnlineCounter) -> [u8; 8] {
    online_seed(random, counter)
}

/// What MAC1 covers: balance, amount, type, terminal.
pub fn mac1_input(balance: Amount, command: &InitializeForLoad) -> Vec<u8> {
    let mut input = balance.to_bytes().to_vec();
    input.extend(command.amount.to_bytes());
    input.push(TYPE);
    input.extend(command.terminal.to_bytes());
    input
}

/// What MAC2 covers: amount, type, terminal, date, time.
pub fn mac2_input(amount: Amount, terminal: TerminalNumber, at: DateTime) -> Vec<u8> {
    let mut input = amount.to_bytes().to_vec();
    input.push(TYPE);
    input.extend(terminal.to_bytes());
    input.extend(at.to_bytes());
    input
}

/// A load as its TAC covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadFacts {
    /// What can be spent after the load.
    pub balance_after: Amount,
    /// The online counter that INITIALIZE FOR LOAD answered.
    pub counter_before: OnlineCounter,
    /// The amount loaded.
    pub amount: Amount,
    /// The terminal's number.
    pub terminal: TerminalNumber,
    /// When, by the host's clock.
    pub at: DateTime,
}

/// What TAC covers: balance after, counter before, amount, type, terminal, date, time.
pub fn tac_input(facts: &LoadFacts) -> Vec<u8> {
    let mut input = facts.balance_after.to_bytes().to_vec();
    input.extend(facts.counter_before.to_bytes());
    input.extend(facts.amount.to_bytes());
    input.push(TYPE);
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.at.to_bytes());
    input
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
