//! The real clock and the operating system's randomness, given to every role of this process.

use std::sync::Arc;

use tsm_domain::environment::{Clock, Entropy};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// The machine's clock, ahead by as many seconds as a file says: for a city whose nights should pass quickly.
#[derive(Debug, Clone)]
pub struct ShiftedClock {
    ahead: std::path::PathBuf,
}

impl ShiftedClock {
    /// The clock of whoever shares this file. Without the file it is the machine's.
    pub const fn sharing(ahead: std::path::PathBuf) -> Self {
        Self { ahead }
    }

    /// Sets the shared clock to this moment, which lies ahead.
    pub fn advance_to(&self, moment: jiff::Timestamp) -> std::io::Result<()> {
        let seconds = moment.duration_since(SystemClock.now()).as_secs();
        std::fs::write(&self.ahead, seconds.to_string())
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> jiff::Timestamp {
        let ahead = std::fs::read_to_string(&self.ahead).ok().and_then(|text| text.parse().ok());
        let now = SystemClock.now();
        now.checked_add(jiff::SignedDuration::from_secs(ahead.unwrap_or(0))).unwrap_or(now)
    }
}

/// The operating system's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness (`opentsm doctor` checks it)");
    }
}

/// Both, as the roles take them.
pub fn real() -> (Arc<dyn Clock>, Arc<dyn Entropy>) {
    (Arc::new(SystemClock), Arc::new(SystemEntropy))
}
