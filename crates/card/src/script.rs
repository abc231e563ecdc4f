//! Scripts: steps gathered from several procedures, sent ahead as one list.
//!
//! C-MAC chaining depends on commands only, so a whole list is wrapped before the first answer is
//! known, and the end of one session, the selection of the next domain and its INITIALIZE UPDATE fit
//! into one exchange. Each procedure adds its steps and keeps a ticket; after the exchange it takes its
//! own answers with the ticket.
//!
//! ```text
//! let mut script = Script::new();
//! let isd = OpeningChannel::begin(keys, &isd_session, &mut script)?;   SELECT, INITIALIZE UPDATE
//! let mut answers = script.run(card).await?;                           one round trip
//! let mut script = Script::new();
//! let mut isd = isd.authenticate(&mut answers, &mut script)?;          EXTERNAL AUTHENTICATE
//! let install = isd.add(&mut script, vec![...])?;                      INSTALL
//! let ssd = OpeningChannel::begin(keys, &ssd_session, &mut script)?;   SELECT, INITIALIZE UPDATE
//! let mut answers = script.run(card).await?;                           one round trip
//! isd.take(&mut answers, install)?;
//! ```

use core::ops::Range;

use tsm_iso7816::{Aid, CommandApdu, ResponseApdu, StatusWord};

use crate::channel::CardChannel;
use crate::error::{CommandName, ProcedureError};
use crate::step::{ExpectedStatus, Step};

/// A command with its name and the status words that let a list go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The command's name in the standard.
    pub name: &'static str,
    /// The command, not wrapped.
    pub apdu: CommandApdu,
    /// The status words that let the list go on.
    pub expected: ExpectedStatus,
}

impl Command {
    /// A command that must answer 9000.
    pub fn new(name: &'static str, apdu: CommandApdu) -> Self {
        Self { name, apdu, expected: ExpectedStatus::success() }
    }

    /// The same command, also content with these status words.
    #[must_use]
    pub fn or(mut self, others: &[StatusWord]) -> Self {
        self.expected = ExpectedStatus::success_or(others);
        self
    }

    pub(crate) const fn command_name(&self) -> CommandName {
        CommandName::of(self.name, &self.apdu)
    }
}

/// Steps gathered for one exchange.
#[derive(Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    names: Vec<CommandName>,
}

/// Where the answers of the steps that one procedure added will stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(pub(crate) Range<usize>);

impl Ticket {
    /// How many steps it stands for.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The answers of one exchange.
#[derive(Debug)]
pub struct Answers {
    responses: Vec<Option<ResponseApdu>>,
    names: Vec<CommandName>,
    stopped: Option<(CommandName, StatusWord)>,
}

impl Script {
    /// No steps yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Adds a selection.
    pub fn select(&mut self, aid: Aid, expected: ExpectedStatus) -> Ticket {
        let step = Step::Select { aid, expected };
        let name = CommandName::of("SELECT", &step.to_apdu());
        self.push(name, step)
    }

    /// Adds a command as it is.
    pub fn transmit(&mut self, command: Command) -> Ticket {
        let name = command.command_name();
        self.push(name, Step::Transmit { apdu: command.apdu, expected: command.expected })
    }

    /// Adds commands as they are.
    pub fn transmit_all(&mut self, commands: impl IntoIterator<Item = Command>) -> Ticket {
        let start = self.steps.len();
        commands.into_iter().for_each(|command| {
            self.transmit(command);
        });
        Ticket(start..self.steps.len())
    }

    /// Adds a wrapped command under the name of the clear one.
    pub(crate) fn transmit_wrapped(
        &mut self,
        name: CommandName,
        apdu: CommandApdu,
        expected: ExpectedStatus,
    ) {
        self.push(name, Step::Transmit { apdu, expected });
    }

    /// Sends the list in one exchange.
    ///
    /// An unexpected status word does not fail here: the procedures before the stop still take their
    /// answers, and the one whose step was answered so gets the error.
    pub async fn run(self, card: &mut impl CardChannel) -> Result<Answers, ProcedureError> {
        if self.steps.is_empty() {
            return Ok(Answers { responses: Vec::new(), names: Vec::new(), stopped: None });
        }
        let expected: Vec<ExpectedStatus> = self.steps.iter().map(|step| step.expected().clone()).collect();
        let responses = card.exchange(self.steps).await?;
        Answers::new(responses, &expected, self.names)
    }

    fn push(&mut self, name: CommandName, step: Step) -> Ticket {
        self.steps.push(step);
        self.names.push(name);
        Ticket(self.steps.len() - 1..self.steps.len())
    }
}

impl Answers {
    fn new(
        responses: Vec<ResponseApdu>,
        expected: &[ExpectedStatus],
        names: Vec<CommandName>,
    ) -> Result<Self, ProcedureError> {
        if responses.len() > expected.len() {
            let reason = format!("{} responses to {} steps", responses.len(), expected.len());
            return Err(ProcedureError::Channel(reason));
        }
        let stop = responses
            .iter()
            .zip(expected)
            .position(|(response, expected)| !expected.accepts(response.status));
        let complete = stop.map_or(expected.len(), |index| index + 1);
        if responses.len() != complete {
            let reason = format!("{} responses where {complete} were due", responses.len());
            return Err(ProcedureError::Channel(reason));
        }
        let stopped = stop.map(|index| (names[index], responses[index].status));
        Ok(Self { responses: responses.into_iter().map(Some).collect(), names, stopped })
    }

    /// The command at which the list stopped, and its status word.
    pub const fn stopped(&self) -> Option<(CommandName, StatusWord)> {
        self.stopped
    }

    /// An error if the list stopped anywhere.
    pub fn check(&self) -> Result<(), ProcedureError> {
        match self.stopped {
            None => Ok(()),
            Some((command, status)) => Err(ProcedureError::Status { command, status }),
        }
    }

    /// The only answer of a ticket.
    pub fn take_one(&mut self, ticket: &Ticket) -> Result<ResponseApdu, ProcedureError> {
        let mut responses = self.take(ticket)?;
        match (responses.pop(), responses.is_empty()) {
            (Some(response), true) => Ok(response),
            _ => Err(ProcedureError::Impossible("an answer was taken twice".to_owned())),
        }
    }

    /// The answers of a ticket, all of them with an expected status word.
    pub fn take(&mut self, ticket: &Ticket) -> Result<Vec<ResponseApdu>, ProcedureError> {
        let taken = self.take_reached(ticket);
        if taken.len() == ticket.0.len() {
            if let Some((command, status)) = self.stopped_in(ticket) {
                return Err(ProcedureError::Status { command, status });
            }
            return Ok(taken);
        }
        match self.stopped {
            Some((command, status)) => Err(ProcedureError::Status { command, status }),
            None => Err(ProcedureError::Impossible("an answer was taken twice".to_owned())),
        }
    }

    /// The answers of a ticket as far as the list got, the one that stopped it included.
    pub(crate) fn take_reached(&mut self, ticket: &Ticket) -> Vec<ResponseApdu> {
        let end = ticket.0.end.min(self.responses.len());
        self.responses
            .get_mut(ticket.0.start..end)
            .unwrap_or_default()
            .iter_mut()
            .filter_map(Option::take)
            .collect()
    }

    /// The stop, if it happened at a step of this ticket.
    pub(crate) fn stopped_in(&self, ticket: &Ticket) -> Option<(CommandName, StatusWord)> {
        self.stopped.filter(|_| ticket.0.contains(&(self.responses.len() - 1)))
    }

    /// The name of the command behind the answer number `index` of a ticket.
    pub(crate) fn name(&self, ticket: &Ticket, index: usize) -> CommandName {
        self.names[ticket.0.start + index]
    }
}
