//! What a store needs of a disk, and a folder as such a disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

/// The disk failed.
#[derive(Debug, thiserror::Error)]
#[error("the disk failed to {action} {name}")]
pub struct MediumError {
    /// What was to be done.
    pub action: &'static str,
    /// With what.
    pub name: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// A disk with a few named files. Each call that writes is durable when it returns.
pub trait Medium {
    /// A file's content; `None` when there is no such file.
    fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, MediumError>;
    /// Writes `bytes` behind the first `length` bytes of a file, and cuts off what was there.
    fn append(&mut self, name: &'static str, length: u64, bytes: &[u8]) -> Result<(), MediumError>;
    /// Writes `bytes` at a place of a file, which is made when it is not there.
    fn write_at(&mut self, name: &'static str, place: u64, bytes: &[u8]) -> Result<(), MediumError>;
    /// Puts a file with this content in the place of the one before, entirely or not at all.
    fn replace(&mut self, name: &'static str, content: &[u8]) -> Result<(), MediumError>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`, which is made when it is not there.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn edit(&self, name: &str, work: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let path = self.0.join(name);
        let made = !path.exists();
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        work(&mut file)?;
        file.sync_data()?;
        if made { self.sync_folder() } else { Ok(()) }
    }
}

impl Medium for Folder {
    fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>, MediumError> {
        match fs::read(self.0.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MediumError { action: "read", name, source }),
        }
    }

    fn append(&mut self, name: &'static str, length: u64, bytes: &[u8]) -> Result<(), MediumError> {
        let edited = self.edit(name, |file| {
            if file.metadata()?.len() != length {
                file.set_len(length)?;
            }
            file.seek(SeekFrom::Start(length))?;
            file.write_all(bytes)
        });
        edited.map_err(|source| MediumError { action: "append to", name, source })
    }

    fn write_at(&mut self, name: &'static str, place: u64, bytes: &[u8]) -> Result<(), MediumError> {
        let edited = self.edit(name, |file| {
            file.seek(SeekFrom::Start(place))?;
            file.write_all(bytes)
        });
        edited.map_err(|source| MediumError { action: "write", name, source })
    }

    fn replace(&mut self, name: &'static str, content: &[u8]) -> Result<(), MediumError> {
        let work = || {
            let beside = self.0.join(format!("{name}.new"));
            let mut file = File::create(&beside)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, self.0.join(name))?;
            self.sync_folder()
        };
        work().map_err(|source| MediumError { action: "replace", name, source })
    }
}
