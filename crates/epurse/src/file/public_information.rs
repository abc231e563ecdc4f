//! EF15: public application information, 30 bytes, free to read.

use crate::{CardFactor, Date, IssuerFactor, LayoutError, bytes::Fields};

/// The card's own number: a leading zero digit and 19 digits in packed decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApplicationSerial(pub [u8; 10]);

/// A card number that is not 19 decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a card number has 19 decimal digits")]
pub struct NotACardNumber;

impl ApplicationSerial {
    /// From the 19 digits printed on the card.
    pub fn from_digits(digits: &str) -> Result<Self, NotACardNumber> {
        if digits.len() != 19 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(NotACardNumber);
        }
        let mut bytes = [0; 10];
        hex::decode_to_slice(format!("0{digits}"), &mut bytes).map_err(|_| NotACardNumber)?;
        Ok(Self(bytes))
    }

    /// The 19 digits printed on the card.
    pub fn digits(self) -> String {
        hex::encode_upper(self.0).split_off(1)
    }

    /// The last 16 digits: what tells cards apart in key derivation.
    pub const fn factor(self) -> CardFactor {
        let [_, _, a, b, c, d, e, f, g, h] = self.0;
        CardFactor::new([a, b, c, d, e, f, g, h])
    }
}

/// EF15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicInformation {
    /// Bytes 0-7: the issuer, 8 digits and FFFFFFFF.
    pub issuer: IssuerFactor,
    /// Byte 8: 01 deposit, 02 purse, 03 both.
    pub application_type: u8,
    /// Byte 9: 00 not enabled, 01 enabled.
    pub application_version: u8,
    /// Bytes 10-19: the card's number.
    pub serial: ApplicationSerial,
    /// Bytes 20-23: the first day of validity.
    pub enabled_on: Date,
    /// Bytes 24-27: the last day of validity.
    pub expires_on: Date,
    /// Bytes 28-29: the issuer's own data.
    pub issuer_data: [u8; 2],
}

impl PublicInformation {
    /// The file's length.
    pub const LENGTH: usize = 30;
    /// Application type of a purse without a deposit.
    pub const PURSE: u8 = 0x02;
    /// Application version of a card in use.
    pub const ENABLED: u8 = 0x01;

    /// The card's factor in key derivation: bytes 12-19.
    pub const fn card_factor(&self) -> CardFactor {
        self.serial.factor()
    }

    /// The file's content.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        out[..8].copy_from_slice(&self.issuer.to_bytes());
        out[8] = self.application_type;
        out[9] = self.application_version;
        out[10..20].copy_from_slice(&self.serial.0);
        out[20..24].copy_from_slice(&self.enabled_on.to_bytes());
        out[24..28].copy_from_slice(&self.expires_on.to_bytes());
        out[28..].copy_from_slice(&self.issuer_data);
        out
    }

    /// Reads the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("EF15", bytes, Self::LENGTH)?;
        Ok(Self {
            issuer: fields.array()?.into(),
            application_type: fields.byte()?,
            application_version: fields.byte()?,
            serial: ApplicationSerial(fields.array()?),
            enabled_on: fields.array()?.into(),
            expires_on: fields.array()?.into(),
            issuer_data: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source: the layout of T-Union cards' EF15, with this project's invented card.
    #[test]
    fn fields_stand_where_cards_have_them() {
        let bytes = hex::decode("09990000FFFFFFFF02010310499900000001234520250101204512310000").unwrap();
        let file = PublicInformation::decode(&bytes).unwrap();
        assert_eq!(file.issuer.to_string(), "09990000FFFFFFFF");
        assert_eq!(file.serial.digits(), "3104999000000012345");
        assert_eq!(file.card_factor().to_string(), "4999000000012345");
        assert_eq!(file.expires_on.calendar(), Some((2045, 12, 31)));
        assert_eq!(ApplicationSerial::from_digits("3104999000000012345"), Ok(file.serial));
        assert!(ApplicationSerial::from_digits("310499900000001234A").is_err());
        assert!(ApplicationSerial::from_digits("31049990000000123456").is_err());
    }
}
