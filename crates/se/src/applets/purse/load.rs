//! INITIALIZE FOR LOAD and CREDIT FOR LOAD. No PIN is asked for (D-39).

use tsm_epurse::KeyRole;
use tsm_epurse::card::load::PendingLoad;
use tsm_epurse::commands::{CreditForLoad, CreditForLoadResponse, InitializeForLoad};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::keys;
use super::ledger::{Failures, Ledger};
use super::pending::{self, Pending};
use super::transaction::{self, Outcome};
use crate::applet::{Answer, AppletContext};

/// INITIALIZE FOR LOAD. Its MAC1 proves balance and counter, so it also serves as an observation.
pub(super) fn initialize(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    command: InitializeForLoad,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Online)?;
    let key = keys::indexed(context, ledger, KeyRole::Load, command.key_index)?;
    let random = pending::random(context);
    let (load, answer) = PendingLoad::begin(&key, keys::version(ledger), &ledger.state, random, &command)?;
    pending::begin(context, ledger, Pending::Load(load));
    Ok(ResponseApdu::success(answer.encode()))
}

/// CREDIT FOR LOAD.
pub(super) fn credit(context: &mut AppletContext<'_>, ledger: Ledger, command: CreditForLoad) -> Answer {
    ledger.require_open()?;
    let Pending::Load(load) = pending::take(context, &ledger)? else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    let tac_key = keys::key(context, &ledger, KeyRole::Tac)?;
    match load.credit(&tac_key, &ledger.state, &command) {
        Err(refusal) => transaction::refuse(context, ledger, Failures::Online, refusal),
        Ok(loaded) => {
            let answer = CreditForLoadResponse { tac: loaded.proof.tac };
            let outcome = Outcome { state: loaded.state, log: loaded.log, proof: loaded.proof };
            transaction::complete(context, ledger, Failures::Online, outcome)?;
            Ok(ResponseApdu::success(answer.encode()))
        }
    }
}
