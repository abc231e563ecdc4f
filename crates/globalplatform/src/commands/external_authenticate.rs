//! EXTERNAL AUTHENTICATE (GPC 2.3.1, E.5.2; amendment D, 7.1.2).

use tsm_iso7816::CommandApdu;

use super::{CommandError, expect_instruction, parameters_error};
use crate::security_level::SecurityLevel;

/// EXTERNAL AUTHENTICATE: proves the host and sets the security level of the session.
///
/// The command always carries a MAC, so its class is the secured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAuthenticate {
    /// The level that protects all that follows.
    pub level: SecurityLevel,
    /// The host cryptogram: 8 bytes, or 16 in the S16 mode of SCP03.
    pub host_cryptogram: Vec<u8>,
    /// The C-MAC: 8 bytes, or 16 in the S16 mode of SCP03.
    pub mac: Vec<u8>,
}

impl ExternalAuthenticate {
    /// The instruction byte.
    pub const INS: u8 = 0x82;
    /// The class byte on the basic channel.
    pub const CLA: u8 = 0x84;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.host_cryptogram.clone();
        data.extend(&self.mac);
        CommandApdu::new(Self::CLA, Self::INS, self.level.value(), 0).with_data(data)
    }
}

impl TryFrom<&CommandApdu> for ExternalAuthenticate {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        if command.p2 != 0 {
            return Err(parameters_error(command));
        }
        let level = SecurityLevel::new(command.p1)?;
        if !matches!(command.data.len(), 16 | 32) {
            return Err(CommandError::Length { found: command.data.len() });
        }
        let (host_cryptogram, mac) = command.data.split_at(command.data.len() / 2);
        Ok(Self { level, host_cryptogram: host_cryptogram.to_vec(), mac: mac.to_vec() })
    }
}
