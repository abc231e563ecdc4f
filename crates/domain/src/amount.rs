//! Money and the purse's counters.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// An amount of money in fen, never negative. Arithmetic is checked: money does not wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fen(u64);

impl Fen {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount the four-byte amount field of the purse can carry.
    pub const PURSE_MAXIMUM: Self = Self(u32::MAX as u64);

    /// This many fen.
    pub const fn new(fen: u64) -> Self {
        Self(fen)
    }

    /// The number of fen.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether there is no money.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it is too large to write down.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, unless it would be negative.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The amount as the purse writes it: four bytes, big endian; `None` when it does not fit.
    pub fn to_purse(self) -> Option<[u8; 4]> {
        u32::try_from(self.0).ok().map(u32::to_be_bytes)
    }

    /// The amount that four bytes of the purse say.
    pub const fn from_purse(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes) as u64)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Sum for Fen {
    /// The sum, which stays at the largest value rather than wrap around.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u16);

        impl $name {
            /// The counter after one more transaction, or `None` at its limit (status word 9402).
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(next) => Some(Self(next)),
                    None => None,
                }
            }

            /// The two bytes, big endian, as the card writes them.
            pub const fn to_bytes(self) -> [u8; 2] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// The purse's online transaction counter, which every committed load raises by one.
    OnlineCounter
}
counter! {
    /// The purse's offline transaction counter, which every committed purchase raises by one.
    OfflineCounter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_written_in_yuan_and_never_wraps() {
        assert_eq!(Fen::new(12_305).to_string(), "123.05");
        assert_eq!(Fen::new(1).checked_sub(Fen::new(2)), None);
        assert_eq!(Fen::new(u64::MAX).checked_add(Fen::new(1)), None);
        assert_eq!([Fen::new(3), Fen::new(4)].into_iter().sum::<Fen>(), Fen::new(7));
        assert_eq!(Fen::from_purse([0, 0, 1, 0xF4]), Fen::new(500));
        assert_eq!(Fen::PURSE_MAXIMUM.to_purse(), Some([0xFF; 4]));
        assert_eq!(Fen::new(1 << 32).to_purse(), None);
    }

    #[test]
    fn a_counter_stops_at_its_limit() {
        assert_eq!(OnlineCounter(7).next(), Some(OnlineCounter(8)));
        assert_eq!(OfflineCounter(u16::MAX).next(), None);
    }
}
