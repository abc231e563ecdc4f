//! The values that purse commands and records are made of.

use core::fmt;

use subtle::ConstantTimeEq;

use crate::bytes::{from_bcd, to_bcd};

macro_rules! byte_string {
    ($($(#[$doc:meta])* $name:ident, $length:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name([u8; $length]);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = $length;

            /// From its bytes.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn to_bytes(self) -> [u8; $length] {
                self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode_upper(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

byte_string! {
    /// The number of a terminal, from its PSAM's EF16; packed decimal.
    TerminalNumber, 6;
    /// The pseudo-random number that the card draws for one transaction.
    CardRandom, 4;
    /// The answer to GET CHALLENGE of four bytes, which secure messaging starts from.
    Challenge, 4;
    /// A calendar date YYYYMMDD in packed decimal, as the terminal sent it.
    Date, 4;
    /// A time of day hhmmss in packed decimal, as the terminal sent it.
    Time, 3;
    /// What tells issuers apart in key derivation: EF15 bytes 0 to 7.
    IssuerFactor, 8;
    /// What tells cards of one issuer apart in key derivation: EF15 bytes 12 to 19.
    CardFactor, 8;
}

macro_rules! authentication_code {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Default)]
        pub struct $name([u8; 4]);

        impl $name {
            /// How many bytes it has.
            pub const LENGTH: usize = 4;

            /// From its bytes.
            pub const fn new(bytes: [u8; 4]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn to_bytes(self) -> [u8; 4] {
                self.0
            }
        }

        impl From<[u8; 4]> for $name {
            fn from(bytes: [u8; 4]) -> Self {
                Self(bytes)
            }
        }

        /// Takes the same time wherever the first difference is.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode_upper(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

authentication_code! {
    /// A message authentication code: MAC1, MAC2, MAC3, or one of secure messaging.
    Mac;
    /// A transaction authentication code, which the clearing centre verifies.
    Tac;
}

/// An amount of money in fen; four bytes big endian on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Amount(u32);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// How many bytes it has.
    pub const LENGTH: usize = 4;

    /// `fen` hundredths of a yuan.
    pub const fn from_fen(fen: u32) -> Self {
        Self(fen)
    }

    /// The number of fen.
    pub const fn fen(self) -> u32 {
        self.0
    }

    /// The sum, unless four bytes cannot hold it.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(fen) => Some(Self(fen)),
            None => None,
        }
    }

    /// The difference, unless it is below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(fen) => Some(Self(fen)),
            None => None,
        }
    }

    /// From four bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// As four bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// How far a purse may go below zero, in fen; three bytes on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OverdraftLimit(u32);

impl OverdraftLimit {
    /// No overdraft.
    pub const NONE: Self = Self(0);

    /// `fen`, unless three bytes cannot hold it.
    pub const fn from_fen(fen: u32) -> Option<Self> {
        if fen <= 0x00FF_FFFF { Some(Self(fen)) } else { None }
    }

    /// The limit in fen.
    pub const fn amount(self) -> Amount {
        Amount(self.0)
    }

    /// From three bytes.
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        let [a, b, c] = bytes;
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// As three bytes.
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }
}

macro_rules! card_counter {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(u16);

        impl $name {
            /// A counter that stands at `value`.
            pub const fn new(value: u16) -> Self {
                Self(value)
            }

            /// Where the counter stands.
            pub const fn value(self) -> u16 {
                self.0
            }

            /// The next value; `None` at the limit, where a card answers 9402.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// From two bytes.
            pub const fn from_bytes(bytes: [u8; 2]) -> Self {
                Self(u16::from_be_bytes(bytes))
            }

            /// As two bytes.
            pub const fn to_bytes(self) -> [u8; 2] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

card_counter! {
    /// The card's count of online transactions: loads, unloads, overdraft updates.
    OnlineCounter;
    /// The card's count of offline transactions: purchases, simple and composite.
    OfflineCounter;
    /// A counter value as a log record or a proof request names it: either counter, after the
    /// transaction (D-30).
    TransactionSequence;
}

impl From<OnlineCounter> for TransactionSequence {
    fn from(counter: OnlineCounter) -> Self {
        Self(counter.0)
    }
}

impl From<OfflineCounter> for TransactionSequence {
    fn from(counter: OfflineCounter) -> Self {
        Self(counter.0)
    }
}

/// A terminal's own transaction number, counted by its PSAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TerminalSequence(u32);

impl TerminalSequence {
    /// The number `value`.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The number.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The next number; `None` at the limit.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// From four bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    /// As four bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// The two bytes that go into a session key.
    pub const fn low_bytes(self) -> [u8; 2] {
        let [_, _, high, low] = self.0.to_be_bytes();
        [high, low]
    }
}

/// Which key of a role the command names (the first is 01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyIndex(pub u8);

impl KeyIndex {
    /// The first key, which every purse has.
    pub const FIRST: Self = Self(0x01);
}

/// Version of the key that the card used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyVersion(pub u8);

/// A short file identifier, 1 to 30.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sfi(u8);

impl Sfi {
    /// EF15, public application information.
    pub const PUBLIC_INFORMATION: Self = Self(0x15);
    /// EF16, the holder.
    pub const HOLDER: Self = Self(0x16);
    /// EF17, management information.
    pub const MANAGEMENT: Self = Self(0x17);
    /// EF18, the transaction log.
    pub const TRANSACTION_LOG: Self = Self(0x18);
    /// EF1A, the transit records.
    pub const TRANSIT_RECORDS: Self = Self(0x1A);
    /// EF1E, the transit history.
    pub const TRANSIT_HISTORY: Self = Self(0x1E);

    /// The identifier `value`; `None` outside 1 to 30.
    pub const fn new(value: u8) -> Option<Self> {
        if value >= 1 && value <= 30 { Some(Self(value)) } else { None }
    }

    /// Its number.
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// A record's number in its file; 1 is the newest of a cyclic file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordNumber(pub u8);

/// What a transaction did, as MACs, TACs and log records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionType {
    /// 01: load of an electronic deposit, which T-Union cards do not have.
    DepositLoad,
    /// 02: load of the purse.
    Load,
    /// 03: unload.
    Unload,
    /// 04: cash withdrawal.
    CashWithdrawal,
    /// 05: purchase from a deposit.
    DepositPurchase,
    /// 06: purchase.
    Purchase,
    /// 07: change of the overdraft limit.
    OverdraftUpdate,
    /// 09: composite purchase (CAPP).
    CompositePurchase,
    /// Any other value that a record holds, 00 of an empty one included.
    Other(u8),
}

impl From<u8> for TransactionType {
    fn from(value: u8) -> Self {
        match value {
            0x01 => Self::DepositLoad,
            0x02 => Self::Load,
            0x03 => Self::Unload,
            0x04 => Self::CashWithdrawal,
            0x05 => Self::DepositPurchase,
            0x06 => Self::Purchase,
            0x07 => Self::OverdraftUpdate,
            0x09 => Self::CompositePurchase,
            other => Self::Other(other),
        }
    }
}

impl From<TransactionType> for u8 {
    fn from(value: TransactionType) -> Self {
        match value {
            TransactionType::DepositLoad => 0x01,
            TransactionType::Load => 0x02,
            TransactionType::Unload => 0x03,
            TransactionType::CashWithdrawal => 0x04,
            TransactionType::DepositPurchase => 0x05,
            TransactionType::Purchase => 0x06,
            TransactionType::OverdraftUpdate => 0x07,
            TransactionType::CompositePurchase => 0x09,
            TransactionType::Other(other) => other,
        }
    }
}

/// A date or a time that no calendar or clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the calendar has no such date, or the day no such time")]
pub struct NotACalendarTime;

impl Date {
    /// The day of the calendar, years 0 to 9999.
    pub fn from_calendar(year: u16, month: u8, day: u8) -> Result<Self, NotACalendarTime> {
        if year > 9999 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return Err(NotACalendarTime);
        }
        Ok(Self([to_bcd((year / 100) as u8), to_bcd((year % 100) as u8), to_bcd(month), to_bcd(day)]))
    }

    /// Year, month and day; `None` when the bytes are not a date.
    pub fn calendar(self) -> Option<(u16, u8, u8)> {
        let [century, year, month, day] = self.0;
        let (year, month, day) =
            (from_bcd(&[century, year])? as u16, from_bcd(&[month])? as u8, from_bcd(&[day])? as u8);
        Self::from_calendar(year, month, day).ok().map(|_| (year, month, day))
    }
}

const fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Time {
    /// The time of day.
    pub fn from_clock(hour: u8, minute: u8, second: u8) -> Result<Self, NotACalendarTime> {
        if hour > 23 || minute > 59 || second > 59 {
            return Err(NotACalendarTime);
        }
        Ok(Self([to_bcd(hour), to_bcd(minute), to_bcd(second)]))
    }

    /// Hour, minute and second; `None` when the bytes are not a time.
    pub fn clock(self) -> Option<(u8, u8, u8)> {
        let [hour, minute, second] = self.0.map(|byte| from_bcd(&[byte]));
        let (hour, minute, second) = (hour? as u8, minute? as u8, second? as u8);
        Self::from_clock(hour, minute, second).ok().map(|_| (hour, minute, second))
    }
}

/// The date and time of a transaction, as the terminal or the host states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// The time of day.
    pub time: Time,
}

impl DateTime {
    /// How many bytes it has.
    pub const LENGTH: usize = 7;

    /// From calendar and clock.
    pub fn from_calendar(
        (year, month, day): (u16, u8, u8),
        (hour, minute, second): (u8, u8, u8),
    ) -> Result<Self, NotACalendarTime> {
        Ok(Self {
            date: Date::from_calendar(year, month, day)?,
            time: Time::from_clock(hour, minute, second)?,
        })
    }

    /// From seven bytes YYYYMMDDhhmmss.
    pub const fn from_bytes(bytes: [u8; 7]) -> Self {
        let [a, b, c, d, e, f, g] = bytes;
        Self { date: Date([a, b, c, d]), time: Time([e, f, g]) }
    }

    /// Seconds since the beginning of 1970 by the same clock, for differences; `None` when the bytes are not
    /// a date and a time.
    pub fn seconds(self) -> Option<i64> {
        let ((year, month, day), (hour, minute, second)) = (self.date.calendar()?, self.time.clock()?);
        let months: i64 = (1..month).map(|month| i64::from(days_in(year, month))).sum();
        let years = i64::from(year) - 1;
        // Days since 0001-01-01, less those up to 1970-01-01.
        let days =
            years * 365 + years / 4 - years / 100 + years / 400 + months + i64::from(day) - 1 - 719_162;
        Some(days * 86_400 + i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second))
    }

    /// As seven bytes YYYYMMDDhhmmss.
    pub const fn to_bytes(self) -> [u8; 7] {
        let ([a, b, c, d], [e, f, g]) = (self.date.0, self.time.0);
        [a, b, c, d, e, f, g]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_do_not_wrap() {
        assert_eq!(Amount::from_fen(u32::MAX).checked_add(Amount::from_fen(1)), None);
        assert_eq!(Amount::from_fen(1).checked_sub(Amount::from_fen(2)), None);
        assert_eq!(Amount::from_fen(1205).to_string(), "12.05");
    }

    #[test]
    fn counters_stop_at_their_limit() {
        assert_eq!(OnlineCounter::new(0xFFFE).next(), Some(OnlineCounter::new(0xFFFF)));
        assert_eq!(OnlineCounter::new(0xFFFF).next(), None);
        assert_eq!(TerminalSequence::new(u32::MAX).next(), None);
    }

    #[test]
    fn only_real_dates_and_times_are_made() {
        assert_eq!(Date::from_calendar(2024, 2, 29).unwrap().to_bytes(), [0x20, 0x24, 0x02, 0x29]);
        assert!(Date::from_calendar(2023, 2, 29).is_err());
        assert!(Date::from_calendar(2100, 2, 29).is_err());
        assert_eq!(Date::new([0x20, 0x24, 0x0A, 0x01]).calendar(), None);
        assert_eq!(Date::new([0x20, 0x24, 0x12, 0x29]).calendar(), Some((2024, 12, 29)));
        assert_eq!(Time::from_clock(14, 17, 40).unwrap().to_bytes(), [0x14, 0x17, 0x40]);
        assert_eq!(Time::new([0x24, 0, 0]).clock(), None);
    }

    /// Source: `date -u -d ... +%s`.
    #[test]
    fn seconds_are_those_of_the_calendar() {
        let at = |date, time| DateTime::from_calendar(date, time).unwrap().seconds();
        assert_eq!(at((1970, 1, 1), (0, 0, 0)), Some(0));
        assert_eq!(at((2024, 12, 29), (14, 17, 40)), Some(1_735_481_860));
        assert_eq!(at((2000, 2, 29), (23, 59, 59)), Some(951_868_799));
        assert_eq!(DateTime::from_bytes([0xFF; 7]).seconds(), None);
    }

    #[test]
    fn every_transaction_type_reads_back() {
        for value in 0..=u8::MAX {
            assert_eq!(u8::from(TransactionType::from(value)), value);
        }
    }
}
