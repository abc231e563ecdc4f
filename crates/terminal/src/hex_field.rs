//! Purse values as hexadecimal text in the terminal's stored state and records.

use serde::{Deserialize, Deserializer, Serializer, de::Error};
use tsm_epurse::{DateTime, IssuerFactor, Mac, Tac, TerminalNumber, file::ApplicationSerial};

/// A value that is a fixed number of bytes.
pub(crate) trait HexField: Sized {
    /// Its bytes.
    fn to_vec(&self) -> Vec<u8>;
    /// From its bytes, when there are as many as it has.
    fn from_slice(bytes: &[u8]) -> Option<Self>;
}

macro_rules! hex_field {
    ($($type:ty: |$value:ident| $bytes:expr, $from:expr;)*) => {$(
        impl HexField for $type {
            fn to_vec(&self) -> Vec<u8> {
                let $value = self;
                $bytes.to_vec()
            }

            fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map($from)
            }
        }
    )*};
}

hex_field! {
    TerminalNumber: |value| value.to_bytes(), TerminalNumber::new;
    DateTime: |value| value.to_bytes(), DateTime::from_bytes;
    IssuerFactor: |value| value.to_bytes(), IssuerFactor::new;
    Tac: |value| value.to_bytes(), Tac::new;
    Mac: |value| value.to_bytes(), Mac::new;
    ApplicationSerial: |value| value.0, ApplicationSerial;
}

pub(crate) fn serialize<T: HexField, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode_upper(value.to_vec()))
}

pub(crate) fn deserialize<'de, T: HexField, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| D::Error::custom("this is not as many hexadecimal digits as the field has"))
}

fn parse<T: HexField>(text: &str) -> Option<T> {
    T::from_slice(&hex::decode(text).ok()?)
}

/// The same for a field that may be absent.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Error, HexField, Serializer, parse};

    pub(crate) fn serialize<T: HexField, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&hex::encode_upper(value.to_vec())),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: HexField, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let value = parse(&text);
        value
            .map(Some)
            .ok_or_else(|| D::Error::custom("this is not as many hexadecimal digits as the field has"))
    }
}
