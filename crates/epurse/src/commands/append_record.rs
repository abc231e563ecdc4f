//! APPEND RECORD: 04 E2, with a MAC.

use tsm_iso7816::CommandApdu;

use super::expect;
use crate::{CommandError, Sfi};

/// APPEND RECORD: a new newest record of a cyclic file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppendRecord {
    /// The file.
    pub sfi: Sfi,
    /// The whole record.
    pub data: Vec<u8>,
}

impl AppendRecord {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x04, 0xE2, 0x00, self.sfi.value() << 3).with_data(self.data.clone())
    }
}

impl TryFrom<&CommandApdu> for AppendRecord {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x04, 0xE2)?;
        let bad = CommandError::Parameters(apdu.p1, apdu.p2);
        if apdu.p1 != 0x00 || apdu.p2 & 0x07 != 0 {
            return Err(bad);
        }
        let sfi = Sfi::new(apdu.p2 >> 3).ok_or(bad)?;
        if apdu.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { sfi, data: apdu.data.clone() })
    }
}
