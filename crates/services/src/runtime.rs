//! What a service is given from outside: time, randomness, tasks, timers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
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
}
