//! Fares as data: what a journey costs a card, and why.
//!
//! A [`FareTable`] is validated when it is made or read, and versioned, so that a terminal's transactions can
//! be priced again. Its function [`FareTable::fare`] is pure: the journey and what the card holds decide,
//! nothing else. The steps run in a fixed order, and each is told in the answer:
//!
//! ```text
//! base (flat, distance or zones; the highest without an entry; more after a stay too long)
//!   -> pass        nothing to pay, and the end of it
//!   -> concession  per cent for students, seniors and others
//!   -> transfer    less after a ride not long ago
//!   -> month       per cent by what was spent in the month before this ride
//!   -> day         never more in a day than the cap
//! ```
//!
//! What it never does: read a clock, or let a discount raise a fare.

mod book;
mod card_state;
mod describe;
mod judgement;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use book::{FareBook, FareBookError, FareHead, FaresAt};
pub use card_state::{CardState, DaySpent, LastRide, MonthSpent, Validity};
pub use judgement::{Before, Charged, Judged, NotJudged};
pub use rules::{
    Combination, Concession, Discount, DistanceBand, FareRule, FareRules, MonthStep, Overlong, Pass, Percent,
    StationId, TransferDiscount, ZoneId, ZonePrice,
};
pub use table::{FareTable, FareTableError};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::amount::Fen;

/// A journey that is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// The industry's number, as the transit records have it: 1 metro, 2 bus.
    pub industry: u8,
    /// From where to where.
    pub journey: Journey,
    /// When it is paid.
    pub at: DateTime,
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Journey {
    /// Paid on boarding, wherever it goes.
    Boarding,
    /// Between two stations.
    Between {
        /// Where it began.
        entry: StationId,
        /// Where it ended.
        exit: StationId,
        /// When it began, if the card says so.
        entered_at: Option<DateTime>,
    },
    /// The card does not say where it began.
    EntryUnknown {
        /// Where it ended.
        exit: StationId,
    },
}

/// What a journey costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fare {
    /// The amount.
    pub amount: Fen,
    /// How it came about: each step with the amount after it; the last has the amount to pay.
    pub why: Vec<FareStep>,
}

/// One step on the way to a fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareStep {
    /// The rule.
    pub reason: FareReason,
    /// The amount after it.
    pub amount: Fen,
}

/// A rule that made a fare what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FareReason {
    /// One price for all.
    Flat,
    /// By the distance.
    Distance {
        /// Between the two stations.
        metres: u32,
    },
    /// By the zones.
    Zones {
        /// Of the entry.
        from: ZoneId,
        /// Of the exit.
        to: ZoneId,
    },
    /// The highest fare: the card does not say where the journey began.
    EntryUnknown,
    /// The highest fare: the journey is not between stations.
    NoStations,
    /// The stay was too long.
    Overlong {
        /// How long.
        minutes: u32,
    },
    /// A pass.
    Pass {
        /// The card kind.
        kind: u8,
    },
    /// A concession.
    Concession {
        /// The card kind.
        kind: u8,
        /// What is left to pay.
        percent: Percent,
    },
    /// A transfer from another ride.
    Transfer {
        /// The industry of the ride before.
        from: u8,
        /// How long ago it was paid.
        minutes: u32,
    },
    /// The discount of the month.
    Month {
        /// What was spent in the month before this ride.
        spent: Fen,
        /// What is left to pay.
        percent: Percent,
    },
    /// The cap of the day.
    DayCap {
        /// The cap.
        cap: Fen,
    },
}

/// Why a journey has no fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareError {
    /// The station is not in the table.
    #[error("station {} is not in the fare table", .0.0)]
    UnknownStation(StationId),
}

impl FareTable {
    /// What `trip` costs `card`.
    pub fn fare(&self, trip: &Trip, card: &CardState) -> Result<Fare, FareError> {
        let mut fare = self.base(trip)?;
        let rules = self.rules();
        let today = trip.at.date();
        if let Some(pass) = rules.passes.iter().find(|pass| pass.holds(card, today)) {
            fare.step(FareReason::Pass { kind: pass.kind }, Fen::ZERO);
            return Ok(fare);
        }
        if let Some(concession) = rules.concessions.iter().find(|rule| rule.holds(card, today)) {
            let percent = concession.percent;
            fare.step(FareReason::Concession { kind: concession.kind, percent }, percent.of(fare.amount));
            if concession.combination == Combination::Alone {
                self.cap_day(&mut fare, card, today);
                return Ok(fare);
            }
        }
        if let Some((rule, from, minutes)) = self.transfer(trip, card) {
            fare.step(FareReason::Transfer { from, minutes }, rule.discount.of(fare.amount));
        }
        let spent = card.spent_in_month(today);
        if let Some(step) = rules.month_steps.iter().rev().find(|step| step.from <= spent) {
            let percent = step.percent;
            if percent != Percent::WHOLE {
                fare.step(FareReason::Month { spent, percent }, percent.of(fare.amount));
            }
        }
        self.cap_day(&mut fare, card, today);
        Ok(fare)
    }

    /// What the card holds after `trip` was paid with `fare`.
    pub fn after(&self, trip: &Trip, fare: &Fare, card: &CardState) -> CardState {
        let by_transfer = fare.why.iter().any(|step| matches!(step.reason, FareReason::Transfer { .. }));
        card.after(trip, fare.amount, by_transfer)
    }

    /// Whether the fare depends on what the card has done before, so that its totals must be kept.
    pub fn needs_totals(&self) -> bool {
        let rules = self.rules();
        let counted = rules.passes.iter().any(|pass| pass.rides_per_month.is_some());
        !rules.transfers.is_empty() || !rules.month_steps.is_empty() || rules.day_cap.is_some() || counted
    }

    /// Whether the fare depends on the card's kind.
    pub fn needs_kind(&self) -> bool {
        !self.rules().passes.is_empty() || !self.rules().concessions.is_empty()
    }

    /// Whether the card rides for nothing on `today`, however often it has ridden.
    pub fn is_free_for(&self, card: &CardState, today: jiff::civil::Date) -> bool {
        let rules = self.rules();
        let pass = rules.passes.iter().any(|pass| pass.rides_per_month.is_none() && pass.holds(card, today));
        let free = Percent::new(0);
        pass || rules.concessions.iter().any(|rule| Some(rule.percent) == free && rule.holds(card, today))
    }

    fn base(&self, trip: &Trip) -> Result<Fare, FareError> {
        let (entry, exit, entered_at) = match trip.journey {
            Journey::Between { entry, exit, entered_at } => (entry, exit, entered_at),
            Journey::Boarding => return Ok(self.boarding()),
            Journey::EntryUnknown { exit } => {
                self.rules().rule.knows(exit)?;
                return Ok(Fare::begin(FareReason::EntryUnknown, self.highest()));
            }
        };
        let mut fare = self.rules().rule.between(entry, exit)?;
        let stay = entered_at.and_then(|entered| minutes_between(entered, trip.at));
        if let (Some(rule), Some(minutes)) = (&self.rules().overlong, stay)
            && minutes > rule.after_min
        {
            let amount = match rule.surcharge {
                Some(surcharge) => fare.amount.checked_add(surcharge).unwrap_or(fare.amount),
                None => self.highest().max(fare.amount),
            };
            fare.step(FareReason::Overlong { minutes }, amount);
        }
        Ok(fare)
    }

    fn boarding(&self) -> Fare {
        match &self.rules().rule {
            FareRule::Flat(price) => Fare::begin(FareReason::Flat, *price),
            FareRule::Distance { .. } | FareRule::Zones { .. } => {
                Fare::begin(FareReason::NoStations, self.highest())
            }
        }
    }

    fn transfer(&self, trip: &Trip, card: &CardState) -> Option<(&TransferDiscount, u8, u32)> {
        // A ride that was itself cheaper for a transfer grants no further one.
        let last = card.last_ride.filter(|last| !last.by_transfer)?;
        let minutes = minutes_between(last.at, trip.at)?;
        let rules = &self.rules().transfers;
        let rule = rules.iter().find(|rule| {
            rule.from == last.industry && rule.to == trip.industry && minutes <= rule.within_min
        })?;
        Some((rule, last.industry, minutes))
    }

    fn cap_day(&self, fare: &mut Fare, card: &CardState, today: jiff::civil::Date) {
        let Some(cap) = self.rules().day_cap else { return };
        let left = cap.checked_sub(card.spent_on(today)).unwrap_or(Fen::ZERO);
        if fare.amount > left {
            fare.step(FareReason::DayCap { cap }, left);
        }
    }
}

impl Fare {
    fn begin(reason: FareReason, amount: Fen) -> Self {
        Self { amount, why: vec![FareStep { reason, amount }] }
    }

    fn step(&mut self, reason: FareReason, amount: Fen) {
        self.amount = amount;
        self.why.push(FareStep { reason, amount });
    }
}

/// Whole minutes from `earlier` to `later`; none when a clock has gone back in between.
fn minutes_between(earlier: DateTime, later: DateTime) -> Option<u32> {
    let seconds = later.duration_since(earlier).as_secs();
    u32::try_from(seconds.checked_div(60)?).ok().filter(|_| seconds >= 0)
}
