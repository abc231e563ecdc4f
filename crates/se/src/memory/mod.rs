//! Tear-safe non-volatile memory: named objects that change together or not at all.
//!
//! The memory is a log. Each commit appends one frame that holds every object written since the
//! commit before it, closed by a checksum; power-on replays the frames and drops what a power
//! failure cut short. When the log has grown well past its live content, a fresh log is written
//! beside it and takes its place in one step. Between commits, writes wait in volatile memory,
//! where a reset loses them.
//!
//! The format carries a version; a newer build reads an older log. The memory never interprets
//! what the objects hold.

mod driver;
mod file;
mod library;
mod log;
mod power;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use driver::{Area, Chunk, Driver, DriverError, ImageDriver};
pub use file::FileDriver;
pub use library::LoadFileLibrary;
pub use log::{FORMAT_VERSION, LogError};
use power::PowerSupply;

/// Names an object: who owns it, which kind of object it is, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The registry entry that owns the object; 0 is the card itself.
    pub owner: u16,
    /// What kind of object it is.
    pub space: Space,
    /// The owner's number for it.
    pub object: u16,
}

/// The kinds of objects. Each has its own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// What OPEN keeps about the card.
    Card,
    /// A registry entry.
    Registry,
    /// The keys and data of a security domain.
    Domain,
    /// The data of an application.
    Data,
    /// The load file data block of a load file, shared between cards.
    Code,
}

impl Space {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Card => 0,
            Self::Registry => 1,
            Self::Domain => 2,
            Self::Data => 3,
            Self::Code => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Card,
            1 => Self::Registry,
            2 => Self::Domain,
            3 => Self::Data,
            4 => Self::Code,
            _ => return None,
        })
    }
}

/// Why the memory failed.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The power failed during a write; nothing happens any more until power returns.
    #[error("the power failed")]
    PowerLost,
    /// The driver could not read or write.
    #[error("the memory driver failed")]
    Driver(#[source] std::io::Error),
    /// The log is not one that this build reads.
    #[error("the memory image cannot be read")]
    Log(#[from] LogError),
}

impl From<DriverError> for MemoryError {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::PowerLost => Self::PowerLost,
            DriverError::Io(source) => Self::Driver(source),
        }
    }
}

/// A log shorter than this is never rewritten.
const SMALL_LOG: usize = 3 * 1024;

/// The objects of one card, and the writes of the command in progress.
pub struct Memory {
    power: PowerSupply,
    library: LoadFileLibrary,
    committed: BTreeMap<ObjectKey, Arc<[u8]>>,
    staged: BTreeMap<ObjectKey, Option<Arc<[u8]>>>,
    log_bytes: usize,
    live_bytes: usize,
}

impl Memory {
    /// Formats `driver` as an empty memory.
    pub fn format(driver: Box<dyn Driver>, library: LoadFileLibrary) -> Result<Self, MemoryError> {
        let mut memory = Self {
            power: PowerSupply::new(driver),
            library,
            committed: BTreeMap::new(),
            staged: BTreeMap::new(),
            log_bytes: 0,
            live_bytes: 0,
        };
        memory.rewrite()?;
        Ok(memory)
    }

    /// Powers on: reads what `driver` holds and repairs what a power failure left unfinished.
    pub fn open(driver: Box<dyn Driver>, library: LoadFileLibrary) -> Result<Self, MemoryError> {
        let mut memory = Self {
            power: PowerSupply::new(driver),
            library,
            committed: BTreeMap::new(),
            staged: BTreeMap::new(),
            log_bytes: 0,
            live_bytes: 0,
        };
        memory.recover()?;
        Ok(memory)
    }

    /// Returns power after [`MemoryError::PowerLost`], or simply starts again from the log.
    pub fn power_on(&mut self) -> Result<(), MemoryError> {
        self.power.restore();
        self.recover()
    }

    fn recover(&mut self) -> Result<(), MemoryError> {
        self.staged.clear();
        let bytes = self.power.read_live()?;
        let recovered = log::read(&bytes, &self.library)?;
        self.live_bytes = log::live_size(&recovered.objects);
        self.committed = recovered.objects;
        self.log_bytes = bytes.len();
        if recovered.valid_bytes < bytes.len() { self.rewrite() } else { Ok(()) }
    }

    /// The object as the command in progress sees it.
    pub fn read(&self, key: ObjectKey) -> Option<&[u8]> {
        match self.staged.get(&key) {
            Some(value) => value.as_deref(),
            None => self.committed.get(&key).map(|value| &**value),
        }
    }

    /// The object's bytes, shared.
    pub fn read_shared(&self, key: ObjectKey) -> Option<Arc<[u8]>> {
        match self.staged.get(&key) {
            Some(value) => value.clone(),
            None => self.committed.get(&key).cloned(),
        }
    }

    /// Writes an object, to be committed with the command's other writes.
    pub fn write(&mut self, key: ObjectKey, value: &[u8]) {
        if self.read(key) != Some(value) {
            self.staged.insert(key, Some(value.into()));
        }
    }

    /// Writes bytes that many cards may hold; one copy serves them all.
    pub fn write_shared(&mut self, key: ObjectKey, value: &[u8]) {
        self.staged.insert(key, Some(self.library.share(value)));
    }

    /// Removes an object, if it is there.
    pub fn remove(&mut self, key: ObjectKey) {
        if self.committed.contains_key(&key) {
            self.staged.insert(key, None);
        } else {
            self.staged.remove(&key);
        }
    }

    /// Removes every object of `owner`.
    pub fn remove_owner(&mut self, owner: u16) {
        for key in self.keys(owner) {
            self.remove(key);
        }
    }

    /// The names of all objects of `owner`, in order.
    pub fn keys(&self, owner: u16) -> Vec<ObjectKey> {
        let first = ObjectKey { owner, space: Space::Card, object: 0 };
        let last = ObjectKey { owner, space: Space::Code, object: u16::MAX };
        let mut keys: Vec<_> = self
            .committed
            .range(first..=last)
            .map(|(key, _)| *key)
            .filter(|key| self.read(*key).is_some())
            .collect();
        keys.extend(self.staged.range(first..=last).filter_map(|(key, value)| {
            (value.is_some() && !self.committed.contains_key(key)).then_some(*key)
        }));
        keys.sort_unstable();
        keys
    }

    /// Everyone who owns a committed object.
    pub fn owners(&self) -> Vec<u16> {
        let mut owners: Vec<_> = self.committed.keys().map(|key| key.owner).collect();
        owners.dedup();
        owners
    }

    /// The bytes that the data objects of `owner` take, as the command in progress sees them.
    pub fn data_size(&self, owner: u16) -> usize {
        let first = ObjectKey { owner, space: Space::Data, object: 0 };
        let last = ObjectKey { owner, space: Space::Data, object: u16::MAX };
        let committed = self.committed.range(first..=last).filter(|(key, _)| !self.staged.contains_key(key));
        let staged = self.staged.range(first..=last).filter_map(|(_, value)| value.as_ref());
        committed.map(|(_, value)| value.len()).sum::<usize>()
            + staged.map(|value| value.len()).sum::<usize>()
    }

    /// Whether the command in progress has written anything.
    pub fn is_dirty(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Makes every write since the last commit durable, all together.
    ///
    /// After [`MemoryError::PowerLost`] either all or none of them are found at power-on.
    pub fn commit(&mut self) -> Result<(), MemoryError> {
        if self.staged.is_empty() {
            return Ok(());
        }
        let frame = log::frame(self.staged.iter().map(|(key, value)| (*key, value.as_ref())));
        let length = frame.iter().map(Chunk::len).sum::<usize>();
        self.power.append(Area::Live, &frame)?;
        self.power.sync()?;
        self.log_bytes += length;
        self.adopt();
        if self.log_bytes > SMALL_LOG && self.log_bytes > 2 * self.live_bytes {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Forgets every write since the last commit.
    pub fn roll_back(&mut self) {
        self.staged.clear();
    }

    fn adopt(&mut self) {
        for (key, value) in std::mem::take(&mut self.staged) {
            let before = match value {
                Some(value) => {
                    self.live_bytes += log::object_size(&value);
                    self.committed.insert(key, value)
                }
                None => self.committed.remove(&key),
            };
            self.live_bytes -= before.map_or(0, |value| log::object_size(&value));
        }
    }

    /// Writes the live objects into a fresh log, which takes the place of the old one.
    fn rewrite(&mut self) -> Result<(), MemoryError> {
        let chunks = log::whole(&self.committed);
        self.power.erase_spare()?;
        self.power.append(Area::Spare, &chunks)?;
        self.power.switch()?;
        self.log_bytes = chunks.iter().map(Chunk::len).sum();
        Ok(())
    }

    /// The image of this memory, as [`ImageDriver::from_image`] and a file driver read it.
    pub fn image(&self) -> Vec<u8> {
        log::whole(&self.committed).iter().flat_map(|chunk| chunk.as_bytes().iter().copied()).collect()
    }

    /// Lets the power fail at the write after the next `writes` writes to the driver.
    pub fn cut_power_after(&mut self, writes: u64) {
        self.power.cut_after(writes);
    }

    /// Takes back [`Memory::cut_power_after`].
    pub fn cancel_power_cut(&mut self) {
        self.power.cancel_cut();
    }

    /// Whether the memory has power.
    pub fn is_powered(&self) -> bool {
        self.power.is_on()
    }

    /// How many driver writes there have been since the memory was opened.
    pub fn writes(&self) -> u64 {
        self.power.writes()
    }

    /// The bytes of the log as the driver holds them, live or not.
    pub fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// The library that load files are shared through.
    pub fn library(&self) -> &LoadFileLibrary {
        &self.library
    }
}
