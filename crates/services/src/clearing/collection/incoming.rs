//! Bytes of a file on their way from a connection into the store.
//!
//! A connection that broke may store its last bytes when the next one has been told already how many are here, and
//! two may bring the same file at once. That is no contradiction: they bring the same bytes, as the digest will
//! show, so whoever comes second passes over what is there. Only when the file itself is gone has a connection
//! nothing to go on with.

use jiff::SignedDuration;
use tsm_storage::clearing::collection::{FilePart, FileRow};
use tsm_storage::{Result, StorageError};

use crate::clearing::Clearing;

/// Bytes that are put into the store at once.
const PART: usize = 64 << 10;
/// Fewer are stored when the last were stored so long ago: a file that still comes keeps its name.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// A file that a connection brings.
pub(super) struct Incoming {
    file: FileRow,
    /// How many of its bytes came and are in the store.
    stored: u64,
    unstored: Vec<u8>,
    stored_at: jiff::Timestamp,
}

impl Incoming {
    /// A file that was announced and goes on where it was.
    pub(super) const fn new(file: FileRow, now: jiff::Timestamp) -> Self {
        let stored = file.held;
        Self { file, stored, unstored: Vec::new(), stored_at: now }
    }

    /// The file as it was when it was announced.
    pub(super) const fn file(&self) -> &FileRow {
        &self.file
    }

    /// Its next bytes came.
    pub(super) async fn push(&mut self, centre: &Clearing, bytes: Vec<u8>) -> Result<()> {
        self.unstored.extend(bytes);
        let waited = centre.now().duration_since(self.stored_at).abs() >= PAUSE;
        if self.unstored.len() >= PART || waited { self.store(centre).await } else { Ok(()) }
    }

    /// Puts the bytes that have come into the store. A conflict says that the file is gone.
    pub(super) async fn store(&mut self, centre: &Clearing) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.unstored);
        self.stored_at = centre.now();
        while !bytes.is_empty() {
            let part = FilePart { offset: self.stored, bytes: bytes.clone(), at: self.stored_at };
            let row = centre.store.append_file(&self.file, part).await?;
            let ahead = row.held.saturating_sub(self.stored).min(bytes.len() as u64);
            if ahead == 0 {
                return Err(StorageError::conflict("file", &self.file.key.name));
            }
            self.stored += ahead;
            bytes.drain(..usize::try_from(ahead).unwrap_or(bytes.len()));
        }
        Ok(())
    }
}
