//! What loads and unloads have in common: the session key, MAC1, MAC2, and what the proof covers. They differ in
//! the transaction type alone.

use super::{AnswerRefused, check_algorithm, mac, online_seed};
use crate::{
    Amount, CardRandom, DateTime, Key, Mac, OnlineCounter, SessionKey, TerminalNumber,
    commands::{InitializeOnline, InitializeOnlineResponse},
    crypto,
};

/// A load or unload whose MAC1 is verified.
#[derive(Debug, Clone)]
pub struct OnlineSession<const KIND: u8> {
    session: SessionKey,
    amount: Amount,
    terminal: TerminalNumber,
}

impl<const KIND: u8> OnlineSession<KIND> {
    /// Verifies the card's answer under the card's key for the transaction.
    pub fn begin(
        key: &Key,
        command: &InitializeOnline<KIND>,
        answer: &InitializeOnlineResponse<KIND>,
    ) -> Result<Self, AnswerRefused> {
        check_algorithm(key.algorithm(), answer.algorithm)?;
        let session = crypto::session_key(key, session_seed(answer.random, answer.counter));
        if mac(&session, &mac1_input(answer.balance, command)) != answer.mac1 {
            return Err(AnswerRefused::Mac1);
        }
        Ok(Self { session, amount: command.amount, terminal: command.terminal })
    }

    /// MAC2, which lets the card go on.
    pub(super) fn mac2(&self, at: DateTime) -> Mac {
        mac(&self.session, &mac2_input::<KIND>(self.amount, self.terminal, at))
    }
}

/// A load or unload as its proof covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnlineFacts {
    /// What can be spent afterwards.
    pub balance_after: Amount,
    /// The online counter that the beginning answered.
    pub counter_before: OnlineCounter,
    /// The amount.
    pub amount: Amount,
    /// The terminal's number.
    pub terminal: TerminalNumber,
    /// When, by the host's clock.
    pub at: DateTime,
}

/// What the session key is made from: random, online counter, 8000.
pub fn session_seed(random: CardRandom, counter: OnlineCounter) -> [u8; 8] {
    online_seed(random, counter)
}

/// What MAC1 covers: balance, amount, type, terminal.
pub fn mac1_input<const KIND: u8>(balance: Amount, command: &InitializeOnline<KIND>) -> Vec<u8> {
    let mut input = balance.to_bytes().to_vec();
    input.extend(command.amount.to_bytes());
    input.push(KIND);
    input.extend(command.terminal.to_bytes());
    input
}

/// What MAC2 covers: amount, type, terminal, date, time.
pub fn mac2_input<const KIND: u8>(amount: Amount, terminal: TerminalNumber, at: DateTime) -> Vec<u8> {
    let mut input = amount.to_bytes().to_vec();
    input.push(KIND);
    input.extend(terminal.to_bytes());
    input.extend(at.to_bytes());
    input
}

/// What TAC or MAC3 covers: balance after, counter before, amount, type, terminal, date, time.
pub(super) fn proof_input<const KIND: u8>(facts: &OnlineFacts) -> Vec<u8> {
    let mut input = facts.balance_after.to_bytes().to_vec();
    input.extend(facts.counter_before.to_bytes());
    input.extend(facts.amount.to_bytes());
    input.push(KIND);
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.at.to_bytes());
    input
}
