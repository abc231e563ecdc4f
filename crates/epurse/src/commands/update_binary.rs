//! UPDATE BINARY by short file identifier: 04 D6, with a MAC.

use tsm_iso7816::CommandApdu;

use super::{expect, read_binary::sfi};
use crate::{CommandError, Sfi};

/// UPDATE BINARY.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdateBinary {
    /// The file.
    pub sfi: Sfi,
    /// Where to begin.
    pub offset: u8,
    /// What to write.
    pub data: Vec<u8>,
}

impl UpdateBinary {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x04, 0xD6, 0x80 | self.sfi.value(), self.offset).with_data(self.data.clone())
    }
}

impl TryFrom<&CommandApdu> for UpdateBinary {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x04, 0xD6)?;
        let sfi = sfi(apdu)?;
        if apdu.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { sfi, offset: apdu.p2, data: apdu.data.clone() })
    }
}
