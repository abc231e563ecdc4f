//! Asking a purse for the proofs of transactions whose answers others have seen, or have changed on their way.
//!
//! The answer has no MAC of its own: MAC2 and TAC prove themselves to whoever has the transaction's facts. A purse
//! keeps the proof of its last transaction of a type, so an older one is not there any more.

use tsm_epurse::commands::{GetTransactionProof, TransactionProof};
use tsm_epurse::file::ApplicationSerial;
use tsm_epurse::{TransactionSequence, TransactionType};
use tsm_iso7816::Aid;

use super::purchase::selected;
use super::top_up::PROOF_REFUSALS;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::script::{Command, Script};
use crate::step::ExpectedStatus;

/// The proofs that a purse gives, in the order in which they are asked for, and whose it says to be.
pub async fn ask_proofs(
    card: &mut impl CardChannel,
    purse: Aid,
    asked: &[(TransactionType, TransactionSequence)],
) -> Result<(ApplicationSerial, Vec<Option<TransactionProof>>), ProcedureError> {
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success());
    let asked: Vec<_> = asked
        .iter()
        .map(|&(transaction_type, sequence)| {
            let command = GetTransactionProof { transaction_type, sequence };
            script.transmit(Command::new("GET TRANSACTION PROOF", command.to_apdu()).or(&PROOF_REFUSALS))
        })
        .collect();
    let mut answers = script.run(card).await?;
    let serial = selected(&mut answers, &select)?.serial;
    let mut proofs = Vec::with_capacity(asked.len());
    for ticket in &asked {
        proofs.push(TransactionProof::decode(&answers.take_one(ticket)?.data).ok());
    }
    Ok((serial, proofs))
}
