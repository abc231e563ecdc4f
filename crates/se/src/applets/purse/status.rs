//! GET DATA D001 within a secure channel of the purse's security domain: what the purse holds and how many
//! records there are, so that the issuer knows when it has read all of it.

use tsm_epurse::commands::{PurseAvailability, PurseStatus};
use tsm_epurse::file::{RecordId, TRANSIT_RECORDS, TransitRecord};
use tsm_epurse::personalization::PurseStart;
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::files;
use super::ledger::{Availability, Ledger};
use crate::applet::{Answer, AppletContext};

/// The answer to a command that came in the channel; 6985 before personalisation.
pub(super) fn answer(context: &AppletContext<'_>, ledger: &Ledger) -> Answer {
    if !ledger.personalised {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    let availability = match ledger.availability {
        Availability::Open => PurseAvailability::Open,
        Availability::BlockedForNow => PurseAvailability::Blocked,
        Availability::BlockedForEver => return Err(StatusWord::APPLICATION_PERMANENTLY_LOCKED),
        Availability::CardBlocked => return Err(StatusWord::FUNCTION_NOT_SUPPORTED),
    };
    let start = PurseStart {
        state: ledger.state,
        key_version: tsm_epurse::KeyVersion(ledger.key_version),
        algorithm: ledger.algorithm,
    };
    let numbers = (1..=TRANSIT_RECORDS as u8).filter_map(RecordId::new);
    let written = numbers.filter(|id| *files::transit(context, *id) != *TransitRecord::empty(*id).encode());
    let status = PurseStatus::new(start, availability, ledger.log.filled, ledger.history.filled, written);
    Ok(ResponseApdu::success(status.encode()))
}
