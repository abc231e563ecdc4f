//! Time that stands still until a test moves it to the end of the next pause.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, oneshot};
use tsm_domain::environment::Clock;
use tsm_services::runtime::{Environment, Timer};

use crate::support::environment;

/// The clock and the timers of a test.
pub struct ManualTime {
    state: Mutex<State>,
    slept: Notify,
}

struct State {
    now: Timestamp,
    pauses: Vec<(Timestamp, oneshot::Sender<()>)>,
}

impl ManualTime {
    pub fn new() -> Arc<Self> {
        let now = "2026-11-20T08:00:00Z".parse().unwrap();
        Arc::new(Self { state: Mutex::new(State { now, pauses: Vec::new() }), slept: Notify::new() })
    }

    /// This time, with the tasks and the randomness of the other tests.
    pub fn environment(self: &Arc<Self>) -> Environment {
        Environment { clock: self.clone(), timer: self.clone(), ..environment() }
    }

    pub fn pass(&self, time: SignedDuration) {
        let mut state = self.state.lock().unwrap();
        state.now = state.now.saturating_add(time).unwrap();
    }

    /// Lets the pauses end whose time has passed.
    pub fn end_due_pauses(&self) {
        let mut state = self.state.lock().unwrap();
        let now = state.now;
        for (_, pause) in state.pauses.extract_if(.., |(until, _)| *until <= now) {
            let _ = pause.send(());
        }
    }

    /// Waits until something pauses, and lets the shortest pause end. Gives how long it was.
    pub async fn end_next_pause(&self) -> SignedDuration {
        self.end_next_pause_within(SignedDuration::MAX).await
    }

    /// The same for a pause that is not longer than `longest`; longer ones go on.
    pub async fn end_next_pause_within(&self, longest: SignedDuration) -> SignedDuration {
        loop {
            let slept = self.slept.notified();
            {
                let mut state = self.state.lock().unwrap();
                // Whoever waits no more has dropped its end.
                state.pauses.retain(|(_, pause)| !pause.is_closed());
                let shortest = (0..state.pauses.len()).min_by_key(|index| state.pauses[*index].0);
                let now = state.now;
                let shortest = shortest.filter(|index| state.pauses[*index].0.duration_since(now) <= longest);
                if let Some(index) = shortest {
                    let (until, pause) = state.pauses.swap_remove(index);
                    let passed = until.duration_since(state.now);
                    state.now = until.max(state.now);
                    let _ = pause.send(());
                    return passed;
                }
            }
            slept.await;
        }
    }
}

impl Clock for ManualTime {
    fn now(&self) -> Timestamp {
        self.state.lock().unwrap().now
    }
}

impl Timer for ManualTime {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (end, ended) = oneshot::channel();
        let mut state = self.state.lock().unwrap();
        let until = state.now.saturating_add(SignedDuration::try_from(duration).unwrap()).unwrap();
        state.pauses.push((until, end));
        self.slept.notify_one();
        async move { drop(ended.await) }.boxed()
    }
}
