//! The purse's elementary files (JT/T 978; offsets as T-Union cards have them).
//!
//! Every layout here reads any bytes of the right length and writes the same bytes again, so that
//! a file can be migrated without loss.

mod discount_record;
mod history;
mod holder;
mod management;
mod public_information;
mod transaction_log;
mod transit_record;

pub use discount_record::DiscountRecord;
pub use history::{HistoryRecord, HistoryType};
pub use holder::Holder;
pub use management::{CardKind, Management};
pub use public_information::{ApplicationSerial, PublicInformation};
pub use transaction_log::LogRecord;
pub use transit_record::{
    BusRecord, BusStop, CrcTail, RailRecord, RailTail, RecordHead, RecordId, ShanghaiTail, TransitRecord,
};

/// How many records EF18 keeps.
pub const LOG_RECORDS: usize = 10;
/// How many records EF1A has.
pub const TRANSIT_RECORDS: usize = 18;
/// How many records EF1E keeps.
pub const HISTORY_RECORDS: usize = 30;

/// The industry of a transit record and of a history record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Industry {
    /// 01: metro.
    Rail,
    /// 02: bus.
    Bus,
    /// 03: city ferry.
    CityFerry,
    /// 04: taxi.
    Taxi,
    /// 05: rental car.
    RentalCar,
    /// 06: public bicycle.
    Bicycle,
    /// 07: parking.
    Parking,
    /// 08: coach.
    Coach,
    /// 09: ferry.
    Ferry,
    /// 0A: intercity rail.
    IntercityRail,
    /// 0B: aviation.
    Aviation,
    /// 0C: expressway.
    Expressway,
    /// 0D: discount information (a record of EF1A, no industry).
    Discount,
    /// 0E: suburban rail.
    SuburbanRail,
    /// Any other value, 00 of an empty record included.
    Other(u8),
}

impl From<u8> for Industry {
    fn from(value: u8) -> Self {
        match value {
            0x01 => Self::Rail,
            0x02 => Self::Bus,
            0x03 => Self::CityFerry,
            0x04 => Self::Taxi,
            0x05 => Self::RentalCar,
            0x06 => Self::Bicycle,
            0x07 => Self::Parking,
            0x08 => Self::Coach,
            0x09 => Self::Ferry,
            0x0A => Self::IntercityRail,
            0x0B => Self::Aviation,
            0x0C => Self::Expressway,
            0x0D => Self::Discount,
            0x0E => Self::SuburbanRail,
            other => Self::Other(other),
        }
    }
}

impl From<Industry> for u8 {
    fn from(value: Industry) -> Self {
        match value {
            Industry::Rail => 0x01,
            Industry::Bus => 0x02,
            Industry::CityFerry => 0x03,
            Industry::Taxi => 0x04,
            Industry::RentalCar => 0x05,
            Industry::Bicycle => 0x06,
            Industry::Parking => 0x07,
            Industry::Coach => 0x08,
            Industry::Ferry => 0x09,
            Industry::IntercityRail => 0x0A,
            Industry::Aviation => 0x0B,
            Industry::Expressway => 0x0C,
            Industry::Discount => 0x0D,
            Industry::SuburbanRail => 0x0E,
            Industry::Other(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(length: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), length)
    }

    proptest! {
        #[test]
        fn public_information_is_lossless(bytes in bytes(PublicInformation::LENGTH)) {
            prop_assert_eq!(PublicInformation::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }

        #[test]
        fn holder_is_lossless(bytes in bytes(Holder::LENGTH)) {
            prop_assert_eq!(Holder::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }

        #[test]
        fn management_is_lossless(bytes in bytes(Management::LENGTH)) {
            prop_assert_eq!(Management::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }

        #[test]
        fn log_records_are_lossless(bytes in bytes(LogRecord::LENGTH)) {
            prop_assert_eq!(LogRecord::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }

        #[test]
        fn history_records_are_lossless(bytes in bytes(HistoryRecord::LENGTH)) {
            prop_assert_eq!(HistoryRecord::decode(&bytes).unwrap().encode().to_vec(), bytes);
        }

        #[test]
        fn every_industry_reads_back(value in any::<u8>()) {
            prop_assert_eq!(u8::from(Industry::from(value)), value);
        }
    }

    #[test]
    fn parsers_never_panic() {
        bolero::check!().for_each(|bytes| {
            let _ = PublicInformation::decode(bytes);
            let _ = Holder::decode(bytes);
            let _ = Management::decode(bytes);
            let _ = LogRecord::decode(bytes);
            let _ = HistoryRecord::decode(bytes);
            let _ = TransitRecord::decode(bytes);
            let _ = RailRecord::decode(bytes, CrcTail::Crc32);
            let _ = BusRecord::decode(bytes);
        });
    }
}
