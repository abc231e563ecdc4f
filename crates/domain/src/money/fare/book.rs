//! The versions of an operator's fare table: which one is in force when.
//!
//! A version is announced by its head, and held once its table is there. The highest version whose time has come
//! is in force; an older one never comes back, not even when the newer one has ended. So a terminal that has
//! heard of a version and does not hold it when its time comes knows that its fares are out of date.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::FareTable;
use crate::bytes::Sha256Digest;

/// What is known of a version before its table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareHead {
    /// The version.
    pub version: u32,
    /// From when on it is in force.
    pub valid_from: Timestamp,
    /// Until when; without it until a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// SHA-256 of the table's text.
    pub digest: Sha256Digest,
}

/// Why a version does not go into a book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareBookError {
    /// The version is known with another content or another time.
    #[error("version {0} of the fare table is known otherwise")]
    Otherwise(u32),
    /// The order of versions is the order of their times.
    #[error("version {later} of the fare table is in force before version {earlier}")]
    Order {
        /// The lower version.
        earlier: u32,
        /// The higher one.
        later: u32,
    },
    /// It ends before it begins.
    #[error("version {0} of the fare table ends before it begins")]
    EndsFirst(u32),
    /// The table is of another version than its head.
    #[error("the fare table is of version {table}, and its head says {head}")]
    Version {
        /// The head's.
        head: u32,
        /// The table's.
        table: u32,
    },
}

/// The fares at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaresAt<'a> {
    /// No version's time has come.
    Nothing,
    /// This table.
    InForce(&'a FareTable),
    /// The version that is due has ended, or its table is not there.
    OutOfDate {
        /// The version.
        due: u32,
        /// The last table that was in force and is there.
        last: Option<&'a FareTable>,
    },
}

/// An operator's versions, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FareBook {
    heads: BTreeMap<u32, FareHead>,
    tables: BTreeMap<u32, FareTable>,
}

impl FareHead {
    /// Whether its time has come, and not ended.
    pub fn is_in_force(&self, at: Timestamp) -> bool {
        self.valid_from <= at && self.valid_until.is_none_or(|until| at < until)
    }

    /// Whether this head may stand beside another one of the same operator.
    pub fn fits(&self, other: &Self) -> Result<(), FareBookError> {
        if self.valid_until.is_some_and(|until| until <= self.valid_from) {
            return Err(FareBookError::EndsFirst(self.version));
        }
        let (earlier, later) = if self.version < other.version { (self, other) } else { (other, self) };
        if self.version == other.version {
            return if self == other { Ok(()) } else { Err(FareBookError::Otherwise(self.version)) };
        }
        if earlier.valid_from <= later.valid_from {
            Ok(())
        } else {
            Err(FareBookError::Order { earlier: earlier.version, later: later.version })
        }
    }
}

impl FareBook {
    /// Takes a head. The same one again changes nothing.
    pub fn announce(&mut self, head: FareHead) -> Result<(), FareBookError> {
        head.fits(&head)?;
        for known in self.heads.values() {
            head.fits(known)?;
        }
        self.heads.insert(head.version, head);
        Ok(())
    }

    /// Takes a head with its table.
    pub fn hold(&mut self, head: FareHead, table: FareTable) -> Result<(), FareBookError> {
        if table.version() != head.version {
            return Err(FareBookError::Version { head: head.version, table: table.version() });
        }
        self.announce(head)?;
        self.tables.insert(head.version, table);
        Ok(())
    }

    /// The fares at a moment.
    pub fn at(&self, at: Timestamp) -> FaresAt<'_> {
        let Some(due) = self.heads.values().rev().find(|head| head.valid_from <= at) else {
            return FaresAt::Nothing;
        };
        match self.tables.get(&due.version) {
            Some(table) if due.is_in_force(at) => FaresAt::InForce(table),
            held => {
                let before = || self.tables.range(..due.version).next_back().map(|(_, table)| table);
                FaresAt::OutOfDate { due: due.version, last: held.or_else(before) }
            }
        }
    }

    /// The versions that are announced, in force now or later, and not held.
    pub fn wanted(&self, at: Timestamp) -> Vec<u32> {
        let first = self.due(at).unwrap_or(0);
        let missing = |version: &&u32| !self.tables.contains_key(version);
        self.heads.range(first..).map(|(version, _)| version).filter(missing).copied().collect()
    }

    /// The version whose time has come, held or not.
    pub fn due(&self, at: Timestamp) -> Option<u32> {
        self.heads.values().rev().find(|head| head.valid_from <= at).map(|head| head.version)
    }

    /// The highest version that is held; 0 for none.
    pub fn highest_held(&self) -> u32 {
        self.tables.keys().next_back().copied().unwrap_or(0)
    }

    /// Every version that is known, in order.
    pub fn heads(&self) -> impl Iterator<Item = &FareHead> {
        self.heads.values()
    }

    /// The table of a version, if it is held.
    pub fn table(&self, version: u32) -> Option<&FareTable> {
        self.tables.get(&version)
    }

    /// Forgets what ended before the version that is in force. The one before that stays: a clock may be set back,
    /// and until the next one is there somebody has to be let out.
    pub fn forget_before(&mut self, at: Timestamp) {
        let Some(due) = self.due(at) else { return };
        let keep = self.tables.range(..due).next_back().map_or(due, |(version, _)| *version);
        self.heads.retain(|version, _| *version >= keep);
        self.tables.retain(|version, _| *version >= keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::Fen;
    use crate::money::fare::FareRule;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn table(version: u32) -> FareTable {
        FareTable::new(version, FareRule::Flat(Fen::new(100 * u64::from(version)))).unwrap()
    }

    fn head(version: u32, from: &str, until: Option<&str>) -> FareHead {
        let digest = Sha256Digest([version as u8; 32]);
        FareHead { version, valid_from: at(from), valid_until: until.map(at), digest }
    }

    #[test]
    fn each_version_is_in_force_from_its_own_time_on() {
        let mut book = FareBook::default();
        let [may, june, july] = ["2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"];
        assert_eq!(book.at(at(may)), FaresAt::Nothing);
        book.hold(head(1, may, None), table(1)).unwrap();
        book.hold(head(2, june, Some(july)), table(2)).unwrap();
        assert_eq!(book.at(at("2026-04-30T23:59:59Z")), FaresAt::Nothing);
        assert_eq!(book.at(at(may)), FaresAt::InForce(&table(1)));
        assert_eq!(
            book.at(at("2026-05-31T23:59:59Z")),
            FaresAt::InForce(&table(1)),
            "the old one until then"
        );
        assert_eq!(book.at(at(june)), FaresAt::InForce(&table(2)));
        let ended = FaresAt::OutOfDate { due: 2, last: Some(&table(2)) };
        assert_eq!(book.at(at(july)), ended, "the first one does not come back");
        // A version that is announced and was never fetched is known to be missing.
        book.announce(head(3, july, None)).unwrap();
        assert_eq!(book.wanted(at(june)), [3]);
        assert_eq!(book.at(at(july)), FaresAt::OutOfDate { due: 3, last: Some(&table(2)) });
        book.hold(head(3, july, None), table(3)).unwrap();
        assert_eq!((book.at(at(july)), book.wanted(at(july))), (FaresAt::InForce(&table(3)), vec![]));
        book.forget_before(at(july));
        assert_eq!(book.heads().map(|head| head.version).collect::<Vec<_>>(), [2, 3]);
        let text = serde_json::to_string(&book).unwrap();
        assert_eq!(serde_json::from_str::<FareBook>(&text).unwrap(), book);
    }

    #[test]
    fn a_version_is_one_thing_and_in_order() {
        let mut book = FareBook::default();
        let [may, june] = ["2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"];
        book.hold(head(5, june, None), table(5)).unwrap();
        book.announce(head(5, june, None)).unwrap();
        let other = FareHead { digest: Sha256Digest([9; 32]), ..head(5, june, None) };
        assert_eq!(book.announce(other), Err(FareBookError::Otherwise(5)));
        assert_eq!(book.announce(head(5, may, None)), Err(FareBookError::Otherwise(5)));
        assert_eq!(book.announce(head(6, may, None)), Err(FareBookError::Order { earlier: 5, later: 6 }));
        assert_eq!(book.announce(head(7, june, Some(may))), Err(FareBookError::EndsFirst(7)));
        let wrong = book.hold(head(8, june, None), table(7));
        assert_eq!(wrong, Err(FareBookError::Version { head: 8, table: 7 }));
        assert_eq!(book.highest_held(), 5);
    }
}
