//! Top-up, split where something must be durable in between (design: flows that move money).
//!
//! ```text
//! initialise    SELECT, INITIALIZE FOR LOAD with a terminal number never used before
//!               MAC1 proves balance, online counter and freshness
//!                                            -- the caller makes "load intended" durable --
//! credit        CREDIT FOR LOAD with MAC2 -> TAC
//!                                            -- the caller makes "loaded" durable --
//! observe_load  after any break: INITIALIZE FOR LOAD again; the counter tells what happened
//! ```
//!
//! MAC1 covers the terminal number, so a fresh one makes old answers useless; the card's new random
//! voids any MAC2 still on its way. Nothing here turns a missing answer into "not credited".

use tsm_epurse::commands::{
    CreditForLoadResponse, GetTransactionProof, InitializeForLoad, InitializeForLoadResponse,
    TransactionProof,
};
use tsm_epurse::host::load::LoadFacts;
use tsm_epurse::{
    Amount, DateTime, KeyIndex, OnlineCounter, Tac, TerminalNumber, TransactionSequence, TransactionType,
};
use tsm_iso7816::{Aid, StatusWord};
use tsm_keys::purse::LoadAttempt;
use tsm_keys::{KeyError, KeyHandle, KeyService};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Command, Script};
use crate::step::ExpectedStatus;

/// What INITIALIZE FOR LOAD announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadPurpose {
    /// The load key's index.
    pub key_index: KeyIndex,
    /// The amount.
    pub amount: Amount,
    /// A terminal number that this card has never seen.
    pub terminal: TerminalNumber,
}

impl LoadPurpose {
    const fn command(self) -> InitializeForLoad {
        InitializeForLoad { key_index: self.key_index, amount: self.amount, terminal: self.terminal }
    }
}

/// A load that was made durable before its MAC2 left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadIntention {
    /// The amount.
    pub amount: Amount,
    /// The terminal number of the attempt.
    pub terminal: TerminalNumber,
    /// The balance before, proven by MAC1.
    pub balance_before: Amount,
    /// The online counter before, proven by MAC1.
    pub counter_before: OnlineCounter,
    /// The date and time that MAC2 was made for.
    pub at: DateTime,
}

impl LoadIntention {
    /// The intention that goes with a proven attempt.
    pub const fn new(attempt: &LoadAttempt, at: DateTime) -> Self {
        Self {
            amount: attempt.command.amount,
            terminal: attempt.command.terminal,
            balance_before: attempt.answer.balance,
            counter_before: attempt.answer.counter,
            at,
        }
    }

    /// What the card's TAC must cover; none when the balance would not fit the purse.
    pub fn facts(&self) -> Option<LoadFacts> {
        Some(LoadFacts {
            balance_after: self.balance_before.checked_add(self.amount)?,
            counter_before: self.counter_before,
            amount: self.amount,
            terminal: self.terminal,
            at: self.at,
        })
    }
}

/// What the purse says about itself in a proven answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseAnswer {
    /// The balance.
    pub balance: Amount,
    /// The online counter.
    pub counter: OnlineCounter,
}

/// Begins a load. MAC1 of the card's answer is verified with `load_key`, the key of the card that the
/// caller means: another card's answer is refused.
pub async fn initialise(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    load_key: &KeyHandle,
    purse: Aid,
    purpose: LoadPurpose,
) -> Result<LoadAttempt, ProcedureError> {
    let command = purpose.command();
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    let initialise = script.transmit(Command::new("INITIALIZE FOR LOAD", command.to_apdu()));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    let name = answers.name(&initialise, 0);
    let response = answers.take_one(&initialise)?;
    let answer = InitializeForLoadResponse::decode(&response.data)
        .map_err(|error| SecureChannel::unreadable(name, error))?;
    let attempt = LoadAttempt { command, answer };
    keys.verify_load_mac1(load_key, &attempt)?;
    Ok(attempt)
}

/// What came of CREDIT FOR LOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditOutcome {
    /// The card credited and proves it.
    Credited(Tac),
    /// Somebody says that the card credited, and the TAC does not prove it: observe the card.
    Unproven,
    /// Somebody says that the card refused: observe the card, the word is not the card's.
    SaidToBeRefused(StatusWord),
}

/// Sends MAC2 for a load whose intention is durable.
pub async fn credit(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    load_key: &KeyHandle,
    tac_key: &KeyHandle,
    attempt: &LoadAttempt,
    at: DateTime,
) -> Result<CreditOutcome, ProcedureError> {
    let Some(facts) = LoadIntention::new(attempt, at).facts() else {
        return Err(ProcedureError::Impossible("the purse cannot hold that much".to_owned()));
    };
    let command = keys.credit_for_load(load_key, attempt, at)?;
    let mut script = Script::new();
    let credit = script.transmit(Command::new("CREDIT FOR LOAD", command.to_apdu()));
    let mut answers = script.run(card).await?;
    if let Some((_, status)) = answers.stopped() {
        return Ok(CreditOutcome::SaidToBeRefused(status));
    }
    let response = answers.take_one(&credit)?;
    let Ok(CreditForLoadResponse { tac }) = CreditForLoadResponse::decode(&response.data) else {
        return Ok(CreditOutcome::Unproven);
    };
    match keys.verify_load_tac(tac_key, &facts, tac) {
        Ok(()) => Ok(CreditOutcome::Credited(tac)),
        Err(KeyError::CardMac(_)) => Ok(CreditOutcome::Unproven),
        Err(error) => Err(error.into()),
    }
}

/// What the card itself says about a load whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadObservation {
    /// The counter still stands where it stood: not credited, and it cannot be any more.
    NotCredited {
        /// The fresh attempt, with which the load may be tried again.
        attempt: LoadAttempt,
    },
    /// The counter is one further: credited.
    Credited {
        /// The card's TAC; none when the card no longer has it, and counter and balance decide.
        tac: Option<Tac>,
        /// The fresh attempt.
        attempt: LoadAttempt,
    },
    /// The counter stands where it cannot: a suspicious card, frozen for value until resolved.
    Suspicious {
        /// The fresh attempt.
        attempt: LoadAttempt,
    },
}

impl LoadObservation {
    /// Balance and counter as the card proves them now.
    pub const fn purse(&self) -> PurseAnswer {
        match self {
            Self::NotCredited { attempt } | Self::Credited { attempt, .. } | Self::Suspicious { attempt } => {
                PurseAnswer { balance: attempt.answer.balance, counter: attempt.answer.counter }
            }
        }
    }
}

/// Finds out what became of `intention`. `purpose` has a fresh terminal number; its amount is that of
/// the load which may be tried again.
pub async fn observe_load(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    load_key: &KeyHandle,
    tac_key: &KeyHandle,
    purse: Aid,
    intention: &LoadIntention,
    purpose: LoadPurpose,
) -> Result<LoadObservation, ProcedureError> {
    let command = purpose.command();
    let after = intention.counter_before.next();
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    // Before INITIALIZE FOR LOAD, whose pending state another command might void. Whatever the card
    // answers here, the list goes on: a status word proves nothing, a TAC does.
    let proof = after.map(|after| {
        let sequence = TransactionSequence::new(after.value());
        let command = GetTransactionProof { transaction_type: TransactionType::Load, sequence };
        script.transmit(Command::new("GET TRANSACTION PROOF", command.to_apdu()).or(&PROOF_REFUSALS))
    });
    let initialise = script.transmit(Command::new("INITIALIZE FOR LOAD", command.to_apdu()));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    let proof = match &proof {
        Some(ticket) => TransactionProof::decode(&answers.take_one(ticket)?.data).ok(),
        None => None,
    };
    let name = answers.name(&initialise, 0);
    let response = answers.take_one(&initialise)?;
    let answer = InitializeForLoadResponse::decode(&response.data)
        .map_err(|error| SecureChannel::unreadable(name, error))?;
    let attempt = LoadAttempt { command, answer };
    keys.verify_load_mac1(load_key, &attempt)?;
    if answer.counter == intention.counter_before {
        return Ok(LoadObservation::NotCredited { attempt });
    }
    if Some(answer.counter) != after {
        return Ok(LoadObservation::Suspicious { attempt });
    }
    let tac = match (proof, intention.facts()) {
        (Some(proof), Some(facts)) => {
            keys.verify_load_tac(tac_key, &facts, proof.tac).ok().map(|()| proof.tac)
        }
        (None, _) | (_, None) => None,
    };
    Ok(LoadObservation::Credited { tac, attempt })
}

pub(super) const PROOF_REFUSALS: [StatusWord; 6] = [
    StatusWord::PROOF_NOT_AVAILABLE,
    StatusWord::CONDITIONS_NOT_SATISFIED,
    StatusWord::REFERENCED_DATA_NOT_FOUND,
    StatusWord::RECORD_NOT_FOUND,
    StatusWord::FUNCTION_NOT_SUPPORTED,
    StatusWord::INSTRUCTION_NOT_SUPPORTED,
];
