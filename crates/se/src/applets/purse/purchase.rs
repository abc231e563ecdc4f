//! INITIALIZE FOR (CAPP) PURCHASE, UPDATE CAPP DATA CACHE and DEBIT FOR (CAPP) PURCHASE.
//!
//! The records of a composite purchase wait in volatile memory and become effective together with
//! the debit, or not at all. A composite purchase of nothing is counted and logged like any (D-31).

use tsm_epurse::KeyRole;
use tsm_epurse::Sfi;
use tsm_epurse::card::purchase::PendingPurchase;
use tsm_epurse::commands::{DebitForPurchase, InitializeForPurchase, PurchaseKind, UpdateCappDataCache};
use tsm_epurse::file::RecordId;
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::files::{self, Cyclic};
use super::keys;
use super::ledger::{Failures, Ledger};
use super::pending::{self, Cached, Pending};
use super::transaction::{self, Outcome};
use crate::applet::{Answer, AppletContext};

/// How many records one composite purchase may write.
const LARGEST_CACHE: usize = 8;

/// INITIALIZE FOR PURCHASE and INITIALIZE FOR CAPP PURCHASE.
pub(super) fn initialize(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    command: InitializeForPurchase,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Purchase)?;
    let key = keys::indexed(context, ledger, KeyRole::Purchase, command.key_index)?;
    let random = pending::random(context);
    let (purchase, answer) =
        PendingPurchase::begin(&key, keys::version(ledger), &ledger.state, random, &command)?;
    pending::begin(context, ledger, Pending::Purchase { purchase, cache: Vec::new() });
    Ok(ResponseApdu::success(answer.encode()))
}

/// UPDATE CAPP DATA CACHE.
pub(super) fn update_cache(
    context: &mut AppletContext<'_>,
    ledger: &Ledger,
    command: UpdateCappDataCache,
) -> Answer {
    ledger.require_open()?;
    let record = cached(command)?;
    let (purchase, cache) = pending::purchase(context, ledger)?;
    match purchase.kind() {
        PurchaseKind::Simple => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
        PurchaseKind::Composite if cache.len() == LARGEST_CACHE => Err(StatusWord::NOT_ENOUGH_MEMORY),
        PurchaseKind::Composite => {
            cache.push(record);
            Ok(ResponseApdu::success([]))
        }
    }
}

/// DEBIT FOR PURCHASE and DEBIT FOR CAPP PURCHASE.
pub(super) fn debit(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    command: DebitForPurchase,
) -> Answer {
    ledger.require_open()?;
    let Pending::Purchase { purchase, cache } = pending::take(context, &ledger)? else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    let tac_key = keys::key(context, &ledger, KeyRole::Tac)?;
    match purchase.debit(&tac_key, &ledger.state, &command) {
        Err(refusal) => transaction::refuse(context, ledger, Failures::Purchase, refusal),
        Ok(purchased) => {
            let answer = purchased.response();
            write_cache(context, &mut ledger, &cache)?;
            let outcome = Outcome { state: purchased.state, log: purchased.log, proof: purchased.proof };
            transaction::complete(context, ledger, Failures::Purchase, outcome)?;
            Ok(ResponseApdu::success(answer.encode()))
        }
    }
}

/// The record that a command brings, once it is sure that its debit can write it.
fn cached(command: UpdateCappDataCache) -> Result<Cached, StatusWord> {
    match (command.sfi, command.record) {
        (Sfi::TRANSIT_HISTORY, 0) if command.data.len() == Cyclic::History.record_length() => {
            Ok(Cached::History(command.data))
        }
        (Sfi::TRANSIT_HISTORY, 0) => Err(StatusWord::WRONG_LENGTH),
        (Sfi::TRANSIT_HISTORY, _) => Err(StatusWord::INCORRECT_P1_P2),
        (Sfi::TRANSIT_RECORDS, number) => {
            let id = RecordId::new(number).ok_or(StatusWord::RECORD_NOT_FOUND)?;
            files::check_transit(id, &command.data)?;
            Ok(Cached::Transit(id, command.data))
        }
        _ => Err(StatusWord::NOT_FOUND),
    }
}

fn write_cache(
    context: &mut AppletContext<'_>,
    ledger: &mut Ledger,
    cache: &[Cached],
) -> Result<(), StatusWord> {
    for record in cache {
        match record {
            Cached::History(record) => files::append(context, ledger, Cyclic::History, record)?,
            Cached::Transit(id, record) => files::write_transit(context, *id, record)?,
        }
    }
    Ok(())
}
