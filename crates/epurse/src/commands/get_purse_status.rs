//! GET DATA D001: the purse's amounts, counters and record counts in one answer.
//!
//! JT/T 978 has no command that tells a blocked purse's counters, and no read says how many records there
//! are. Without them nobody could prove that what was read of a card is all of it. This object is the
//! issuer's own: a purse answers it only within a secure channel of its security domain, so that a gate or
//! a phone never sees it.

use tsm_iso7816::CommandApdu;

use super::expect;
use crate::file::{HISTORY_RECORDS, LOG_RECORDS, RecordId, TRANSIT_RECORDS};
use crate::personalization::{PersonalizationError, PurseGrouping, PurseStart};
use crate::{CommandError, LayoutError, bytes::Fields};

/// GET DATA D001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetPurseStatus;

impl GetPurseStatus {
    /// The command.
    pub fn to_apdu(self) -> CommandApdu {
        CommandApdu::new(0x80, 0xCA, 0xD0, 0x01).with_any_response()
    }
}

impl TryFrom<&CommandApdu> for GetPurseStatus {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x80, 0xCA)?;
        if (apdu.p1, apdu.p2) != (0xD0, 0x01) {
            return Err(CommandError::Parameters(apdu.p1, apdu.p2));
        }
        if !apdu.data.is_empty() {
            return Err(CommandError::Length { found: apdu.data.len() });
        }
        Ok(Self)
    }
}

/// Whether the purse can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PurseAvailability {
    /// 00: it can.
    Open,
    /// 01: APPLICATION BLOCK stopped it, and APPLICATION UNBLOCK would let it go on.
    Blocked,
}

/// What the purse says.
///
/// | bytes | content |
/// | --- | --- |
/// | 16 | as DGI D001 |
/// | 1 | availability |
/// | 1, 1 | records in EF18 and in EF1E |
/// | 3 | a bit for each record of EF1A that is not empty, record 1 the lowest bit of the last byte |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurseStatus {
    /// Amounts, counters, key version and cipher.
    pub start: PurseStart,
    /// Whether it can be used.
    pub availability: PurseAvailability,
    /// Records in EF18.
    pub log: u8,
    /// Records in EF1E.
    pub history: u8,
    transit: u32,
}

impl PurseStatus {
    /// The answer's length.
    pub const LENGTH: usize = PurseStart::LENGTH + 6;

    /// What a purse with these records says; `written` are the records of EF1A that are not empty.
    pub fn new(
        start: PurseStart,
        availability: PurseAvailability,
        log: u8,
        history: u8,
        written: impl IntoIterator<Item = RecordId>,
    ) -> Self {
        let transit = written.into_iter().fold(0, |bits, record| bits | bit(record));
        Self { start, availability, log, history, transit }
    }

    /// Whether a record of EF1A is not empty.
    pub const fn has_transit_record(&self, record: RecordId) -> bool {
        self.transit & bit(record) != 0
    }

    /// As the card answers it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = PurseGrouping::Start(self.start).encode().data;
        out.push(match self.availability {
            PurseAvailability::Open => 0x00,
            PurseAvailability::Blocked => 0x01,
        });
        out.extend([self.log, self.history]);
        out.extend(&self.transit.to_be_bytes()[1..]);
        out
    }

    /// Reads the answer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        const WHAT: &str = "the answer to GET DATA D001";
        let mut fields = Fields::exact(WHAT, bytes, Self::LENGTH)?;
        let wrong = LayoutError::Count { what: WHAT };
        let start = PurseStart::decode(fields.slice(PurseStart::LENGTH)?);
        let start = start.map_err(|error| match error {
            PersonalizationError::Layout { source, .. } => source,
            _ => wrong,
        })?;
        let availability = match fields.byte()? {
            0x00 => PurseAvailability::Open,
            0x01 => PurseAvailability::Blocked,
            _ => return Err(wrong),
        };
        let (log, history) = (fields.byte()?, fields.byte()?);
        let [high, middle, low] = fields.array()?;
        let transit = u32::from_be_bytes([0, high, middle, low]);
        let counted = usize::from(log) <= LOG_RECORDS && usize::from(history) <= HISTORY_RECORDS;
        if !counted || transit >> TRANSIT_RECORDS != 0 {
            return Err(wrong);
        }
        Ok(Self { start, availability, log, history, transit })
    }
}

const fn bit(record: RecordId) -> u32 {
    1 << (record.number() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    #[test]
    fn the_answer_round_trips() {
        let written = [RecordId::RAIL, RecordId::new(18).unwrap()];
        let start = PurseStart::empty(Algorithm::Sm4);
        let status = PurseStatus::new(start, PurseAvailability::Blocked, 10, 30, written);
        let bytes = status.encode();
        assert_eq!(bytes.len(), PurseStatus::LENGTH);
        assert_eq!(bytes[PurseStart::LENGTH..], [0x01, 10, 30, 0x02, 0x00, 0x01]);
        assert_eq!(PurseStatus::decode(&bytes), Ok(status));
        assert!(status.has_transit_record(RecordId::RAIL));
        assert!(!status.has_transit_record(RecordId::BUS));
        for (at, value) in [(16, 2), (17, 11), (18, 31), (19, 4)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert!(PurseStatus::decode(&wrong).is_err(), "byte {at}");
        }
    }

    #[test]
    fn any_answer_is_read_or_refused() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(status) = PurseStatus::decode(bytes) {
                assert_eq!(status.encode(), bytes);
            }
        });
    }
}
