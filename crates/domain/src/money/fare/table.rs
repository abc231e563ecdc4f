//! A fare table: rules that make sense.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rules::{DistanceBand, FareRule, FareRules, Percent, ZoneId, ZonePrice};
use crate::amount::Fen;

/// A table whose rules make sense, whether it was made here or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FareRules", into = "FareRules")]
pub struct FareTable(FareRules);

/// Why rules make no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareTableError {
    /// The bands do not rise.
    #[error("the bands of a distance fare rise in metres and do not fall in price")]
    BandsDoNotRise,
    /// No band at all.
    #[error("a distance fare has at least one band")]
    NoBand,
    /// The highest price is not the highest.
    #[error("a journey without an entry costs {maximum} yuan and another costs more: {price}")]
    MaximumTooLow {
        /// The highest price.
        maximum: Fen,
        /// A higher one.
        price: Fen,
    },
    /// A price that no purse can pay.
    #[error("a price of {0} yuan is more than a purse can pay")]
    TooMuch(Fen),
    /// Two zones without a price between them.
    #[error("there is no price between zone {} and zone {}", .0.0, .1.0)]
    NoPrice(ZoneId, ZoneId),
    /// Two prices between two zones.
    #[error("there are two prices between zone {} and zone {}", .0.0, .1.0)]
    TwoPrices(ZoneId, ZoneId),
    /// A percentage above a hundred.
    #[error("{} per cent are more than the whole", .0.get())]
    Percent(Percent),
    /// A card kind with two rules.
    #[error("card kind {0:02X} has more than one pass or concession")]
    KindTwice(u8),
    /// The steps of the month do not rise.
    #[error("the steps of the month rise in what was spent")]
    StepsDoNotRise,
    /// A transfer within no time, or later than the next day.
    #[error("a transfer is within 1 to 1440 minutes, and not within {0}")]
    TransferWindow(u32),
    /// Two discounts for one transfer.
    #[error("a transfer from industry {0} to industry {1} has more than one discount")]
    TransferTwice(u8, u8),
    /// A stay that is too long at once.
    #[error("a stay is too long after a minute at the earliest")]
    OverlongAtOnce,
    /// A cap of nothing.
    #[error("a day costs at least one fen at most")]
    NoDayCap,
}

/// A day has so many minutes.
const DAY_MIN: u32 = 24 * 60;

impl FareTable {
    /// A table with this price and no discount.
    pub fn new(version: u32, rule: FareRule) -> Result<Self, FareTableError> {
        Self::with(FareRules::plain(version, rule))
    }

    /// A table of these rules.
    pub fn with(rules: FareRules) -> Result<Self, FareTableError> {
        check_rule(&rules.rule)?;
        check_kinds(&rules)?;
        check_discounts(&rules)?;
        if let Some(overlong) = &rules.overlong {
            if overlong.after_min == 0 {
                return Err(FareTableError::OverlongAtOnce);
            }
            payable(overlong.surcharge.unwrap_or(Fen::ZERO))?;
        }
        if rules.day_cap == Some(Fen::ZERO) {
            return Err(FareTableError::NoDayCap);
        }
        Ok(Self(rules))
    }

    /// The version, which terminals report with their transactions.
    pub const fn version(&self) -> u32 {
        self.0.version
    }

    /// What the table says.
    pub const fn rules(&self) -> &FareRules {
        &self.0
    }

    /// The highest price: that of a journey of which the entry is not known.
    pub const fn highest(&self) -> Fen {
        match &self.0.rule {
            FareRule::Flat(price) => *price,
            FareRule::Distance { maximum, .. } | FareRule::Zones { maximum, .. } => *maximum,
        }
    }
}

impl TryFrom<FareRules> for FareTable {
    type Error = FareTableError;

    fn try_from(rules: FareRules) -> Result<Self, FareTableError> {
        Self::with(rules)
    }
}

impl From<FareTable> for FareRules {
    fn from(table: FareTable) -> Self {
        table.0
    }
}

fn check_rule(rule: &FareRule) -> Result<(), FareTableError> {
    match rule {
        FareRule::Flat(price) => payable(*price),
        FareRule::Distance { bands, maximum, .. } => {
            payable(*maximum)?;
            let last = bands.last().ok_or(FareTableError::NoBand)?;
            let rises =
                |pair: &[DistanceBand]| pair[0].up_to_m < pair[1].up_to_m && pair[0].price <= pair[1].price;
            if !bands.windows(2).all(rises) {
                return Err(FareTableError::BandsDoNotRise);
            }
            not_above(last.price, *maximum)
        }
        FareRule::Zones { zones, prices, maximum } => {
            payable(*maximum)?;
            check_zones(&zones.values().copied().collect(), prices)?;
            prices.iter().try_for_each(|price| not_above(price.price, *maximum))
        }
    }
}

fn check_zones(zones: &BTreeSet<ZoneId>, prices: &[ZonePrice]) -> Result<(), FareTableError> {
    for (place, price) in prices.iter().enumerate() {
        if prices[..place].iter().any(|earlier| earlier.joins(price.from, price.to)) {
            return Err(FareTableError::TwoPrices(price.from, price.to));
        }
    }
    for &from in zones {
        for &to in zones.range(from..) {
            if !prices.iter().any(|price| price.joins(from, to)) {
                return Err(FareTableError::NoPrice(from, to));
            }
        }
    }
    Ok(())
}

fn check_kinds(rules: &FareRules) -> Result<(), FareTableError> {
    let mut kinds = BTreeSet::new();
    let passes = rules.passes.iter().map(|pass| pass.kind);
    for kind in passes.chain(rules.concessions.iter().map(|concession| concession.kind)) {
        if !kinds.insert(kind) {
            return Err(FareTableError::KindTwice(kind));
        }
    }
    rules.concessions.iter().try_for_each(|concession| at_most_whole(concession.percent))
}

fn check_discounts(rules: &FareRules) -> Result<(), FareTableError> {
    let mut transfers = BTreeSet::new();
    for rule in &rules.transfers {
        if rule.within_min == 0 || rule.within_min > DAY_MIN {
            return Err(FareTableError::TransferWindow(rule.within_min));
        }
        if !transfers.insert((rule.from, rule.to)) {
            return Err(FareTableError::TransferTwice(rule.from, rule.to));
        }
        if let super::Discount::Pay(percent) = rule.discount {
            at_most_whole(percent)?;
        }
    }
    if !rules.month_steps.windows(2).all(|pair| pair[0].from < pair[1].from) {
        return Err(FareTableError::StepsDoNotRise);
    }
    rules.month_steps.iter().try_for_each(|step| at_most_whole(step.percent))
}

fn at_most_whole(percent: Percent) -> Result<(), FareTableError> {
    if percent <= Percent::WHOLE { Ok(()) } else { Err(FareTableError::Percent(percent)) }
}

fn payable(price: Fen) -> Result<(), FareTableError> {
    if price <= Fen::PURSE_MAXIMUM { Ok(()) } else { Err(FareTableError::TooMuch(price)) }
}

fn not_above(price: Fen, maximum: Fen) -> Result<(), FareTableError> {
    if price <= maximum { Ok(()) } else { Err(FareTableError::MaximumTooLow { maximum, price }) }
}
