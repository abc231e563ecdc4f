//! The nights: the centre settles a day when it is over and reconciles it when its payment statement is there.
//! What it settled and what it could not explain is compared with what is so.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use tsm_domain::InstitutionId;
use tsm_domain::money::PaymentState;
use tsm_domain::money::reconciliation::{Cause, Difference, DifferenceState};
use tsm_domain::money::settlement::BusinessDay;
use tsm_storage::PaymentStore as _;
use tsm_storage::clearing::settlement::{DayRow, DifferenceQuery, Settlements as _};

use super::terminals;
use super::trace::Event;
use super::violation::Violation;
use super::world::World;

/// How long after its end a day is settled and reconciled, with time for a centre that was down.
const DONE_AFTER: SignedDuration = SignedDuration::from_hours(11);

/// Incidents of the platform's messages that a bad network and bad clocks make: they arrive altered, twice, or
/// signed at another time.
const TAMPERED: [&str; 3] = ["payment-forged", "payment-replayed", "payment-stale"];

impl World {
    /// The first moment at which the day that is now, and the one after it, are settled and reconciled.
    pub(super) fn two_nights_on(&self) -> Timestamp {
        let tomorrow = BusinessDay::of(self.executor.now()).next();
        tomorrow.cut().saturating_add(DONE_AFTER).unwrap_or(Timestamp::MAX)
    }

    /// The days that the centre has closed, oldest first.
    pub(super) fn closed_days(&self) -> Vec<DayRow> {
        let days = self.servers.stores.clearing.days(usize::MAX).now_or_never();
        let mut days = days.and_then(Result::ok).unwrap_or_default();
        days.reverse();
        days
    }

    /// What is settled so far, for each operator.
    fn settled(&self, days: &[DayRow]) -> BTreeMap<InstitutionId, i128> {
        let mut sums = BTreeMap::new();
        for row in days.iter().filter(|row| row.settled_at.is_some()) {
            let settlements = self.servers.stores.clearing.settlements(row.day).now_or_never();
            for settlement in settlements.and_then(Result::ok).into_iter().flatten() {
                let gross = i128::from(settlement.volume.gross.get());
                *sums.entry(settlement.pair.operator).or_default() += gross;
            }
        }
        sums
    }

    /// No operator is owed more than was spent at its terminals. At the end it is all of it, but for what the
    /// centre did not take of cards that were copied.
    pub(super) fn check_settlements(&self, until: Until) {
        let days = self.closed_days();
        let settled = self.settled(&days);
        for operator in self.servers.paid_operators() {
            let Ok(id) = operator.number.parse::<InstitutionId>() else { continue };
            let spent = self.truth.proven_at(|terminal| terminals::operator_of(terminal) == operator.number);
            let settled = settled.get(&id).copied().unwrap_or(0);
            let fits = match until {
                Until::Now => settled <= spent,
                Until::TheEnd => {
                    settled == spent - self.refused_at(|at| terminals::operator_of(at) == operator.number)
                }
            };
            if !fits {
                let sums = (settled, spent);
                self.truth.find(None, Violation::Settlement { operator: operator.number.clone(), sums });
            }
        }
    }

    /// Every day was closed, settled and reconciled, and what is still different has a cause that is so.
    pub(super) fn check_reconciliation(&self) {
        let days = self.closed_days();
        for row in &days {
            if row.settled_at.is_none() || row.reconciled_at.is_none() {
                return self.truth.find(None, Violation::DayNotDone { day: row.day.to_string() });
            }
        }
        let (clearing, any) = (&self.servers.stores.clearing, DifferenceQuery::default());
        let all = clearing.differences(&any, usize::MAX);
        let Some(Ok(all)) = all.now_or_never() else { return };
        self.check_altered(&all);
        self.check_noted();
        for difference in all {
            self.trace.aside(&Event::Difference(difference.cause.name(), difference.state.name()));
            self.differed(difference.cause);
            if matches!(difference.state, DifferenceState::Explained { .. }) || self.is_so(&difference) {
                continue;
            }
            let rider = difference.card.and_then(|card| self.truth.holder(card.application_serial()));
            let what = format!("{} {:?}", difference.cause.name(), difference);
            return self.truth.find(rider, Violation::UnexplainedDifference { what });
        }
    }

    /// Whether the cause of a difference that nothing explained is the right one.
    fn is_so(&self, difference: &Difference) -> bool {
        if let Some(is_so) = self.noted_is_so(difference) {
            return is_so;
        }
        // What the network has done to the platform's messages, whatever card they were about.
        if difference.cause == Cause::NotificationRefused {
            return TAMPERED.iter().any(|kind| difference.text.starts_with(kind));
        }
        if difference.cause == Cause::WrongTac {
            return self.was_falsified(difference);
        }
        if difference.card.is_some_and(|card| self.truth.is_copied(card.application_serial())) {
            return Self::may_be_of_copied(difference.cause);
        }
        match difference.cause {
            // By the terminal's own clock another table was in force than the one that it had heard of.
            Cause::FareCheaper | Cause::FareDearer => {
                difference.transaction.is_some_and(|purchase| self.terminals.is_misdated(purchase))
            }
            // The money is still on no card, and was not given back.
            Cause::InFlightTooLong => {
                let order = difference.reference;
                self.truth.uncredited().iter().any(|(open, _)| Some(*open) == order)
            }
            // A payment that nobody wanted any more went back whole, outside the books.
            Cause::PaidUnknownToUs | Cause::RefundExtra => self.went_back_whole(difference),
            // A debit whose proof no terminal saw.
            Cause::CounterGap => difference
                .card
                .is_some_and(|card| !self.truth.unproven_counters(card.application_serial()).is_empty()),
            // A terminal that does not know whether it debited says so of what another one then proved.
            Cause::Unproven => difference.transaction.is_some_and(|transaction| {
                let serial = transaction.card.application_serial();
                let proven = self.truth.proven_by(serial, transaction.counter);
                proven.is_none_or(|terminal| !difference.text.contains(&hex::encode(terminal)))
            }),
            // Somebody altered it on its way, and its terminal had not signed it so.
            Cause::BatchRefused => self.was_altered(difference),
            _ => false,
        }
    }

    fn went_back_whole(&self, difference: &Difference) -> bool {
        let Some(order) = difference.reference else { return false };
        let row = self.servers.stores.payment.order(order).now_or_never();
        let row = row.and_then(Result::ok).flatten();
        row.is_some_and(|row| {
            matches!(row.order.state, PaymentState::Refunded { .. }) && row.order.held().is_zero()
        })
    }
}

/// For which moment something is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// While the days go on.
    Now,
    /// When all is quiet and delivered.
    TheEnd,
}
