//! The payment platform's statement of one day: every payment and every refund of one merchant, and their
//! totals. Reconciliation holds it against the ledger and the cards' transactions (B-7.4).
//!
//! A day is a day in China (UTC+8), as the platforms' bills have it.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::amount::Fen;
use crate::id::{OrderId, PaymentReference, TransferId};

/// The clock of the platforms' days.
const CHINA: Offset = Offset::constant(8);

/// What a line reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatementKind {
    /// A payer paid.
    Paid,
    /// The merchant, or the platform for a payment that came after the order was closed, gave money back.
    Refunded {
        /// The refund's number.
        refund: TransferId,
    },
}

/// One payment or one refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// The merchant's order.
    pub order: OrderId,
    /// The platform's reference of the payment.
    pub payment: PaymentReference,
    /// What happened.
    pub kind: StatementKind,
    /// How much.
    pub amount: Fen,
    /// When.
    pub at: Timestamp,
}

/// What a day's lines add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatementTotals {
    /// How many payments.
    pub payments: u64,
    /// Their sum.
    pub paid: Fen,
    /// How many refunds.
    pub refunds: u64,
    /// Their sum.
    pub refunded: Fen,
}

/// The statement of one merchant's day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The merchant.
    pub merchant: String,
    /// The day.
    pub day: Date,
    /// Its payments and refunds in order of time.
    pub lines: Vec<StatementLine>,
}

/// The sum of the lines is more than can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lines of the statement add up to more than can be counted")]
pub struct TotalsOverflow;

impl Statement {
    /// What the lines add up to.
    pub fn totals(&self) -> Result<StatementTotals, TotalsOverflow> {
        let mut totals = StatementTotals::default();
        self.lines.iter().try_for_each(|line| totals.add(line))?;
        Ok(totals)
    }
}

impl StatementTotals {
    /// Adds a line.
    pub fn add(&mut self, line: &StatementLine) -> Result<(), TotalsOverflow> {
        let (count, sum) = match line.kind {
            StatementKind::Paid => (&mut self.payments, &mut self.paid),
            StatementKind::Refunded { .. } => (&mut self.refunds, &mut self.refunded),
        };
        *count += 1;
        *sum = sum.checked_add(line.amount).ok_or(TotalsOverflow)?;
        Ok(())
    }
}

/// The first instant of a day and the first after it; `None` at the end of time.
pub fn bounds_of_day(day: Date) -> Option<(Timestamp, Timestamp)> {
    let zone = TimeZone::fixed(CHINA);
    let from = day.to_zoned(zone.clone()).ok()?.timestamp();
    let to = day.tomorrow().ok()?.to_zoned(zone).ok()?.timestamp();
    Some((from, to))
}

/// The day of an instant.
pub fn day_of(at: Timestamp) -> Date {
    CHINA.to_datetime(at).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_in_china() {
        let day: Date = "2026-11-21".parse().unwrap();
        let (from, to) = bounds_of_day(day).unwrap();
        assert_eq!(from.to_string(), "2026-11-20T16:00:00Z");
        assert_eq!(to.to_string(), "2026-11-21T16:00:00Z");
        assert_eq!(day_of(from), day);
        assert_eq!(day_of(to), day.tomorrow().unwrap());
        assert_eq!(bounds_of_day(Date::MAX), None);
    }

    #[test]
    fn totals_count_payments_and_refunds_apart() {
        let line = |kind, fen| StatementLine {
            order: OrderId::from_uuid(uuid::Uuid::nil()),
            payment: "P1".parse().unwrap(),
            kind,
            amount: Fen::new(fen),
            at: Timestamp::UNIX_EPOCH,
        };
        let refund = TransferId::from_uuid(uuid::Uuid::nil());
        let lines = vec![
            line(StatementKind::Paid, 500),
            line(StatementKind::Refunded { refund }, 200),
            line(StatementKind::Paid, 1),
        ];
        let statement = Statement { merchant: "CITY".into(), day: "2026-11-21".parse().unwrap(), lines };
        let totals = statement.totals().unwrap();
        assert_eq!((totals.payments, totals.paid), (2, Fen::new(501)));
        assert_eq!((totals.refunds, totals.refunded), (1, Fen::new(200)));
        let endless = Statement { lines: vec![line(StatementKind::Paid, u64::MAX); 2], ..statement };
        assert_eq!(endless.totals(), Err(TotalsOverflow));
    }
}
