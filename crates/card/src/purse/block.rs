//! APPLICATION BLOCK and UNBLOCK of a purse (JT/T 978): the application's own lock, which a gate
//! sees, next to the one of the registry.

use tsm_epurse::Challenge;
use tsm_epurse::commands::{ApplicationBlock, ApplicationUnblock, BlockKind};
use tsm_iso7816::Aid;
use tsm_keys::{KeyHandle, KeyService};

use super::close::draw_challenge;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::script::{Command, Script};

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

/// A purse that has drawn a challenge for one change of its lock. Until the change is sent nothing can have
/// happened.
#[derive(Debug, Clone, Copy)]
pub struct BlockOrder {
    pub(super) purse: Aid,
    pub(super) challenge: Challenge,
}

/// Lets a purse draw the challenge for a change of its lock.
pub async fn prepare_application_lock(
    card: &mut impl CardChannel,
    purse: Aid,
) -> Result<BlockOrder, ProcedureError> {
    let challenge = draw_challenge(card, purse).await?;
    Ok(BlockOrder { purse, challenge })
}

/// Changes the lock. `key` is the card's application-block or unblock key.
///
/// The answer carries no MAC: selecting the purse again shows the state, as a hint, and only a look under R-MAC
/// or a transaction proves it.
pub async fn send_application_lock(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    key: &KeyHandle,
    order: BlockOrder,
    change: ApplicationLock,
) -> Result<(), ProcedureError> {
    let (name, command) = match change {
        ApplicationLock::Block => {
            ("APPLICATION BLOCK", ApplicationBlock { kind: BlockKind::Temporary }.to_apdu())
        }
        ApplicationLock::BlockForEver => {
            ("APPLICATION BLOCK for ever", ApplicationBlock { kind: BlockKind::Permanent }.to_apdu())
        }
        ApplicationLock::Unblock => ("APPLICATION UNBLOCK", ApplicationUnblock.to_apdu()),
    };
    let protected = keys.secure_messaging(key, order.challenge, &command)?;
    let mut script = Script::new();
    let ticket = script.transmit(Command::new(name, protected));
    let mut answers = script.run(card).await?;
    answers.take_one(&ticket).map(drop)
}

/// Draws the challenge and changes the lock, in two exchanges.
pub async fn change_application_lock(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    key: &KeyHandle,
    purse: Aid,
    change: ApplicationLock,
) -> Result<(), ProcedureError> {
    let order = prepare_application_lock(card, purse).await?;
    send_application_lock(card, keys, key, order, change).await
}
