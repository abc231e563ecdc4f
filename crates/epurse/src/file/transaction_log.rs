//! EF18: the transaction log, cyclic, ten records of 23 bytes, record 1 the newest.

use crate::{
    Amount, DateTime, LayoutError, OverdraftLimit, TerminalNumber, TransactionSequence, TransactionType,
    bytes::Fields,
};

/// One record of EF18.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogRecord {
    /// Bytes 0-1: the online or offline counter after the transaction (D-30).
    pub sequence: TransactionSequence,
    /// Bytes 2-4: the overdraft limit.
    pub overdraft_limit: OverdraftLimit,
    /// Bytes 5-8: the amount.
    pub amount: Amount,
    /// Byte 9: what happened.
    pub transaction_type: TransactionType,
    /// Bytes 10-15: the terminal.
    pub terminal: TerminalNumber,
    /// Bytes 16-22: when, by the terminal's or host's clock.
    pub at: DateTime,
}

impl LogRecord {
    /// A record's length.
    pub const LENGTH: usize = 23;

    /// The record's content.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..2].copy_from_slice(&self.sequence.to_bytes());
        out[2..5].copy_from_slice(&self.overdraft_limit.to_bytes());
        out[5..9].copy_from_slice(&self.amount.to_bytes());
        out[9] = self.transaction_type.into();
        out[10..16].copy_from_slice(&self.terminal.to_bytes());
        out[16..].copy_from_slice(&self.at.to_bytes());
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a record of EF18", bytes, Self::LENGTH)?;
        Ok(Self {
            sequence: TransactionSequence::from_bytes(fields.array()?),
            overdraft_limit: OverdraftLimit::from_bytes(fields.array()?),
            amount: Amount::from_bytes(fields.array()?),
            transaction_type: fields.byte()?.into(),
            terminal: fields.array()?.into(),
            at: DateTime::from_bytes(fields.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: `042D 000000 000001F4 09 .. 20241229141740`, the shape of a real card's record.
    #[test]
    fn fields_stand_where_cards_have_them() {
        let bytes = hex::decode("042D000000000001F40909990000004220241229141740").unwrap();
        let record = LogRecord::decode(&bytes).unwrap();
        assert_eq!(record.sequence.value(), 0x042D);
        assert_eq!(record.amount, Amount::from_fen(500));
        assert_eq!(record.transaction_type, TransactionType::CompositePurchase);
        assert_eq!(record.terminal.to_string(), "099900000042");
        assert_eq!(record.at.time.clock(), Some((14, 17, 40)));
    }
}
