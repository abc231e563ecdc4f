//! Purchase over the network: a terminal at the payment platform debits the purse as one at a shop does
//! (B-7.3.1), split where something must be durable in between.
//!
//! ```text
//! begin_purchase    SELECT, INITIALIZE FOR PURCHASE: card, balance, counter and random, which prove nothing yet
//!                                            -- the caller makes the attempt durable --
//! debit             DEBIT FOR PURCHASE with MAC1 -> MAC2, which proves the debit, and the centre's TAC
//! observe_purchase  after any break: GET TRANSACTION PROOF, then INITIALIZE FOR PURCHASE again
//! ```
//!
//! That a purse was *not* debited is only said by an answer without a MAC. It is safe to try again all the
//! same: the new attempt has the counter in its session key, so its MAC2 for the old counter proves that
//! the old attempt never took effect. Nothing here turns a missing answer into "not debited".

use tsm_epurse::commands::{
    DebitForPurchase, DebitForPurchaseResponse, GetTransactionProof, InitializeForPurchase,
    InitializeForPurchaseResponse, PurchaseKind, TransactionProof,
};
use tsm_epurse::file::{ApplicationSerial, PublicInformation};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::select::PurseFci;
use tsm_epurse::{
    Amount, DateTime, KeyIndex, OfflineCounter, Tac, TerminalNumber, TerminalSequence, TransactionSequence,
    TransactionType,
};
use tsm_iso7816::{Aid, StatusWord};
use tsm_keys::purse::PurchaseAttempt;
use tsm_keys::{KeyError, KeyHandle, KeyService};

use super::top_up::PROOF_REFUSALS;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};
use crate::step::ExpectedStatus;

/// What INITIALIZE FOR PURCHASE announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseTerms {
    /// The purchase key's index.
    pub key_index: KeyIndex,
    /// The amount.
    pub amount: Amount,
    /// The terminal's number.
    pub terminal: TerminalNumber,
}

/// What a purse says when a purchase is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BegunPurchase {
    /// Which card it is, and whose.
    pub card: PublicInformation,
    /// The answer to INITIALIZE FOR PURCHASE.
    pub answer: InitializeForPurchaseResponse,
}

/// What came of DEBIT FOR PURCHASE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebitOutcome {
    /// The card debited and proves it; the TAC is for the clearing centre.
    Debited(Tac),
    /// Somebody says that the card debited, and MAC2 does not prove it: observe the card.
    Unproven,
    /// Somebody says that the card refused: observe the card, the word is not the card's.
    SaidToBeRefused(StatusWord),
}

/// What can be found out about an attempt whose outcome was unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseObservation {
    /// The card proves that it debited.
    Debited(Tac),
    /// The counter is said to stand where it stood. `fresh` is a new beginning; when its debit is proven,
    /// the old attempt is proven not to have taken effect.
    SaidNotToBeDebited {
        /// The new beginning.
        fresh: BegunPurchase,
    },
    /// The counter is said to have moved and the proof is not there: whether this attempt moved it is not
    /// known. The TAC comes, or does not, with the card's next transactions.
    Unknown {
        /// The counter that is said; none when the purse said none.
        counter: Option<OfflineCounter>,
    },
    /// It is said to be another card.
    AnotherCard,
}

impl PurchaseTerms {
    const fn command(self) -> InitializeForPurchase {
        InitializeForPurchase {
            kind: PurchaseKind::Simple,
            key_index: self.key_index,
            amount: self.amount,
            terminal: self.terminal,
        }
    }

    /// The attempt that an answer begins.
    pub const fn attempt(
        self,
        answer: &InitializeForPurchaseResponse,
        terminal_sequence: TerminalSequence,
        at: DateTime,
    ) -> PurchaseAttempt {
        let facts = PurchaseFacts {
            amount: self.amount,
            transaction_type: TransactionType::Purchase,
            terminal: self.terminal,
            terminal_sequence,
            at,
        };
        PurchaseAttempt { facts, counter: answer.counter, random: answer.random }
    }
}

/// Begins a purchase. The answer carries no MAC: the card proves itself with MAC2 afterwards.
pub async fn begin_purchase(
    card: &mut impl CardChannel,
    purse: Aid,
    terms: PurchaseTerms,
) -> Result<BegunPurchase, ProcedureError> {
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    let initialise = script.transmit(Command::new("INITIALIZE FOR PURCHASE", terms.command().to_apdu()));
    let mut answers = script.run(card).await?;
    let card = selected(&mut answers, &select)?;
    let name = answers.name(&initialise, 0);
    let response = answers.take_one(&initialise)?;
    let answer = InitializeForPurchaseResponse::decode(&response.data)
        .map_err(|error| SecureChannel::unreadable(name, error))?;
    Ok(BegunPurchase { card, answer })
}

/// Which purse was selected.
pub(super) fn selected(answers: &mut Answers, select: &Ticket) -> Result<PublicInformation, ProcedureError> {
    let name = answers.name(select, 0);
    let response = answers.take_one(select)?;
    let fci = PurseFci::decode(&response.data).map_err(|error| SecureChannel::unreadable(name, error))?;
    Ok(fci.public_information)
}

/// Sends MAC1 for an attempt that is durable.
pub async fn debit(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    purchase_key: &KeyHandle,
    attempt: &PurchaseAttempt,
) -> Result<DebitOutcome, ProcedureError> {
    let command = DebitForPurchase {
        terminal_sequence: attempt.facts.terminal_sequence,
        at: attempt.facts.at,
        mac1: keys.purchase_mac1(purchase_key, attempt)?,
    };
    let mut script = Script::new();
    let debit = script.transmit(Command::new("DEBIT FOR PURCHASE", command.to_apdu()));
    let mut answers = script.run(card).await?;
    if let Some((_, status)) = answers.stopped() {
        return Ok(DebitOutcome::SaidToBeRefused(status));
    }
    let response = answers.take_one(&debit)?;
    let Ok(DebitForPurchaseResponse { tac, mac2 }) = DebitForPurchaseResponse::decode(&response.data) else {
        return Ok(DebitOutcome::Unproven);
    };
    match keys.verify_purchase_mac2(purchase_key, attempt, mac2) {
        Ok(()) => Ok(DebitOutcome::Debited(tac)),
        Err(KeyError::CardMac(_)) => Ok(DebitOutcome::Unproven),
        Err(error) => Err(error.into()),
    }
}

/// Finds out what became of `attempt` on the card `serial`, and begins anew with `terms`.
pub async fn observe_purchase(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    purchase_key: &KeyHandle,
    (purse, serial): (Aid, ApplicationSerial),
    attempt: &PurchaseAttempt,
    terms: PurchaseTerms,
) -> Result<PurchaseObservation, ProcedureError> {
    let after = attempt.counter.next();
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    let proof = after.map(|after| {
        let sequence = TransactionSequence::new(after.value());
        let command = GetTransactionProof { transaction_type: TransactionType::Purchase, sequence };
        script.transmit(Command::new("GET TRANSACTION PROOF", command.to_apdu()).or(&PROOF_REFUSALS))
    });
    let initialise = Command::new("INITIALIZE FOR PURCHASE", terms.command().to_apdu());
    // A purse that was debited may not hold the amount once more; the proof counts all the same.
    let initialise = script.transmit(initialise.or(&INITIALISE_REFUSALS));
    let mut answers = script.run(card).await?;
    let card = selected(&mut answers, &select)?;
    if card.serial != serial {
        return Ok(PurchaseObservation::AnotherCard);
    }
    if let Some(ticket) = &proof
        && let Ok(proof) = TransactionProof::decode(&answers.take_one(ticket)?.data)
    {
        match keys.verify_purchase_mac2(purchase_key, attempt, proof.mac2) {
            Ok(()) => return Ok(PurchaseObservation::Debited(proof.tac)),
            Err(KeyError::CardMac(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let response = answers.take_one(&initialise)?;
    Ok(match InitializeForPurchaseResponse::decode(&response.data) {
        Ok(answer) if answer.counter == attempt.counter => {
            PurchaseObservation::SaidNotToBeDebited { fresh: BegunPurchase { card, answer } }
        }
        Ok(answer) => PurchaseObservation::Unknown { counter: Some(answer.counter) },
        Err(_) => PurchaseObservation::Unknown { counter: None },
    })
}

const INITIALISE_REFUSALS: [StatusWord; 2] =
    [StatusWord::AMOUNT_INSUFFICIENT, StatusWord::CONDITIONS_NOT_SATISFIED];
