//! What the sandbox does as the world does: notifications that are doubled, late, or there before the reply,
//! queries whose answer is not known yet, replies that are lost, payments that race a close. Plain data, set by
//! tests and by the program's configuration; without any, the sandbox is as quick and right as it can be.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// When the merchant hears that a payment was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// When its turn comes.
    #[default]
    InTurn,
    /// Before the payer has the reply to the payment.
    BeforePayReply,
    /// The payer pays at once, and the merchant hears of it before it has the reply to its own order.
    BeforeCreateReply,
}

/// What becomes of a payment for an order that was closed a moment before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raced {
    /// The payer is told that the order is closed.
    #[default]
    Refused,
    /// The bank was faster: it is taken, and given back as a whole at once.
    TakenAndGivenBack,
}

/// The faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    /// How many signed messages say the same.
    pub notification_copies: u8,
    /// How late notifications are sent.
    pub notification_delay_ms: u32,
    /// When the merchant hears.
    pub heard: Heard,
    /// For how long after a change a query has no answer.
    pub unknown_for_ms: u32,
    /// Every so many replies to merchants one is lost; zero, none.
    pub lose_every: u32,
    /// The pauses before a notification that nobody took is sent again; the last one stays. Empty: half a second,
    /// doubling to five minutes.
    pub retry_after_s: Vec<u32>,
    /// Payments that race a close.
    pub raced: Raced,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            notification_copies: 1,
            notification_delay_ms: 0,
            heard: Heard::InTurn,
            unknown_for_ms: 0,
            lose_every: 0,
            retry_after_s: Vec::new(),
            raced: Raced::Refused,
        }
    }
}

impl Faults {
    /// Every notification is doubled and nothing else goes wrong.
    pub fn doubled() -> Self {
        Self { notification_copies: 2, ..Self::default() }
    }

    /// The pause after this many attempts, if a schedule is set.
    pub fn retry_after(&self, attempts: u32) -> Option<SignedDuration> {
        let last = self.retry_after_s.last()?;
        let attempt = usize::try_from(attempts).unwrap_or(usize::MAX);
        let seconds = self.retry_after_s.get(attempt).unwrap_or(last);
        Some(SignedDuration::from_secs(i64::from(*seconds)))
    }
}

/// The faults that are set now.
#[derive(Debug, Default)]
pub(super) struct CurrentFaults {
    faults: Mutex<Faults>,
    replies: AtomicU32,
}

impl CurrentFaults {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults: Mutex::new(faults), replies: AtomicU32::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> Faults {
        self.lock().clone()
    }

    pub(super) fn set(&self, faults: Faults) {
        *self.lock() = faults;
    }

    /// Counts a reply to a merchant; whether it is one that is lost.
    pub(super) fn loses_reply(&self) -> bool {
        let every = self.lock().lose_every;
        let count = self.replies.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        every != 0 && count.is_multiple_of(every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_what_goes_wrong_and_nothing_else() {
        let faults: Faults = serde_json::from_str(
            r#"{"notification_copies":2,"retry_after_s":[15,15,30],"raced":"taken_and_given_back"}"#,
        )
        .unwrap();
        let expected = Faults {
            notification_copies: 2,
            retry_after_s: vec![15, 15, 30],
            raced: Raced::TakenAndGivenBack,
            ..Faults::default()
        };
        assert_eq!(faults, expected);
        let pauses: Vec<_> = (0..5).map(|attempt| faults.retry_after(attempt).unwrap().as_secs()).collect();
        assert_eq!(pauses, [15, 15, 30, 30, 30]);
        assert_eq!(Faults::default().retry_after(3), None);
    }

    #[test]
    fn every_third_reply_is_lost() {
        let current = CurrentFaults::new(Faults { lose_every: 3, ..Faults::default() });
        let lost: Vec<_> = (0..6).map(|_| current.loses_reply()).collect();
        assert_eq!(lost, [false, false, true, false, false, true]);
        current.set(Faults::default());
        assert!(!(0..6).any(|_| current.loses_reply()));
    }
}
