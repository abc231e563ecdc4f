//! The data that registration writes into the SE with STORE DATA (P-5.5.2.p to r, table 5-1).
//!
//! Tag 2F14 holds the MSISDN, one byte for each digit. Tag 1047 holds the TOKEN (sub-tag 01) and the digest
//! of the IMSI (sub-tag 02). The table gives tag 1047 no overall length although a DGI has one, so the
//! decoder takes only the coding it is configured for (D-10).

use serde::{Deserialize, Serialize};

use crate::id::Msisdn;

/// The tag of the MSISDN.
pub const MSISDN_TAG: u16 = 0x2F14;
/// The tag of TOKEN and IMSI digest.
pub const TOKEN_TAG: u16 = 0x1047;

/// How tag 1047 is coded (D-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenCoding {
    /// As a DGI: 10 47, length, contents.
    Dgi,
    /// As table 5-1 prints it: 10 47, contents.
    StrictTable,
}

/// TOKEN and IMSI digest.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrationData {
    /// The TOKEN.
    pub token: Vec<u8>,
    /// The digest of the IMSI.
    pub imsi_digest: Vec<u8>,
}

/// Why data are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationDataError {
    /// Another tag.
    #[error("the data do not begin with tag {0:04X}")]
    Tag(u16),
    /// Another sub-tag.
    #[error("sub-tag {expected:02X} was expected at offset {offset}")]
    SubTag {
        /// What was expected.
        expected: u8,
        /// Where.
        offset: usize,
    },
    /// Cut short.
    #[error("the data end at offset {0}, in the middle of a field")]
    Cut(usize),
    /// Something follows.
    #[error("{0} bytes follow the last field")]
    Trailing(usize),
    /// The length is wrong.
    #[error("the length says {said} bytes and the fields have {found}")]
    Length {
        /// What it says.
        said: usize,
        /// What there is.
        found: usize,
    },
    /// Too long.
    #[error("a field has {0} bytes, more than its length byte can say")]
    TooLong(usize),
    /// Not digits.
    #[error("the number's bytes are not the digits of a phone number")]
    Digits,
}

impl core::fmt::Debug for RegistrationData {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The TOKEN opens the door of every later login: it is not printed.
        f.debug_struct("RegistrationData")
            .field("token_bytes", &self.token.len())
            .field("imsi_digest_bytes", &self.imsi_digest.len())
            .finish()
    }
}

/// The DGI with the MSISDN: 2F 14, length, one byte for each digit.
pub fn encode_msisdn(number: &Msisdn) -> Vec<u8> {
    let digits = number.as_str().bytes().map(|digit| digit - b'0');
    let mut data = MSISDN_TAG.to_be_bytes().to_vec();
    data.push(number.as_str().len() as u8);
    data.extend(digits);
    data
}

/// The MSISDN in the value of tag 2F14.
pub fn decode_msisdn(value: &[u8]) -> Result<Msisdn, RegistrationDataError> {
    if value.iter().any(|digit| *digit > 9) {
        return Err(RegistrationDataError::Digits);
    }
    let text: String = value.iter().map(|digit| char::from(digit + b'0')).collect();
    text.parse().map_err(|_| RegistrationDataError::Digits)
}

impl RegistrationData {
    /// The bytes for STORE DATA.
    pub fn encode(&self, coding: TokenCoding) -> Result<Vec<u8>, RegistrationDataError> {
        let mut fields = Vec::new();
        for (sub_tag, value) in [(0x01, &self.token), (0x02, &self.imsi_digest)] {
            fields.push(sub_tag);
            fields.push(u8::try_from(value.len()).map_err(|_| RegistrationDataError::TooLong(value.len()))?);
            fields.extend(value);
        }
        let mut data = TOKEN_TAG.to_be_bytes().to_vec();
        if coding == TokenCoding::Dgi {
            data.extend(dgi_length(fields.len()));
        }
        data.extend(fields);
        Ok(data)
    }

    /// Reads what [`Self::encode`] writes, of the given coding and no other.
    pub fn decode(data: &[u8], coding: TokenCoding) -> Result<Self, RegistrationDataError> {
        let rest =
            data.strip_prefix(&TOKEN_TAG.to_be_bytes()).ok_or(RegistrationDataError::Tag(TOKEN_TAG))?;
        let fields = match coding {
            TokenCoding::StrictTable => rest,
            TokenCoding::Dgi => {
                let (said, fields) = take_dgi_length(rest)?;
                if said != fields.len() {
                    return Err(RegistrationDataError::Length { said, found: fields.len() });
                }
                fields
            }
        };
        Self::decode_value(fields)
    }

    /// Reads the fields alone, as GET DATA gives them.
    pub fn decode_value(fields: &[u8]) -> Result<Self, RegistrationDataError> {
        let mut offset = 0;
        let token = take(fields, &mut offset, 0x01)?;
        let imsi_digest = take(fields, &mut offset, 0x02)?;
        if offset < fields.len() {
            return Err(RegistrationDataError::Trailing(fields.len() - offset));
        }
        Ok(Self { token, imsi_digest })
    }
}

fn take(fields: &[u8], offset: &mut usize, expected: u8) -> Result<Vec<u8>, RegistrationDataError> {
    let cut = RegistrationDataError::Cut(fields.len());
    let start = *offset;
    match fields.get(start) {
        None => return Err(cut),
        Some(tag) if *tag != expected => {
            return Err(RegistrationDataError::SubTag { expected, offset: start });
        }
        Some(_) => {}
    }
    let length = usize::from(*fields.get(start + 1).ok_or(cut)?);
    let value = fields.get(start + 2..start + 2 + length).ok_or(cut)?;
    *offset = start + 2 + length;
    Ok(value.to_vec())
}

// A DGI's length: one byte up to FE, else FF and two bytes (GP Systems Scripting Language 3.2.1).
fn dgi_length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(short) if short < 0xFF => vec![short],
        _ => [vec![0xFF], (length as u16).to_be_bytes().to_vec()].concat(),
    }
}

fn take_dgi_length(data: &[u8]) -> Result<(usize, &[u8]), RegistrationDataError> {
    match data {
        [] => Err(RegistrationDataError::Cut(2)),
        [0xFF, high, low, rest @ ..] => Ok((usize::from(u16::from_be_bytes([*high, *low])), rest)),
        [0xFF, ..] => Err(RegistrationDataError::Cut(2 + data.len())),
        [short, rest @ ..] => Ok((usize::from(*short), rest)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(token: usize, digest: usize) -> RegistrationData {
        RegistrationData { token: vec![0xA5; token], imsi_digest: vec![0x5A; digest] }
    }

    /// req: P-5.5.2.q
    #[test]
    fn the_number_is_one_byte_per_digit() {
        let number: Msisdn = "13800138000".parse().unwrap();
        let bytes = encode_msisdn(&number);
        assert_eq!(hex::encode_upper(&bytes), "2F140B0103080000010308000000");
        assert_eq!(decode_msisdn(&bytes[3..]), Ok(number));
        assert_eq!(decode_msisdn(&[1, 3, 8, 0x0A, 1]), Err(RegistrationDataError::Digits));
        assert_eq!(decode_msisdn(&[]), Err(RegistrationDataError::Digits));
        assert_eq!(decode_msisdn(&[1; 16]), Err(RegistrationDataError::Digits));
    }

    /// req: P-5.5.2.r
    #[test]
    fn token_and_digest_vectors() {
        let small = RegistrationData { token: vec![1, 2, 3], imsi_digest: vec![9] };
        let dgi = small.encode(TokenCoding::Dgi).unwrap();
        assert_eq!(hex::encode_upper(&dgi), "1047080103010203020109");
        let strict = small.encode(TokenCoding::StrictTable).unwrap();
        assert_eq!(hex::encode_upper(&strict), "10470103010203020109");
        assert_eq!(hex::encode_upper(data(0, 0).encode(TokenCoding::Dgi).unwrap()), "10470401000200");
        let full = data(255, 255);
        let longest = full.encode(TokenCoding::Dgi).unwrap();
        assert_eq!(&longest[..5], [0x10, 0x47, 0xFF, 0x02, 0x02]);
        assert_eq!(RegistrationData::decode(&longest, TokenCoding::Dgi), Ok(full));
        assert_eq!(data(256, 0).encode(TokenCoding::Dgi), Err(RegistrationDataError::TooLong(256)));
    }

    /// req: P-5.5.2.r
    #[test]
    fn each_decoder_takes_its_own_coding_only() {
        let sample = data(16, 20);
        for (written, read) in
            [(TokenCoding::Dgi, TokenCoding::StrictTable), (TokenCoding::StrictTable, TokenCoding::Dgi)]
        {
            let bytes = sample.encode(written).unwrap();
            assert!(RegistrationData::decode(&bytes, read).is_err(), "{written:?} read as {read:?}");
        }
    }

    /// req: P-5.5.2.r
    #[test]
    fn truncated_and_over_long_input_is_refused() {
        for coding in [TokenCoding::Dgi, TokenCoding::StrictTable] {
            let bytes = data(16, 20).encode(coding).unwrap();
            for length in 0..bytes.len() {
                assert!(RegistrationData::decode(&bytes[..length], coding).is_err(), "{length} bytes");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert!(RegistrationData::decode(&longer, coding).is_err(), "a byte too many");
        }
        let swapped = [0x10, 0x47, 0x02, 0x00, 0x01, 0x00];
        assert_eq!(
            RegistrationData::decode(&swapped, TokenCoding::StrictTable),
            Err(RegistrationDataError::SubTag { expected: 0x01, offset: 0 })
        );
    }

    proptest! {
        #[test]
        fn round_trip(token in prop::collection::vec(any::<u8>(), 0..256), digest in prop::collection::vec(any::<u8>(), 0..256)) {
            let sample = RegistrationData { token, imsi_digest: digest };
            for coding in [TokenCoding::Dgi, TokenCoding::StrictTable] {
                let bytes = sample.encode(coding).unwrap();
                prop_assert_eq!(RegistrationData::decode(&bytes, coding), Ok(sample.clone()));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        bolero::check!().for_each(|bytes| {
            for coding in [TokenCoding::Dgi, TokenCoding::StrictTable] {
                if let Ok(read) = RegistrationData::decode(bytes, coding) {
                    assert!(read.encode(coding).is_ok());
                }
            }
            let _ = decode_msisdn(bytes);
        });
    }
}
