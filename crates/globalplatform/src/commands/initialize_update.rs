//! INITIALIZE UPDATE (GPC 2.3.1, E.5.1; amendment D, 7.1.1).

use tsm_iso7816::CommandApdu;

use super::{CLA, CommandError, expect_instruction};

/// INITIALIZE UPDATE: begins a secure channel session with a host challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeUpdate {
    /// The key version to use; 00 asks for the default keys.
    pub key_version: u8,
    /// The key identifier, 00 in SCP02 and SCP03.
    pub key_identifier: u8,
    /// The host challenge: 8 bytes, or 16 in the S16 mode of SCP03.
    pub host_challenge: Vec<u8>,
}

impl InitializeUpdate {
    /// The instruction byte.
    pub const INS: u8 = 0x50;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(CLA, Self::INS, self.key_version, self.key_identifier)
            .with_data(self.host_challenge.clone())
            .with_any_response()
    }
}

impl TryFrom<&CommandApdu> for InitializeUpdate {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        if !matches!(command.data.len(), 8 | 16) {
            return Err(CommandError::Length { found: command.data.len() });
        }
        Ok(Self { key_version: command.p1, key_identifier: command.p2, host_challenge: command.data.clone() })
    }
}
