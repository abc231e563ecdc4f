//! Run-time messaging (GPC 2.3.1, 7.3.2): the application is selected, opens a secure channel with
//! the services of its security domain, and takes STORE DATA itself.
//!
//! The other way, personalisation by the domain (INSTALL [for personalization]), ends at the same
//! [`Applet::store_data`].
//!
//! While such a session is open the application's own commands may travel in it too ([`unprotected`]):
//! then their answers carry the card's MAC, where the session has one for answers.

use tsm_iso7816::{CommandApdu, StatusWord};

use crate::applet::{Answer, Applet, AppletContext, StoreDataBlock};

const INITIALIZE_UPDATE: u8 = 0x50;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;
const STORE_DATA: u8 = 0xE2;
/// The bit of the class byte that tells of secure messaging (ISO/IEC 7816-4, 5.4.1).
const SECURE_MESSAGING: u8 = 0x04;

/// Handles the commands of run-time messaging; `None` leaves a command to the application.
///
/// INITIALIZE UPDATE has P2 00 and shares its instruction with the purse's INITIALIZE commands,
/// whose P2 is never 00.
pub(super) fn process(
    applet: &mut dyn Applet,
    context: &mut AppletContext<'_>,
    command: &CommandApdu,
) -> Option<Answer> {
    match (command.cla, command.ins, command.p2) {
        (0x80, INITIALIZE_UPDATE, 0x00) => Some(context.process_security(command)),
        (0x84, EXTERNAL_AUTHENTICATE, _) => Some(context.process_security(command)),
        (0x80 | 0x84, STORE_DATA, _) => Some(store_data(applet, context, command)),
        _ => None,
    }
}

/// A command of the application's own that came in the session of its channel, without its protection;
/// `None` when it came in clear, or no session is open.
///
/// The purse has secure messaging of its own (PBOC 2.0 part 2), which marks its commands in the same bit of
/// the class byte. Inside a session the mark is the session's, and what `secured` names gets its own back.
pub(super) fn unprotected(
    context: &mut AppletContext<'_>,
    command: &CommandApdu,
    secured: impl Fn(&CommandApdu) -> bool,
) -> Result<Option<CommandApdu>, StatusWord> {
    if command.cla & SECURE_MESSAGING == 0 || context.security_level().is_none() {
        return Ok(None);
    }
    let mut plain = context.unwrap(command)?;
    if secured(&plain) {
        plain.cla |= SECURE_MESSAGING;
    }
    Ok(Some(plain))
}

fn store_data(applet: &mut dyn Applet, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
    if context.security_level().is_none() {
        return Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    }
    let plain = context.unwrap(command)?;
    applet.store_data(context, &StoreDataBlock { parameters: plain.p1, number: plain.p2, data: &plain.data })
}
