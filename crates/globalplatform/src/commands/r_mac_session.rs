//! BEGIN R-MAC SESSION and END R-MAC SESSION (GPC 2.3.1, E.5.3 and E.5.4; amendment D, 7.1.3 and 7.1.4).

use tsm_iso7816::CommandApdu;

use super::{CLA, CommandError, expect_instruction, fields::Fields, fields::write_value, parameters_error};
use crate::security_level::ResponseProtection;

/// BEGIN R-MAC SESSION: from its response on, responses are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginRMacSession {
    /// How responses are protected (P1): at least with a MAC.
    pub protection: ResponseProtection,
    /// Data that goes into the first R-MAC: at most 24 bytes, often none.
    pub data: Vec<u8>,
}

/// END R-MAC SESSION: responses are as EXTERNAL AUTHENTICATE said again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EndRMacSession {
    /// Whether the session ends or only its R-MAC is asked for.
    pub action: EndAction,
}

/// What END R-MAC SESSION does (P2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EndAction {
    /// 01: answers the current R-MAC and goes on.
    ReturnRMac,
    /// 03: answers the R-MAC and ends.
    #[default]
    End,
}

impl BeginRMacSession {
    /// The instruction byte.
    pub const INS: u8 = 0x7A;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = Vec::with_capacity(1 + self.data.len());
        if !self.data.is_empty() {
            write_value(&mut data, &self.data);
        }
        CommandApdu::new(CLA, Self::INS, self.protection.bits(), 0x01).with_data(data)
    }
}

impl TryFrom<&CommandApdu> for BeginRMacSession {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let protection = match (command.p1, command.p2) {
            (0x00, 0x01) => ResponseProtection::None,
            (0x10, 0x01) => ResponseProtection::Mac,
            (0x30, 0x01) => ResponseProtection::EncryptionAndMac,
            _ => return Err(parameters_error(command)),
        };
        let mut fields = Fields::new(&command.data);
        let data = fields.value_or_empty("data")?.to_vec();
        fields.end()?;
        if data.len() > 24 {
            return Err(CommandError::Length { found: data.len() });
        }
        Ok(Self { protection, data })
    }
}

impl EndRMacSession {
    /// The instruction byte.
    pub const INS: u8 = 0x78;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let p2 = match self.action {
            EndAction::ReturnRMac => 0x01,
            EndAction::End => 0x03,
        };
        CommandApdu::new(CLA, Self::INS, 0x00, p2).with_any_response()
    }
}

impl TryFrom<&CommandApdu> for EndRMacSession {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let action = match (command.p1, command.p2) {
            (0x00, 0x01) => EndAction::ReturnRMac,
            (0x00, 0x03) => EndAction::End,
            _ => return Err(parameters_error(command)),
        };
        if !command.data.is_empty() {
            return Err(CommandError::Length { found: command.data.len() });
        }
        Ok(Self { action })
    }
}
