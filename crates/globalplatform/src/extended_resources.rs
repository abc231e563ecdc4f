//! Extended card resources information (GET DATA FF21; ETSI TS 102 226, 8.2.1.7).

use tsm_iso7816::tlv::{self, TlvError};

/// What is installed and how much room is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExtendedResources {
    /// 81: the number of installed applications.
    pub applications: u32,
    /// 82: free non-volatile memory, in bytes.
    pub free_non_volatile: u32,
    /// 83: free volatile memory, in bytes.
    pub free_volatile: u32,
}

/// Why bytes are not extended card resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtendedResourcesError {
    /// The data objects are malformed or missing.
    #[error("the data objects of FF21 are malformed")]
    Tlv(#[from] TlvError),
    /// A number has no bytes or more than four.
    #[error("the number in {0:02X} has no bytes or more than four")]
    Number(u32),
}

impl ExtendedResources {
    /// Reads the data object FF21 or FF20, or its value alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, ExtendedResourcesError> {
        let value = match tlv::Reader::new(bytes).next() {
            Some(Ok(object)) if matches!(object.tag.0, 0xFF21 | 0xFF20) => object.value,
            _ => bytes,
        };
        let number = |tag| {
            let number = tlv::find_one(value, tag)?;
            if !(1..=4).contains(&number.len()) {
                return Err(ExtendedResourcesError::Number(tag));
            }
            Ok(number.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        Ok(Self {
            applications: number(0x81)?,
            free_non_volatile: number(0x82)?,
            free_volatile: number(0x83)?,
        })
    }

    /// The data object FF21.
    pub fn to_object(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(18);
        let applications = self.applications.to_be_bytes();
        let leading = applications.iter().take(3).take_while(|byte| **byte == 0).count();
        tlv::write(&mut value, 0x81, &applications[leading..]);
        tlv::write(&mut value, 0x82, &self.free_non_volatile.to_be_bytes());
        tlv::write(&mut value, 0x83, &self.free_volatile.to_be_bytes());
        tlv::encode(0xFF21, &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_cards_answer() {
        let bytes = hex::decode("FF210E810102820300E1558304000017EC").unwrap();
        let expected =
            ExtendedResources { applications: 2, free_non_volatile: 0xE155, free_volatile: 0x17EC };
        assert_eq!(ExtendedResources::parse(&bytes), Ok(expected));
        assert_eq!(ExtendedResources::parse(&bytes[3..]), Ok(expected));
        assert_eq!(
            ExtendedResources::parse(&hex::decode("FF21098100820101830101").unwrap()[3..]),
            Err(ExtendedResourcesError::Number(0x81))
        );
    }

    proptest! {
        #[test]
        fn reads_back(applications: u32, free_non_volatile: u32, free_volatile: u32) {
            let resources = ExtendedResources { applications, free_non_volatile, free_volatile };
            prop_assert_eq!(ExtendedResources::parse(&resources.to_object()), Ok(resources));
        }
    }

    #[test]
    fn fuzz_parse() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = ExtendedResources::parse(bytes);
        });
    }
}
