//! Value blocks (MF1S50 8.6.2.1): a signed number three times, its address four times.

use super::BLOCK_LENGTH;
use crate::{LayoutError, bytes::Fields};

/// A value block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueBlock {
    /// The value.
    pub value: i32,
    /// The address byte, free for backups.
    pub address: u8,
}

impl ValueBlock {
    /// The value, its complement, the value, and the address with its complements.
    pub fn encode(self) -> [u8; BLOCK_LENGTH] {
        let mut out = [0; BLOCK_LENGTH];
        out[..4].copy_from_slice(&self.value.to_le_bytes());
        out[4..8].copy_from_slice(&(!self.value).to_le_bytes());
        out[8..12].copy_from_slice(&self.value.to_le_bytes());
        out[12..].copy_from_slice(&[self.address, !self.address, self.address, !self.address]);
        out
    }

    /// Reads a value block; a block whose copies disagree is not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a value block", bytes, BLOCK_LENGTH)?;
        let value = i32::from_le_bytes(fields.array()?);
        let _copies: [u8; 8] = fields.array()?;
        let block = Self { value, address: fields.byte()? };
        if block.encode() != bytes {
            return Err(LayoutError::Checksum { what: "a value block" });
        }
        Ok(block)
    }

    /// The block with `amount` added; `None` when the number cannot hold it.
    #[must_use]
    pub const fn incremented(self, amount: u32) -> Option<Self> {
        match self.value.checked_add_unsigned(amount) {
            Some(value) => Some(Self { value, ..self }),
            None => None,
        }
    }

    /// The block with `amount` taken off; `None` when the number cannot hold it.
    #[must_use]
    pub const fn decremented(self, amount: u32) -> Option<Self> {
        match self.value.checked_sub_unsigned(amount) {
            Some(value) => Some(Self { value, ..self }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Source: MF1S50 data sheet, figure 7 (value 1234567, address 17).
    #[test]
    fn the_data_sheets_example() {
        let block = ValueBlock { value: 1_234_567, address: 17 };
        assert_eq!(hex::encode_upper(block.encode()), "87D612007829EDFF87D6120011EE11EE");
    }

    proptest! {
        #[test]
        fn values_read_back_and_damage_is_noticed(value in any::<i32>(), address in any::<u8>(), bit in 0usize..128) {
            let block = ValueBlock { value, address };
            let mut bytes = block.encode();
            prop_assert_eq!(ValueBlock::decode(&bytes), Ok(block));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(ValueBlock::decode(&bytes).is_err());
        }

        #[test]
        fn arithmetic_is_exact(value in any::<i32>(), amount in any::<u32>()) {
            let block = ValueBlock { value, address: 0 };
            if let Some(more) = block.incremented(amount) {
                prop_assert_eq!(more.decremented(amount), Some(block));
                prop_assert_eq!(i64::from(more.value), i64::from(value) + i64::from(amount));
            }
        }
    }
}
