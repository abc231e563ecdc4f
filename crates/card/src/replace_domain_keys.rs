//! Replacing the keys of a security domain (GPC 2.3.1, 11.8; P-5.8.3.2).
//!
//! One PUT KEY with all three keys, then SET STATUS to PERSONALIZED where the domain is new. The
//! intention is durable before the command leaves. When the answer is lost, recovery opens a session
//! with the new version first and the old one after that ([`which_keys`]): one of them answers.

use tsm_globalplatform::commands::SetStatus;
use tsm_globalplatform::commands::set_status::StatusTarget;
use tsm_globalplatform::life_cycle::SecurityDomainLifeCycle;
use tsm_iso7816::{Aid, StatusWord};
use tsm_keys::{KeyService, PutKeyRequest, SessionError, SessionRequest};

use crate::channel::CardChannel;
use crate::error::{CommandName, ProcedureError};
use crate::open_channel::{OpeningChannel, SecureChannel};
use crate::script::{Answers, Command, Script, Ticket};

/// What becomes of the domain once its keys are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterReplacement {
    /// A new domain: set to PERSONALIZED (P-5.8.3.1.1.c and d).
    Personalized,
    /// A domain at work: its state stays.
    Unchanged,
}

/// A replacement whose commands are in a script.
#[derive(Debug)]
pub struct ReplacingKeys {
    put_key: Ticket,
    confirmation: Vec<u8>,
    set_status: Option<Ticket>,
}

impl ReplacingKeys {
    /// Adds PUT KEY, and SET STATUS where asked for, to `script`. The channel is one with the domain
    /// itself.
    pub fn add(
        channel: &mut SecureChannel,
        request: &PutKeyRequest,
        after: AfterReplacement,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let put_key = channel.session().put_key(request)?;
        let domain = channel.domain();
        let ticket = channel.add(script, vec![Command::new("PUT KEY", put_key.command)])?;
        let set_status = match after {
            AfterReplacement::Personalized => Some(channel.add(script, vec![personalized(domain)])?),
            AfterReplacement::Unchanged => None,
        };
        Ok(Self { put_key: ticket, confirmation: put_key.confirmation, set_status })
    }

    /// Checks that the card took the keys: its answer repeats the version and the check values.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        let command = answers.name(&self.put_key, 0);
        let answer = channel.take_one(answers, &self.put_key)?;
        if answer.data != self.confirmation {
            return Err(SecureChannel::unreadable(command, "it does not confirm the keys that were sent"));
        }
        match self.set_status {
            Some(ticket) => channel.take_one(answers, &ticket).map(drop),
            None => Ok(()),
        }
    }
}

/// SET STATUS to PERSONALIZED alone, where the keys are in already.
#[derive(Debug)]
pub struct SettingPersonalized(Ticket);

impl SettingPersonalized {
    /// Adds the command to `script`. The channel is one with the domain itself.
    pub fn add(channel: &mut SecureChannel, script: &mut Script) -> Result<Self, ProcedureError> {
        let command = personalized(channel.domain());
        Ok(Self(channel.add(script, vec![command])?))
    }

    /// Checks that the card did it.
    pub fn take(self, channel: &mut SecureChannel, answers: &mut Answers) -> Result<(), ProcedureError> {
        channel.take_one(answers, &self.0).map(drop)
    }
}

/// Replaces the keys in one exchange.
pub async fn replace_domain_keys(
    card: &mut impl CardChannel,
    channel: &mut SecureChannel,
    request: &PutKeyRequest,
    after: AfterReplacement,
    mut script: Script,
) -> Result<(), ProcedureError> {
    let replacing = ReplacingKeys::add(channel, request, after, &mut script)?;
    let mut answers = script.run(card).await?;
    replacing.take(channel, &mut answers)
}

/// Which keys a domain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysInForce {
    /// The new ones: the replacement happened.
    New,
    /// The old ones: it did not.
    Old,
}

/// Keys that a domain may hold, and who has them.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The key service: the platform's, or the provider's for its own keys.
    pub keys: &'a dyn KeyService,
    /// The session that these keys open.
    pub session: &'a SessionRequest,
}

/// Finds out after a lost answer which keys the domain holds: the new version first, then the old.
/// Gives the open channel with them; EXTERNAL AUTHENTICATE is in the script.
pub async fn which_keys(
    card: &mut impl CardChannel,
    new: Candidate<'_>,
    old: Candidate<'_>,
) -> Result<(KeysInForce, SecureChannel, Script), ProcedureError> {
    match try_keys(card, new).await? {
        Some((channel, script)) => Ok((KeysInForce::New, channel, script)),
        None => match try_keys(card, old).await? {
            Some((channel, script)) => Ok((KeysInForce::Old, channel, script)),
            None => Err(ProcedureError::Session(SessionError::CardCryptogram)),
        },
    }
}

// A card without the version answers 6A88 (or 6A86, 6982 on older ones); a card whose old keys
// stand under the same version fails the cryptogram.
async fn try_keys(
    card: &mut impl CardChannel,
    Candidate { keys, session }: Candidate<'_>,
) -> Result<Option<(SecureChannel, Script)>, ProcedureError> {
    let mut opening = Script::new();
    let channel = OpeningChannel::begin(keys, session, &mut opening)?;
    let mut answers = opening.run(card).await?;
    if let Some((command, status)) = answers.stopped() {
        return if is_initialize_update(command) && is_key_refusal(status) {
            Ok(None)
        } else {
            Err(ProcedureError::Status { command, status })
        };
    }
    let mut script = Script::new();
    match channel.authenticate(&mut answers, &mut script) {
        Ok(channel) => Ok(Some((channel, script))),
        Err(ProcedureError::Session(SessionError::CardCryptogram | SessionError::KeyVersion { .. })) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_initialize_update(command: CommandName) -> bool {
    command.header[1] == tsm_globalplatform::commands::InitializeUpdate::INS
}

const fn is_key_refusal(status: StatusWord) -> bool {
    matches!(
        status,
        StatusWord::REFERENCED_DATA_NOT_FOUND
            | StatusWord::INCORRECT_P1_P2
            | StatusWord::SECURITY_STATUS_NOT_SATISFIED
            | StatusWord::NOT_FOUND
    )
}

/// SET STATUS of a domain to PERSONALIZED.
fn personalized(domain: Aid) -> Command {
    let set_status = SetStatus {
        target: StatusTarget::Application(domain),
        state: SecurityDomainLifeCycle::Personalized.value(),
    };
    Command::new("SET STATUS to PERSONALIZED", set_status.to_apdu())
}
