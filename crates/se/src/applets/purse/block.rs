//! APPLICATION BLOCK, APPLICATION UNBLOCK and CARD BLOCK (D-35).

use tsm_epurse::KeyRole;
use tsm_epurse::commands::{ApplicationBlock, ApplicationUnblock, BlockKind, CardBlock, Secured};
use tsm_iso7816::{ResponseApdu, StatusWord};

use super::ledger::{Availability, Failures, Ledger};
use super::secured::{self, Verified};
use crate::applet::{Answer, AppletContext};

/// APPLICATION BLOCK. Blocking again, or for ever what was blocked for now, is no error.
pub(super) fn block(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<ApplicationBlock>,
) -> Answer {
    match secured::verify(context, ledger, command, KeyRole::ApplicationBlock, Failures::Messaging)? {
        Verified::Wrong(answer) => Ok(answer),
        Verified::Right(ledger, command) => {
            let availability = match command.kind {
                BlockKind::Temporary => Availability::BlockedForNow,
                BlockKind::Permanent => Availability::BlockedForEver,
            };
            become_available(context, ledger, availability)
        }
    }
}

/// APPLICATION UNBLOCK. Three wrong ones in a row lock the purse for ever.
pub(super) fn unblock(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<ApplicationUnblock>,
) -> Answer {
    if ledger.availability != Availability::BlockedForNow {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    }
    match secured::verify(context, ledger, command, KeyRole::ApplicationUnblock, Failures::Unblock)? {
        Verified::Wrong(answer) => Ok(answer),
        Verified::Right(ledger, _) => become_available(context, ledger, Availability::Open),
    }
}

/// CARD BLOCK: this purse cannot be selected any more. Other applications of the secure element are
/// not its affair.
pub(super) fn block_card(
    context: &mut AppletContext<'_>,
    ledger: Ledger,
    command: Secured<CardBlock>,
) -> Answer {
    match secured::verify(context, ledger, command, KeyRole::ApplicationMaintenance, Failures::Messaging)? {
        Verified::Wrong(answer) => Ok(answer),
        Verified::Right(ledger, _) => become_available(context, ledger, Availability::CardBlocked),
    }
}

fn become_available(
    context: &mut AppletContext<'_>,
    mut ledger: Ledger,
    availability: Availability,
) -> Answer {
    ledger.availability = availability;
    ledger.advance();
    ledger.write(context)?;
    Ok(ResponseApdu::success([]))
}
