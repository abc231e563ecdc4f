//! The fare tables that the centre distributes, as a terminal keeps them.
//!
//! A terminal learns the signed heads of the versions at its status call, fetches the tables that it does not hold,
//! and switches when a version's time comes, online or not; until then the old table stays in force. When the
//! version that is due has ended, or never arrived, the terminal's fares are out of date: it lets nobody in, and
//! whoever is inside gets out for what the last table says. Before the first version's time the table that the
//! terminal was installed with is in force.

use jiff::Timestamp;
use tsm_api::{
    clearing::fares::{FaresError, PublishedFares, SignedFares},
    signature::MessageVerifier,
};
use tsm_domain::money::fare::{FareBook, FareTable, FaresAt};
use tsm_epurse::DateTime;

use crate::{
    clock,
    psam::CardKeys,
    store::{StoreError, TerminalStore},
    terminal::Terminal,
};

/// An operator's versions in one of its terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CentreFares {
    /// The operator, whose versions alone are taken.
    pub operator: String,
    /// The versions.
    pub book: FareBook,
}

/// Why a version is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FaresUpdateError {
    /// The terminal takes no fares from the centre.
    #[error("the terminal takes no fares from the centre")]
    NotOfTheCentre,
    /// It is not the centre's, or does not fit.
    #[error(transparent)]
    Fares(#[from] FaresError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The fares for a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due<'a> {
    /// This table is in force.
    InForce(&'a FareTable),
    /// The version that is due has ended or is not here.
    OutOfDate {
        /// The version.
        due: u32,
        /// What whoever is inside pays.
        last: &'a FareTable,
    },
}

impl<K: CardKeys, S: TerminalStore> Terminal<K, S> {
    /// The same terminal with the fares that its store kept.
    #[must_use]
    pub fn with_fares(mut self, fares: CentreFares) -> Self {
        self.fares = Some(fares);
        self
    }

    /// The versions of the fare table that the terminal knows.
    pub fn fare_book(&self) -> Option<&FareBook> {
        self.fares.as_ref().map(|fares| &fares.book)
    }

    /// The version that is in use at a moment; 0 when it is the one that the terminal was installed with, or when its
    /// fares are out of date.
    pub fn fare_version(&self, at: Timestamp) -> u32 {
        match self.fare_book().map(|book| book.at(at)) {
            Some(FaresAt::InForce(table)) => table.version(),
            Some(FaresAt::Nothing | FaresAt::OutOfDate { .. }) | None => 0,
        }
    }

    /// Takes the heads that the centre told, durably, and says which tables are to be fetched.
    pub fn announce_fares(
        &mut self,
        heads: &[SignedFares],
        centre: &MessageVerifier,
        now: Timestamp,
    ) -> Result<Vec<u32>, FaresUpdateError> {
        let mut fares = self.fares.clone().ok_or(FaresUpdateError::NotOfTheCentre)?;
        for head in heads {
            let head = head.verify(&fares.operator, centre)?;
            fares.book.announce(head).map_err(FaresError::from)?;
        }
        let wanted = fares.book.wanted(now);
        self.keep_fares(fares, now)?;
        Ok(wanted)
    }

    /// Takes a table that the centre signed, durably.
    pub fn take_fares(
        &mut self,
        published: &PublishedFares,
        centre: &MessageVerifier,
        now: Timestamp,
    ) -> Result<(), FaresUpdateError> {
        let mut fares = self.fares.clone().ok_or(FaresUpdateError::NotOfTheCentre)?;
        let (head, table) = published.verify(&fares.operator, centre)?;
        fares.book.hold(head, table).map_err(FaresError::from)?;
        Ok(self.keep_fares(fares, now)?)
    }

    fn keep_fares(&mut self, mut fares: CentreFares, now: Timestamp) -> Result<(), StoreError> {
        fares.book.forget_before(now);
        if self.fares.as_ref() != Some(&fares) {
            self.keep(|store| store.keep_fares(&fares.book))?;
            self.fares = Some(fares);
        }
        Ok(())
    }

    /// The fares for a tap, at a terminal that was installed with a table.
    pub(crate) fn fares_due<'a>(&'a self, installed: &'a FareTable, at: DateTime) -> Due<'a> {
        let (Some(book), Some(now)) = (self.fare_book(), clock::moment(at)) else {
            return Due::InForce(installed);
        };
        match book.at(now) {
            FaresAt::Nothing => Due::InForce(installed),
            FaresAt::InForce(table) => Due::InForce(table),
            FaresAt::OutOfDate { due, last } => Due::OutOfDate { due, last: last.unwrap_or(installed) },
        }
    }
}
