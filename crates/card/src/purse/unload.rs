//! Debiting a purse online of its whole balance (PBOC 2.0 part 2, unload): how a card is returned that has no
//! R-MAC with which to prove what it holds.
//!
//! ```text
//! begin_unload   SELECT, INITIALIZE FOR UNLOAD with a terminal number never used before
//!                MAC1 proves balance, online counter and freshness
//!                                            -- the caller makes "debit intended" durable --
//! unload         DEBIT FOR UNLOAD with MAC2 -> MAC3
//!                                            -- the caller makes "debited" durable --
//! ```
//!
//! After any break the card is asked by INITIALIZE FOR LOAD: its counter still stands where MAC1 proved it, and
//! the old MAC2 is void by the card's new random; or it is one further and the purse is empty.

use tsm_epurse::commands::{DebitForUnloadResponse, InitializeForUnload, InitializeForUnloadResponse};
use tsm_epurse::{Amount, DateTime, KeyIndex, TerminalNumber};
use tsm_iso7816::Aid;
use tsm_keys::purse::UnloadAttempt;
use tsm_keys::{KeyError, KeyHandle, KeyService};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Command, Script};
use crate::step::ExpectedStatus;

/// What came of DEBIT FOR UNLOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnloadOutcome {
    /// The card debited and proves it.
    Debited,
    /// Somebody says that the card debited, and no MAC3 proves it: observe the card.
    Unproven,
    /// Somebody says that the card refused: observe the card, the word is not the card's.
    SaidToBeRefused,
}

/// Begins a debit of `amount`. MAC1 of the card's answer is verified with the card's unload key.
pub async fn begin_unload(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    unload_key: &KeyHandle,
    purse: Aid,
    amount: Amount,
    terminal: TerminalNumber,
) -> Result<UnloadAttempt, ProcedureError> {
    let command = InitializeForUnload { key_index: KeyIndex::FIRST, amount, terminal };
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    let initialise = script.transmit(Command::new("INITIALIZE FOR UNLOAD", command.to_apdu()));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    let name = answers.name(&initialise, 0);
    let response = answers.take_one(&initialise)?;
    let answer = InitializeForUnloadResponse::decode(&response.data)
        .map_err(|error| SecureChannel::unreadable(name, error))?;
    let attempt = UnloadAttempt { command, answer };
    keys.verify_unload_mac1(unload_key, &attempt)?;
    Ok(attempt)
}

/// Sends MAC2 for a debit whose intention is durable.
pub async fn unload(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    unload_key: &KeyHandle,
    attempt: &UnloadAttempt,
    at: DateTime,
) -> Result<UnloadOutcome, ProcedureError> {
    let command = keys.debit_for_unload(unload_key, attempt, at)?;
    let mut script = Script::new();
    let debit = script.transmit(Command::new("DEBIT FOR UNLOAD", command.to_apdu()));
    let mut answers = script.run(card).await?;
    if answers.stopped().is_some() {
        return Ok(UnloadOutcome::SaidToBeRefused);
    }
    let response = answers.take_one(&debit)?;
    let Ok(DebitForUnloadResponse { mac3 }) = DebitForUnloadResponse::decode(&response.data) else {
        return Ok(UnloadOutcome::Unproven);
    };
    match keys.verify_unload_mac3(unload_key, attempt, at, mac3) {
        Ok(()) => Ok(UnloadOutcome::Debited),
        Err(KeyError::CardMac(_)) => Ok(UnloadOutcome::Unproven),
        Err(error) => Err(error.into()),
    }
}
