//! Change of the overdraft limit (PBOC 2.0 part 2, overdraft limit update).

use super::{AnswerRefused, check_algorithm, mac, online_seed};
use crate::{
    Amount, CardRandom, DateTime, Key, OnlineCounter, OverdraftLimit, SessionKey, Tac, TerminalNumber,
    commands::{InitializeForOverdraft, InitializeForOverdraftResponse, UpdateOverdraftLimit},
    crypto,
};

const TYPE: u8 = 0x07;

/// A change whose MAC1 is verified.
#[derive(Debug, Clone)]
pub struct OverdraftSession {
    session: SessionKey,
    terminal: TerminalNumber,
}

impl OverdraftSession {
    /// Verifies the card's answer under the card's overdraft key.
    pub fn begin(
        overdraft_key: &Key,
        command: &InitializeForOverdraft,
        answer: &InitializeForOverdraftResponse,
    ) -> Result<Self, AnswerRefused> {
        check_algorithm(overdraft_key.algorithm(), answer.algorithm)?;
        let session = crypto::session_key(overdraft_key, session_seed(answer.random, answer.counter));
        if mac(&session, &mac1_input(answer.balance, answer.old_limit, command.terminal)) != answer.mac1 {
            return Err(AnswerRefused::Mac1);
        }
        Ok(Self { session, terminal: command.terminal })
    }

    /// Authorises the new limit.
    pub fn update(&self, new_limit: OverdraftLimit, at: DateTime) -> UpdateOverdraftLimit {
        let mac2 = mac(&self.session, &mac2_input(new_limit, self.terminal, at));
        UpdateOverdraftLimit { new_limit, at, mac2 }
    }
}

/// What the session key is made from: random, online counter, 8000.
pub fn session_seed(random: CardRandom, counter: OnlineCounter) -> [u8; 8] {
    online_seed(random, counter)
}

/// What MAC1 covers: balance, old limit, type, terminal.
pub fn mac1_input(balance: Amount, old_limit: OverdraftLimit, terminal: TerminalNumber) -> Vec<u8> {
    let mut input = balance.to_bytes().to_vec();
    input.extend(old_limit.to_bytes());
    input.push(TYPE);
    input.extend(terminal.to_bytes());
    input
}

/// What MAC2 covers: new limit, type, terminal, date, time.
pub fn mac2_input(new_limit: OverdraftLimit, terminal: TerminalNumber, at: DateTime) -> Vec<u8> {
    let mut input = new_limit.to_bytes().to_vec();
    input.push(TYPE);
    input.extend(terminal.to_bytes());
    input.extend(at.to_bytes());
    input
}

/// A change as its TAC covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverdraftFacts {
    /// The balance that INITIALIZE FOR UPDATE answered.
    pub balance: Amount,
    /// The online counter that INITIALIZE FOR UPDATE answered.
    pub counter_before: OnlineCounter,
    /// The limit from now on.
    pub new_limit: OverdraftLimit,
    /// The terminal's number.
    pub terminal: TerminalNumber,
    /// When, by the host's clock.
    pub at: DateTime,
}

/// What TAC covers: balance before, counter before, new limit, type, terminal, date, time.
pub fn tac_input(facts: &OverdraftFacts) -> Vec<u8> {
    let mut input = facts.balance.to_bytes().to_vec();
    input.extend(facts.counter_before.to_bytes());
    input.extend(facts.new_limit.to_bytes());
    input.push(TYPE);
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.at.to_bytes());
    input
}

/// The TAC that the card must answer.
pub fn tac(tac_key: &Key, facts: &OverdraftFacts) -> Tac {
    Tac::new(crypto::folded_mac(tac_key, &tac_input(facts)))
}

/// Whether `found` proves the change; compared in constant time.
#[must_use]
pub fn verify_tac(tac_key: &Key, facts: &OverdraftFacts, found: Tac) -> bool {
    tac(tac_key, facts) == found
}
