//! INITIALIZE FOR UNLOAD and DEBIT FOR UNLOAD: money leaves the purse for the account it came from.

use tsm_epurse::KeyRole;
use tsm_epurse::card::unload::PendingUnload;
use tsm_epurse::commands::{DebitForUnload, InitializeForUnload};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::keys;
use super::ledger::{Failures, Ledger};
use super::pending::{self, Pending};
use super::transaction::{self, Outcome};
use crate::applet::{Answer, AppletContext};

/// INITIALIZE FOR UNLOAD.
pub(super) fn initialize(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    command: InitializeForUnload,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Online)?;
    let key = keys::indexed(context, ledger, KeyRole::Unload, command.key_index)?;
    let random = pending::random(context);
    let (unload, answer) =
        PendingUnload::begin(&key, keys::version(ledger), &ledger.state, random, &command)?;
    pending::begin(context, ledger, Pending::Unload(unload));
    Ok(ResponseApdu::success(answer.encode()))
}

/// DEBIT FOR UNLOAD.
pub(super) fn debit(context: &mut AppletContext<'_>, ledger: Ledger, command: DebitForUnload) -> Answer {
    ledger.require_open()?;
    let Pending::Unload(unload) = pending::take(context, &ledger)? else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    match unload.debit(&ledger.state, &command) {
        Err(refusal) => transaction::refuse(context, ledger, Failures::Online, refusal),
        Ok(unloaded) => {
            let answer = unloaded.response();
            let outcome = Outcome { state: unloaded.state, log: unloaded.log, proof: unloaded.proof };
            transaction::complete(context, ledger, Failures::Online, outcome)?;
            Ok(ResponseApdu::success(answer.encode()))
        }
    }
}
