//! CARD BLOCK: 84 16, always with a MAC.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters};
use crate::CommandError;

/// CARD BLOCK: the application is gone for good (6A81 on SELECT, D-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardBlock;

impl CardBlock {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x84, 0x16, 0x00, 0x00)
    }
}

impl TryFrom<&CommandApdu> for CardBlock {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x84, 0x16)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        data::<0>(apdu)?;
        Ok(Self)
    }
}
