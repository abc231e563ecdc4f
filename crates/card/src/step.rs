//! Steps: what a procedure asks a card channel to do.
//!
//! Clients on the Open Mobile API may not send SELECT by name or MANAGE CHANNEL themselves, so a
//! selection is a step of its own: the client opens a logical channel on the application, and puts the
//! channel number into the class of what follows.

use tsm_iso7816::{Aid, CommandApdu, StatusWord};

/// One thing for the client to do with the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Select an application by name on the conversation's channel.
    Select {
        /// Its AID.
        aid: Aid,
        /// The status words that let the list go on.
        expected: ExpectedStatus,
    },
    /// Send a command.
    Transmit {
        /// The command, for the basic channel; the client sets the channel bits.
        apdu: CommandApdu,
        /// The status words that let the list go on.
        expected: ExpectedStatus,
    },
}

/// The status words with which a client carries on; at any other it stops and reports (W-6.6.c).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedStatus(Vec<StatusWord>);

impl ExpectedStatus {
    /// 9000 only.
    pub fn success() -> Self {
        Self(vec![StatusWord::SUCCESS])
    }

    /// 9000, and these.
    pub fn success_or(others: &[StatusWord]) -> Self {
        Self([&[StatusWord::SUCCESS], others].concat())
    }

    /// Exactly these.
    pub const fn one_of(words: Vec<StatusWord>) -> Self {
        Self(words)
    }

    /// Whether the list may go on after `status`.
    pub fn accepts(&self, status: StatusWord) -> bool {
        self.0.contains(&status)
    }

    /// The status words.
    pub fn words(&self) -> &[StatusWord] {
        &self.0
    }
}

impl Step {
    /// Selects `aid`, which must answer 9000.
    pub fn select(aid: Aid) -> Self {
        Self::Select { aid, expected: ExpectedStatus::success() }
    }

    /// Sends `apdu`, which must answer 9000.
    pub fn transmit(apdu: CommandApdu) -> Self {
        Self::Transmit { apdu, expected: ExpectedStatus::success() }
    }

    /// The status words that let the list go on.
    pub const fn expected(&self) -> &ExpectedStatus {
        match self {
            Self::Select { expected, .. } | Self::Transmit { expected, .. } => expected,
        }
    }

    /// The command that a channel sends for this step when nothing else selects for it.
    pub fn to_apdu(&self) -> CommandApdu {
        match self {
            // ISO/IEC 7816-4, 11.2.2: SELECT by DF name, first occurrence, FCI wanted.
            Self::Select { aid, .. } => {
                CommandApdu::new(0x00, 0xA4, 0x04, 0x00).with_data(aid.as_bytes()).with_any_response()
            }
            Self::Transmit { apdu, .. } => apdu.clone(),
        }
    }
}
