//! READ RECORD: 00 B2.

use tsm_iso7816::CommandApdu;

use super::{data, expect};
use crate::{CommandError, Sfi};

/// How a record is named: P1, and the low three bits of P2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordReference {
    /// P2 ends in 100: P1 is the record's number, 1 the newest of a cyclic file.
    Number(u8),
    /// P2 ends in 000: P1 is the low byte of the record's id.
    Id(u8),
}

impl RecordReference {
    pub(super) fn parameters(self, sfi: Sfi) -> (u8, u8) {
        match self {
            Self::Number(number) => (number, sfi.value() << 3 | 0x04),
            Self::Id(id) => (id, sfi.value() << 3),
        }
    }

    pub(super) fn parse(apdu: &CommandApdu) -> Result<(Sfi, Self), CommandError> {
        let bad = CommandError::Parameters(apdu.p1, apdu.p2);
        let sfi = Sfi::new(apdu.p2 >> 3).ok_or(bad)?;
        match apdu.p2 & 0x07 {
            0x04 => Ok((sfi, Self::Number(apdu.p1))),
            0x00 => Ok((sfi, Self::Id(apdu.p1))),
            _ => Err(bad),
        }
    }
}

/// READ RECORD. Past the last record a card answers 6A83.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReadRecord {
    /// The file.
    pub sfi: Sfi,
    /// The record.
    pub record: RecordReference,
    /// How many bytes; `None` for the whole record (Le = 00).
    pub length: Option<u8>,
}

impl ReadRecord {
    /// Record `number` of `sfi`, whole.
    pub const fn number(sfi: Sfi, number: u8) -> Self {
        Self { sfi, record: RecordReference::Number(number), length: None }
    }

    /// The command. A length of zero reads the whole record, as Le = 00 does.
    pub fn to_apdu(&self) -> CommandApdu {
        let (p1, p2) = self.record.parameters(self.sfi);
        let apdu = CommandApdu::new(0x00, 0xB2, p1, p2);
        match self.length {
            None | Some(0) => apdu.with_any_response(),
            Some(length) => apdu.with_ne(u32::from(length)),
        }
    }
}

impl TryFrom<&CommandApdu> for ReadRecord {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x00, 0xB2)?;
        let (sfi, record) = RecordReference::parse(apdu)?;
        data::<0>(apdu)?;
        Ok(Self { sfi, record, length: apdu.ne.and_then(|ne| u8::try_from(ne).ok()) })
    }
}
