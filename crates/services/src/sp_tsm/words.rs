//! The order of what the SE-TSM is told about a card. Results and notices go out by themselves and may overtake each
//! other; each carries its place among them.

use tsm_storage::shared::Fence;

/// What a conversation can find or bring about, in this order: it finds a lock before it lifts one, and ends with
/// what it brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The card is locked.
    Locked,
    /// The card is not locked.
    Unlocked,
    /// The card was personalised, or has arrived.
    InUse,
    /// The card is opened for use.
    Opened,
    /// The card is blocked or emptied, and its balance is at the centre.
    Closed,
}

/// How many places a conversation has.
const PLACES: u64 = 8;

impl Word {
    /// Its place among all that is told of one application on one secure element: conversations with a secure element
    /// follow each other, and their epochs count them.
    pub(super) const fn number(self, fence: Fence) -> u64 {
        fence.epoch.0.saturating_mul(PLACES).saturating_add(self as u64)
    }
}
