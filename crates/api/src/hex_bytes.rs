//! Bytes that travel as upper-case hexadecimal text in JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tsm_iso7816::{Aid, AidError};
use utoipa::ToSchema;

/// Bytes written as hexadecimal text.
#[derive(Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, example = "A0000001510000")]
pub struct HexBytes(pub Vec<u8>);

impl HexBytes {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the bytes as an application identifier.
    pub fn to_aid(&self) -> Result<Aid, AidError> {
        Aid::new(&self.0)
    }
}

impl From<Aid> for HexBytes {
    fn from(aid: Aid) -> Self {
        Self(aid.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for HexBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for HexBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl fmt::Display for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(&self.0))
    }
}

/// Only the length is shown: the bytes may hold an APDU, which no log may carry.
impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HexBytes({} bytes)", self.0.len())
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode_upper(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = HexBytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an even number of hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexBytes, E> {
                hex::decode(text)
                    .map(HexBytes)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str("text that is not hexadecimal"), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_in_either_case() {
        let bytes: HexBytes = serde_json::from_str("\"a0B1\"").unwrap();
        assert_eq!(bytes.0, [0xA0, 0xB1]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"A0B1\"");
    }

    #[test]
    fn odd_and_foreign_digits_are_refused() {
        for text in ["\"A\"", "\"GG\"", "\"A0 B1\"", "12", "null"] {
            assert!(serde_json::from_str::<HexBytes>(text).is_err(), "{text}");
        }
    }
}
