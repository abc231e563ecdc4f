//! APPLICATION UNBLOCK: 84 18, always with a MAC.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters};
use crate::CommandError;

/// APPLICATION UNBLOCK: ends a temporary block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApplicationUnblock;

impl ApplicationUnblock {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x84, 0x18, 0x00, 0x00)
    }
}

impl TryFrom<&CommandApdu> for ApplicationUnblock {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x84, 0x18)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        data::<0>(apdu)?;
        Ok(Self)
    }
}
