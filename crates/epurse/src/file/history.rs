//! EF1E: the transit history, cyclic, thirty records of 48 bytes, free to read, written only with
//! a composite purchase or secure messaging.

use super::Industry;
use crate::{Amount, DateTime, LayoutError, bytes::Fields};

/// Byte 0 of a history record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HistoryType {
    /// 00: an empty record.
    Initial,
    /// 01: entry with electronic cash.
    CashEntry,
    /// 02: exit with electronic cash.
    CashExit,
    /// 03: entry with the purse.
    Entry,
    /// 04: exit with the purse.
    Exit,
    /// 05: single trip with electronic cash.
    CashSingle,
    /// 06: single trip with the purse.
    Single,
    /// 07: fare adjustment with electronic cash.
    CashAdjustment,
    /// 08: fare adjustment with the purse.
    Adjustment,
    /// 09: load of electronic cash.
    CashLoad,
    /// 0A: load of the purse.
    Load,
    /// Any other value.
    Other(u8),
}

impl From<u8> for HistoryType {
    fn from(value: u8) -> Self {
        match value {
            0x00 => Self::Initial,
            0x01 => Self::CashEntry,
            0x02 => Self::CashExit,
            0x03 => Self::Entry,
            0x04 => Self::Exit,
            0x05 => Self::CashSingle,
            0x06 => Self::Single,
            0x07 => Self::CashAdjustment,
            0x08 => Self::Adjustment,
            0x09 => Self::CashLoad,
            0x0A => Self::Load,
            other => Self::Other(other),
        }
    }
}

impl From<HistoryType> for u8 {
    fn from(value: HistoryType) -> Self {
        match value {
            HistoryType::Initial => 0x00,
            HistoryType::CashEntry => 0x01,
            HistoryType::CashExit => 0x02,
            HistoryType::Entry => 0x03,
            HistoryType::Exit => 0x04,
            HistoryType::CashSingle => 0x05,
            HistoryType::Single => 0x06,
            HistoryType::CashAdjustment => 0x07,
            HistoryType::Adjustment => 0x08,
            HistoryType::CashLoad => 0x09,
            HistoryType::Load => 0x0A,
            HistoryType::Other(other) => other,
        }
    }
}

/// One record of EF1E.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoryRecord {
    /// Byte 0: what happened.
    pub history_type: HistoryType,
    /// Bytes 1-8: the terminal, as 0000 and its six bytes.
    pub terminal: [u8; 8],
    /// Byte 9: the industry.
    pub industry: Industry,
    /// Bytes 10-11: the line.
    pub line: [u8; 2],
    /// Bytes 12-13: the station.
    pub station: [u8; 2],
    /// Bytes 14-15: the operator.
    pub operator: [u8; 2],
    /// Byte 16: reserved.
    pub reserved: u8,
    /// Bytes 17-20: the amount.
    pub amount: Amount,
    /// Bytes 21-24: the balance after it.
    pub balance: Amount,
    /// Bytes 25-31: when.
    pub at: DateTime,
    /// Bytes 32-33: the acquirer's city.
    pub acquirer_city: [u8; 2],
    /// Bytes 34-41: the acquirer, 8 digits and FFFFFFFF.
    pub acquirer: [u8; 8],
    /// Bytes 42-47: zeros.
    pub filler: [u8; 6],
}

impl HistoryRecord {
    /// A record's length.
    pub const LENGTH: usize = 48;

    /// The record's content.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[0] = self.history_type.into();
        out[1..9].copy_from_slice(&self.terminal);
        out[9] = self.industry.into();
        out[10..12].copy_from_slice(&self.line);
        out[12..14].copy_from_slice(&self.station);
        out[14..16].copy_from_slice(&self.operator);
        out[16] = self.reserved;
        out[17..21].copy_from_slice(&self.amount.to_bytes());
        out[21..25].copy_from_slice(&self.balance.to_bytes());
        out[25..32].copy_from_slice(&self.at.to_bytes());
        out[32..34].copy_from_slice(&self.acquirer_city);
        out[34..42].copy_from_slice(&self.acquirer);
        out[42..].copy_from_slice(&self.filler);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a record of EF1E", bytes, Self::LENGTH)?;
        Ok(Self {
            history_type: fields.byte()?.into(),
            terminal: fields.array()?,
            industry: fields.byte()?.into(),
            line: fields.array()?,
            station: fields.array()?,
            operator: fields.array()?,
            reserved: fields.byte()?,
            amount: Amount::from_bytes(fields.array()?),
            balance: Amount::from_bytes(fields.array()?),
            at: DateTime::from_bytes(fields.array()?),
            acquirer_city: fields.array()?,
            acquirer: fields.array()?,
            filler: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the shape of a real T-Union record, with invented terminal and acquirer.
    #[test]
    fn fields_stand_where_cards_have_them() {
        let text = "0400000999000000420108001900300000000001F400001C8420241229141740\
                    990009990000FFFFFFFF000000000000";
        let record = HistoryRecord::decode(&hex::decode(text).unwrap()).unwrap();
        assert_eq!(record.history_type, HistoryType::Exit);
        assert_eq!(record.industry, Industry::Rail);
        assert_eq!((record.line, record.station, record.operator), ([8, 0], [0x19, 0], [0x30, 0]));
        assert_eq!(record.amount, Amount::from_fen(500));
        assert_eq!(record.balance, Amount::from_fen(7300));
        assert_eq!(record.acquirer_city, [0x99, 0]);
    }

    #[test]
    fn every_history_type_reads_back() {
        for value in 0..=u8::MAX {
            assert_eq!(u8::from(HistoryType::from(value)), value);
        }
    }
}
