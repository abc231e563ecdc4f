//! Application identifiers (ISO/IEC 7816-4, 12.2.3; ISO/IEC 7816-5).

use core::fmt;

/// An application identifier: 5 to 16 bytes, the first five of which are the RID.
///
/// Ordered and compared by its bytes; copied freely.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aid {
    // `bytes` is zero past `length`, so that the derived comparisons are those of the value.
    bytes: [u8; 16],
    length: u8,
}

/// Why bytes are not an AID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AidError {
    /// An AID has 5 to 16 bytes.
    #[error("an AID has 5 to 16 bytes, and these are {0}")]
    Length(usize),
    /// The text is not hexadecimal.
    #[error("an AID is written in pairs of hexadecimal digits")]
    NotHexadecimal,
}

impl Aid {
    /// An AID from its 5 to 16 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, AidError> {
        if !(5..=16).contains(&bytes.len()) {
            return Err(AidError::Length(bytes.len()));
        }
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { bytes: padded, length: bytes.len() as u8 })
    }

    /// A constant AID.
    ///
    /// # Panics
    /// At compile time (in a `const`), when the length is not 5 to 16.
    pub const fn constant(bytes: &[u8]) -> Self {
        assert!(bytes.len() >= 5 && bytes.len() <= 16, "an AID has 5 to 16 bytes");
        let mut padded = [0; 16];
        let mut index = 0;
        while index < bytes.len() {
            padded[index] = bytes[index];
            index += 1;
        }
        Self { bytes: padded, length: bytes.len() as u8 }
    }

    /// An AID from hexadecimal text, upper or lower case, without separators.
    pub fn from_hex(text: &str) -> Result<Self, AidError> {
        Self::new(&hex::decode(text).map_err(|_| AidError::NotHexadecimal)?)
    }

    /// The AID's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The registered application provider identifier: the first five bytes.
    pub fn rid(&self) -> [u8; 5] {
        let [a, b, c, d, e, ..] = self.bytes;
        [a, b, c, d, e]
    }

    /// Whether `prefix` begins this AID, as partial selection asks (ISO/IEC 7816-4, 11.2.2).
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        self.as_bytes().starts_with(prefix)
    }
}

impl fmt::Display for Aid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Aid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aid({self})")
    }
}

impl core::str::FromStr for Aid {
    type Err = AidError;

    fn from_str(text: &str) -> Result<Self, AidError> {
        Self::from_hex(text)
    }
}

impl TryFrom<&[u8]> for Aid {
    type Error = AidError;

    fn try_from(bytes: &[u8]) -> Result<Self, AidError> {
        Self::new(bytes)
    }
}

// In JSON and in stores an AID is its hexadecimal text.
impl serde::Serialize for Aid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Aid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_five_to_sixteen_bytes() {
        for length in 0..=20 {
            let made = Aid::new(&vec![0xA0; length]);
            assert_eq!(made.is_ok(), (5..=16).contains(&length), "length {length}");
        }
    }

    #[test]
    fn a_longer_aid_with_trailing_zero_is_another_aid() {
        let short = Aid::new(&[1, 2, 3, 4, 5]).unwrap();
        let long = Aid::new(&[1, 2, 3, 4, 5, 0]).unwrap();
        assert_ne!(short, long);
        assert!(long.starts_with(short.as_bytes()));
        assert!(!short.starts_with(long.as_bytes()));
    }

    #[test]
    fn text_and_back() {
        let aid: Aid = "a000000632010105".parse().unwrap();
        assert_eq!(aid.to_string(), "A000000632010105");
        assert_eq!(aid.rid(), [0xA0, 0, 0, 6, 0x32]);
        assert_eq!("A0".parse::<Aid>(), Err(AidError::Length(1)));
        assert_eq!("zz".parse::<Aid>(), Err(AidError::NotHexadecimal));
    }
}
