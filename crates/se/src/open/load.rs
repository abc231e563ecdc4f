//! LOAD (GPC 2.3.1, 11.6).

use super::registry::EntryId;

/// A load file on its way to the card. Volatile: it leaves nothing behind if it is not finished.
pub(crate) struct Loading {
    /// The domain it will be associated with.
    pub(crate) domain: EntryId,
    received: Vec<u8>,
}

impl Loading {
    /// The bytes that count as used while the loading lasts.
    pub(crate) fn charged_bytes(&self) -> u32 {
        u32::try_from(self.received.len()).unwrap_or(u32::MAX)
    }
}
