//! The managed version number: application AID, software version, date (P-5.4.4.1.c).

use std::fmt;

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

/// A managed version. Ordered by date and then by software version, for one application.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ManagedVersion {
    /// The application's AID.
    pub application: Aid,
    /// The provider's software version, for example `1.2.0`.
    pub software: String,
    /// The date.
    pub date: jiff::civil::Date,
}

/// Why text is not a managed version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The software version has odd characters.
    #[error("a software version has 1 to 32 digits, letters, dots or hyphens")]
    Software,
    /// The date is not one.
    #[error("a date is written YYYYMMDD and must exist in the calendar")]
    Date,
}

impl ManagedVersion {
    /// A version from the provider's software version and a date written YYYYMMDD.
    pub fn new(application: Aid, software: &str, date: &str) -> Result<Self, VersionError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
        if !(1..=32).contains(&software.len()) || !software.bytes().all(allowed) {
            return Err(VersionError::Software);
        }
        if date.len() != 8 || !date.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VersionError::Date);
        }
        let number =
            |range: std::ops::Range<usize>| date[range].parse::<i16>().map_err(|_| VersionError::Date);
        let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
        // Months and days have two digits, so they fit.
        let date = jiff::civil::Date::new(year, month as i8, day as i8).map_err(|_| VersionError::Date)?;
        Ok(Self { application, software: software.to_owned(), date })
    }

    /// Whether this is a later edition of the same application than `other`.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.application == other.application && (self.date, self.numbers()) > (other.date, other.numbers())
    }

    // `1.10` is later than `1.9`; parts that are not numbers come first.
    fn numbers(&self) -> Vec<Option<u32>> {
        self.software.split(['.', '-']).map(|part| part.parse().ok()).collect()
    }
}

impl fmt::Display for ManagedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.application, self.software, self.date.strftime("%Y%m%d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(software: &str, date: &str) -> Result<ManagedVersion, VersionError> {
        ManagedVersion::new(Aid::constant(b"OPENTSM"), software, date)
    }

    /// req: P-5.4.4.1.c
    #[test]
    fn aid_software_version_and_date() {
        assert_eq!(version("1.2.0", "20261121").unwrap().to_string(), "4F50454E54534D 1.2.0 20261121");
        for date in ["20260231", "20261301", "2026112", "202611211", "2026-1-1", "00000000"] {
            assert_eq!(version("1.2.0", date), Err(VersionError::Date), "{date}");
        }
        for software in ["", "1 2", "1/2"] {
            assert_eq!(version(software, "20261121"), Err(VersionError::Software), "{software}");
        }
    }

    #[test]
    fn newer_editions() {
        let newer = |a: (&str, &str), b: (&str, &str)| {
            version(a.0, a.1).unwrap().is_newer_than(&version(b.0, b.1).unwrap())
        };
        assert!(newer(("1.10", "20260101"), ("1.9", "20260101")));
        assert!(newer(("1.0", "20260102"), ("1.9", "20260101")));
        assert!(!newer(("1.0", "20260101"), ("1.0", "20260101")));
    }
}
