//! VERIFY, CHANGE PIN, RELOAD PIN and PIN UNBLOCK.

use tsm_epurse::KeyRole;
use tsm_epurse::card;
use tsm_epurse::commands::{ChangePin, Pin, ReloadPin, Secured, UnblockPin, VerifyPin};
use tsm_iso7816::{ResponseApdu, StatusWord};
use zeroize::Zeroizing;

use super::ledger::{Failures, Ledger};
use super::pending;
use super::{keys, objects};
use crate::applet::{Answer, AppletContext};

/// How many tries 63Cx can tell of.
const MOST_TRIES: u8 = 15;

/// The PIN with its tries.
struct Stored {
    tries_left: u8,
    try_limit: u8,
    pin: Pin,
}

/// VERIFY.
pub(super) fn verify(context: &mut AppletContext<'_>, ledger: &Ledger, command: &VerifyPin) -> Answer {
    ledger.require_open()?;
    match attempt(context, &command.pin)? {
        None => Ok(ResponseApdu::success([])),
        Some(wrong) => Ok(wrong),
    }
}

/// CHANGE PIN.
pub(super) fn change(context: &mut AppletContext<'_>, ledger: &Ledger, command: &ChangePin) -> Answer {
    ledger.require_open()?;
    if let Some(wrong) = attempt(context, &command.old)? {
        return Ok(wrong);
    }
    replace(context, command.new.clone())?;
    Ok(ResponseApdu::success([]))
}

/// RELOAD PIN: whoever has the PIN key sets a new one.
pub(super) fn reload(context: &mut AppletContext<'_>, ledger: Ledger, command: ReloadPin) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Unblock)?;
    let key = keys::key(context, &ledger, KeyRole::Pin)?;
    match card::pin::reloaded(&key, command) {
        Ok(pin) => accept(context, ledger, pin),
        Err(_) => refused(context, ledger),
    }
}

/// PIN UNBLOCK: the new PIN comes enciphered under the PIN key.
pub(super) fn unblock(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<UnblockPin>,
) -> Answer {
    ledger.require_open()?;
    ledger.require_tries(Failures::Unblock)?;
    let challenge = pending::take_challenge(context)?;
    let key = keys::key(context, &ledger, KeyRole::Pin)?;
    let Ok(command) = card::secure_messaging::verify(&key, challenge, command) else {
        return refused(context, ledger);
    };
    let pin = card::secure_messaging::decipher(&key, &command.enciphered_pin)
        .map_err(|_| StatusWord::WRONG_DATA)?;
    let pin = Pin::new(&pin).map_err(|_| StatusWord::WRONG_DATA)?;
    accept(context, ledger, pin)
}

/// Sets the PIN and the tries that personalisation brings.
pub(super) fn personalise(context: &mut AppletContext<'_>, pin: &Pin, tries: u8) -> Result<(), StatusWord> {
    if tries == 0 || tries > MOST_TRIES {
        return Err(StatusWord::WRONG_DATA);
    }
    Stored { tries_left: tries, try_limit: tries, pin: pin.clone() }.write(context)
}

fn replace(context: &mut AppletContext<'_>, pin: Pin) -> Result<(), StatusWord> {
    let try_limit = Stored::read(context)?.try_limit;
    Stored { tries_left: try_limit, try_limit, pin }.write(context)
}

fn accept(context: &mut AppletContext<'_>, mut ledger: Ledger, pin: Pin) -> Answer {
    replace(context, pin)?;
    ledger.succeeded(Failures::Unblock);
    ledger.write(context)?;
    Ok(ResponseApdu::success([]))
}

fn refused(context: &mut AppletContext<'_>, mut ledger: Ledger) -> Answer {
    ledger.failed(Failures::Unblock);
    ledger.write(context)?;
    Ok(ResponseApdu::new([], StatusWord::SECURE_MESSAGING_DATA_INCORRECT))
}

/// Spends a try and compares; `Some` is the answer to a wrong PIN.
fn attempt(context: &mut AppletContext<'_>, pin: &Pin) -> Result<Option<ResponseApdu>, StatusWord> {
    let mut stored = Stored::read(context)?;
    let left = stored.tries_left.checked_sub(1).ok_or(StatusWord::AUTHENTICATION_METHOD_BLOCKED)?;
    let right = stored.pin == *pin;
    stored.tries_left = if right { stored.try_limit } else { left };
    stored.write(context)?;
    Ok(match (right, left) {
        (true, _) => None,
        (false, 0) => Some(ResponseApdu::new([], StatusWord::AUTHENTICATION_METHOD_BLOCKED)),
        (false, left) => Some(ResponseApdu::new([], StatusWord::tries_left(left))),
    })
}

impl Stored {
    /// The PIN; 6984 on a purse without one.
    fn read(context: &AppletContext<'_>) -> Result<Self, StatusWord> {
        let bytes = context.read(objects::PIN).ok_or(StatusWord::REFERENCED_DATA_INVALIDATED)?;
        let [tries_left, try_limit, ref pin @ ..] = *bytes else {
            return Err(StatusWord::MEMORY_FAILURE);
        };
        let pin = Pin::new(pin).map_err(|_| StatusWord::MEMORY_FAILURE)?;
        Ok(Self { tries_left, try_limit, pin })
    }

    fn write(&self, context: &mut AppletContext<'_>) -> Result<(), StatusWord> {
        let mut bytes = Zeroizing::new(vec![self.tries_left, self.try_limit]);
        bytes.extend_from_slice(self.pin.expose());
        context.write(objects::PIN, &bytes)
    }
}
