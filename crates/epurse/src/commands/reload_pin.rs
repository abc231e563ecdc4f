//! RELOAD PIN: 80 5E 00.

use tsm_iso7816::CommandApdu;

use super::{Pin, expect, expect_parameters};
use crate::{CommandError, Mac};

/// RELOAD PIN: a new PIN without the old one, authorised by a MAC over the PIN alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadPin {
    /// The PIN from now on.
    pub new: Pin,
    /// MAC under the folded PIN key.
    pub mac: Mac,
}

impl ReloadPin {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let mut data = self.new.expose().to_vec();
        data.extend(self.mac.to_bytes());
        CommandApdu::new(0x80, 0x5E, 0x00, 0x00).with_data(data)
    }
}

impl TryFrom<&CommandApdu> for ReloadPin {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0x5E)?;
        expect_parameters(apdu, 0x00, 0x00)?;
        let length = CommandError::Length { found: apdu.data.len() };
        let (pin, mac) = apdu.data.split_last_chunk::<4>().ok_or(length)?;
        Ok(Self { new: Pin::new(pin).map_err(|_| length)?, mac: Mac::new(*mac) })
    }
}
