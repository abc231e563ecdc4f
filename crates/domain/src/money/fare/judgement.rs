//! Whether what a terminal charged is what the fare table says, worked out once more by somebody who was not there.
//!
//! What cannot be proven is not guessed: where it decides, the ride is not judged. Where it only leaves several
//! amounts possible, each of them is right.

use super::{CardState, Fare, FareTable, Trip, Validity};
use crate::amount::Fen;
use jiff::civil::Date;

/// A ride that was charged, and what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Charged<'a> {
    /// What was charged.
    pub amount: Fen,
    /// What the ride may have been, likeliest first; never empty.
    pub trips: &'a [Trip],
    /// The table in force.
    pub in_force: &'a FareTable,
    /// Older tables that the terminal may still have used.
    pub older: &'a [&'a FareTable],
    /// What the card had done before.
    pub before: &'a Before,
}

/// What a card had done before a ride, as far as it can be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// Its state, for each kind of card that it may be; never empty.
    Known(Vec<CardState>),
    /// It cannot be proven.
    Unknown,
}

/// What a judgement came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// The amount is one that the tables allow.
    Right,
    /// More than the table in force says, which is this.
    Dearer(Fare),
    /// Less than the table in force says, which is this.
    Cheaper(Fare),
    /// What the judgement needs is not known.
    Not(NotJudged),
}

/// Why a ride was not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotJudged {
    /// No table that the centre has published was in force, or the terminal may still have used one that it was
    /// installed with.
    NoTable,
    /// A transaction of the card between entry and exit is missing, or its terminal's place is not known.
    NoEntry,
    /// The table in force does not know a station.
    UnknownStation,
    /// The fare depends on what the card did before, and that is not proven.
    Totals,
}

impl Charged<'_> {
    /// Judges the ride.
    pub fn judge(&self) -> Judged {
        let ordinary = CardState::of_kind(self.ordinary());
        let Some(trip) = self.trips.first() else { return Judged::Not(NotJudged::NoEntry) };
        let Ok(plain) = self.in_force.fare(trip, &ordinary) else {
            return Judged::Not(NotJudged::UnknownStation);
        };
        let states = match self.before {
            Before::Known(states) => states.clone(),
            Before::Unknown if self.tables().any(FareTable::needs_totals) => {
                // No discount raises a fare: what is more than the undiscounted price is wrong in any case.
                let undiscounted = [ordinary];
                return if self.possible(&undiscounted).all(|fare| self.amount > fare.amount) {
                    Judged::Dearer(plain)
                } else {
                    Judged::Not(NotJudged::Totals)
                };
            }
            Before::Unknown => self.kinds().into_iter().map(CardState::of_kind).collect(),
        };
        if self.possible(&states).any(|fare| fare.amount == self.amount) {
            return Judged::Right;
        }
        let expected = states.first().and_then(|state| self.in_force.fare(trip, state).ok()).unwrap_or(plain);
        if self.amount > expected.amount { Judged::Dearer(expected) } else { Judged::Cheaper(expected) }
    }

    /// The kinds of card that the tables tell apart, an ordinary one first.
    pub fn kinds(&self) -> Vec<u8> {
        let mut kinds = vec![self.ordinary()];
        kinds.extend(self.tables().flat_map(FareTable::kinds));
        kinds
    }

    /// A kind that no table mentions.
    fn ordinary(&self) -> u8 {
        let mentioned: Vec<_> = self.tables().flat_map(FareTable::kinds).collect();
        (0..=u8::MAX).find(|kind| !mentioned.contains(kind)).unwrap_or_default()
    }

    fn tables(&self) -> impl Iterator<Item = &FareTable> {
        std::iter::once(self.in_force).chain(self.older.iter().copied())
    }

    fn possible<'a>(&'a self, states: &'a [CardState]) -> impl Iterator<Item = Fare> + 'a {
        let of_table = move |table: &'a FareTable| {
            let of_trip = move |trip| states.iter().filter_map(move |state| table.fare(trip, state).ok());
            self.trips.iter().flat_map(of_trip)
        };
        self.tables().flat_map(of_table)
    }
}

impl FareTable {
    /// The kinds of card that ride for nothing or for less.
    pub fn kinds(&self) -> impl Iterator<Item = u8> + '_ {
        let rules = self.rules();
        let passes = rules.passes.iter().map(|pass| pass.kind);
        passes.chain(rules.concessions.iter().map(|concession| concession.kind))
    }

    /// Whether a ride may be charged with nothing: then a transaction of nothing need not be an entry.
    pub fn may_be_free(&self) -> bool {
        let discounts = self.needs_kind() || self.needs_totals();
        discounts || self.rules().rule.lowest().is_zero()
    }
}

impl CardState {
    /// A card of a kind that is valid and of which nothing else is known.
    pub const fn of_kind(kind: u8) -> Self {
        Self::new(kind, Validity { from: Date::MIN, until: Date::MAX })
    }
}
