//! The centre's own work: watching the books, settling each day when it is over, reconciling it when its
//! statements are there. Everything is repeated until it is done, and repeating it changes nothing.
//!
//! Days are done in order, and none is left out: a centre that was down for days does them all when it is up again.
//! A day that cannot be settled holds up those after it, and so does one that cannot be reconciled, because a later
//! day's arrivals explain an earlier day's differences.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tsm_domain::money::settlement::BusinessDay;
use tsm_storage::StorageError;
use tsm_storage::clearing::settlement::DayRow;

use super::Clearing;
use super::reconciliation::ReconciliationError;

/// How long after its end a day is closed: what was on its way at midnight still counts.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// How long after its end a day is reconciled: by then the platforms have its statement.
const STATEMENTS: SignedDuration = SignedDuration::from_hours(9);
/// How long after its end the statement of a day is overdue: somebody is told.
const OVERDUE: SignedDuration = SignedDuration::from_hours(10);
/// So many closed days are looked at: over a year of them.
const DAYS: usize = 400;

impl Clearing {
    /// Does what is due, and starts no task.
    pub async fn work(&self) {
        if let Err(error) = self.do_days().await {
            tracing::error!(%error, "the days that are over could not be looked at");
        }
        // What cannot be taken is in the view when it is noticed, not when the day is reconciled.
        if let Err(error) = self.take_suspicions(BusinessDay::of(self.now())).await {
            tracing::error!(%error, "what was kept aside is not in the reconciliation view");
        }
        if let Err(error) = self.watch_books().await {
            tracing::error!(%error, "the books were not checked");
        }
    }

    async fn do_days(&self) -> Result<(), StorageError> {
        let now = self.now();
        let is_over = |day: BusinessDay, after| now.duration_since(day.cut()) >= after;
        let mut days = self.days_that_are_over().await?;
        for (day, row) in &mut days {
            if row.as_ref().is_some_and(|row| row.settled_at.is_some()) {
                continue;
            }
            if !is_over(*day, GRACE) {
                break;
            }
            match self.settle_day(*day).await {
                Ok(settled) => *row = Some(settled),
                Err(error) => {
                    tracing::error!(%day, %error, "a day was not settled");
                    break;
                }
            }
        }
        let mut reconciled = 0;
        for (day, row) in &days {
            let (day, row) = (*day, row.as_ref());
            let Some(row) = row.filter(|row| row.settled_at.is_some()) else { break };
            if row.reconciled_at.is_some() {
                continue;
            }
            if !is_over(day, STATEMENTS) {
                break;
            }
            if let Err(error) = self.reconcile_day(day).await {
                tracing::error!(%day, %error, "a day was not reconciled");
                if let ReconciliationError::Statement(why) = &error
                    && is_over(day, OVERDUE)
                {
                    self.statement_is_overdue(day, why).await?;
                }
                break;
            }
            reconciled += 1;
        }
        // Once a night, whether or not its own day is done, and whenever one is: the platforms answer then.
        let tonight = days.keys().rev().find(|day| is_over(**day, STATEMENTS)).copied();
        let mut asked = self.late_asked.lock().await;
        if reconciled > 0 || tonight > *asked {
            self.ask_for_late_statements(days.into_values().flatten()).await?;
            *asked = tonight;
        }
        Ok(())
    }

    /// Every day from the first that is known to yesterday, with what has become of it.
    async fn days_that_are_over(&self) -> Result<BTreeMap<BusinessDay, Option<DayRow>>, StorageError> {
        let yesterday = BusinessDay::of(self.now()).previous();
        let known = self.store.days(DAYS).await?;
        let first = match known.last() {
            Some(oldest) => Some(oldest.day),
            None => self.store.first_day().await?,
        };
        let mut days = BTreeMap::new();
        let mut day = first.unwrap_or(yesterday);
        while day <= yesterday {
            days.insert(day, None);
            day = day.next();
        }
        days.extend(known.into_iter().map(|row| (row.day, Some(row))));
        Ok(days)
    }
}

/// Works for as long as the centre lives, with this pause between two rounds.
pub fn start(centre: &Arc<Clearing>, pause: Duration) {
    let environment = centre.environment.clone();
    let (weak, timer) = (Arc::downgrade(centre), environment.timer.clone());
    let run = async move {
        while let Some(centre) = weak.upgrade() {
            centre.work().await;
            drop(centre);
            timer.sleep(pause).await;
        }
    };
    environment.spawner.spawn(run.boxed());
}
