//! INITIALIZE FOR UPDATE and UPDATE OVERDRAW LIMIT.

use tsm_epurse::KeyRole;
use tsm_epurse::card::overdraft::PendingOverdraft;
use tsm_epurse::commands::{InitializeForOverdraft, UpdateOverdraftLimit, UpdateOverdraftLimitResponse};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::keys;
use super::ledger::{Failures, Ledger};
use super::pending::{self, Pending};
use super::transaction::{self, Outcome};
use crate::applet::{Answer, AppletContext};

/// INITIALIZE FOR UPDATE.
pub(super) fn initialize(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    command: InitializeForOverdraft,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Online)?;
    let key = keys::indexed(context, ledger, KeyRole::Overdraft, command.key_index)?;
    let random = pending::random(context);
    let (change, answer) =
        PendingOverdraft::begin(&key, keys::version(ledger), &ledger.state, random, &command)?;
    pending::begin(context, ledger, Pending::Overdraft(change));
    Ok(ResponseApdu::success(answer.encode()))
}

/// UPDATE OVERDRAW LIMIT.
pub(super) fn update(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: UpdateOverdraftLimit,
) -> Answer {
    ledger.require_open()?;
    let Pending::Overdraft(change) = pending::take(context, &ledger)? else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    let tac_key = keys::key(context, &ledger, KeyRole::Tac)?;
    match change.update(&tac_key, &ledger.state, &command) {
        Err(refusal) => transaction::refuse(context, ledger, Failures::Online, refusal),
        Ok(limited) => {
            let answer = UpdateOverdraftLimitResponse { tac: limited.proof.tac };
            let outcome = Outcome { state: limited.state, log: limited.log, proof: limited.proof };
            transaction::complete(context, ledger, Failures::Online, outcome)?;
            Ok(ResponseApdu::success(answer.encode()))
        }
    }
}
