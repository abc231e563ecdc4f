//! Fixed-offset reading for the layouts of this crate.

use crate::LayoutError;

/// Takes fields of fixed size from the front of a structure.
pub(crate) struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads a structure of any length.
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Reads a structure that has exactly `expected` bytes.
    pub(crate) fn exact(what: &'static str, bytes: &'a [u8], expected: usize) -> Result<Self, LayoutError> {
        if bytes.len() != expected {
            return Err(LayoutError::Length { what, expected, found: bytes.len() });
        }
        Ok(Self::new(what, bytes))
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutError> {
        let (head, rest) =
            self.rest.split_first_chunk::<N>().ok_or(LayoutError::Short { what: self.what })?;
        self.rest = rest;
        Ok(*head)
    }

    /// The next `count` bytes.
    pub(crate) fn slice(&mut self, count: usize) -> Result<&'a [u8], LayoutError> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(LayoutError::Short { what: self.what })?;
        self.rest = rest;
        Ok(head)
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, LayoutError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next two bytes, big endian.
    pub(crate) fn u16(&mut self) -> Result<u16, LayoutError> {
        self.array().map(u16::from_be_bytes)
    }

    /// What is left.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), LayoutError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(LayoutError::Length { what: self.what, expected: 0, found: self.rest.len() })
    }
}

/// CRC-32 of ISO/IEC 13239 (the one of Ethernet and ZIP), as the tail of some transit records has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// The nibbles of packed decimal as a number, or `None` when one is above 9.
pub(crate) fn from_bcd(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0u32, |value, byte| {
        let (tens, ones) = (byte >> 4, byte & 0x0F);
        (tens < 10 && ones < 10).then(|| value * 100 + u32::from(tens) * 10 + u32::from(ones))
    })
}

/// A number below 100 as one packed decimal byte.
pub(crate) const fn to_bcd(value: u8) -> u8 {
    ((value / 10) << 4) | (value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
    #[test]
    fn crc32_gives_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn packed_decimal_reads_back() {
        for value in 0..100 {
            assert_eq!(from_bcd(&[to_bcd(value)]), Some(u32::from(value)));
        }
        assert_eq!(from_bcd(&[0x1A]), None);
    }
}
