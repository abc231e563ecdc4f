//! UPDATE CAPP DATA CACHE: 80 DC.

use tsm_iso7816::CommandApdu;

use super::expect;
use crate::{CommandError, Sfi, file::RecordId};

/// UPDATE CAPP DATA CACHE: a record that becomes effective with the debit, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpdateCappDataCache {
    /// P1: low byte of the record's id in a file of variable records, 00 for a cyclic file.
    pub record: u8,
    /// P2: the file.
    pub sfi: Sfi,
    /// The whole record.
    pub data: Vec<u8>,
}

impl UpdateCappDataCache {
    /// A transit record for EF1A.
    pub fn transit_record(id: RecordId, record: Vec<u8>) -> Self {
        Self { record: id.number(), sfi: Sfi::TRANSIT_RECORDS, data: record }
    }

    /// A history record for EF1E.
    pub fn history(record: Vec<u8>) -> Self {
        Self { record: 0, sfi: Sfi::TRANSIT_HISTORY, data: record }
    }

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        CommandApdu::new(0x80, 0xDC, self.record, self.sfi.value() << 3).with_data(self.data.clone())
    }
}

impl TryFrom<&CommandApdu> for UpdateCappDataCache {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0xDC)?;
        let bad = CommandError::Parameters(apdu.p1, apdu.p2);
        if apdu.p2 & 0x07 != 0 {
            return Err(bad);
        }
        let sfi = Sfi::new(apdu.p2 >> 3).ok_or(bad)?;
        if apdu.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { record: apdu.p1, sfi, data: apdu.data.clone() })
    }
}
