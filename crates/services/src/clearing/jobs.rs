//! The centre's own work: watching the books, settling each day when it is over, reconciling it when its
//! statements are there. Everything is repeated until it is done, and repeating it changes nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::SignedDuration;
use tsm_domain::money::settlement::BusinessDay;

use super::Clearing;

/// How long after its end a day is closed: what was on its way at midnight still counts.
const GRACE: SignedDuration = SignedDuration::from_mins(5);
/// How long after its end a day is reconciled: by then the platforms have its statement.
const STATEMENTS: SignedDuration = SignedDuration::from_hours(9);

impl Clearing {
    /// Does what is due, and starts no task.
    pub async fn work(&self) {
        let now = self.now();
        let yesterday = BusinessDay::of(now).previous();
        let is_over = |after: SignedDuration| now.duration_since(yesterday.cut()) >= after;
        if is_over(GRACE)
            && let Err(error) = self.settle_day(yesterday).await
        {
            tracing::error!(day = %yesterday, %error, "a day was not settled");
        }
        let is_reconciled = match self.store.day(yesterday).await {
            Ok(row) => row.is_none_or(|row| row.reconciled_at.is_some()),
            Err(_) => true,
        };
        if is_over(STATEMENTS)
            && !is_reconciled
            && let Err(error) = self.reconcile_day(yesterday).await
        {
            tracing::error!(day = %yesterday, %error, "a day was not reconciled");
        }
        // What cannot be taken is in the view when it is noticed, not when the day is reconciled.
        if let Err(error) = self.take_suspicions(BusinessDay::of(now)).await {
            tracing::error!(%error, "what was kept aside is not in the reconciliation view");
        }
        if let Err(error) = self.watch_books().await {
            tracing::error!(%error, "the books were not checked");
        }
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
