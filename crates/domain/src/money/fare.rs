//! Fares as data: a flat price, or a price by distance between stations of a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::amount::Fen;

/// A station's number, two bytes in the transit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StationId(pub u16);

/// How a fare is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// One band of a distance fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistanceBand {
    /// The band reaches up to and including so many metres.
    pub up_to_m: u32,
    /// Its price.
    pub price: Fen,
}

/// A fare table, versioned so that a terminal's transactions can be priced again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareTable {
    /// The version, which terminals report with their transactions.
    pub version: u32,
    /// The rule.
    pub rule: FareRule,
}

/// Why a table or a fare is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareError {
    /// The bands do not rise.
    #[error("the bands of a distance fare rise in metres and do not fall in price")]
    BandsDoNotRise,
    /// No band at all.
    #[error("a distance fare has at least one band")]
    NoBand,
    /// The station is not in the table.
    #[error("station {} is not in the fare table", .0.0)]
    UnknownStation(StationId),
}

impl FareTable {
    /// A table whose rule makes sense.
    pub fn new(version: u32, rule: FareRule) -> Result<Self, FareError> {
        if let FareRule::Distance { bands, .. } = &rule {
            if bands.is_empty() {
                return Err(FareError::NoBand);
            }
            let rises =
                |pair: &[DistanceBand]| pair[0].up_to_m < pair[1].up_to_m && pair[0].price <= pair[1].price;
            if !bands.windows(2).all(rises) {
                return Err(FareError::BandsDoNotRise);
            }
        }
        Ok(Self { version, rule })
    }

    /// What a journey from `entry` to `exit` costs. Past the last band its price holds on.
    pub fn fare(&self, entry: StationId, exit: StationId) -> Result<Fen, FareError> {
        match &self.rule {
            FareRule::Flat(price) => Ok(*price),
            FareRule::Distance { positions_m, bands, maximum } => {
                let place = |station| positions_m.get(&station).ok_or(FareError::UnknownStation(station));
                let metres = place(entry)?.abs_diff(*place(exit)?);
                let band = bands.iter().find(|band| metres <= band.up_to_m).or(bands.last());
                Ok(band.map_or(*maximum, |band| band.price))
            }
        }
    }

    /// What a journey costs of which the entry is not known.
    pub const fn without_entry(&self) -> Fen {
        match &self.rule {
            FareRule::Flat(price) => *price,
            FareRule::Distance { maximum, .. } => *maximum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metro() -> FareTable {
        let band = |up_to_m, price| DistanceBand { up_to_m, price: Fen::new(price) };
        let positions_m = [(1, 0), (2, 1_200), (3, 6_000), (4, 6_001), (5, 40_000)];
        let rule = FareRule::Distance {
            positions_m: positions_m.map(|(station, metres)| (StationId(station), metres)).into(),
            bands: vec![band(6_000, 300), band(12_000, 400), band(22_000, 500)],
            maximum: Fen::new(700),
        };
        FareTable::new(1, rule).unwrap()
    }

    #[test]
    fn fares_by_distance() {
        let rows =
            [(1, 1, 300), (1, 2, 300), (2, 1, 300), (1, 3, 300), (1, 4, 400), (1, 5, 500), (5, 3, 500)];
        for (entry, exit, fen) in rows {
            assert_eq!(
                metro().fare(StationId(entry), StationId(exit)),
                Ok(Fen::new(fen)),
                "{entry} to {exit}"
            );
        }
        assert_eq!(metro().fare(StationId(1), StationId(9)), Err(FareError::UnknownStation(StationId(9))));
        assert_eq!(metro().without_entry(), Fen::new(700));
    }

    #[test]
    fn a_flat_fare_knows_no_stations() {
        let bus = FareTable::new(2, FareRule::Flat(Fen::new(200))).unwrap();
        assert_eq!(bus.fare(StationId(77), StationId(78)), Ok(Fen::new(200)));
    }

    #[test]
    fn tables_without_sense_are_refused() {
        let band = |up_to_m, price| DistanceBand { up_to_m, price: Fen::new(price) };
        let with = |bands| {
            FareTable::new(1, FareRule::Distance { positions_m: BTreeMap::new(), bands, maximum: Fen::ZERO })
        };
        assert_eq!(with(vec![]), Err(FareError::NoBand));
        assert_eq!(with(vec![band(5, 1), band(5, 2)]), Err(FareError::BandsDoNotRise));
        assert_eq!(with(vec![band(5, 2), band(6, 1)]), Err(FareError::BandsDoNotRise));
    }
}
