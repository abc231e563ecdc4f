//! Record 13 of EF1A, 270D: what discounts depend on, for all industries.
//!
//! The published sources give the record's number, name and length of 30 bytes. The use of its fifteen bytes
//! behind the head is ours; the transfer has the form that Shanghai's gates write into the rail record.

use super::transit_record::{RecordHead, RecordId};
use crate::{LayoutError, bytes::Fields};

/// The record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiscountRecord {
    /// Bytes 0-14.
    pub head: RecordHead,
    /// Bytes 15-16: year and month, YYMM in packed decimal.
    pub month: [u8; 2],
    /// Bytes 17-19: what was spent in that month, in fen.
    pub month_spent: [u8; 3],
    /// Bytes 20-21: rides in that month.
    pub rides: u16,
    /// Byte 22: the day of the last ride in that month, in packed decimal.
    pub day: u8,
    /// Bytes 23-24: what was spent on that day, in fen.
    pub day_spent: u16,
    /// Byte 25: industry of the last ride; the highest bit when that ride was cheaper for a transfer.
    pub last_industry: u8,
    /// Bytes 26-29: when the last ride was paid, MMDDhhmm in packed decimal.
    pub last_at: [u8; 4],
}

impl DiscountRecord {
    /// The record's length.
    pub const LENGTH: usize = 30;
    /// The bit of byte 25 that says that the last ride was cheaper for a transfer.
    pub const BY_TRANSFER: u8 = 0x80;

    /// A record as it stands on a new card.
    pub const fn empty() -> Self {
        Self {
            head: RecordHead::empty(RecordId::DISCOUNT),
            month: [0; 2],
            month_spent: [0; 3],
            rides: 0,
            day: 0,
            day_spent: 0,
            last_industry: 0,
            last_at: [0; 4],
        }
    }

    /// The record's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LENGTH);
        self.head.encode(&mut out);
        out.extend(self.month);
        out.extend(self.month_spent);
        out.extend(self.rides.to_be_bytes());
        out.push(self.day);
        out.extend(self.day_spent.to_be_bytes());
        out.push(self.last_industry);
        out.extend(self.last_at);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a discount record", bytes, Self::LENGTH)?;
        Ok(Self {
            head: RecordHead::decode(&mut fields, bytes.len())?,
            month: fields.array()?,
            month_spent: fields.array()?,
            rides: fields.u16()?,
            day: fields.byte()?,
            day_spent: fields.u16()?,
            last_industry: fields.byte()?,
            last_at: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_record_has_its_id_and_length() {
        let bytes = DiscountRecord::empty().encode();
        assert_eq!((bytes.len(), &bytes[..3]), (30, &[0x27, 0x0D, 0x1B][..]));
        assert!(DiscountRecord::decode(&bytes[..29]).is_err());
    }

    proptest! {
        #[test]
        fn records_are_lossless(filling in prop::collection::vec(any::<u8>(), 27)) {
            let bytes = [&[0x27, 0x0D, 0x1B][..], &filling].concat();
            prop_assert_eq!(DiscountRecord::decode(&bytes).unwrap().encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = DiscountRecord::decode(bytes);
        });
    }
}
