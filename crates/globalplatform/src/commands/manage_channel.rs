//! MANAGE CHANNEL (GPC 2.3.1, 11.7; ISO/IEC 7816-4, 11.1.2).

use tsm_iso7816::{CommandApdu, LogicalChannel};

use super::{CLA_INTERINDUSTRY, CommandError, expect_instruction, parameters_error};

/// MANAGE CHANNEL: opens or closes a supplementary logical channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManageChannel {
    /// Opens the next free channel; the card answers its number.
    OpenAny,
    /// Opens a channel by its number.
    Open(LogicalChannel),
    /// Closes a channel.
    Close(LogicalChannel),
}

impl ManageChannel {
    /// The instruction byte.
    pub const INS: u8 = 0x70;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let command = |p1, p2| CommandApdu::new(CLA_INTERINDUSTRY, Self::INS, p1, p2);
        match self {
            Self::OpenAny => command(0x00, 0x00).with_ne(1),
            Self::Open(channel) => command(0x00, channel.number()),
            Self::Close(channel) => command(0x80, channel.number()),
        }
    }
}

impl TryFrom<&CommandApdu> for ManageChannel {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        if !command.data.is_empty() {
            return Err(CommandError::Length { found: command.data.len() });
        }
        let channel = LogicalChannel::new(command.p2).map_err(|_| parameters_error(command))?;
        match (command.p1, command.p2) {
            (0x00, 0x00) => Ok(Self::OpenAny),
            (0x00, _) => Ok(Self::Open(channel)),
            (0x80, 1..) => Ok(Self::Close(channel)),
            _ => Err(parameters_error(command)),
        }
    }
}
