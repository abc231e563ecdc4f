//! Key information template (GET DATA 00E0; GPC 2.3.1, 11.3.3.1).

use tsm_iso7816::tlv::{self, TlvError};

use crate::key::KeyType;

/// One key as the template describes it (C0, basic format).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInformation {
    /// The key identifier.
    pub identifier: u8,
    /// The key version number.
    pub version: u8,
    /// Type and length in bytes of each component.
    pub components: Vec<(KeyType, u16)>,
}

/// Why bytes are not a key information template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyInformationError {
    /// The data objects are malformed.
    #[error("the data objects of the key information template are malformed")]
    Tlv(#[from] TlvError),
    /// An entry is cut short.
    #[error("a key information entry is cut short")]
    Entry,
}

impl KeyInformation {
    /// Reads the template E0, or its value alone. Entries without components are passed over, as
    /// some cards answer such for keys that do not exist.
    pub fn parse_template(bytes: &[u8]) -> Result<Vec<Self>, KeyInformationError> {
        let value = match tlv::Reader::new(bytes).next() {
            Some(Ok(object)) if object.tag.0 == 0xE0 => object.value,
            _ => bytes,
        };
        let mut keys = Vec::new();
        for object in tlv::Reader::new(value) {
            let object = object?;
            if object.tag.0 == 0xC0 {
                keys.extend(Self::parse(object.value)?);
            }
        }
        Ok(keys)
    }

    fn parse(entry: &[u8]) -> Result<Option<Self>, KeyInformationError> {
        let [identifier, version, rest @ ..] = entry else {
            return Err(KeyInformationError::Entry);
        };
        let components = match rest {
            // Extended format: FF, type, two-byte length; usage and access follow and are not kept.
            [0xFF, key_type, high, low, ..] => {
                vec![(KeyType(*key_type), u16::from_be_bytes([*high, *low]))]
            }
            basic if basic.len() % 2 == 0 => {
                basic.chunks_exact(2).map(|pair| (KeyType(pair[0]), u16::from(pair[1]))).collect()
            }
            _ => return Err(KeyInformationError::Entry),
        };
        if components.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { identifier: *identifier, version: *version, components }))
    }

    /// The template E0 of `keys`. Lengths beyond 255 take the extended format.
    pub fn template<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let mut value = Vec::new();
        for key in keys {
            tlv::write(&mut value, 0xC0, &key.to_bytes());
        }
        tlv::encode(0xE0, &value)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.identifier, self.version];
        match self.components.as_slice() {
            [(key_type, length @ 0x100..)] => {
                out.extend([0xFF, key_type.0]);
                out.extend(length.to_be_bytes());
            }
            components => {
                for (key_type, length) in components {
                    out.extend([key_type.0, u8::try_from(*length).unwrap_or(u8::MAX)]);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_a_template() {
        let bytes = hex::decode("E012C00401308810C00402308810C00403308810").unwrap();
        let keys = KeyInformation::parse_template(&bytes).unwrap();
        let versions: Vec<_> = keys.iter().map(|key| (key.identifier, key.version)).collect();
        assert_eq!(versions, [(1, 0x30), (2, 0x30), (3, 0x30)]);
        assert!(keys.iter().all(|key| key.components == [(KeyType::AES, 16)]));
        assert_eq!(KeyInformation::template(&keys), bytes);
        assert_eq!(KeyInformation::parse_template(&bytes[2..]).unwrap(), keys);
    }

    #[test]
    fn extended_entries_and_damage() {
        let extended = hex::decode("E008C006017FFFA10100").unwrap();
        let keys = KeyInformation::parse_template(&extended).unwrap();
        assert_eq!(keys[0].components, [(KeyType::RSA_MODULUS, 256)]);
        assert_eq!(KeyInformation::template(&keys), extended);
        let damaged = hex::decode("E005C003013088").unwrap();
        assert_eq!(KeyInformation::parse_template(&damaged), Err(KeyInformationError::Entry));
    }

    #[test]
    fn fuzz_parse() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = KeyInformation::parse_template(bytes);
        });
    }
}
