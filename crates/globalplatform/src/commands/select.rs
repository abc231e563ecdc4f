//! SELECT by name (GPC 2.3.1, 11.9; ISO/IEC 7816-4, 11.2.2).

use tsm_iso7816::{Aid, CommandApdu};

use super::{CLA_INTERINDUSTRY, CommandError, expect_instruction, parameters_error};

/// SELECT: chooses the application of a logical channel by its AID or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    /// The AID or its beginning; empty selects the issuer security domain (or the default).
    pub name: Vec<u8>,
    /// Which of the applications whose AID begins so.
    pub occurrence: Occurrence,
}

/// Which of several applications with the same beginning is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Occurrence {
    /// P2 00.
    #[default]
    FirstOrOnly,
    /// P2 02.
    Next,
}

impl Select {
    /// The instruction byte.
    pub const INS: u8 = 0xA4;

    /// Selects the application `aid`.
    pub fn by_aid(aid: &Aid) -> Self {
        Self { name: aid.as_bytes().to_vec(), occurrence: Occurrence::FirstOrOnly }
    }

    /// Selects the issuer security domain without naming it.
    pub const fn issuer_security_domain() -> Self {
        Self { name: Vec::new(), occurrence: Occurrence::FirstOrOnly }
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let p2 = match self.occurrence {
            Occurrence::FirstOrOnly => 0x00,
            Occurrence::Next => 0x02,
        };
        CommandApdu::new(CLA_INTERINDUSTRY, Self::INS, 0x04, p2)
            .with_data(self.name.clone())
            .with_any_response()
    }
}

impl TryFrom<&CommandApdu> for Select {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        // P2 bits 3 and 4 ask for an FCI, an FCP, an FMD or nothing; all are answered with the FCI.
        let occurrence = match (command.p1, command.p2 & 0xF3) {
            (0x04, 0x00) => Occurrence::FirstOrOnly,
            (0x04, 0x02) => Occurrence::Next,
            _ => return Err(parameters_error(command)),
        };
        if command.data.len() > 16 {
            return Err(CommandError::Length { found: command.data.len() });
        }
        Ok(Self { name: command.data.clone(), occurrence })
    }
}
