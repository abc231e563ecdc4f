//! Opening a secure channel with a security domain (GPC 2.3.1, 10.2; B-6.5; P-5.8.9.2.c).
//!
//! ```text
//! SELECT, INITIALIZE UPDATE | EXTERNAL AUTHENTICATE, commands...
//! ```
//!
//! The bar is where an answer must come back before the next step can be made. Everything else is
//! sent ahead.

use tsm_globalplatform::security_level::SecurityLevel;
use tsm_iso7816::{Aid, CommandApdu, ResponseApdu};
use tsm_keys::{CardSession, KeyService, PendingSession, SessionError, SessionRequest};

use crate::channel::CardChannel;
use crate::error::{CommandName, ProcedureError};
use crate::script::{Answers, Command, Script, Ticket};
use crate::step::ExpectedStatus;

/// A channel whose SELECT and INITIALIZE UPDATE are in a script.
pub struct OpeningChannel {
    pending: Box<dyn PendingSession>,
    domain: Aid,
    select: Ticket,
    initialize_update: Ticket,
}

/// An open secure channel. Dropping it ends the session on this side.
pub struct SecureChannel {
    session: Box<dyn CardSession>,
    domain: Aid,
    authentication: Option<Ticket>,
    ended: bool,
}

impl OpeningChannel {
    /// Adds SELECT and INITIALIZE UPDATE to `script`.
    pub fn begin(
        keys: &dyn KeyService,
        session: &SessionRequest,
        script: &mut Script,
    ) -> Result<Self, ProcedureError> {
        let pending = keys.begin_session(session.clone())?;
        let select = script.select(session.application, ExpectedStatus::success());
        let command = Command::new("INITIALIZE UPDATE", pending.initialize_update());
        let initialize_update = script.transmit(command);
        Ok(Self { pending, domain: session.application, select, initialize_update })
    }

    /// The INITIALIZE UPDATE command, for a list that is made elsewhere.
    pub fn initialize_update(&self) -> CommandApdu {
        self.pending.initialize_update()
    }

    /// Goes on with the card's answer to an INITIALIZE UPDATE that was sent in another list.
    pub fn answered(
        self,
        answer: &ResponseApdu,
        script: &mut Script,
    ) -> Result<SecureChannel, ProcedureError> {
        Self::handed_over(self.pending, self.domain, answer, script)
    }

    /// Goes on where another organisation sent INITIALIZE UPDATE for us and hands over the answer.
    pub fn handed_over(
        pending: Box<dyn PendingSession>,
        domain: Aid,
        answer: &ResponseApdu,
        script: &mut Script,
    ) -> Result<SecureChannel, ProcedureError> {
        let (session, external_authenticate) = pending.authenticate(answer)?;
        Ok(SecureChannel::begin(session, domain, external_authenticate, script))
    }

    /// Checks the card's cryptogram and adds EXTERNAL AUTHENTICATE to `script`.
    pub fn authenticate(
        self,
        answers: &mut Answers,
        script: &mut Script,
    ) -> Result<SecureChannel, ProcedureError> {
        answers.take(&self.select)?;
        let answer = answers.take_one(&self.initialize_update)?;
        let (session, external_authenticate) = self.pending.authenticate(&answer)?;
        Ok(SecureChannel::begin(session, self.domain, external_authenticate, script))
    }
}

impl SecureChannel {
    fn begin(
        session: Box<dyn CardSession>,
        domain: Aid,
        external_authenticate: CommandApdu,
        script: &mut Script,
    ) -> Self {
        let authentication = script.transmit(Command::new("EXTERNAL AUTHENTICATE", external_authenticate));
        Self { session, domain, authentication: Some(authentication), ended: false }
    }

    /// The domain that the channel is with.
    pub const fn domain(&self) -> Aid {
        self.domain
    }

    /// The security level in force.
    pub fn level(&self) -> SecurityLevel {
        self.session.level()
    }

    /// The key version that the card used.
    pub fn key_version(&self) -> u8 {
        self.session.key_version()
    }

    /// The card's sequence counter, where the protocol shows it.
    pub fn sequence_counter(&self) -> Option<u32> {
        self.session.sequence_counter()
    }

    /// The session, for what only the key service can put into a command.
    pub fn session(&mut self) -> &mut dyn CardSession {
        &mut *self.session
    }

    /// The most data bytes that a short command holds in this session, so that its MAC and padding fit.
    pub fn command_space(&self) -> usize {
        // SCP03 in S16 mode appends 16 bytes; padding adds up to a block of 16; 255 in all.
        let mac = if self.level().has_c_mac() { 16 } else { 0 };
        let padding = if self.level().has_c_decryption() { 16 } else { 0 };
        255 - mac - padding
    }

    /// Wraps `commands` and adds them to `script`. Answers are taken in the order of adding.
    pub fn add(&mut self, script: &mut Script, commands: Vec<Command>) -> Result<Ticket, ProcedureError> {
        if self.ended {
            return Err(SessionError::Ended.into());
        }
        let clear: Vec<CommandApdu> = commands.iter().map(|command| command.apdu.clone()).collect();
        let wrapped = self.session.wrap_commands(&clear)?;
        let start = script.len();
        for (command, apdu) in commands.into_iter().zip(wrapped) {
            let name = command.command_name();
            script.transmit_wrapped(name, apdu, command.expected);
        }
        Ok(Ticket(start..script.len()))
    }

    /// Takes and checks the answers to commands added before. A wrong MAC ends the session, and so does
    /// an unexpected status word: host and card no longer agree on the chain of MACs.
    pub fn take(
        &mut self,
        answers: &mut Answers,
        ticket: &Ticket,
    ) -> Result<Vec<ResponseApdu>, ProcedureError> {
        self.check_authentication(answers)?;
        if self.ended {
            // The list stopped in an answer before this one: what the card said there is the reason.
            return Err(match answers.stopped() {
                Some((command, status)) => ProcedureError::Status { command, status },
                None => SessionError::Ended.into(),
            });
        }
        let reached = answers.take_reached(ticket);
        self.ended = answers.stopped().is_some();
        let opened = self.session.unwrap_responses(reached).inspect_err(|_| self.ended = true)?;
        match answers.stopped() {
            Some((command, status))
                if answers.stopped_in(ticket).is_some() || opened.len() < ticket.0.len() =>
            {
                Err(ProcedureError::Status { command, status })
            }
            _ => Ok(opened),
        }
    }

    /// The answer to a command added alone.
    pub fn take_one(
        &mut self,
        answers: &mut Answers,
        ticket: &Ticket,
    ) -> Result<ResponseApdu, ProcedureError> {
        let mut opened = self.take(answers, ticket)?;
        opened.pop().ok_or_else(|| ProcedureError::Impossible("an answer was taken twice".to_owned()))
    }

    /// Checks that the card took EXTERNAL AUTHENTICATE. The first [`SecureChannel::take`] does it too.
    pub fn check_authentication(&mut self, answers: &mut Answers) -> Result<(), ProcedureError> {
        match self.authentication.take() {
            None => Ok(()),
            Some(ticket) => answers.take_one(&ticket).map(drop).inspect_err(|_| self.ended = true),
        }
    }

    /// The error for an answer of the card that cannot be read.
    pub(crate) fn unreadable(command: CommandName, reason: impl ToString) -> ProcedureError {
        ProcedureError::Answer { command, reason: reason.to_string() }
    }
}

/// The SELECT and INITIALIZE UPDATE of another organisation's session, sent for it at the end of our
/// list: its answer is handed over, and the other organisation goes on with
/// [`OpeningChannel::handed_over`].
#[derive(Debug)]
pub struct HandOver {
    select: Ticket,
    initialize_update: Ticket,
}

impl HandOver {
    /// Adds SELECT of `application` and the other organisation's INITIALIZE UPDATE to `script`.
    pub fn add(application: Aid, initialize_update: CommandApdu, script: &mut Script) -> Self {
        let select = script.select(application, ExpectedStatus::success());
        let command = Command::new("INITIALIZE UPDATE", initialize_update);
        Self { select, initialize_update: script.transmit(command) }
    }

    /// The card's answer to INITIALIZE UPDATE, to be handed over as it is.
    pub fn take(self, answers: &mut Answers) -> Result<ResponseApdu, ProcedureError> {
        answers.take(&self.select)?;
        answers.take_one(&self.initialize_update)
    }
}

/// Opens a channel and nothing else; EXTERNAL AUTHENTICATE stays in `script`, so that the first
/// commands go with it.
pub async fn open_channel(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    session: &SessionRequest,
    script: &mut Script,
) -> Result<SecureChannel, ProcedureError> {
    let mut opening = Script::new();
    let channel = OpeningChannel::begin(keys, session, &mut opening)?;
    let mut answers = opening.run(card).await?;
    channel.authenticate(&mut answers, script)
}
