//! What a TSM, a PSAM or a clearing centre computes: it verifies what the purse answers and
//! authorises what the purse does.
//!
//! Each file also gives the bytes that go into a session key, a MAC or a TAC (`*_seed`, `*_input`), so
//! that a hardware token can compute them without letting a key out.

pub mod authentication;
pub mod load;
pub mod online;
pub mod overdraft;
pub mod pin;
pub mod purchase;
pub mod secure_messaging;
pub mod unload;

use crate::{Algorithm, Mac, SessionKey, crypto};

/// Why a host refuses what a card answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefused {
    /// The card answered for another cipher than the key's.
    #[error("the card used algorithm {found:02X}, the key is for {expected:02X}")]
    Algorithm {
        /// The key's algorithm identifier.
        expected: u8,
        /// The card's.
        found: u8,
    },
    /// MAC1 is not the card's.
    #[error("MAC1 is wrong: the answer is not from the card that holds this key, or was changed")]
    Mac1,
}

/// Seed of the session keys of online transactions: random, online counter, 8000.
fn online_seed(random: crate::CardRandom, counter: crate::OnlineCounter) -> [u8; 8] {
    let ([a, b, c, d], [high, low]) = (random.to_bytes(), counter.to_bytes());
    [a, b, c, d, high, low, 0x80, 0x00]
}

fn check_algorithm(expected: Algorithm, found: u8) -> Result<(), AnswerRefused> {
    if expected.identifier() == found {
        return Ok(());
    }
    Err(AnswerRefused::Algorithm { expected: expected.identifier(), found })
}

fn mac(session: &SessionKey, input: &[u8]) -> Mac {
    Mac::new(crypto::transaction_mac(session, input))
}

#[cfg(test)]
mod tests;
