//! What a fare depends on that the card carries: its kind and validity, and what it has done before.

use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use super::Trip;
use crate::amount::Fen;

/// What a fare depends on of the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardState {
    /// For whom the card is, byte 10 of EF17.
    pub kind: u8,
    /// From when to when the card is valid (EF15).
    pub validity: Validity,
    /// What was spent in a month.
    pub month: Option<MonthSpent>,
    /// What was spent on a day.
    pub day: Option<DaySpent>,
    /// The last ride that was paid.
    pub last_ride: Option<LastRide>,
}

/// From when to when, both days included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub until: Date,
}

/// What was spent in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthSpent {
    /// The year.
    pub year: i16,
    /// The month.
    pub month: i8,
    /// How much.
    pub spent: Fen,
    /// In how many rides.
    pub rides: u16,
}

/// What was spent on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaySpent {
    /// The day.
    pub day: Date,
    /// How much.
    pub spent: Fen,
}

/// The last ride that was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRide {
    /// Its industry.
    pub industry: u8,
    /// When it was paid.
    pub at: DateTime,
    /// Whether it was itself cheaper because of a transfer.
    pub by_transfer: bool,
}

impl Validity {
    /// Whether a day is within.
    pub fn includes(&self, day: Date) -> bool {
        (self.from..=self.until).contains(&day)
    }
}

impl CardState {
    /// A card that has done nothing yet.
    pub const fn new(kind: u8, validity: Validity) -> Self {
        Self { kind, validity, month: None, day: None, last_ride: None }
    }

    /// What was spent in the month of `today`.
    pub fn spent_in_month(&self, today: Date) -> Fen {
        self.this_month(today).map_or(Fen::ZERO, |month| month.spent)
    }

    /// How many rides there were in the month of `today`.
    pub fn rides_in_month(&self, today: Date) -> u16 {
        self.this_month(today).map_or(0, |month| month.rides)
    }

    /// What was spent on `today`.
    pub fn spent_on(&self, today: Date) -> Fen {
        self.day.filter(|day| day.day == today).map_or(Fen::ZERO, |day| day.spent)
    }

    fn this_month(&self, today: Date) -> Option<MonthSpent> {
        self.month.filter(|month| (month.year, month.month) == (today.year(), today.month()))
    }

    /// The state after a ride.
    pub(super) fn after(&self, trip: &Trip, paid: Fen, by_transfer: bool) -> Self {
        let today = trip.at.date();
        let add = |before: Fen| Fen::new(before.get().saturating_add(paid.get()));
        let month = MonthSpent {
            year: today.year(),
            month: today.month(),
            spent: add(self.spent_in_month(today)),
            rides: self.rides_in_month(today).saturating_add(1),
        };
        let day = DaySpent { day: today, spent: add(self.spent_on(today)) };
        let last_ride = LastRide { industry: trip.industry, at: trip.at, by_transfer };
        Self { month: Some(month), day: Some(day), last_ride: Some(last_ride), ..*self }
    }
}
