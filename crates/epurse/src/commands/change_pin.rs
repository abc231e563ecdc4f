//! CHANGE PIN: 80 5E 01.

use tsm_iso7816::CommandApdu;

use super::{Pin, expect, expect_parameters};
use crate::CommandError;

/// CHANGE PIN: the old PIN, FF, the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePin {
    /// The PIN until now.
    pub old: Pin,
    /// The PIN from now on.
    pub new: Pin,
}

impl ChangePin {
    /// The command. PINs are packed decimal, so FF stands in neither.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.old.expose().to_vec();
        data.push(0xFF);
        data.extend(self.new.expose());
        CommandApdu::new(0x80, 0x5E, 0x01, 0x00).with_data(data)
    }
}

impl TryFrom<&CommandApdu> for ChangePin {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x5E)?;
        expect_parameters(apdu, 0x01, 0x00)?;
        let divider = apdu.data.iter().position(|byte| *byte == 0xFF).ok_or(CommandError::Data)?;
        let pin = |bytes| Pin::new(bytes).map_err(|_| CommandError::Length { found: apdu.data.len() });
        Ok(Self { old: pin(&apdu.data[..divider])?, new: pin(&apdu.data[divider + 1..])? })
    }
}
