//! What a service is given from outside: time, randomness, tasks, timers.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tsm_domain::environment::{Clock, Entropy};

/// Runs a task on its own.
pub trait Spawner: Send + Sync {
    /// Runs the task to its end, whatever becomes of whoever asked for it.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// Waits.
pub trait Timer: Send + Sync {
    /// A future that is ready after this time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Everything a service is given that is neither a store nor a key.
#[derive(Clone)]
pub struct Environment {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Tasks.
    pub spawner: Arc<dyn Spawner>,
    /// Timers.
    pub timer: Arc<dyn Timer>,
}

impl Environment {
    /// Now.
    pub fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// Random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A random identifier.
    pub fn uuid(&self) -> uuid::Uuid {
        uuid::Builder::from_random_bytes(self.random()).into_uuid()
    }

    /// How a job rests between two rounds: until the time is over or there is news. Without a time it waits for
    /// news alone; when nobody can send news any more, the job ends.
    pub(crate) async fn rest(
        &self,
        time: Option<Duration>,
        news: &mut watch::Receiver<()>,
    ) -> ControlFlow<()> {
        let over = async {
            match time {
                Some(time) => self.timer.sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // In this order, so that one seed of the simulator is one run.
            biased;
            changed = news.changed() => match changed {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            },
            () = over => ControlFlow::Continue(()),
        }
    }
}
