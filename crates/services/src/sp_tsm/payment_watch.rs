//! The job that asks the platform about orders whose notification never came, and closes those that nobody
//! paid in time (B-7.4.1.b).
//!
//! An order is asked about half a minute after it was made, then after longer and longer pauses. What the
//! platform does not answer stays unknown; no time that passes makes it a failure. An order whose time is over
//! is closed at the platform first: only its word that nobody paid closes the order here.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tracing::debug;
use tsm_domain::OrderId;
use tsm_storage::sp_tsm::TopUpOrder;

use super::SpTsm;
use crate::payment::{PaymentError, PlatformState};
use crate::runtime::Environment;

/// How long an order can be paid.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_mins(30);
/// The first pause before the platform is asked; it doubles.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// How long the job waits when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Orders looked at in one round.
const BATCH: usize = 4096;

/// How often each order was asked about, and when it is asked about again.
type Asked = BTreeMap<OrderId, (u32, Timestamp)>;

/// Runs until the SP-TSM is dropped. While no order waits for its payment it waits for one.
pub(super) async fn run(tsm: Weak<SpTsm>, environment: Environment, mut ordered: watch::Receiver<()>) {
    let mut asked = Asked::new();
    loop {
        ordered.mark_unchanged();
        let pause = {
            let Some(tsm) = tsm.upgrade() else { return };
            tsm.watch_payments(&mut asked).await
        };
        if environment.rest(pause, &mut ordered).await.is_break() {
            return;
        }
    }
}

impl SpTsm {
    /// When an order can be paid no longer.
    pub(super) fn pays_until(order: &TopUpOrder) -> Timestamp {
        order.created_at.saturating_add(LIFETIME).unwrap_or(Timestamp::MAX)
    }

    /// Asks about what is due; gives the time until something is due again.
    async fn watch_payments(&self, asked: &mut Asked) -> Option<Duration> {
        let unpaid = match self.store.unpaid_top_ups(Timestamp::MAX, BATCH).await {
            Ok(unpaid) => unpaid,
            Err(error) => {
                debug!(%error, "unpaid orders cannot be read");
                return Some(STORE_PAUSE);
            }
        };
        let mut next = Asked::new();
        for order in &unpaid {
            let first = order.created_at.saturating_add(FIRST_PAUSE).unwrap_or(Timestamp::MAX);
            let (count, due_at) = asked.get(&order.order).copied().unwrap_or((0, first));
            let now = self.now();
            if due_at > now {
                next.insert(order.order, (count, due_at));
                continue;
            }
            self.ask_about(order).await;
            let pause = FIRST_PAUSE.saturating_mul(1 << count.min(8)).min(LONGEST_PAUSE);
            let until = Self::pays_until(order);
            let again = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
            let again = if until > now { again.min(until) } else { again };
            next.insert(order.order, (count.saturating_add(1), again));
        }
        *asked = next;
        let soonest = asked.values().map(|(_, due_at)| *due_at).min()?;
        let left = Duration::try_from(soonest.duration_since(self.now())).unwrap_or(Duration::ZERO);
        Some(left.max(Duration::from_millis(1)))
    }

    /// Asks the platform how an order stands and takes its word; closes the order when its time is over.
    async fn ask_about(&self, order: &TopUpOrder) {
        let is_over = Self::pays_until(order) <= self.now();
        let word = if is_over {
            self.links.payment.close(order.order).await
        } else {
            self.links.payment.query(order.order).await
        };
        let taken = match word {
            Ok(word) if is_over && word.state == PlatformState::Open => return,
            Ok(word) => self.take_word(&word).await.map_err(|problem| problem.to_string()),
            // The platform never had the order, so nobody can have paid it.
            Err(PaymentError::Refused(_)) if is_over => {
                self.store.close_top_up(order.order).await.map(drop).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = taken {
            debug!(order = %order.order, reason, "an unpaid order is asked about again");
        }
    }
}
