//! Counting what calls cost: round trips, bytes, server time.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that several clients may share.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    server_us: AtomicU64,
}

/// What was counted until now. Two of them subtract to what lay between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Requests that left: each is a round trip.
    pub requests: u64,
    /// Bytes of request bodies.
    pub sent_bytes: u64,
    /// Bytes of reply bodies.
    pub received_bytes: u64,
    /// The time that servers say they worked.
    pub server_us: u64,
}

impl Counters {
    /// Adds one request.
    pub fn add(&self, sent: usize, received: usize, server_us: Option<u64>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(sent as u64, Ordering::Relaxed);
        self.received_bytes.fetch_add(received as u64, Ordering::Relaxed);
        self.server_us.fetch_add(server_us.unwrap_or(0), Ordering::Relaxed);
    }

    /// Reads the counters.
    pub fn read(&self) -> Counts {
        Counts {
            requests: self.requests.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            server_us: self.server_us.load(Ordering::Relaxed),
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
            server_us: self.server_us - earlier.server_us,
        }
    }
}
