//! APPLICATION BLOCK and UNBLOCK of a purse (JT/T 978): the application's own lock, which a gate
//! sees, next to the one of the registry.

use tsm_epurse::Challenge;
use tsm_epurse::commands::{ApplicationBlock, ApplicationUnblock, BlockKind, GetChallenge};
use tsm_iso7816::{Aid, StatusWord};
use tsm_keys::{KeyHandle, KeyService};

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Command, Script};
use crate::step::ExpectedStatus;

/// Which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationLock {
    /// Blocked until unblocked.
    Block,
    /// Blocked for ever.
    BlockForEver,
    /// Unblocked.
    Unblock,
}

/// Changes the lock in two exchanges. `key` is the card's application-block or unblock key.
///
/// The answer carries no MAC: selecting the purse again shows the state, as a hint, and only a
/// transaction proves it.
pub async fn change_application_lock(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    key: &KeyHandle,
    purse: Aid,
    change: ApplicationLock,
) -> Result<(), ProcedureError> {
    let mut script = Script::new();
    let select = script.select(purse, ExpectedStatus::success_or(&[StatusWord::SELECTED_FILE_INVALIDATED]));
    let challenge = script.transmit(Command::new("GET CHALLENGE", GetChallenge::Four.to_apdu()));
    let mut answers = script.run(card).await?;
    answers.take(&select)?;
    let name = answers.name(&challenge, 0);
    let random = answers.take_one(&challenge)?.data;
    let random: [u8; 4] =
        random.try_into().map_err(|_| SecureChannel::unreadable(name, "a challenge has four bytes"))?;
    let (name, command) = match change {
        ApplicationLock::Block => {
            ("APPLICATION BLOCK", ApplicationBlock { kind: BlockKind::Temporary }.to_apdu())
        }
        ApplicationLock::BlockForEver => {
            ("APPLICATION BLOCK for ever", ApplicationBlock { kind: BlockKind::Permanent }.to_apdu())
        }
        ApplicationLock::Unblock => ("APPLICATION UNBLOCK", ApplicationUnblock.to_apdu()),
    };
    let protected = keys.secure_messaging(key, Challenge::new(random), &command)?;
    let mut script = Script::new();
    let ticket = script.transmit(Command::new(name, protected));
    let mut answers = script.run(card).await?;
    answers.take_one(&ticket).map(drop)
}
