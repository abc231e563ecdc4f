//! VERIFY: 00 20.

use tsm_iso7816::CommandApdu;

use super::{Pin, expect, expect_parameters};
use crate::CommandError;

/// VERIFY (PIN). A wrong PIN answers 63Cx, a blocked one 6983.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyPin {
    /// The PIN.
    pub pin: Pin,
}

impl VerifyPin {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x00, 0x20, 0x00, 0x00).with_data(self.pin.expose())
    }
}

impl TryFrom<&CommandApdu> for VerifyPin {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0x20)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        let pin = Pin::new(&apdu.data).map_err(|length| CommandError::Length { found: length.0 })?;
        Ok(Self { pin })
    }
}
