//! What the memory writes to: a live log and a spare one that can take its place.

use std::sync::Arc;

/// Which of the two logs a write goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The log that power-on reads.
    Live,
    /// The log being prepared to take its place.
    Spare,
}

/// Bytes to write: the caller's own, or bytes that many cards share.
#[derive(Debug, Clone)]
pub enum Chunk {
    /// Bytes of this write only.
    Own(Vec<u8>),
    /// Bytes that a driver in memory keeps by reference.
    Shared(Arc<[u8]>),
}

impl Chunk {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// Why a driver could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The power failed.
    #[error("the power failed")]
    PowerLost,
    /// The medium failed.
    #[error("the medium failed")]
    Io(#[source] std::io::Error),
}

impl From<std::io::Error> for DriverError {
    fn from(source: std::io::Error) -> Self {
        Self::Io(source)
    }
}

/// A medium that holds two logs.
///
/// Only [`Driver::switch`] must be atomic; an interrupted append may leave any bytes.
pub trait Driver: Send {
    /// Everything in the live log.
    fn read_live(&mut self) -> Result<Vec<u8>, DriverError>;
    /// Appends to a log.
    fn append(&mut self, area: Area, chunk: &Chunk) -> Result<(), DriverError>;
    /// Makes what was appended to the live log durable.
    fn sync(&mut self) -> Result<(), DriverError>;
    /// Empties the spare log.
    fn erase_spare(&mut self) -> Result<(), DriverError>;
    /// Makes the spare log the live one, in one step, and durably; the old live log is gone.
    fn switch(&mut self) -> Result<(), DriverError>;
}

/// A driver that keeps both logs in this process.
#[derive(Debug, Clone, Default)]
pub struct ImageDriver {
    live: Segments,
    spare: Segments,
}

#[derive(Debug, Clone, Default)]
struct Segments(Vec<Chunk>);

/// Own bytes are gathered into segments of at most this many, so that an append seldom copies much.
const SEGMENT: usize = 1024;

impl ImageDriver {
    /// An empty medium.
    pub fn new() -> Self {
        Self::default()
    }

    /// A medium whose live log is `image`.
    pub fn from_image(image: &[u8]) -> Self {
        Self { live: Segments(vec![Chunk::Own(image.to_vec())]), spare: Segments::default() }
    }
}

impl Segments {
    fn append(&mut self, chunk: &Chunk) {
        match (self.0.last_mut(), chunk) {
            (_, Chunk::Shared(bytes)) => self.0.push(Chunk::Shared(Arc::clone(bytes))),
            (Some(Chunk::Own(last)), Chunk::Own(bytes)) if last.len() + bytes.len() <= SEGMENT => {
                last.extend_from_slice(bytes);
            }
            (_, Chunk::Own(bytes)) => self.0.push(Chunk::Own(bytes.clone())),
        }
    }
}

impl Driver for ImageDriver {
    fn read_live(&mut self) -> Result<Vec<u8>, DriverError> {
        Ok(self.live.0.iter().flat_map(|chunk| chunk.as_bytes()).copied().collect())
    }

    fn append(&mut self, area: Area, chunk: &Chunk) -> Result<(), DriverError> {
        match area {
            Area::Live => self.live.append(chunk),
            Area::Spare => self.spare.append(chunk),
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DriverError> {
        Ok(())
    }

    fn erase_spare(&mut self) -> Result<(), DriverError> {
        self.spare = Segments::default();
        Ok(())
    }

    fn switch(&mut self) -> Result<(), DriverError> {
        self.live = std::mem::take(&mut self.spare);
        Ok(())
    }
}
