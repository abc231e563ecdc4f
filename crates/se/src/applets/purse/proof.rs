//! GET TRANSACTION PROOF: what proves the last transaction of each type, for whoever lost the
//! answer to its second command.

use tsm_epurse::commands::{GetTransactionProof, TransactionProof};
use tsm_epurse::{TransactionSequence, TransactionType};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::objects;
use crate::applet::{Answer, AppletContext};

/// Keeps the proof of a transaction; the one before of its type is forgotten.
pub(super) fn keep(
    context: &mut AppletContext<'_>,
    transaction_type: TransactionType,
    sequence: TransactionSequence,
    proof: TransactionProof,
) -> Result<(), StatusWord> {
    let mut bytes = sequence.to_bytes().to_vec();
    bytes.extend(proof.encode());
    context.write(objects::proof(transaction_type), &bytes)
}

/// GET TRANSACTION PROOF; 9406 when the last transaction of the type has another number.
pub(super) fn answer(context: &AppletContext<'_>, command: GetTransactionProof) -> Answer {
    let kept = context.read(objects::proof(command.transaction_type)).unwrap_or_default();
    match kept.split_first_chunk::<2>() {
        Some((sequence, proof)) if *sequence == command.sequence.to_bytes() => {
            Ok(ResponseApdu::success(proof))
        }
        _ => Err(StatusWord::PROOF_NOT_AVAILABLE),
    }
}
