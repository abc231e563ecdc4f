//! PIN UNBLOCK: 84 24, always with a MAC.

use tsm_iso7816::CommandApdu;

use super::{expect, expect_parameters};
use crate::CommandError;

/// PIN UNBLOCK: the PIN itself travels enciphered and the whole command carries a MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnblockPin {
    /// The PIN under the PIN key, see `encipher` of the secure-messaging modules.
    pub enciphered_pin: Vec<u8>,
}

impl UnblockPin {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x84, 0x24, 0x00, 0x01).with_data(self.enciphered_pin.clone())
    }
}

impl TryFrom<&CommandApdu> for UnblockPin {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x84, 0x24)?;
        expect_parameters(apdu, 0x00, 0x01)?;
        if apdu.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { enciphered_pin: apdu.data.clone() })
    }
}
