//! What the secure channel protocols share: the class byte and length field that MACs cover, and the
//! errors of wrapping and unwrapping (GPC 2.3.1, 11.1.4 and 11.1.5).

use tsm_iso7816::{ChannelError, StatusWord, apdu::EXTENDED_MAX, channel::Class, channel::LogicalChannel};

use crate::{commands::CommandError, security_level::SecurityLevel};

/// Why a host cannot wrap a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The class byte is reserved.
    #[error("the class byte cannot be secured")]
    Class(#[from] ChannelError),
    /// No APDU carries that much data.
    #[error("{0} bytes of protected data do not fit into an APDU")]
    TooLong(usize),
    /// An answer failed its check before: the session is over.
    #[error("the session is over since an answer failed its check")]
    Closed,
}

/// Why a host does not believe an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// No command is waiting for an answer.
    #[error("no command of this session is waiting for an answer")]
    NothingOutstanding,
    /// The answer has no MAC where it needs one.
    #[error("the answer {0} carries no MAC")]
    MissingMac(StatusWord),
    /// The MAC is wrong: the answer was changed, or is one to another command.
    #[error("the MAC of the answer {0} is wrong")]
    Mac(StatusWord),
    /// The decrypted data is not padded as it should be.
    #[error("the encrypted answer {0} is not whole")]
    Padding(StatusWord),
    /// An error answer carries data, which nothing protects.
    #[error("the error answer {0} carries data that nothing protects")]
    DataOnError(StatusWord),
    /// An answer failed its check before: the session is over.
    #[error("the session is over since an answer failed its check")]
    Closed,
}

/// Why a card refuses EXTERNAL AUTHENTICATE, in either protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The command is malformed.
    #[error("EXTERNAL AUTHENTICATE is malformed")]
    Command(#[from] CommandError),
    /// The class does not indicate secure messaging.
    #[error("EXTERNAL AUTHENTICATE is not secured")]
    NotSecured,
    /// The implementation option has no such level.
    #[error("the security level {0} is not available")]
    Level(SecurityLevel),
    /// The host cryptogram is wrong.
    #[error("the host cryptogram is wrong")]
    HostCryptogram,
    /// The C-MAC is wrong.
    #[error("the C-MAC of EXTERNAL AUTHENTICATE is wrong")]
    Mac,
}

impl AuthenticationError {
    /// The status word a card answers.
    // GPC 2.3.1 E.5.2.5, Amendment D 7.1.2.5.
    pub const fn status_word(&self) -> StatusWord {
        match self {
            Self::Command(error) => error.status_word(),
            Self::NotSecured | Self::Mac => StatusWord::SECURITY_STATUS_NOT_SATISFIED,
            Self::Level(_) => StatusWord::INCORRECT_P1_P2,
            Self::HostCryptogram => StatusWord::AUTHENTICATION_FAILED,
        }
    }
}

/// Why a card refuses a command of its session. The session is over with any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The class does not indicate secure messaging where the level demands it.
    #[error("the command is not secured")]
    NotSecured,
    /// MAC or encryption is wrong; which of the two is not told, so that nobody learns from it.
    #[error("the secure messaging of the command is incorrect")]
    Incorrect,
    /// The session ended before.
    #[error("the session is over")]
    Closed,
}

impl UnwrapError {
    /// The status word a card answers.
    // GPC 2.3.1 11.1.3 defines 6982; hosts expect it after a wrong MAC too.
    pub const fn status_word(self) -> StatusWord {
        match self {
            Self::NotSecured | Self::Incorrect | Self::Closed => StatusWord::SECURITY_STATUS_NOT_SATISFIED,
        }
    }
}

/// The class bytes of a secured command: as it is sent, and as the MAC covers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecuredClass {
    pub(crate) sent: u8,
    pub(crate) covered: u8,
}

impl SecuredClass {
    // GPC 2.3.1 11.1.4: the MAC is computed as on the basic channel, whatever the channel is.
    pub(crate) fn new(cla: u8) -> Result<Self, ChannelError> {
        let class = Class { secured: true, ..Class::parse(cla)? };
        let sent = class.to_byte();
        // Secured and chaining on channel 19 would be FF, which is no class.
        Class::parse(sent)?;
        Ok(Self { sent, covered: on_basic_channel(class) })
    }
}

const fn on_basic_channel(class: Class) -> u8 {
    let proprietary = if class.proprietary { 0x80 } else { 0 };
    let chaining = if class.chaining { 0x10 } else { 0 };
    let secured = if class.secured { 0x04 } else { 0 };
    proprietary | chaining | secured
}

/// The class without secure messaging, on the same channel.
pub(crate) fn unsecured(cla: u8) -> Result<u8, ChannelError> {
    Ok(Class { secured: false, ..Class::parse(cla)? }.to_byte())
}

/// The class without secure messaging and channel, as an R-MAC of SCP02 covers it.
pub(crate) fn stripped(cla: u8) -> Result<u8, ChannelError> {
    let class = Class { secured: false, channel: LogicalChannel::BASIC, ..Class::parse(cla)? };
    Ok(class.to_byte())
}

/// Whether a class indicates secure messaging.
pub(crate) fn is_secured(cla: u8) -> bool {
    Class::parse(cla).is_ok_and(|class| class.secured)
}

/// Lc as a MAC covers it: one byte, or the three bytes of the extended form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LengthField {
    bytes: [u8; 3],
    start: usize,
}

impl LengthField {
    pub(crate) const fn short(length: usize) -> Self {
        Self { bytes: [0, 0, length as u8], start: 2 }
    }

    pub(crate) const fn extended(length: usize) -> Self {
        let [high, low] = (length as u16).to_be_bytes();
        Self { bytes: [0, high, low], start: 0 }
    }

    /// Extended where the APDU that carries `sent` data bytes and expects `ne` needs it.
    pub(crate) fn of_command(covered: usize, sent: usize, ne: Option<u32>) -> Self {
        if sent > 255 || ne.is_some_and(|ne| ne > 256) {
            Self::extended(covered)
        } else {
            Self::short(covered)
        }
    }

    /// One byte where that says it, three otherwise.
    pub(crate) const fn shortest(length: usize) -> Self {
        if length > 255 { Self::extended(length) } else { Self::short(length) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// Refuses protected data that no APDU carries.
pub(crate) const fn check_length(length: usize) -> Result<(), WrapError> {
    if length > EXTENDED_MAX { Err(WrapError::TooLong(length)) } else { Ok(()) }
}

/// N_e with room for a MAC and padding: where an answer is expected at all, as much as its form holds.
pub(crate) const fn widened(ne: Option<u32>) -> Option<u32> {
    match ne {
        None => None,
        Some(0..=256) => Some(256),
        Some(_) => Some(65_536),
    }
}

/// Whether an answer with this status word is one that response protection covers.
// Amendment D 6.2.5: error status words are answered alone, without R-MAC.
pub(crate) const fn is_protected(status: StatusWord) -> bool {
    status.is_success() || status.is_warning()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_on_all_channels_are_covered_as_on_the_basic_one() {
        let cases = [
            (0x80, 0x84, 0x84),
            (0x83, 0x87, 0x84),
            (0x84, 0x84, 0x84),
            (0xC0, 0xE0, 0x84),
            (0xCF, 0xEF, 0x84),
            (0xEF, 0xEF, 0x84),
            (0x00, 0x04, 0x04),
            (0x90, 0x94, 0x94),
        ];
        for (cla, sent, covered) in cases {
            let class = SecuredClass::new(cla).unwrap();
            assert_eq!((class.sent, class.covered), (sent, covered), "{cla:02X}");
        }
        assert!(SecuredClass::new(0xA0).is_err() && SecuredClass::new(0xDF).is_err());
        assert_eq!(stripped(0xE5), Ok(0x80));
        assert_eq!(unsecured(0xE5), Ok(0xC5));
    }
}
