//! Stores that live as long as the process: for demonstrations, the simulator and tests.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tsm_domain::money::fare::FareBook;

use super::{Line, Medium, MediumError, StoreError, TerminalStore};
use crate::{black_list::ListInUse, state::TerminalState};

/// A state that lives as long as the process.
#[derive(Debug, Clone, Default)]
pub struct InMemory {
    /// What the lines came to.
    pub stored: Option<TerminalState>,
    /// The list that was kept last.
    pub list: Option<ListInUse>,
    /// The fares that were kept last.
    pub fares: Option<FareBook>,
}

impl TerminalStore for InMemory {
    fn append(&mut self, line: &Line) -> Result<(), StoreError> {
        self.stored.get_or_insert_default().apply(line);
        Ok(())
    }

    fn wants_compaction(&self) -> bool {
        false
    }

    fn compact(&mut self, state: &TerminalState) -> Result<(), StoreError> {
        self.stored = Some(state.clone());
        Ok(())
    }

    fn keep_list(&mut self, list: &ListInUse) -> Result<(), StoreError> {
        self.list = Some(list.clone());
        Ok(())
    }

    fn keep_fares(&mut self, fares: &FareBook) -> Result<(), StoreError> {
        self.fares = Some(fares.clone());
        Ok(())
    }
}

/// When and how a [`MemoryMedium`] loses its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// At which write, from 0.
    pub at: u64,
    /// How many bytes of that write still reach the disk; of a replacement all or none do.
    pub torn: usize,
}

/// A disk in memory whose power can be cut at any write. Copies share it, so that a terminal can be started
/// again over what was left.
#[derive(Debug, Clone, Default)]
pub struct MemoryMedium(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<&'static str, Vec<u8>>,
    writes: u64,
    cut: Option<Cut>,
    off: bool,
}

impl MemoryMedium {
    /// Cuts the power there.
    pub fn cut(&self, cut: Cut) {
        self.disk().cut = Some(cut);
    }

    /// Switches the power on again; what was written before it failed is there.
    pub fn restart(&self) {
        let mut disk = self.disk();
        (disk.off, disk.cut) = (false, None);
    }

    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        self.disk().writes
    }

    /// A file's content, for tests that change it behind the terminal's back.
    pub fn file(&self, name: &'static str) -> Option<Vec<u8>> {
        self.disk().files.get(name).cloned()
    }

    /// Puts a file in place behind the terminal's back, or takes it away.
    pub fn put(&self, name: &'static str, content: Option<Vec<u8>>) {
        let mut disk = self.disk();
        match content {
            Some(content) => disk.files.insert(name, content),
            None => disk.files.remove(name),
        };
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// How many of `length` bytes reach the disk.
    fn write(&mut self, length: usize) -> (usize, bool) {
        if self.off {
            return (0, true);
        }
        let number = self.writes;
        self.writes += 1;
        match self.cut {
            Some(cut) if cut.at == number => {
                self.off = true;
                (cut.torn.min(length), true)
            }
            Some(_) | None => (length, false),
        }
    }
}

fn failed(action: &'static str, name: &'static str) -> MediumError {
    MediumError { action, name, source: io::Error::other("the power failed") }
}

impl Medium for MemoryMedium {
    fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, MediumError> {
        let disk = self.disk();
        if disk.off { Err(failed("read", name)) } else { Ok(disk.files.get(name).cloned()) }
    }

    fn append(&mut self, name: &'static str, length: u64, bytes: &[u8]) -> Result<(), MediumError> {
        let mut disk = self.disk();
        let (reaches, fails) = disk.write(bytes.len());
        if reaches > 0 || !fails {
            let file = disk.files.entry(name).or_default();
            file.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
            file.extend(&bytes[..reaches]);
        }
        if fails { Err(failed("append to", name)) } else { Ok(()) }
    }

    fn write_at(&mut self, name: &'static str, place: u64, bytes: &[u8]) -> Result<(), MediumError> {
        let mut disk = self.disk();
        let (reaches, fails) = disk.write(bytes.len());
        if reaches > 0 || !fails {
            let file = disk.files.entry(name).or_default();
            let begin = usize::try_from(place).unwrap_or(usize::MAX);
            if file.len() < begin + reaches {
                file.resize(begin + reaches, 0);
            }
            file[begin..begin + reaches].copy_from_slice(&bytes[..reaches]);
        }
        if fails { Err(failed("write", name)) } else { Ok(()) }
    }

    fn replace(&mut self, name: &'static str, content: &[u8]) -> Result<(), MediumError> {
        let mut disk = self.disk();
        let (reaches, fails) = disk.write(content.len());
        // The rename is one step of the file system: with any of it on the disk the whole file is there.
        if !fails || reaches > 0 {
            disk.files.insert(name, content.to_vec());
        }
        if fails { Err(failed("replace", name)) } else { Ok(()) }
    }
}
