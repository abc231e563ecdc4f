//! Access conditions (MF1S50 8.7): three bits for each of a sector's four groups, stored with their
//! complements.

use crate::LayoutError;

/// Which key a command was authenticated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUsed {
    /// Key A, command byte 60.
    A,
    /// Key B, command byte 61.
    B,
}

/// What a command does to a data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Increment a value.
    Increment,
    /// Decrement, restore or transfer a value.
    Decrement,
}

/// Bits C1 C2 C3 of one group, as the number 0 to 7 that they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition(u8);

impl Condition {
    /// The condition C1 C2 C3; only the low three bits count.
    pub const fn new(bits: u8) -> Self {
        Self(bits & 0x07)
    }

    /// The bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// MF1S50 table 8: whether `key` may do `operation` on a data block.
    pub const fn allows(self, operation: Operation, key: KeyUsed) -> bool {
        let b = matches!(key, KeyUsed::B);
        match (self.0, operation) {
            (0b000, _) => true,
            (0b010 | 0b100 | 0b110 | 0b001, Operation::Read) => true,
            (0b110 | 0b001, Operation::Decrement) => true,
            (0b100 | 0b011, Operation::Write) => b,
            (0b110, Operation::Write | Operation::Increment) => b,
            (0b011 | 0b101, Operation::Read) => b,
            _ => false,
        }
    }

    /// MF1S50 table 7: whether key B can be read, and therefore opens nothing.
    pub const fn key_b_is_readable(self) -> bool {
        matches!(self.0, 0b000..=0b010)
    }

    /// MF1S50 table 7: whether `key` may write the keys of the trailer.
    pub const fn allows_keys_write(self, key: KeyUsed) -> bool {
        match self.0 {
            0b000 | 0b001 => matches!(key, KeyUsed::A),
            0b100 | 0b011 => matches!(key, KeyUsed::B),
            _ => false,
        }
    }

    /// MF1S50 table 7: whether `key` may read the access bits of the trailer.
    pub const fn allows_access_bits_read(self, key: KeyUsed) -> bool {
        matches!(key, KeyUsed::A) || !self.key_b_is_readable()
    }

    /// MF1S50 table 7: whether `key` may write the access bits of the trailer.
    pub const fn allows_access_bits_write(self, key: KeyUsed) -> bool {
        match self.0 {
            0b001 => matches!(key, KeyUsed::A),
            0b011 | 0b101 => matches!(key, KeyUsed::B),
            _ => false,
        }
    }
}

/// The access bits of one sector: groups 0 to 2 for data, group 3 for the trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessBits(pub [Condition; 4]);

impl AccessBits {
    /// As chips leave the factory, FF0780: everything with key A.
    pub const TRANSPORT: Self = Self([Condition(0), Condition(0), Condition(0), Condition(1)]);

    /// The condition of an access group.
    pub const fn group(&self, group: u8) -> Condition {
        self.0[(group & 0x03) as usize]
    }

    /// Bytes 6 to 8 of the trailer.
    pub fn encode(self) -> [u8; 3] {
        let plane =
            |bit: u8| self.0.iter().rev().fold(0, |nibble, condition| nibble << 1 | (condition.0 >> bit & 1));
        let (c1, c2, c3) = (plane(2), plane(1), plane(0));
        let inverse = |nibble: u8| !nibble & 0x0F;
        [inverse(c2) << 4 | inverse(c1), c1 << 4 | inverse(c3), c3 << 4 | c2]
    }

    /// Reads bytes 6 to 8 of a trailer; refuses bits that do not match their complements, with which a
    /// chip would lock the sector for ever.
    pub fn decode(bytes: [u8; 3]) -> Result<Self, LayoutError> {
        let (c1, c2, c3) = (bytes[1] >> 4, bytes[2] & 0x0F, bytes[2] >> 4);
        let bit = |nibble: u8, group: u8| nibble >> group & 1;
        let conditions =
            [0, 1, 2, 3].map(|group| Condition(bit(c1, group) << 2 | bit(c2, group) << 1 | bit(c3, group)));
        let bits = Self(conditions);
        if bits.encode() != bytes {
            let value = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
            return Err(LayoutError::Value { what: "the access bits of a sector trailer", value });
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: MF1S50 data sheet, 8.6.3 (transport configuration FF0780) and the widely published
    /// 7F0788 (read with A, everything with B).
    #[test]
    fn access_bits_are_the_published_ones() {
        assert_eq!(AccessBits::TRANSPORT.encode(), [0xFF, 0x07, 0x80]);
        assert_eq!(AccessBits::decode([0xFF, 0x07, 0x80]), Ok(AccessBits::TRANSPORT));
        let read_a_write_b = AccessBits([0b100, 0b100, 0b100, 0b011].map(Condition::new));
        assert_eq!(read_a_write_b.encode(), [0x78, 0x77, 0x88]);
        let trailer_b = AccessBits([0b000, 0b000, 0b000, 0b011].map(Condition::new));
        assert_eq!(trailer_b.encode(), [0x7F, 0x07, 0x88]);
    }

    #[test]
    fn all_conditions_read_back_and_any_flipped_bit_is_refused() {
        for code in 0u16..4096 {
            let bits = AccessBits([0, 3, 6, 9].map(|shift| Condition::new((code >> shift) as u8)));
            let bytes = bits.encode();
            assert_eq!(AccessBits::decode(bytes), Ok(bits));
            for bit in 0..24 {
                let mut changed = bytes;
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(AccessBits::decode(changed).is_err());
            }
        }
    }

    /// Source: MF1S50 data sheet, tables 7 and 8.
    #[test]
    fn conditions_allow_what_the_tables_say() {
        use KeyUsed::{A, B};
        use Operation::{Decrement, Increment, Read, Write};
        let rights = |bits: u8| -> String {
            [Read, Write, Increment, Decrement]
                .iter()
                .map(|operation| {
                    let condition = Condition::new(bits);
                    match (condition.allows(*operation, A), condition.allows(*operation, B)) {
                        (true, true) => '*',
                        (false, true) => 'B',
                        (true, false) => 'A',
                        (false, false) => '-',
                    }
                })
                .collect()
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(rights).join(" "), "**** *--* *--- BB-- *B-- B--- *BB* ----");
        let trailer = |bits: u8| {
            let condition = Condition::new(bits);
            let who = |allowed: fn(Condition, KeyUsed) -> bool| match (
                allowed(condition, A),
                allowed(condition, B),
            ) {
                (true, true) => '*',
                (false, true) => 'B',
                (true, false) => 'A',
                (false, false) => '-',
            };
            [
                who(Condition::allows_keys_write),
                who(Condition::allows_access_bits_read),
                who(Condition::allows_access_bits_write),
            ]
            .iter()
            .collect::<String>()
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(trailer).join(" "), "AA- AAA -A- B*B B*- -*B -*- -*-");
    }
}
