//! What a fare table says, as data.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{CardState, Fare, FareError, FareReason};
use crate::amount::Fen;

/// A station's number, two bytes in the transit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StationId(pub u16);

/// A fare zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ZoneId(pub u8);

/// What of an amount is left to pay, in per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(u8);

impl Percent {
    /// All of it.
    pub const WHOLE: Self = Self(100);

    /// So many per cent, at most a hundred.
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// So much of `amount`, what is less than a fen left out.
    pub fn of(self, amount: Fen) -> Fen {
        let part = u128::from(amount.get()) * u128::from(self.0.min(100)) / 100;
        Fen::new(u64::try_from(part).unwrap_or(amount.get()))
    }
}

/// All that a fare table says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FareRules {
    /// The version, which terminals report with their transactions.
    pub version: u32,
    /// The price of a journey before any discount.
    pub rule: FareRule,
    /// What a stay too long costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlong: Option<Overlong>,
    /// Who rides with a pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passes: Vec<Pass>,
    /// Who rides for less.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concessions: Vec<Concession>,
    /// What is less after another ride.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<TransferDiscount>,
    /// What is less, or whole again, by what the month has cost so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub month_steps: Vec<MonthStep>,
    /// The most that a day costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day_cap: Option<Fen>,
}

impl FareRules {
    /// A price without any discount.
    pub const fn plain(version: u32, rule: FareRule) -> Self {
        Self {
            version,
            rule,
            overlong: None,
            passes: Vec::new(),
            concessions: Vec::new(),
            transfers: Vec::new(),
            month_steps: Vec::new(),
            day_cap: None,
        }
    }
}

/// How the price of a journey is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FareRule {
    /// One price, whatever the journey.
    Flat(Fen),
    /// A price by the metres between entry and exit.
    Distance {
        /// Each station's place along the line, in metres from its beginning.
        positions_m: BTreeMap<StationId, u32>,
        /// Rising: up to so many metres, this price.
        bands: Vec<DistanceBand>,
        /// What a journey without a known entry costs.
        maximum: Fen,
    },
    /// A price by the zones of entry and exit, the same in both directions.
    Zones {
        /// Each station's zone.
        zones: BTreeMap<StationId, ZoneId>,
        /// The price between each two zones, and within each.
        prices: Vec<ZonePrice>,
        /// What a journey without a known entry costs.
        maximum: Fen,
    },
}

/// One band of a distance fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistanceBand {
    /// The band reaches up to and including so many metres.
    pub up_to_m: u32,
    /// Its price.
    pub price: Fen,
}

/// The price between two zones, or within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZonePrice {
    /// One zone.
    pub from: ZoneId,
    /// The other.
    pub to: ZoneId,
    /// The price.
    pub price: Fen,
}

/// A stay too long between entry and exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlong {
    /// Longer than so many minutes.
    pub after_min: u32,
    /// Added to the price; without it the highest price is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surcharge: Option<Fen>,
}

/// Cards of a kind ride without paying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// The card kind, byte 10 of EF17: 11 month, 14 season, 15 year.
    pub kind: u8,
    /// How many rides of a month it covers; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rides_per_month: Option<u16>,
    /// The last day on which it holds, whatever the card says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// Cards of a kind ride for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Concession {
    /// The card kind, byte 10 of EF17: 02 student, 03 elder.
    pub kind: u8,
    /// What is left to pay.
    pub percent: Percent,
    /// Whether the other discounts come on top.
    #[serde(default)]
    pub combination: Combination,
    /// The last day on which it holds, whatever the card says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// Whether a concession goes together with the other discounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// It stands alone; only the cap of the day still holds.
    #[default]
    Alone,
    /// The discounts of transfer and month come on top.
    WithDiscounts,
}

/// A ride soon after another costs less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferDiscount {
    /// The industry of the ride before.
    pub from: u8,
    /// The industry of this ride.
    pub to: u8,
    /// Within so many minutes after the ride before was paid.
    pub within_min: u32,
    /// How much less.
    pub discount: Discount,
}

/// How much less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discount {
    /// So much is taken off, down to nothing.
    Less(Fen),
    /// So many per cent are left to pay.
    Pay(Percent),
}

/// From this spending of the month on, so many per cent are to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonthStep {
    /// What was spent in the month before the ride, at least.
    pub from: Fen,
    /// What is left to pay of the ride.
    pub percent: Percent,
}

impl Discount {
    /// What is left of `amount`.
    pub(super) fn of(self, amount: Fen) -> Fen {
        match self {
            Self::Less(less) => amount.checked_sub(less).unwrap_or(Fen::ZERO),
            Self::Pay(percent) => percent.of(amount),
        }
    }
}

impl Pass {
    pub(super) fn holds(&self, card: &CardState, today: Date) -> bool {
        self.kind == card.kind
            && card.validity.includes(today)
            && self.until.is_none_or(|until| today <= until)
            && self.rides_per_month.is_none_or(|most| card.rides_in_month(today) < most)
    }
}

impl Concession {
    pub(super) fn holds(&self, card: &CardState, today: Date) -> bool {
        self.kind == card.kind
            && card.validity.includes(today)
            && self.until.is_none_or(|until| today <= until)
    }
}

impl FareRule {
    /// Whether the rule knows the station; a flat price knows all.
    pub(super) fn knows(&self, station: StationId) -> Result<(), FareError> {
        let known = match self {
            Self::Flat(_) => true,
            Self::Distance { positions_m, .. } => positions_m.contains_key(&station),
            Self::Zones { zones, .. } => zones.contains_key(&station),
        };
        if known { Ok(()) } else { Err(FareError::UnknownStation(station)) }
    }

    /// The lowest price.
    pub(super) fn lowest(&self) -> Fen {
        match self {
            Self::Flat(price) => *price,
            Self::Distance { bands, maximum, .. } => bands.first().map_or(*maximum, |band| band.price),
            Self::Zones { prices, maximum, .. } => {
                prices.iter().map(|price| price.price).min().unwrap_or(*maximum)
            }
        }
    }

    /// The price between two stations. Past the last band its price holds on.
    pub(super) fn between(&self, entry: StationId, exit: StationId) -> Result<Fare, FareError> {
        self.knows(entry)?;
        self.knows(exit)?;
        Ok(match self {
            Self::Flat(price) => Fare::begin(FareReason::Flat, *price),
            Self::Distance { positions_m, bands, maximum } => {
                let place = |station| positions_m.get(&station).copied().unwrap_or_default();
                let metres = place(entry).abs_diff(place(exit));
                let band = bands.iter().find(|band| metres <= band.up_to_m).or(bands.last());
                Fare::begin(FareReason::Distance { metres }, band.map_or(*maximum, |band| band.price))
            }
            Self::Zones { zones, prices, maximum } => {
                let zone = |station| zones.get(&station).copied().unwrap_or(ZoneId(0));
                let (from, to) = (zone(entry), zone(exit));
                let price = prices.iter().find(|price| price.joins(from, to));
                Fare::begin(FareReason::Zones { from, to }, price.map_or(*maximum, |price| price.price))
            }
        })
    }
}

impl ZonePrice {
    pub(super) fn joins(&self, one: ZoneId, other: ZoneId) -> bool {
        (self.from, self.to) == (one, other) || (self.from, self.to) == (other, one)
    }
}
