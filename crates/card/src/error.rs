//! Why a card procedure stopped.

use core::fmt;

use tsm_iso7816::{CommandApdu, StatusWord};
use tsm_keys::{KeyError, SessionError};

use crate::channel::ChannelError;

/// A command in a few words, for people: its name, the header, never its data.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandName {
    /// The command's name in the standard, with its form: `INSTALL [for load]`.
    pub name: &'static str,
    /// CLA, INS, P1, P2 before any wrapping.
    pub header: [u8; 4],
}

impl CommandName {
    /// The name of `command`.
    pub const fn of(name: &'static str, command: &CommandApdu) -> Self {
        Self { name, header: [command.cla, command.ins, command.p1, command.p2] }
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, hex::encode_upper(self.header))
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a procedure stopped. The variants keep apart what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcedureError {
    /// The card was not reached: nothing happened on it.
    #[error("the card was not reached; nothing was sent to it")]
    NotSent,
    /// The connection broke after commands were sent. Observe the card before anything else.
    #[error("the card was lost while commands were under way; what it did is unknown")]
    OutcomeUnknown,
    /// The card answered a command with a status word that stops the procedure.
    #[error("the card answered {command} with {status}: {}", status.meaning())]
    Status {
        /// The command.
        command: CommandName,
        /// The status word.
        status: StatusWord,
    },
    /// The card could not prove itself, or an answer was not its own. Nothing it said is believed.
    #[error("the card did not prove itself")]
    Session(#[source] SessionError),
    /// The card's answer to a command cannot be read.
    #[error("the card's answer to {command} cannot be read: {reason}")]
    Answer {
        /// The command.
        command: CommandName,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A terminal used the card between two commands, as the card itself shows: what was read is of two moments. It is
    /// read again.
    #[error("the card was used at a terminal between two commands; it must be read again")]
    UsedMeanwhile,
    /// The channel's other end answered with something that is no answer to the list.
    #[error("the channel gave no answer to the list: {0}")]
    Channel(String),
    /// What was asked cannot be done with this card or with these parameters; nothing was sent.
    #[error("this cannot be done: {0}")]
    Impossible(String),
    /// The key service refused.
    #[error("the key service refused")]
    Key(#[from] KeyError),
}

impl ProcedureError {
    /// Whether the card may have done something that nobody has seen the end of.
    pub const fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::OutcomeUnknown | Self::Session(_) | Self::Answer { .. } | Self::Channel(_) => true,
            Self::NotSent
            | Self::Status { .. }
            | Self::UsedMeanwhile
            | Self::Impossible(_)
            | Self::Key(_) => false,
        }
    }

    /// The status word with which the card stopped the procedure.
    pub const fn status(&self) -> Option<StatusWord> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::NotSent
            | Self::OutcomeUnknown
            | Self::Session(_)
            | Self::Answer { .. }
            | Self::UsedMeanwhile
            | Self::Channel(_)
            | Self::Impossible(_)
            | Self::Key(_) => None,
        }
    }
}

impl From<ChannelError> for ProcedureError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::NotSent => Self::NotSent,
            ChannelError::OutcomeUnknown => Self::OutcomeUnknown,
            ChannelError::BadAnswer(reason) => Self::Channel(reason),
        }
    }
}

impl From<SessionError> for ProcedureError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Key(error) => Self::Key(error),
            other => Self::Session(other),
        }
    }
}
