//! The terminal's clock, which is given to it with every tap: the time of China in packed decimal.

use jiff::{
    Timestamp,
    civil::{Date, DateTime as CivilDateTime, Time},
    tz::{Offset, TimeZone},
};
use tsm_epurse::DateTime;

use crate::state::ClockJump;

/// A clock may show so much less than at the tap before: taps are answered out of order.
const BACKWARDS_S: i64 = 60;
/// A clock that shows so much more than at the tap before was set, or the terminal was off for long.
const FORWARDS_S: i64 = 7 * 24 * 3_600;

/// A date as the calendar has it.
pub(crate) fn civil_date(date: tsm_epurse::Date) -> Option<Date> {
    let (year, month, day) = date.calendar()?;
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Date and time as the calendar has them.
pub(crate) fn civil(at: DateTime) -> Option<CivilDateTime> {
    let (hour, minute, second) = at.time.clock()?;
    let narrow = |value: u8| i8::try_from(value).ok();
    let time = Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()?;
    Some(civil_date(at.date)?.to_datetime(time))
}

/// The moment that a terminal's clock shows.
pub(crate) fn moment(at: DateTime) -> Option<Timestamp> {
    TimeZone::fixed(Offset::constant(8)).to_timestamp(civil(at)?).ok()
}

/// The jump between two taps, if it is one.
pub(crate) fn jump(before: DateTime, after: DateTime) -> Option<ClockJump> {
    let passed = after.seconds()? - before.seconds()?;
    let usual = (-BACKWARDS_S..=FORWARDS_S).contains(&passed);
    (!usual).then_some(ClockJump { before, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_jump() {
        let at = |day, hour| DateTime::from_calendar((2026, 3, day), (hour, 0, 0)).unwrap();
        assert_eq!(jump(at(14, 8), at(14, 9)), None);
        assert_eq!(jump(at(14, 8), at(21, 8)), None);
        assert!(jump(at(14, 8), at(21, 9)).is_some());
        assert!(jump(at(14, 8), at(14, 7)).is_some());
        assert_eq!(moment(at(14, 8)), Some("2026-03-14T00:00:00Z".parse().unwrap()));
        assert_eq!(moment(DateTime::from_bytes([0x20, 0x26, 0x13, 0x41, 0, 0, 0])), None);
    }
}
