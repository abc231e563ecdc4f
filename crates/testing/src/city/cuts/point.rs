//! The places at which a flow can break, and their names.

use std::fmt;
use std::str::FromStr;

use tsm_storage::memory::Crash;

use crate::city::network::Role;
use crate::city::placed::PlacedFault;

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Commands to the card.
    Apdu,
    /// Writes of the card's memory.
    Nvm,
    /// Messages.
    Message,
    /// Commits of the servers' stores.
    Commit,
    /// Writes of a terminal's store.
    Terminal,
    /// Writes of the wallet's own storage.
    Wallet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Apdu, Self::Nvm, Self::Message, Self::Commit, Self::Terminal, Self::Wallet];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apdu => "apdu",
            Self::Nvm => "nvm",
            Self::Message => "message",
            Self::Commit => "commit",
            Self::Terminal => "terminal",
            Self::Wallet => "wallet",
        }
    }
}

/// What befalls a command to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommandFault {
    /// The card's power goes before the command, and the wallet says so.
    CommandLost,
    /// The card's power goes after it has acted, and the wallet says so.
    AnswerLost,
    /// The whole phone goes before the command.
    PhoneBefore,
    /// The whole phone goes after the card has acted.
    PhoneAfter,
}

impl CommandFault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::CommandLost, Self::AnswerLost, Self::PhoneBefore, Self::PhoneAfter];

    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommandLost => "command-lost",
            Self::AnswerLost => "answer-lost",
            Self::PhoneBefore => "phone-before",
            Self::PhoneAfter => "phone-after",
        }
    }
}

/// A place, and what happens there. Numbers count from 0 at the beginning of the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// At this command to the card.
    Command(u64, CommandFault),
    /// The phone's power goes at this write of the card's memory.
    Write(u64),
    /// At this message.
    Message(u64, PlacedFault),
    /// A server dies at this commit of its store.
    Commit(Role, u64, Crash),
    /// The terminal dies at this write of its store.
    Terminal(u64),
    /// The phone dies at this write of the wallet's storage.
    Wallet(u64, Crash),
}

impl Point {
    /// Its kind.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Command(..) => Kind::Apdu,
            Self::Write(_) => Kind::Nvm,
            Self::Message(..) => Kind::Message,
            Self::Commit(..) => Kind::Commit,
            Self::Terminal(_) => Kind::Terminal,
            Self::Wallet(..) => Kind::Wallet,
        }
    }

    /// Whether both can be placed in one run.
    pub fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Message(one, _), Self::Message(another, _)) => one != another,
            (Self::Commit(one, ..), Self::Commit(another, ..)) => one != another,
            _ => self.kind() != other.kind(),
        }
    }
}

const fn short(role: Role) -> &'static str {
    match role {
        Role::SeTsm => "se-tsm",
        Role::SpTsm => "sp-tsm",
        Role::Clearing => "clearing",
        Role::Payment => "payment",
    }
}

const fn side(crash: Crash) -> &'static str {
    match crash {
        Crash::BeforeCommit => "before",
        Crash::AfterCommit => "after",
    }
}

fn crash_of(side_named: &str) -> Option<Crash> {
    [Crash::BeforeCommit, Crash::AfterCommit].into_iter().find(|crash| side(*crash) == side_named)
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().name();
        match self {
            Self::Command(number, fault) => write!(f, "{kind}:{number}:{}", fault.name()),
            Self::Write(number) | Self::Terminal(number) => write!(f, "{kind}:{number}"),
            Self::Message(number, fault) => write!(f, "{kind}:{number}:{fault}"),
            Self::Commit(role, number, crash) => {
                write!(f, "{kind}:{}:{number}:{}", short(*role), side(*crash))
            }
            Self::Wallet(number, crash) => write!(f, "{kind}:{number}:{}", side(*crash)),
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |text: &str| text.parse::<u64>().ok();
        let point = match parts.as_slice() {
            ["apdu", at, fault] => {
                let fault = CommandFault::ALL.into_iter().find(|known| known.name() == *fault);
                number(at).zip(fault).map(|(at, fault)| Self::Command(at, fault))
            }
            ["nvm", at] => number(at).map(Self::Write),
            ["terminal", at] => number(at).map(Self::Terminal),
            ["wallet", at, side] => number(at).zip(crash_of(side)).map(|(at, crash)| Self::Wallet(at, crash)),
            ["message", at, fault] => {
                let fault = PlacedFault::ALL.into_iter().find(|known| known.name() == *fault);
                number(at).zip(fault).map(|(at, fault)| Self::Message(at, fault))
            }
            ["commit", role, at, side] => {
                let role = Role::ALL.into_iter().find(|known| short(*known) == *role);
                role.zip(number(at))
                    .zip(crash_of(side))
                    .map(|((role, at), crash)| Self::Commit(role, at, crash))
            }
            _ => None,
        };
        point.ok_or_else(|| format!("{text} names no place; an example is message:3:doubled"))
    }
}

/// What the rider chooses at the next contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Next {
    /// Go on with what is open.
    Continue,
    /// Cancel what is open, where it can be cancelled.
    Cancel,
}

impl Next {
    /// As the command line writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Cancel => "cancel",
        }
    }
}
