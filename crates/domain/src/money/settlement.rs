//! Settlement: what each operator of terminals is owed by each issuer of cards for one day.
//!
//! A day is a calendar day of China; its cut is midnight there. Transactions that the centre received until the
//! cut belong to the day, later ones to the next open day. Fees are integers: a rule's rate in basis points on
//! the gross of issuer and operator on that day, rounded down to the fen, once for the whole fee and once for
//! each share. What rounding leaves is the centre's, so that the parts make the whole.

pub mod file;

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::id::InstitutionId;

/// A day of business: a calendar day of China.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BusinessDay(Date);

/// Text or a number that names no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day is written as year, month and day, like 2026-11-21")]
pub struct NotADay;

const CHINA: Offset = Offset::constant(8);

impl BusinessDay {
    /// The day in which an instant lies.
    pub fn of(at: jiff::Timestamp) -> Self {
        Self(CHINA.to_datetime(at).date())
    }

    /// The day with this date.
    pub const fn on(date: Date) -> Self {
        Self(date)
    }

    /// Its date.
    pub const fn date(self) -> Date {
        self.0
    }

    /// The instant after its last one: from here on transactions belong to the next day.
    pub fn cut(self) -> jiff::Timestamp {
        let midnight = self.next().0.to_datetime(jiff::civil::Time::midnight());
        TimeZone::fixed(CHINA).to_timestamp(midnight).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The day after it; the last day of the calendar stays.
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(self.0))
    }

    /// The day before it; the first day of the calendar stays.
    pub fn previous(self) -> Self {
        Self(self.0.yesterday().unwrap_or(self.0))
    }

    /// The day so many days later.
    pub fn plus(self, days: u16) -> Self {
        (0..days).fold(self, |day, _| day.next())
    }

    /// The day as eight digits, which order as the days do.
    pub fn number(self) -> i64 {
        let (year, month, day) = (self.0.year(), self.0.month(), self.0.day());
        i64::from(year) * 10_000 + i64::from(month) * 100 + i64::from(day)
    }

    /// The day of these eight digits.
    pub fn from_number(number: i64) -> Result<Self, NotADay> {
        let part = |value: i64| i8::try_from(value).map_err(|_| NotADay);
        let year = i16::try_from(number / 10_000).map_err(|_| NotADay)?;
        let date = Date::new(year, part(number / 100 % 100)?, part(number % 100)?);
        date.map(Self).map_err(|_| NotADay)
    }
}

impl fmt::Display for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BusinessDay {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        // Only the plain form: a date parser takes many more.
        let plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if plain { text.parse().map(Self).map_err(|_| NotADay) } else { Err(NotADay) }
    }
}

/// A rate, in hundredths of a percent: at most the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// This many hundredths of a percent; none when that is more than the whole.
    pub const fn new(points: u16) -> Option<Self> {
        if points <= 10_000 { Some(Self(points)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// This part of an amount, rounded down to the fen.
    pub fn of(self, amount: Fen) -> Fen {
        let part = u128::from(amount.get()) * u128::from(self.0) / 10_000;
        Fen::new(u64::try_from(part).expect("a part is not more than the whole"))
    }
}

/// A rule of fees: from which day, for whom, how much, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeRule {
    /// For this operator only.
    pub operator: Option<InstitutionId>,
    /// For cards of this issuer only.
    pub issuer: Option<InstitutionId>,
    /// The first day.
    pub from: BusinessDay,
    /// The last day.
    pub until: Option<BusinessDay>,
    /// The whole fee.
    pub rate: BasisPoints,
    /// The issuer's share, in the same points: part of the whole fee.
    pub issuer_share: BasisPoints,
    /// The acquirer's share, in the same points: part of the whole fee.
    pub acquirer_share: BasisPoints,
}

/// Why rules of fees are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeeError {
    /// The shares exceed the fee.
    #[error("the shares of issuer and acquirer are more than the whole fee")]
    SharesExceedFee,
    /// It ends before it begins.
    #[error("a fee rule ends before it begins")]
    Period,
    /// Two rules for the same institutions hold on one day.
    #[error("two fee rules for the same institutions hold on {0}")]
    Overlap(BusinessDay),
}

/// The rules of fees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeeSchedule(Vec<FeeRule>);

/// A fee and who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fee {
    /// The whole fee.
    pub whole: Fen,
    /// The issuer's share.
    pub issuer: Fen,
    /// The acquirer's share: the operator keeps it.
    pub acquirer: Fen,
}

impl FeeRule {
    /// Whether the rule makes sense by itself.
    pub fn check(&self) -> Result<(), FeeError> {
        if self.issuer_share.get() + self.acquirer_share.get() > self.rate.get() {
            return Err(FeeError::SharesExceedFee);
        }
        if self.until.is_some_and(|until| until < self.from) {
            return Err(FeeError::Period);
        }
        Ok(())
    }

    /// The fee on a gross amount.
    pub fn on(&self, gross: Fen) -> Fee {
        Fee {
            whole: self.rate.of(gross),
            issuer: self.issuer_share.of(gross),
            acquirer: self.acquirer_share.of(gross),
        }
    }

    fn holds(&self, day: BusinessDay, pair: &Pair) -> bool {
        self.from <= day
            && self.until.is_none_or(|until| day <= until)
            && self.operator.as_ref().is_none_or(|operator| *operator == pair.operator)
            && self.issuer.as_ref().is_none_or(|issuer| *issuer == pair.issuer)
    }
}

impl Fee {
    /// What the centre keeps: the rest of the fee, with what rounding left.
    pub fn centre(&self) -> Fen {
        let shares = self.issuer.checked_add(self.acquirer);
        shares.and_then(|shares| self.whole.checked_sub(shares)).expect("a rule's shares are within its fee")
    }

    /// What the operator does not get.
    pub fn kept_from_operator(&self) -> Fen {
        self.whole.checked_sub(self.acquirer).expect("a rule's shares are within its fee")
    }

    fn less(&self, earlier: &Self) -> Self {
        let grown = |now: Fen, before: Fen| now.checked_sub(before).expect("a fee grows with the amount");
        Self {
            whole: grown(self.whole, earlier.whole),
            issuer: grown(self.issuer, earlier.issuer),
            acquirer: grown(self.acquirer, earlier.acquirer),
        }
    }
}

impl FeeSchedule {
    /// Rules of which at most one holds for the same institutions on one day.
    pub fn new(rules: Vec<FeeRule>) -> Result<Self, FeeError> {
        for (index, rule) in rules.iter().enumerate() {
            rule.check()?;
            let for_the_same =
                |other: &&FeeRule| (&other.operator, &other.issuer) == (&rule.operator, &rule.issuer);
            for other in rules[..index].iter().filter(for_the_same) {
                let first = rule.from.max(other.from);
                let holds = |rule: &FeeRule| rule.until.is_none_or(|until| first <= until);
                if holds(rule) && holds(other) {
                    return Err(FeeError::Overlap(first));
                }
            }
        }
        Ok(Self(rules))
    }

    /// The rule for a pair on a day: the one for both, else the operator's, else the issuer's, else the
    /// general one. Where there is none nothing is charged.
    pub fn rule(&self, day: BusinessDay, pair: &Pair) -> Option<&FeeRule> {
        let holding = self.0.iter().filter(|rule| rule.holds(day, pair));
        holding.max_by_key(|rule| (rule.operator.is_some(), rule.issuer.is_some()))
    }

    /// The fee on a pair's gross amount of a day.
    pub fn fee(&self, day: BusinessDay, pair: &Pair, gross: Fen) -> Fee {
        self.rule(day, pair).map(|rule| rule.on(gross)).unwrap_or_default()
    }
}

/// The fees of single transactions, in order: each is what the day's fee grows by, so that their sum is the
/// day's fee to the fen.
#[derive(Debug, Clone)]
pub struct RunningFee<'a> {
    rule: Option<&'a FeeRule>,
    gross: Fen,
}

impl<'a> RunningFee<'a> {
    /// After transactions of `gross` in all.
    pub const fn after(rule: Option<&'a FeeRule>, gross: Fen) -> Self {
        Self { rule, gross }
    }

    /// The fee of the next transaction. Amounts past the largest sum stand still.
    pub fn next(&mut self, amount: Fen) -> Fee {
        let before = self.gross;
        self.gross = [before, amount].into_iter().sum();
        let on = |gross| self.rule.map(|rule| rule.on(gross)).unwrap_or_default();
        on(self.gross).less(&on(before))
    }
}

/// Whose cards at whose terminals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The issuer of the cards.
    pub issuer: InstitutionId,
    /// The operator of the terminals: the acquirer.
    pub operator: InstitutionId,
}

/// What a pair comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Volume {
    /// Transactions.
    pub number: u64,
    /// Their sum.
    pub gross: Fen,
}

impl Volume {
    /// Adds another volume.
    pub fn add(&mut self, other: Self) {
        self.number = self.number.saturating_add(other.number);
        self.gross = [self.gross, other.gross].into_iter().sum();
    }
}

/// The settlement of one pair and day. Never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The day.
    pub day: BusinessDay,
    /// Issuer and operator.
    pub pair: Pair,
    /// Number and gross.
    pub volume: Volume,
    /// The fee.
    pub fee: Fee,
}

impl Settlement {
    /// The settlement of a pair's volume of a day.
    pub fn of(day: BusinessDay, pair: Pair, volume: Volume, fees: &FeeSchedule) -> Self {
        let fee = fees.fee(day, &pair, volume.gross);
        Self { day, pair, volume, fee }
    }

    /// What the operator gets.
    pub fn net(&self) -> Fen {
        self.volume.gross.checked_sub(self.fee.kept_from_operator()).expect("a fee is within its amount")
    }

    /// What the issuer has to pay: the gross less its own share.
    pub fn due_from_issuer(&self) -> Fen {
        self.volume.gross.checked_sub(self.fee.issuer).expect("a share is within its amount")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn day(text: &str) -> BusinessDay {
        text.parse().unwrap()
    }

    pub(super) fn pair(issuer: &str, operator: &str) -> Pair {
        Pair { issuer: issuer.parse().unwrap(), operator: operator.parse().unwrap() }
    }

    fn rule(from: &str, points: [u16; 3]) -> FeeRule {
        let [rate, issuer_share, acquirer_share] = points.map(|points| BasisPoints::new(points).unwrap());
        FeeRule {
            operator: None,
            issuer: None,
            from: day(from),
            until: None,
            rate,
            issuer_share,
            acquirer_share,
        }
    }

    #[test]
    fn a_day_ends_at_midnight_in_china() {
        let of = |text: &str| BusinessDay::of(text.parse().unwrap());
        assert_eq!(of("2026-11-20T15:59:59.999999999Z"), day("2026-11-20"));
        assert_eq!(of("2026-11-20T16:00:00Z"), day("2026-11-21"));
        assert_eq!(day("2026-11-20").cut(), "2026-11-20T16:00:00Z".parse().unwrap());
        assert_eq!(day("2026-12-31").next(), day("2027-01-01"));
        assert_eq!(day("2027-01-01").previous().number(), 20_261_231);
        assert_eq!(BusinessDay::from_number(20_261_231), Ok(day("2026-12-31")));
        assert_eq!(day("2026-02-27").plus(3), day("2026-03-02"));
        for wrong in [0, -1, 20_261_301, 20_260_230, i64::MAX] {
            assert_eq!(BusinessDay::from_number(wrong), Err(NotADay), "{wrong}");
        }
        for wrong in ["", "20261120", "2026-11-20T00:00", "2026-13-01", "2026-11-2x"] {
            assert_eq!(wrong.parse::<BusinessDay>(), Err(NotADay), "{wrong}");
        }
    }

    #[test]
    fn fees_are_rounded_down_and_the_rest_is_the_centres() {
        let rule = rule("2026-01-01", [60, 30, 20]);
        let fee = rule.on(Fen::new(33_333));
        assert_eq!((fee.whole, fee.issuer, fee.acquirer), (Fen::new(199), Fen::new(99), Fen::new(66)));
        assert_eq!(fee.centre(), Fen::new(34));
        let fees = FeeSchedule::new(vec![rule]).unwrap();
        let volume = Volume { number: 7, gross: Fen::new(33_333) };
        let settled = Settlement::of(day("2026-11-20"), pair("A", "B"), volume, &fees);
        assert_eq!((settled.net(), settled.due_from_issuer()), (Fen::new(33_200), Fen::new(33_234)));
        assert_eq!(settled.due_from_issuer().get(), settled.net().get() + fee.centre().get());
    }

    #[test]
    fn the_closest_rule_of_the_day_counts() {
        let general = FeeRule { until: Some(day("2026-06-30")), ..rule("2026-01-01", [60, 0, 0]) };
        let later = rule("2026-07-01", [50, 0, 0]);
        let metro = FeeRule { operator: Some("METRO".parse().unwrap()), ..rule("2026-01-01", [10, 0, 0]) };
        let both = FeeRule { issuer: Some("CITY".parse().unwrap()), ..rule("2026-03-01", [5, 0, 0]) };
        let both = FeeRule { operator: metro.operator.clone(), ..both };
        let fees = FeeSchedule::new(vec![general.clone(), later, metro, both]).unwrap();
        let rate = |on: &str, pair: &Pair| fees.rule(day(on), pair).map(|rule| rule.rate.get());
        assert_eq!(rate("2025-12-31", &pair("CITY", "BUS")), None);
        assert_eq!(rate("2026-06-30", &pair("CITY", "BUS")), Some(60));
        assert_eq!(rate("2026-07-01", &pair("CITY", "BUS")), Some(50));
        assert_eq!(rate("2026-02-28", &pair("CITY", "METRO")), Some(10));
        assert_eq!(rate("2026-03-01", &pair("CITY", "METRO")), Some(5));
        assert_eq!(rate("2026-03-01", &pair("OTHER", "METRO")), Some(10));

        let overlapping = FeeSchedule::new(vec![general.clone(), rule("2026-06-30", [1, 0, 0])]);
        assert_eq!(overlapping, Err(FeeError::Overlap(day("2026-06-30"))));
        assert_eq!(rule("2026-01-01", [10, 6, 5]).check(), Err(FeeError::SharesExceedFee));
        let backwards = FeeRule { until: Some(day("2025-01-01")), ..general };
        assert_eq!(backwards.check(), Err(FeeError::Period));
        assert_eq!(BasisPoints::new(10_001), None);
    }

    proptest! {
        /// The fees of the single transactions make the day's fee, in whatever order they come, and no part
        /// of the money is lost.
        #[test]
        fn single_fees_make_the_days_fee(
            amounts in proptest::collection::vec(0_u64..5_000_000, 0..60),
            rate in 0_u16..=10_000, issuer in 0_u16..=10_000, acquirer in 0_u16..=10_000,
        ) {
            let issuer = issuer % (rate + 1);
            let acquirer = acquirer % (rate - issuer + 1);
            let rule = rule("2026-01-01", [rate, issuer, acquirer]);
            prop_assert_eq!(rule.check(), Ok(()));
            let mut running = RunningFee::after(Some(&rule), Fen::ZERO);
            let mut sums = [0; 3];
            for amount in &amounts {
                let fee = running.next(Fen::new(*amount));
                for (sum, part) in sums.iter_mut().zip([fee.whole, fee.issuer, fee.acquirer]) {
                    *sum += part.get();
                }
            }
            let gross = Fen::new(amounts.iter().sum());
            let fee = rule.on(gross);
            prop_assert_eq!(sums, [fee.whole.get(), fee.issuer.get(), fee.acquirer.get()]);
            let fees = FeeSchedule::new(vec![rule]).unwrap();
            let volume = Volume { number: 1, gross };
            let settled = Settlement::of(day("2026-11-20"), pair("A", "B"), volume, &fees);
            prop_assert_eq!(settled.net().get() + fee.issuer.get() + fee.centre().get(), gross.get());
        }
    }
}
