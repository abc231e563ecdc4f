//! A fare for a card: what the card says of itself and of its rides, read only as far as the table needs it,
//! and the record of its rides that a paid one leaves.

use jiff::civil::{Date, DateTime as CivilDateTime};
use tsm_domain::{
    amount::Fen,
    money::fare::{
        CardState, DaySpent, Fare, FareError, FareTable, Journey, LastRide, MonthSpent, Trip, Validity,
    },
};
use tsm_epurse::{
    Amount, DateTime,
    commands::UpdateCappDataCache,
    file::{CardKind, DiscountRecord, Industry, RecordHead, RecordId},
};

use crate::{card::PurseCard, clock, reader::CardReader, record::Refusal, terminal::TapError};

/// A price for this card and this journey, and the record that paying it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Priced {
    pub(crate) fare: Fare,
    pub(crate) amount: Amount,
    /// The card's record of discounts afterwards, when the table needs one.
    pub(crate) record: Option<DiscountRecord>,
}

/// Prices a journey.
pub(crate) fn price(
    reader: &mut impl CardReader,
    card: &PurseCard,
    table: &FareTable,
    (industry, journey, at): (Industry, Journey, DateTime),
) -> Result<Priced, TapError> {
    let now = clock::civil(at).ok_or(Refusal::OutOfValidity)?;
    let discounts = if table.needs_totals() { Some(card.discount_record(reader)?) } else { None };
    let state = card_state(reader, card, table, discounts.as_ref(), now)?;
    let trip = Trip { industry: industry.into(), journey, at: now };
    let fare = table.fare(&trip, &state).map_err(|FareError::UnknownStation(station)| {
        TapError::from(Refusal::UnknownStation { station: station.0 })
    })?;
    let amount = fare.amount.to_purse().map(Amount::from_bytes);
    let amount = amount.ok_or(Refusal::Insufficient { amount_fen: u32::MAX })?;
    let after = table.after(&trip, &fare, &state);
    let record = discounts.map(|before| record_after(&before, &after));
    Ok(Priced { fare, amount, record })
}

/// What a card must be able to spend to be let in: nothing when it rides for nothing.
pub(crate) fn least_balance(
    reader: &mut impl CardReader,
    card: &PurseCard,
    table: &FareTable,
    (least, at): (Fen, DateTime),
) -> Result<Amount, TapError> {
    let least = least.to_purse().map_or(Amount::ZERO, Amount::from_bytes);
    if least == Amount::ZERO || !table.needs_kind() {
        return Ok(least);
    }
    let now = clock::civil(at).ok_or(Refusal::OutOfValidity)?;
    let state = card_state(reader, card, table, None, now)?;
    Ok(if table.is_free_for(&state, now.date()) { Amount::ZERO } else { least })
}

/// The record as it goes into the card with the purchase.
pub(crate) fn update(record: &DiscountRecord, serial: [u8; 8]) -> UpdateCappDataCache {
    let head = RecordHead { valid: 1, interoperability: 1, serial, ..RecordHead::empty(RecordId::DISCOUNT) };
    UpdateCappDataCache::transit_record(RecordId::DISCOUNT, DiscountRecord { head, ..*record }.encode())
}

fn card_state(
    reader: &mut impl CardReader,
    card: &PurseCard,
    table: &FareTable,
    discounts: Option<&DiscountRecord>,
    now: CivilDateTime,
) -> Result<CardState, TapError> {
    let kind = if table.needs_kind() { card.management(reader)?.kind } else { CardKind::Ordinary };
    let file = card.public_information();
    let validity = Validity {
        from: clock::civil_date(file.enabled_on).unwrap_or(Date::MIN),
        until: clock::civil_date(file.expires_on).unwrap_or(Date::MAX),
    };
    let state = CardState::new(kind.into(), validity);
    Ok(discounts.map_or(state, |record| with_history(state, record, now)))
}

/// What the record says; a record that makes no sense says nothing.
fn with_history(state: CardState, record: &DiscountRecord, now: CivilDateTime) -> CardState {
    let month = month_of(record);
    let day = month.and_then(|month| {
        let day = Date::new(month.year, month.month, decimal(record.day)?).ok()?;
        Some(DaySpent { day, spent: Fen::new(record.day_spent.into()) })
    });
    CardState { month, day, last_ride: last_ride(record, now), ..state }
}

fn month_of(record: &DiscountRecord) -> Option<MonthSpent> {
    let [year, month] = record.month;
    let (year, month) = (2000 + i16::from(decimal(year)?), decimal(month)?);
    let [high, middle, low] = record.month_spent;
    let spent = Fen::new(u32::from_be_bytes([0, high, middle, low]).into());
    ((1..=12).contains(&month)).then_some(MonthSpent { year, month, spent, rides: record.rides })
}

/// The record has no year: the last ride was this year, or at its end the year before.
fn last_ride(record: &DiscountRecord, now: CivilDateTime) -> Option<LastRide> {
    let [month, day, hour, minute] = record.last_at;
    let time = jiff::civil::Time::new(decimal(hour)?, decimal(minute)?, 0, 0).ok()?;
    let in_year =
        |year| Date::new(year, decimal(month)?, decimal(day)?).ok().map(|date| date.to_datetime(time));
    let this_year = in_year(now.year());
    let at = this_year.filter(|at| at.date() <= now.date()).or_else(|| in_year(now.year() - 1))?;
    let industry = record.last_industry & !DiscountRecord::BY_TRANSFER;
    let by_transfer = record.last_industry & DiscountRecord::BY_TRANSFER != 0;
    (industry != 0).then_some(LastRide { industry, at, by_transfer })
}

fn record_after(before: &DiscountRecord, state: &CardState) -> DiscountRecord {
    let mut record = *before;
    if let Some(month) = state.month {
        record.month = [packed((month.year % 100) as i8), packed(month.month)];
        let spent = u32::try_from(month.spent.get()).unwrap_or(u32::MAX).min(0x00FF_FFFF);
        let [_, high, middle, low] = spent.to_be_bytes();
        (record.month_spent, record.rides) = ([high, middle, low], month.rides);
    }
    if let Some(day) = state.day {
        record.day = packed(day.day.day());
        record.day_spent = u16::try_from(day.spent.get()).unwrap_or(u16::MAX);
    }
    if let Some(last) = state.last_ride {
        let mark = if last.by_transfer { DiscountRecord::BY_TRANSFER } else { 0 };
        record.last_industry = last.industry | mark;
        record.last_at = [last.at.month(), last.at.day(), last.at.hour(), last.at.minute()].map(packed);
    }
    record
}

/// A byte of packed decimal.
fn decimal(byte: u8) -> Option<i8> {
    let (high, low) = (byte >> 4, byte & 0x0F);
    (high <= 9 && low <= 9).then_some((high * 10 + low) as i8)
}

const fn packed(value: i8) -> u8 {
    let value = value.unsigned_abs();
    ((value / 10) << 4) | (value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, datetime};

    fn state() -> CardState {
        CardState::new(1, Validity { from: Date::MIN, until: Date::MAX })
    }

    #[test]
    fn what_is_written_is_read() {
        let now = datetime(2026, 3, 14, 8, 30, 0, 0);
        let state = CardState {
            month: Some(MonthSpent { year: 2026, month: 3, spent: Fen::new(12_345), rides: 31 }),
            day: Some(DaySpent { day: date(2026, 3, 14), spent: Fen::new(700) }),
            last_ride: Some(LastRide {
                industry: 2,
                at: datetime(2026, 3, 14, 8, 5, 0, 0),
                by_transfer: true,
            }),
            ..state()
        };
        let record = record_after(&DiscountRecord::empty(), &state);
        assert_eq!(hex::encode(&record.encode()[15..]), "26030030390 01f1402bc8203140805".replace(' ', ""));
        assert_eq!(with_history(self::state(), &record, now), state);
    }

    #[test]
    fn a_ride_before_new_year_was_last_year() {
        let last = LastRide { industry: 1, at: datetime(2025, 12, 31, 23, 50, 0, 0), by_transfer: false };
        let record = record_after(&DiscountRecord::empty(), &CardState { last_ride: Some(last), ..state() });
        let read = with_history(state(), &record, datetime(2026, 1, 1, 0, 10, 0, 0));
        assert_eq!(read.last_ride, Some(last));
    }

    #[test]
    fn nonsense_says_nothing() {
        let now = datetime(2026, 3, 14, 8, 30, 0, 0);
        assert_eq!(with_history(state(), &DiscountRecord::empty(), now), state());
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut content = DiscountRecord::empty().encode();
            let take = bytes.len().min(15);
            content[15..15 + take].copy_from_slice(&bytes[..take]);
            let record = DiscountRecord::decode(&content).expect("any bytes behind the head are a record");
            let read = with_history(state(), &record, now);
            let _ = record_after(&record, &read);
        });
    }
}
