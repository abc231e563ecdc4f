//! Purchase, simple and composite (PBOC 2.0 part 2, purchase transaction; JT/T 978, composite): the
//! PSAM makes MAC1 and verifies MAC2, the clearing centre verifies TAC.

use super::mac;
use crate::{
    Amount, CardRandom, DateTime, Key, Mac, OfflineCounter, SessionKey, Tac, TerminalNumber,
    TerminalSequence, TransactionType, crypto,
};

/// A purchase as its TAC covers it, and what MAC1 covers of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseFacts {
    /// The amount.
    pub amount: Amount,
    /// 06 simple, 09 composite.
    pub transaction_type: TransactionType,
    /// The terminal's number.
    pub terminal: TerminalNumber,
    /// The terminal's transaction number.
    pub terminal_sequence: TerminalSequence,
    /// When, by the terminal's clock.
    pub at: DateTime,
}

/// One purchase inside a PSAM.
#[derive(Debug, Clone)]
pub struct PurchaseSession {
    session: SessionKey,
    facts: PurchaseFacts,
}

impl PurchaseSession {
    /// Makes the session key from the card's purchase key and what INITIALIZE answered.
    pub fn begin(
        purchase_key: &Key,
        random: CardRandom,
        counter: OfflineCounter,
        facts: PurchaseFacts,
    ) -> Self {
        let seed = session_seed(random, counter, facts.terminal_sequence);
        Self { session: crypto::session_key(purchase_key, seed), facts }
    }

    /// MAC1, which authorises the debit.
    pub fn mac1(&self) -> Mac {
        mac(&self.session, &mac1_input(&self.facts))
    }

    /// Whether `found` proves that a card with this key debited; compared in constant time.
    #[must_use]
    pub fn verify_mac2(&self, found: Mac) -> bool {
        mac(&self.session, &mac2_input(self.facts.amount)) == found
    }
}

/// What the session key is made from: random, offline counter, the low two bytes of the terminal's number.
pub fn session_seed(random: CardRandom, counter: OfflineCounter, sequence: TerminalSequence) -> [u8; 8] {
    let ([a, b, c, d], [e, f], [g, h]) = (random.to_bytes(), counter.to_bytes(), sequence.low_bytes());
    [a, b, c, d, e, f, g, h]
}

/// What MAC1 covers: amount, type, terminal, date, time.
pub fn mac1_input(facts: &PurchaseFacts) -> Vec<u8> {
    let mut input = facts.amount.to_bytes().to_vec();
    input.push(facts.transaction_type.into());
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.at.to_bytes());
    input
}

/// What MAC2 covers: the amount.
pub fn mac2_input(amount: Amount) -> Vec<u8> {
    amount.to_bytes().to_vec()
}

/// What TAC covers: amount, type, terminal, terminal's transaction number, date, time.
pub fn tac_input(facts: &PurchaseFacts) -> Vec<u8> {
    let mut input = facts.amount.to_bytes().to_vec();
    input.push(facts.transaction_type.into());
    input.extend(facts.terminal.to_bytes());
    input.extend(facts.terminal_sequence.to_bytes());
    input.extend(facts.at.to_bytes());
    input
}

/// The TAC that the card must have answered.
pub fn tac(tac_key: &Key, facts: &PurchaseFacts) -> Tac {
    Tac::new(crypto::folded_mac(tac_key, &tac_input(facts)))
}

/// Whether `found` proves the purchase; compared in constant time.
#[must_use]
pub fn verify_tac(tac_key: &Key, facts: &PurchaseFacts, found: Tac) -> bool {
    tac(tac_key, facts) == found
}
