//! Looking at a purse's own lock, with its proof (B-8.5.4).
//!
//! ```text
//! SELECT, GET CHALLENGE
//! APPLICATION BLOCK with the purse's own MAC, SELECT (6283), INITIALIZE UPDATE to the purse
//! EXTERNAL AUTHENTICATE, GET CHALLENGE, GET DATA D001, EF15                 all with R-MAC
//! ```
//!
//! The answer to APPLICATION BLOCK and the 6283 carry no MAC and are worth nothing; GET DATA D001 says under
//! R-MAC whether the purse is blocked. The GET CHALLENGE before it voids any change of the lock that the phone
//! may have kept back: a purse has one challenge.

use tsm_epurse::commands::{
    ApplicationBlock, BlockKind, GetChallenge, GetPurseStatus, PurseStatus, ReadBinary,
};
use tsm_epurse::file::{ApplicationSerial, PublicInformation};
use tsm_epurse::{LayoutError, Sfi};
use tsm_iso7816::Aid;
use tsm_keys::{KeyHandle, KeyService, SessionRequest};

use super::block::BlockOrder;
use super::close::{PurseChannel, take_status};
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::open_channel::SecureChannel;
use crate::script::{Answers, Command, Script, Ticket};

/// What a purse proved of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseLook {
    /// Which card it is.
    pub serial: ApplicationSerial,
    /// Whether it is blocked, and its amounts and counters.
    pub status: PurseStatus,
}

/// Looks at a purse without changing it. `session` is with the purse's security domain, under a level with
/// R-MAC.
pub async fn look(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    purse: Aid,
) -> Result<PurseLook, ProcedureError> {
    look_after(card, keys, session, purse, Script::new(), |_| Ok(())).await
}

/// Blocks a purse and looks at it. The order's challenge is used up by it.
pub async fn block_and_look(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    block: &KeyHandle,
    order: BlockOrder,
    session: &SessionRequest,
) -> Result<PurseLook, ProcedureError> {
    let command = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
    let command = keys.secure_messaging(block, order.challenge, &command)?;
    let mut script = Script::new();
    let blocked = script.transmit(Command::new("APPLICATION BLOCK", command));
    let taken = |answers: &mut Answers| answers.take_one(&blocked).map(drop);
    look_after(card, keys, session, order.purse, script, taken).await
}

async fn look_after(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    purse: Aid,
    mut script: Script,
    before: impl FnOnce(&mut Answers) -> Result<(), ProcedureError>,
) -> Result<PurseLook, ProcedureError> {
    if !session.level.has_r_mac() {
        return Err(ProcedureError::Impossible("a purse proves its lock under R-MAC only".to_owned()));
    }
    let opening = PurseChannel::add(keys, session, purse, &mut script)?;
    let mut answers = script.run(card).await?;
    before(&mut answers)?;
    let mut script = Script::new();
    let mut channel = opening.authenticate(&mut answers, &mut script)?;
    let looking = Looking::add(&mut channel, &mut script)?;
    let mut answers = script.run(card).await?;
    looking.take(&mut channel, &mut answers)
}

struct Looking {
    challenge: Ticket,
    status: Ticket,
    public: Ticket,
}

impl Looking {
    fn add(channel: &mut SecureChannel, script: &mut Script) -> Result<Self, ProcedureError> {
        let length = PublicInformation::LENGTH as u8;
        let read = ReadBinary { sfi: Sfi::PUBLIC_INFORMATION, offset: 0, length: Some(length) };
        let challenge = vec![Command::new("GET CHALLENGE", GetChallenge::Eight.to_apdu())];
        let status = vec![Command::new("GET DATA D001", GetPurseStatus.to_apdu())];
        let public = vec![Command::new("READ BINARY", read.to_apdu())];
        Ok(Self {
            challenge: channel.add(script, challenge)?,
            status: channel.add(script, status)?,
            public: channel.add(script, public)?,
        })
    }

    fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<PurseLook, ProcedureError> {
        channel.take_one(answers, &self.challenge)?;
        let status = take_status(channel, answers, &self.status)?;
        let name = answers.name(&self.public, 0);
        let unreadable = |error: LayoutError| SecureChannel::unreadable(name, error);
        let public = channel.take_one(answers, &self.public)?;
        let public = PublicInformation::decode(&public.data).map_err(unreadable)?;
        Ok(PurseLook { serial: public.serial, status })
    }
}
