//! The binding data in an SE: TOKEN, IMSI digest and MSISDN (P-5.5.2.p to r, table 5-1; D-10).
//!
//! ```text
//! 1047 length 01 X TOKEN 02 Y digest      (strict table form: 1047 01 X TOKEN 02 Y digest)
//! 2F14 length one byte 0d per digit
//! ```

use tsm_domain::Msisdn;
use zeroize::Zeroizing;

/// Whether the object 1047 has a length of its own (D-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenForm {
    /// Coded as a DGI, with a length.
    #[default]
    Dgi,
    /// Exactly as table 5-1 prints it, without one.
    StrictTable,
}

/// TOKEN and IMSI digest of a binding. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BindingData {
    /// The TOKEN, 0 to 255 bytes.
    pub token: Zeroizing<Vec<u8>>,
    /// The IMSI digest, 0 to 255 bytes.
    pub imsi_digest: Vec<u8>,
}

impl core::fmt::Debug for BindingData {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BindingData(..)")
    }
}

/// Why bytes are not binding data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindingDataError {
    /// A field is longer than its length byte can say.
    #[error("TOKEN and IMSI digest have at most 255 bytes each, not {0}")]
    TooLong(usize),
    /// The tag is not 1047 or 2F14.
    #[error("the object does not begin with its tag")]
    Tag,
    /// The length does not fit the bytes.
    #[error("the length of the object or of a field does not fit")]
    Length,
    /// A sub-tag is missing or stands in the wrong place.
    #[error("the sub-tags 01 and 02 do not stand where they should")]
    SubTag,
    /// The MSISDN's bytes are not digits.
    #[error("the MSISDN is not 5 to 15 bytes of one digit each")]
    Msisdn,
}

impl BindingData {
    /// The value inside the object 1047: sub-tags 01 and 02.
    pub fn value(&self) -> Result<Vec<u8>, BindingDataError> {
        let length =
            |bytes: &[u8]| u8::try_from(bytes.len()).map_err(|_| BindingDataError::TooLong(bytes.len()));
        let mut out = vec![0x01, length(&self.token)?];
        out.extend(self.token.iter());
        out.extend([0x02, length(&self.imsi_digest)?]);
        out.extend(&self.imsi_digest);
        Ok(out)
    }

    /// The whole object 1047.
    pub fn to_object(&self, form: TokenForm) -> Result<Vec<u8>, BindingDataError> {
        let value = self.value()?;
        let mut out = vec![0x10, 0x47];
        match form {
            TokenForm::StrictTable => {}
            TokenForm::Dgi => write_dgi_length(&mut out, value.len()),
        }
        out.extend(value);
        Ok(out)
    }

    /// Reads an object 1047 of this form, and no other.
    pub fn parse_object(bytes: &[u8], form: TokenForm) -> Result<Self, BindingDataError> {
        let rest = bytes.strip_prefix(&[0x10, 0x47]).ok_or(BindingDataError::Tag)?;
        match form {
            TokenForm::StrictTable => Self::parse_value(rest),
            TokenForm::Dgi => Self::parse_value(strip_dgi_length(rest)?),
        }
    }

    /// Reads the value inside the object 1047.
    pub fn parse_value(value: &[u8]) -> Result<Self, BindingDataError> {
        let (token, rest) = take_field(0x01, value)?;
        let (imsi_digest, rest) = take_field(0x02, rest)?;
        if !rest.is_empty() {
            return Err(BindingDataError::Length);
        }
        Ok(Self { token: Zeroizing::new(token.to_vec()), imsi_digest: imsi_digest.to_vec() })
    }

    /// Reads what GET DATA 1047 answers: the object in this form, or its value alone.
    pub fn parse_answer(bytes: &[u8], form: TokenForm) -> Result<Self, BindingDataError> {
        match bytes {
            [0x10, 0x47, ..] => Self::parse_object(bytes, form),
            value => Self::parse_value(value),
        }
    }
}

/// The value of the object 2F14: each digit one byte.
pub fn msisdn_value(msisdn: &Msisdn) -> Vec<u8> {
    msisdn.as_str().bytes().map(|digit| digit & 0x0F).collect()
}

/// Reads the value of the object 2F14, or the object.
pub fn parse_msisdn(bytes: &[u8]) -> Result<Msisdn, BindingDataError> {
    let digits = match bytes {
        [0x2F, 0x14, rest @ ..] => strip_dgi_length(rest)?,
        value => value,
    };
    if digits.iter().any(|digit| *digit > 9) {
        return Err(BindingDataError::Msisdn);
    }
    let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
    text.parse().map_err(|_| BindingDataError::Msisdn)
}

// EMV CPS 1.1: one byte, or FF and two bytes beyond 254.
fn write_dgi_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0xFF => out.push(short),
        _ => {
            out.push(0xFF);
            out.extend((length as u16).to_be_bytes());
        }
    }
}

fn strip_dgi_length(bytes: &[u8]) -> Result<&[u8], BindingDataError> {
    let (length, rest) = match bytes {
        [0xFF, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0xFF, ..] | [] => return Err(BindingDataError::Length),
        [short, rest @ ..] => (usize::from(*short), rest),
    };
    if rest.len() == length { Ok(rest) } else { Err(BindingDataError::Length) }
}

fn take_field(sub_tag: u8, bytes: &[u8]) -> Result<(&[u8], &[u8]), BindingDataError> {
    match bytes {
        [] => Err(BindingDataError::Length),
        [tag, ..] if *tag != sub_tag => Err(BindingDataError::SubTag),
        [_, length, rest @ ..] => rest.split_at_checked(usize::from(*length)).ok_or(BindingDataError::Length),
        [_] => Err(BindingDataError::Length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binding(token: &[u8], digest: &[u8]) -> BindingData {
        BindingData { token: Zeroizing::new(token.to_vec()), imsi_digest: digest.to_vec() }
    }

    /// req: P-5.5.2.r
    #[test]
    fn the_object_1047_in_both_forms() {
        for (token, digest, form, object) in [
            (&[0xAA, 0xBB][..], &[0xCC][..], TokenForm::Dgi, "10470701 02AABB 0201CC"),
            (&[0xAA, 0xBB], &[0xCC], TokenForm::StrictTable, "1047 0102AABB 0201CC"),
            (&[], &[0xCC], TokenForm::Dgi, "104705 0100 0201CC"),
            (&[0xAA], &[], TokenForm::Dgi, "104705 0101AA 0200"),
            (&[], &[], TokenForm::StrictTable, "1047 0100 0200"),
        ] {
            let object = hex::decode(object.replace(' ', "")).unwrap();
            assert_eq!(binding(token, digest).to_object(form).unwrap(), object);
            assert_eq!(BindingData::parse_object(&object, form).unwrap(), binding(token, digest));
        }
        let largest = binding(&[1; 255], &[2; 255]);
        let object = largest.to_object(TokenForm::Dgi).unwrap();
        assert_eq!(object[..5], [0x10, 0x47, 0xFF, 0x02, 0x02]);
        assert_eq!(BindingData::parse_object(&object, TokenForm::Dgi).unwrap(), largest);
        assert_eq!(binding(&[1; 256], &[]).to_object(TokenForm::Dgi), Err(BindingDataError::TooLong(256)));
    }

    /// req: P-5.5.2.r
    #[test]
    fn truncated_over_long_and_foreign_objects_are_refused() {
        for (object, error) in [
            ("", BindingDataError::Tag),
            ("104801", BindingDataError::Tag),
            ("1047", BindingDataError::Length),
            ("1047040100", BindingDataError::Length),
            ("104704010002", BindingDataError::Length),
            ("10470401000201", BindingDataError::Length),
            ("1047060100020100AA", BindingDataError::Length),
            ("10470402000100", BindingDataError::SubTag),
            ("10470401010200", BindingDataError::SubTag),
            ("1047FF00", BindingDataError::Length),
        ] {
            assert_eq!(
                BindingData::parse_object(&hex::decode(object).unwrap(), TokenForm::Dgi),
                Err(error),
                "{object}"
            );
        }
        let strict = binding(&[1, 2, 3], &[4]).to_object(TokenForm::StrictTable).unwrap();
        assert!(BindingData::parse_object(&strict, TokenForm::Dgi).is_err());
        let dgi = binding(&[1, 2, 3], &[4]).to_object(TokenForm::Dgi).unwrap();
        assert!(BindingData::parse_object(&dgi, TokenForm::StrictTable).is_err());
    }

    /// req: P-5.5.2.q
    #[test]
    fn the_msisdn_has_one_byte_for_each_digit() {
        let msisdn: Msisdn = "13800001234".parse().unwrap();
        let value = msisdn_value(&msisdn);
        assert_eq!(hex::encode(&value), "0103080000000001020304");
        assert_eq!(parse_msisdn(&value).unwrap(), msisdn);
        assert_eq!(parse_msisdn(&[&[0x2F, 0x14, 11][..], &value].concat()).unwrap(), msisdn);
        assert_eq!(parse_msisdn(&[1, 0x0A, 2, 3, 4]), Err(BindingDataError::Msisdn));
        assert_eq!(parse_msisdn(&[]), Err(BindingDataError::Msisdn));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_back_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for form in [TokenForm::Dgi, TokenForm::StrictTable] {
                if let Ok(read) = BindingData::parse_object(&bytes, form)
                    && bytes.get(2) != Some(&0xFF)
                {
                    prop_assert_eq!(read.to_object(form).unwrap(), bytes.clone());
                }
            }
        }
    }
}
