//! INTERNAL AUTHENTICATE: 00 88.

use tsm_iso7816::CommandApdu;

use super::{data, expect, expect_parameters};
use crate::CommandError;

/// INTERNAL AUTHENTICATE: the card enciphers what the host sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InternalAuthenticate {
    /// The host's random.
    pub challenge: [u8; 8],
}

impl InternalAuthenticate {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x00, 0x88, 0x00, 0x00).with_data(self.challenge).with_ne(8)
    }
}

impl TryFrom<&CommandApdu> for InternalAuthenticate {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0x88)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        Ok(Self { challenge: data(apdu)? })
    }
}
