//! The money equation of the books, as a function of the ledger's totals.
//!
//! paid in + cash in = purses (last proven) + in flight + parked + refund payable + spent + refunded
//! + fees + deposits + write-offs + owed to operators + paid to operators.

use serde::{Deserialize, Serialize};

use super::ledger::{AccountKind, Transfer, TransferKind};
use crate::amount::Fen;

/// The terms of the equation, in fen. Signed, because a broken ledger must be shown as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MoneyTotals {
    /// Confirmed by the payment platform.
    pub paid_in: i128,
    /// Taken in cash.
    pub cash_in: i128,
    /// Last proven balances of all purses.
    pub purses: i128,
    /// Paid and not proven to be in a purse.
    pub in_flight: i128,
    /// Held by parked cards.
    pub parked: i128,
    /// Owed to riders.
    pub refund_payable: i128,
    /// Spent, proven by TACs.
    pub spent: i128,
    /// Paid back.
    pub refunded: i128,
    /// Kept as fees.
    pub fees: i128,
    /// Held as deposits.
    pub deposits: i128,
    /// Written off, less what was lost.
    pub write_offs: i128,
    /// Settled and owed to operators.
    #[serde(default)]
    pub operator_payable: i128,
    /// Paid to operators.
    #[serde(default)]
    pub operator_paid: i128,
}

/// The equation does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the books do not balance: {paid} fen came in and {found} are accounted for")]
pub struct Imbalance {
    /// What came in.
    pub paid: i128,
    /// What is accounted for.
    pub found: i128,
}

impl MoneyTotals {
    /// The totals of a whole ledger, from its transfers alone.
    pub fn of_transfers<'a>(transfers: impl IntoIterator<Item = &'a Transfer>) -> Self {
        let mut totals = Self::default();
        for transfer in transfers {
            match transfer.kind {
                TransferKind::Single | TransferKind::Post(_) => {
                    totals.add(transfer.debit.kind(), transfer.amount, -1);
                    totals.add(transfer.credit.kind(), transfer.amount, 1);
                }
                TransferKind::Pending | TransferKind::Void(_) => {}
            }
        }
        totals
    }

    /// Adds what accounts of `kind` were debited and credited in all.
    pub fn add_sums(&mut self, kind: AccountKind, debited: Fen, credited: Fen) {
        self.add(kind, debited, -1);
        self.add(kind, credited, 1);
    }

    fn add(&mut self, kind: AccountKind, amount: Fen, sign: i128) {
        let amount = sign * i128::from(amount.get());
        match kind {
            // Money comes in by debiting these two.
            AccountKind::PaidIn => self.paid_in -= amount,
            AccountKind::CashIn => self.cash_in -= amount,
            AccountKind::InFlight => self.in_flight += amount,
            AccountKind::Purse => self.purses += amount,
            AccountKind::Parked => self.parked += amount,
            AccountKind::RefundPayable => self.refund_payable += amount,
            AccountKind::Spent => self.spent += amount,
            AccountKind::Refunded => self.refunded += amount,
            AccountKind::Fees => self.fees += amount,
            AccountKind::Deposits => self.deposits += amount,
            AccountKind::WriteOffs => self.write_offs += amount,
            AccountKind::OperatorPayable => self.operator_payable += amount,
            AccountKind::OperatorPaid => self.operator_paid += amount,
        }
    }

    /// Adds the terms of other totals.
    pub fn add_all(&mut self, other: &Self) {
        for ((_, sum), (_, term)) in self.terms_mut().into_iter().zip(other.terms()) {
            *sum += term;
        }
    }

    /// The terms by name: first the two that money comes in by.
    pub const fn terms(&self) -> [(AccountKind, i128); 13] {
        [
            (AccountKind::PaidIn, self.paid_in),
            (AccountKind::CashIn, self.cash_in),
            (AccountKind::Purse, self.purses),
            (AccountKind::InFlight, self.in_flight),
            (AccountKind::Parked, self.parked),
            (AccountKind::RefundPayable, self.refund_payable),
            (AccountKind::Spent, self.spent),
            (AccountKind::Refunded, self.refunded),
            (AccountKind::Fees, self.fees),
            (AccountKind::Deposits, self.deposits),
            (AccountKind::WriteOffs, self.write_offs),
            (AccountKind::OperatorPayable, self.operator_payable),
            (AccountKind::OperatorPaid, self.operator_paid),
        ]
    }

    const fn terms_mut(&mut self) -> [(AccountKind, &mut i128); 13] {
        [
            (AccountKind::PaidIn, &mut self.paid_in),
            (AccountKind::CashIn, &mut self.cash_in),
            (AccountKind::Purse, &mut self.purses),
            (AccountKind::InFlight, &mut self.in_flight),
            (AccountKind::Parked, &mut self.parked),
            (AccountKind::RefundPayable, &mut self.refund_payable),
            (AccountKind::Spent, &mut self.spent),
            (AccountKind::Refunded, &mut self.refunded),
            (AccountKind::Fees, &mut self.fees),
            (AccountKind::Deposits, &mut self.deposits),
            (AccountKind::WriteOffs, &mut self.write_offs),
            (AccountKind::OperatorPayable, &mut self.operator_payable),
            (AccountKind::OperatorPaid, &mut self.operator_paid),
        ]
    }

    /// Whether the equation holds.
    pub const fn check(&self) -> Result<(), Imbalance> {
        let paid = self.paid_in + self.cash_in;
        let found = self.purses
            + self.in_flight
            + self.parked
            + self.refund_payable
            + self.spent
            + self.refunded
            + self.fees
            + self.deposits
            + self.write_offs
            + self.operator_payable
            + self.operator_paid;
        if paid == found { Ok(()) } else { Err(Imbalance { paid, found }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_fen_is_seen() {
        let mut totals = MoneyTotals::default();
        totals.add_sums(AccountKind::PaidIn, Fen::new(100), Fen::ZERO);
        totals.add_sums(AccountKind::InFlight, Fen::new(60), Fen::new(100));
        totals.add_sums(AccountKind::Purse, Fen::ZERO, Fen::new(59));
        assert_eq!(totals.check(), Err(Imbalance { paid: 100, found: 99 }));
        totals.add_sums(AccountKind::Fees, Fen::ZERO, Fen::new(1));
        assert_eq!(totals.check(), Ok(()));
        assert_eq!((totals.in_flight, totals.purses), (40, 59));
    }
}
