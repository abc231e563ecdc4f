//! What all transactions end with: the new state, a log record, a proof; or a failure counted.

use tsm_epurse::card::{PurseState, Refusal};
use tsm_epurse::commands::TransactionProof;
use tsm_epurse::file::LogRecord;
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::files::{self, Cyclic};
use super::ledger::{Failures, Ledger};
use super::proof;
use crate::applet::{Answer, AppletContext};

/// What an accepted transaction leaves in the purse.
pub(super) struct Outcome {
    /// The amounts and counters from now on.
    pub(super) state: PurseState,
    /// The newest record of EF18.
    pub(super) log: LogRecord,
    /// What GET TRANSACTION PROOF answers.
    pub(super) proof: TransactionProof,
}

/// Writes all that the transaction changes and voids what was begun elsewhere.
pub(super) fn complete(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    failures: Failures,
    outcome: Outcome,
) -> Result<(), StatusWord> {
    ledger.state = outcome.state;
    ledger.succeeded(failures);
    ledger.advance();
    files::append(context, &mut ledger, Cyclic::Log, &outcome.log.encode())?;
    proof::keep(context, outcome.log.transaction_type, outcome.log.sequence, outcome.proof)?;
    ledger.write(context)
}

/// Answers a refusal; a wrong MAC is counted.
pub(super) fn refuse(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    failures: Failures,
    refusal: Refusal,
) -> Answer {
    if refusal == Refusal::Mac {
        ledger.failed(failures);
        ledger.write(context)?;
    }
    Ok(ResponseApdu::new([], refusal.status_word()))
}
