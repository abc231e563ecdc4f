//! A driver over a file: the live log is the file, the spare one stands beside it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::driver::{Area, Chunk, Driver, DriverError};

/// Keeps the live log in a file, and prepares its successor as `<file>.next`, which takes the
/// file's place by a rename.
#[derive(Debug)]
pub struct FileDriver {
    path: PathBuf,
    live: Option<File>,
    spare: Option<File>,
}

impl FileDriver {
    /// A driver over `path`; the file is made when the memory is formatted.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), live: None, spare: None }
    }

    fn spare_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".next");
        PathBuf::from(name)
    }

    fn file(&mut self, area: Area) -> Result<&mut File, DriverError> {
        let (slot, path) = match area {
            Area::Live => (&mut self.live, self.path.clone()),
            Area::Spare => {
                let path = self.spare_path();
                (&mut self.spare, path)
            }
        };
        if slot.is_none() {
            *slot = Some(OpenOptions::new().create(true).append(true).open(path)?);
        }
        Ok(slot.as_mut().expect("the file was opened above"))
    }
}

impl Driver for FileDriver {
    fn read_live(&mut self) -> Result<Vec<u8>, DriverError> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, area: Area, chunk: &Chunk) -> Result<(), DriverError> {
        Ok(self.file(area)?.write_all(chunk.as_bytes())?)
    }

    fn sync(&mut self) -> Result<(), DriverError> {
        Ok(self.file(Area::Live)?.sync_data()?)
    }

    fn erase_spare(&mut self) -> Result<(), DriverError> {
        self.spare = Some(File::create(self.spare_path())?);
        Ok(())
    }

    fn switch(&mut self) -> Result<(), DriverError> {
        self.file(Area::Spare)?.sync_all()?;
        std::fs::rename(self.spare_path(), &self.path)?;
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            // The rename is durable once its folder is; a platform that cannot sync a folder
            // renames durably by itself.
            if let Ok(folder) = File::open(folder) {
                folder.sync_all().ok();
            }
        }
        self.spare = None;
        self.live = None;
        Ok(())
    }
}
