//! EXTERNAL AUTHENTICATE of the purse: 00 82.

use tsm_iso7816::CommandApdu;

use super::{data, expect};
use crate::{CommandError, KeyIndex};

/// EXTERNAL AUTHENTICATE: the host enciphers the card's challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExternalAuthenticate {
    /// Which key; 00 is the application master key.
    pub key_index: KeyIndex,
    /// The enciphered challenge.
    pub cryptogram: [u8; 8],
}

impl ExternalAuthenticate {
    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x00, 0x82, 0x00, self.key_index.0).with_data(self.cryptogram)
    }
}

impl TryFrom<&CommandApdu> for ExternalAuthenticate {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0x82)?;
        if apdu.p1 != 0x00 {
            return Err(CommandError::Parameters(apdu.p1, apdu.p2));
        }
        Ok(Self { key_index: KeyIndex(apdu.p2), cryptogram: data(apdu)? })
    }
}
