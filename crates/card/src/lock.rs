//! Locking and unlocking application instances (GPC 2.3.1, 11.10; P-5.8.4.3).
//!
//! An application with several instances has each of them locked. A failure in between leaves some
//! of them locked; the next observation says which, and the procedure is repeated for the rest.

use tsm_globalplatform::commands::SetStatus;
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_iso7816::Aid;

use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockChange {
    /// To LOCKED.
    Lock,
    /// Back to the state before.
    Unlock,
}

/// A lock change whose commands are in a script.
#[derive(Debug)]
pub struct ChangingLocks(Ticket);

impl ChangingLocks {
    /// Adds a SET STATUS for each instance to `script`.
    pub fn add(
        channel: &mut SecureChannel,
        change: LockChange,
        instances: &[Aid],
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let (name, state) = match change {
            LockChange::Lock => ("SET STATUS to LOCKED", SetStatus::LOCK),
            LockChange::Unlock => ("SET STATUS from LOCKED", SetStatus::UNLOCK),
        };
        let commands = instances
            .iter()
            .map(|instance| {
                let set_status = SetStatus { target: StatusTarget::Application(*instance), state };
                Command::new(name, set_status.to_apdu())
            })
            .collect();
        Ok(Self(channel.add(script, commands)?))
    }

    /// Checks that the card changed every instance.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        channel.take(answers, &self.0).map(drop)
    }
}

/// Changes the locks in one exchange.
pub async fn change_locks(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    change: LockChange,
    instances: &[Aid],
    mut script: Script,
) -> Result<(), ProcedureError> {
    let changing = ChangingLocks::add(channel, change, instances, &mut script)?;
    let mut answers = script.run(card).await?;
    changing.take(channel, &mut answers)
}
