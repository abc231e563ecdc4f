//! Commands with secure messaging: UPDATE BINARY, UPDATE RECORD, APPEND RECORD, and the two
//! authentications. Each needs a challenge that the command before it drew.

use tsm_epurse::card;
use tsm_epurse::commands::{
    AppendRecord, ExternalAuthenticate, InternalAuthenticate, RecordReference, Secured, UpdateBinary,
    UpdateRecord,
};
use tsm_epurse::file::RecordId;
use tsm_epurse::{KeyIndex, KeyRole, Sfi};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::files::{self, Cyclic, File};
use super::ledger::{Failures, Ledger};
use super::{keys, pending};
use crate::applet::{Answer, AppletContext};

/// The key index that EXTERNAL AUTHENTICATE names: the application master key.
const APPLICATION_MASTER: KeyIndex = KeyIndex(0x00);

/// What came of verifying a MAC.
pub(super) enum Verified<C> {
    /// It is right; the ledger has forgotten earlier failures and waits to be written.
    Right(Ledger, C),
    /// It is wrong; the failure is counted, and this is the answer.
    Wrong(ResponseApdu),
}

/// Verifies the MAC of a command under the key of `role`, beginning from the last challenge.
pub(super) fn verify<C>(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    command: Secured<C>,
    role: KeyRole,
    failures: Failures,
) -> Result<Verified<C>, StatusWord> {
    ledger.require_tries(failures)?;
    let challenge = pending::take_challenge(context)?;
    let key = keys::key(context, &ledger, role)?;
    match card::secure_messaging::verify(&key, challenge, command) {
        Ok(command) => {
            ledger.succeeded(failures);
            Ok(Verified::Right(ledger, command))
        }
        Err(_) => {
            ledger.failed(failures);
            ledger.write(context)?;
            Ok(Verified::Wrong(ResponseApdu::new([], StatusWord::SECURE_MESSAGING_DATA_INCORRECT)))
        }
    }
}

/// UPDATE BINARY.
pub(super) fn update_binary(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<UpdateBinary>,
) -> Answer {
    let sfi = command.unverified().sfi;
    let role = writable(&ledger, sfi)?;
    update(context, ledger, command, role, |context, _, command| match File::of(command.sfi) {
        Some(File::Transparent(sfi)) => {
            files::patch_transparent(context, sfi, usize::from(command.offset), &command.data)
        }
        _ => Err(StatusWord::COMMAND_INCOMPATIBLE_WITH_FILE),
    })
}

/// UPDATE RECORD.
pub(super) fn update_record(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<UpdateRecord>,
) -> Answer {
    let sfi = command.unverified().sfi;
    let role = writable(&ledger, sfi)?;
    update(context, ledger, command, role, |context, ledger, command| {
        match (File::of(command.sfi), command.record) {
            (Some(File::Transit), RecordReference::Number(number) | RecordReference::Id(number)) => {
                let id = RecordId::new(number).ok_or(StatusWord::RECORD_NOT_FOUND)?;
                files::write_transit(context, id, &command.data)
            }
            (Some(File::Cyclic(Cyclic::History)), RecordReference::Number(number)) => {
                files::replace(context, ledger, Cyclic::History, number, &command.data)
            }
            _ => Err(StatusWord::COMMAND_INCOMPATIBLE_WITH_FILE),
        }
    })
}

/// APPEND RECORD. The transaction log grows by transactions only.
pub(super) fn append_record(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<AppendRecord>,
) -> Answer {
    let sfi = command.unverified().sfi;
    let role = writable(&ledger, sfi)?;
    update(context, ledger, command, role, |context, ledger, command| match File::of(command.sfi) {
        Some(File::Cyclic(Cyclic::History)) => files::append(context, ledger, Cyclic::History, &command.data),
        _ => Err(StatusWord::COMMAND_INCOMPATIBLE_WITH_FILE),
    })
}

/// INTERNAL AUTHENTICATE.
pub(super) fn internal_authenticate(
    context: &AppletContext<'_>,
    ledger: &Ledger,
    command: InternalAuthenticate,
) -> Answer {
    ledger.require_open()?;
    let key = keys::key(context, ledger, KeyRole::ApplicationMaster)?;
    Ok(ResponseApdu::success(card::authentication::internal(&key, &command)))
}

/// EXTERNAL AUTHENTICATE.
pub(super) fn external_authenticate(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    command: ExternalAuthenticate,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Messaging)?;
    if command.key_index != APPLICATION_MASTER {
        return Err(StatusWord::KEY_INDEX_NOT_SUPPORTED);
    }
    let challenge = pending::take_challenge(context)?;
    let key = keys::key(context, &ledger, KeyRole::ApplicationMaster)?;
    if card::authentication::verify_external(&key, challenge, &command) {
        ledger.succeeded(Failures::Messaging);
        ledger.write(context)?;
        return Ok(ResponseApdu::success([]));
    }
    ledger.failed(Failures::Messaging);
    ledger.write(context)?;
    Ok(ResponseApdu::new([], StatusWord::AUTHENTICATION_FAILED))
}

/// The key under which a file is updated; a blocked purse changes nothing.
fn writable(ledger: &Ledger, sfi: Sfi) -> Result<KeyRole, StatusWord> {
    ledger.require_open()?;
    match File::of(sfi).ok_or(StatusWord::NOT_FOUND)? {
        File::Transparent(_) => Ok(KeyRole::ApplicationMaintenance),
        File::Transit | File::Cyclic(Cyclic::History) => Ok(KeyRole::InteroperabilityPurse),
        File::Cyclic(Cyclic::Log) => Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED),
    }
}

/// Verifies and writes; what was begun on any channel is void, since the files have changed.
fn update<C>(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<C>,
    role: KeyRole,
    write: impl FnOnce(&mut AppletContext<'_>, &mut Ledger, C) -> Result<(), StatusWord>,
) -> Answer {
    match verify(context, ledger, command, role, Failures::Messaging)? {
        Verified::Wrong(answer) => Ok(answer),
        Verified::Right(mut ledger, command) => {
            write(context, &mut ledger, command)?;
            ledger.advance();
            ledger.write(context)?;
            Ok(ResponseApdu::success([]))
        }
    }
}
