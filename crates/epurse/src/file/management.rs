//! EF17: management information, 60 bytes.

use crate::{LayoutError, bytes::Fields};

/// Byte 10 of EF17: for whom the card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CardKind {
    /// 01: ordinary.
    Ordinary,
    /// 02: student.
    Student,
    /// 03: elder.
    Elder,
    /// 04: test.
    Test,
    /// 05: soldier.
    Soldier,
    /// A local kind.
    Local(u8),
}

impl From<u8> for CardKind {
    fn from(value: u8) -> Self {
        match value {
            0x01 => Self::Ordinary,
            0x02 => Self::Student,
            0x03 => Self::Elder,
            0x04 => Self::Test,
            0x05 => Self::Soldier,
            other => Self::Local(other),
        }
    }
}

impl From<CardKind> for u8 {
    fn from(value: CardKind) -> Self {
        match value {
            CardKind::Ordinary => 0x01,
            CardKind::Student => 0x02,
            CardKind::Elder => 0x03,
            CardKind::Test => 0x04,
            CardKind::Soldier => 0x05,
            CardKind::Local(other) => other,
        }
    }
}

/// EF17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Management {
    /// Bytes 0-3: the country, 00000156 for China.
    pub country: [u8; 4],
    /// Bytes 4-5: the province.
    pub province: [u8; 2],
    /// Bytes 6-7: the city.
    pub city: [u8; 2],
    /// Bytes 8-9: 0001 when the card may be used in other cities.
    pub interoperability: u16,
    /// Byte 10: for whom the card is.
    pub kind: CardKind,
    /// Bytes 11-59: reserved.
    pub reserved: [u8; 49],
}

impl Management {
    /// The file's length.
    pub const LENGTH: usize = 60;
    /// Country code of China.
    pub const CHINA: [u8; 4] = [0x00, 0x00, 0x01, 0x56];

    /// The file's content.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..4].copy_from_slice(&self.country);
        out[4..6].copy_from_slice(&self.province);
        out[6..8].copy_from_slice(&self.city);
        out[8..10].copy_from_slice(&self.interoperability.to_be_bytes());
        out[10] = self.kind.into();
        out[11..].copy_from_slice(&self.reserved);
        out
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("EF17", bytes, Self::LENGTH)?;
        Ok(Self {
            country: fields.array()?,
            province: fields.array()?,
            city: fields.array()?,
            interoperability: fields.u16()?,
            kind: fields.byte()?.into(),
            reserved: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the EF17 sample `00000156 5800 5840 0001 01` of a T-Union card.
    #[test]
    fn fields_stand_where_cards_have_them() {
        let mut bytes = hex::decode("0000015658005840000101").unwrap();
        bytes.resize(60, 0);
        let file = Management::decode(&bytes).unwrap();
        assert_eq!(file.country, Management::CHINA);
        assert_eq!(file.city, [0x58, 0x40]);
        assert_eq!(file.interoperability, 1);
        assert_eq!(file.kind, CardKind::Ordinary);
    }
}
