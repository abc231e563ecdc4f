//! UPDATE RECORD: 04 DC, with a MAC.

use tsm_iso7816::CommandApdu;

use super::{RecordReference, expect};
use crate::{CommandError, Sfi};

/// UPDATE RECORD.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdateRecord {
    /// The file.
    pub sfi: Sfi,
    /// The record.
    pub record: RecordReference,
    /// The whole record.
    pub data: Vec<u8>,
}

impl UpdateRecord {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        let (p1, p2) = self.record.parameters(self.sfi);
        CommandApdu::new(0x04, 0xDC, p1, p2).with_data(self.data.clone())
    }
}

impl TryFrom<&CommandApdu> for UpdateRecord {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x04, 0xDC)?;
        let (sfi, record) = RecordReference::parse(apdu)?;
        if apdu.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { sfi, record, data: apdu.data.clone() })
    }
}
