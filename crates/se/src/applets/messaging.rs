//! Run-time messaging (GPC 2.3.1, 7.3.2): the application is selected, opens a secure channel with
//! the services of its security domain, and takes STORE DATA itself.
//!
//! The other way, personalisation by the domain (INSTALL [for personalization]), ends at the same
//! [`Applet::store_data`].

use tsm_iso7816::{CommandApdu, StatusWord};

use crate::applet::{Answer, Applet, AppletContext, StoreDataBlock};

const INITIALIZE_UPDATE: u8 = 0x50;
const EXTERNAL_AUTHENTICATE: u8 = 0x82;
const STORE_DATA: u8 = 0xE2;

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

fn store_data(applet: &mut dyn Applet, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
    if context.security_level().is_none() {
        return Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED);
    }
    let plain = context.unwrap(command)?;
    applet.store_data(context, &StoreDataBlock { parameters: plain.p1, number: plain.p2, data: &plain.data })
}
