//! What the key service computes for a purse (JT/T 978). The structures hold what the MACs cover;
//! the service holds the keys.

use tsm_epurse::commands::{
    InitializeForLoad, InitializeForLoadResponse, InitializeForUnload, InitializeForUnloadResponse,
};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{CardRandom, OfflineCounter};

/// A load as INITIALIZE FOR LOAD announced it and the card answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadAttempt {
    /// What was announced: amount, and a terminal number fresh for this attempt.
    pub command: InitializeForLoad,
    /// What the card answered: balance, online counter, random and MAC1.
    pub answer: InitializeForLoadResponse,
}

/// An online debit as INITIALIZE FOR UNLOAD announced it and the card answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnloadAttempt {
    /// What was announced: amount, and a terminal number fresh for this attempt.
    pub command: InitializeForUnload,
    /// What the card answered: balance, online counter, random and MAC1.
    pub answer: InitializeForUnloadResponse,
}

/// A purchase that the host debits online, as INITIALIZE FOR PURCHASE answered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseAttempt {
    /// Amount, type, terminal, terminal's number and time.
    pub facts: PurchaseFacts,
    /// The offline counter before, as the card answered.
    pub counter: OfflineCounter,
    /// The card's random.
    pub random: CardRandom,
}
