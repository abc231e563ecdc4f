//! The job that closes payments whose time is over.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;

use super::PaymentSandbox;
use crate::runtime::Environment;

/// How long the job waits when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(5);
/// Payments closed at once.
const BATCH: usize = 64;

/// Runs until the sandbox is dropped. While no payment is open it waits for one.
pub(super) async fn run(
    sandbox: Weak<PaymentSandbox>,
    environment: Environment,
    mut opened: watch::Receiver<()>,
) {
    loop {
        opened.mark_unchanged();
        let pause = {
            let Some(sandbox) = sandbox.upgrade() else { return };
            sandbox.close_expired().await
        };
        if environment.rest(pause, &mut opened).await.is_break() {
            return;
        }
    }
}

impl PaymentSandbox {
    /// Closes what is over; gives the time until something is over again.
    async fn close_expired(self: Arc<Self>) -> Option<Duration> {
        match self.close_all_expired().await {
            Ok(None) => None,
            Ok(Some(at)) => {
                let left = Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO);
                Some(left.max(Duration::from_millis(1)))
            }
            Err(error) => {
                debug!(%error, "payments could not be closed");
                Some(STORE_PAUSE)
            }
        }
    }

    async fn close_all_expired(&self) -> tsm_storage::Result<Option<jiff::Timestamp>> {
        loop {
            let now = self.now();
            let over = self.store.expired_orders(now, BATCH).await?;
            if over.is_empty() {
                return self.store.next_expiry().await;
            }
            for order in over {
                let Some(row) = self.store.order(order).await? else { continue };
                // A payment may have been faster.
                if let Err(error) = self.store.close_order(order, row.expires_at).await {
                    match error {
                        tsm_storage::StorageError::Payment(_) => {}
                        other => return Err(other),
                    }
                }
            }
        }
    }
}
