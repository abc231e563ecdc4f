//! The dynamic TOKEN of a registered SE (P-5.5.2.s to u).
//!
//! The key service derives it from SEID and date and seals it for storage; here is only when it counts.
//! While a new TOKEN is being written into the SE, the record keeps both, so that a cut between the card's
//! write and our commit leaves one valid TOKEN, whichever the card has.

use serde::{Deserialize, Serialize};

use crate::bytes::HexBytes;

/// How long a TOKEN counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenValidity {
    /// Days from its date.
    pub days: u32,
}

/// A stored TOKEN: the sealed bytes and the date it was derived from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedToken {
    /// Sealed by the key service; never the TOKEN itself (P-5.5.2.t).
    pub sealed: HexBytes,
    /// The date that went into it.
    pub date: jiff::civil::Date,
}

/// The TOKENs of one SE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The TOKEN that counts.
    pub current: SealedToken,
    /// The TOKEN that is being written into the SE, before the SE has confirmed it.
    pub renewal: Option<SealedToken>,
}

/// Which of the stored TOKENs the presented one equals. The key service compares, in constant time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matched {
    /// The current one.
    Current,
    /// The one that was being written.
    Renewal,
    /// Neither.
    Neither,
}

/// What a login does with the TOKEN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenCheck {
    /// It is right and counts.
    Valid,
    /// It is right and expired: derive a new one, write it into the SE, go on.
    RenewFirst,
    /// It is wrong: refuse.
    Refused,
}

impl TokenRecord {
    /// The record of a first TOKEN.
    pub const fn new(current: SealedToken) -> Self {
        Self { current, renewal: None }
    }

    /// What a login on `today` does with a TOKEN that matched so.
    pub fn check(&self, matched: Matched, today: jiff::civil::Date, validity: TokenValidity) -> TokenCheck {
        let date = match (matched, &self.renewal) {
            (Matched::Current, _) => self.current.date,
            (Matched::Renewal, Some(renewal)) => renewal.date,
            (Matched::Renewal, None) | (Matched::Neither, _) => return TokenCheck::Refused,
        };
        let age = date.until(today).map_or(i64::MAX, |span| i64::from(span.get_days()));
        if age > i64::from(validity.days) { TokenCheck::RenewFirst } else { TokenCheck::Valid }
    }

    /// A new TOKEN is about to be written into the SE.
    pub fn renewing(self, renewal: SealedToken) -> Self {
        Self { renewal: Some(renewal), ..self }
    }

    /// The SE presented or confirmed this one: it alone counts from now on.
    pub fn confirmed(self, matched: Matched) -> Self {
        match (matched, self.renewal) {
            (Matched::Renewal, Some(renewal)) => Self::new(renewal),
            (Matched::Current, _) => Self::new(self.current),
            (Matched::Renewal | Matched::Neither, renewal) => Self { current: self.current, renewal },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(byte: u8, date: &str) -> SealedToken {
        SealedToken { sealed: HexBytes(vec![byte; 16]), date: date.parse().unwrap() }
    }

    const VALIDITY: TokenValidity = TokenValidity { days: 30 };

    /// Expired and right is renewed; expired and wrong is refused.
    #[test]
    fn validity_and_renewal() {
        let record = TokenRecord::new(token(1, "2026-01-01"));
        let rows = [
            (Matched::Current, "2026-01-01", TokenCheck::Valid),
            (Matched::Current, "2026-01-31", TokenCheck::Valid),
            (Matched::Current, "2026-02-01", TokenCheck::RenewFirst),
            (Matched::Neither, "2026-01-01", TokenCheck::Refused),
            (Matched::Neither, "2026-02-01", TokenCheck::Refused),
            (Matched::Renewal, "2026-01-01", TokenCheck::Refused),
        ];
        for (matched, today, expected) in rows {
            assert_eq!(
                record.check(matched, today.parse().unwrap(), VALIDITY),
                expected,
                "{matched:?} {today}"
            );
        }
    }

    /// A power cut between the SE's write and our commit leaves one valid TOKEN.
    #[test]
    fn a_cut_while_renewing_leaves_one_valid_token() {
        let renewing = TokenRecord::new(token(1, "2026-01-01")).renewing(token(2, "2026-02-10"));
        let today = "2026-02-10".parse().unwrap();
        assert_eq!(
            renewing.check(Matched::Current, today, VALIDITY),
            TokenCheck::RenewFirst,
            "the SE has the old"
        );
        assert_eq!(
            renewing.check(Matched::Renewal, today, VALIDITY),
            TokenCheck::Valid,
            "the SE has the new"
        );
        let settled = renewing.clone().confirmed(Matched::Renewal);
        assert_eq!(settled, TokenRecord::new(token(2, "2026-02-10")));
        assert_eq!(settled.check(Matched::Renewal, today, VALIDITY), TokenCheck::Refused);
        assert_eq!(renewing.confirmed(Matched::Current), TokenRecord::new(token(1, "2026-01-01")));
    }
}
