//! GET CHALLENGE: 00 84.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters};
use crate::CommandError;

/// GET CHALLENGE: how many random bytes the next command with a MAC starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GetChallenge {
    /// Four, which secure messaging uses.
    Four,
    /// Eight; secure messaging uses the first four.
    Eight,
}

impl GetChallenge {
    /// How many bytes the card answers.
    pub const fn length(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x00, 0x84, 0x00, 0x00).with_ne(self.length() as u32)
    }
}

impl TryFrom<&CommandApdu> for GetChallenge {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0x84)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        data::<0>(apdu)?;
        match apdu.ne {
            Some(4) => Ok(Self::Four),
            // Within a secure channel the host asks for whatever comes, because the answer carries a MAC.
            Some(8 | 256) => Ok(Self::Eight),
            _ => Err(CommandError::Length { found: 0 }),
        }
    }
}
