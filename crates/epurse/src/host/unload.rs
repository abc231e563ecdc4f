//! Unload: value leaves the purse online (PBOC 2.0 part 2, unload transaction). The answer's proof
//! is MAC3, under the folded unload key; its input is the load TAC's with type 03 (an assumption:
//! no public T-Union text has it).

use super::{AnswerRefused, check_algorithm, mac, online_seed};
use crate::{
    Amount, CardRandom, DateTime, Key, Mac, OnlineCounter, SessionKey, TerminalNumber,
    commands::{DebitForUnload, InitializeForUnload, InitializeForUnloadResponse},
    crypto,
};

const TYPE: u8 = 0x03;

/// An unload whose MAC1 is verified.
#[derive(Debug, Clone)]
pub struct UnloadSession {
    session: SessionKey,
    amount: Amount,
    terminal: TerminalNumber,
}

impl UnloadSession {
    /// Verifies the card's answer under the card's unload key.
    pub fn begin(
        unload_key: &Key,
        command: &InitializeForUnload,
        answer: &InitializeForUnloadResponse,
    ) -> Result<Self, AnswerRefused> {
        check_algorithm(unload_key.algorithm(), answer.algorithm)?;
        let session = crypto::session_key(unload_key, session_seed(answer.random, answer.counter));
        if mac(&session, &mac1_input(answer.balance, command)) != answer.mac1 {
            return Err(AnswerRefused::Mac1);
        }
        Ok(Self { session, amount: command.amount, terminal: command.terminal })
    }

    /// Authorises the debit.
    pub fn debit(&self, at: DateTime) -> DebitForUnload {
        let mac2 = mac(&self.session, &mac2_input(self.amount, self.terminal, at));
        DebitForUnload { at, mac2 }
    }
}

/// What the session key is made from: random, online counter, 8000.
pub fn session_seed(random: CardRandom, counter: OnlineCounter) -> [u8; 8] {
    online_seed(random, counter)
}

/// What MAC1 covers: balance, amount, type, terminal.
pub fn mac1_input(balance: Amount, command: &InitializeForUnload) -> Vec<u8> {
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

/// An unload as its MAC3 covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnloadFacts {
    /// What can be spent after the unload.
    pub balance_after: Amount,
    /// The online counter that INITIALIZE FOR UNLOAD answered.
    pub counter_before: OnlineCounter,
    /// The amount unloaded.
    pub amount: Amount,
    /// The terminal's number.
    pub terminal: TerminalNumber,
    /// When, by the host's clock.
    pub at: DateTime,
}

/// What MAC3 covers: balance after, counter before, amount, type, terminal, date, time.
pub fn mac3_input(facts: &UnloadFacts) -> Vec<u8> {
    let mut input = facts.balance_after.to_bytes().to_vec();
    input.extend(facts.counter_before.to_bytes());
    input.extend(facts.amount.to_bytes());
    input.push(TYPE);
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.at.to_bytes());
    input
}

/// Whether `found` proves the unload; compared in constant time.
#[must_use]
pub fn verify_mac3(unload_key: &Key, facts: &UnloadFacts, found: Mac) -> bool {
    Mac::new(crypto::folded_mac(unload_key, &mac3_input(facts))) == found
}
