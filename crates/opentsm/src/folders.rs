//! Folders of this program: those that only their owner can read, and those that go away.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tsm_domain::environment::Entropy as _;

/// Makes a folder that only its owner can read, unless it is there.
pub fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Replaces a file whole; only its owner can read it.
pub fn write_private(path: &Path, text: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let new = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Marks a folder as in use by this process; `None` when another process has it. The mark goes with
/// the process, however it ends.
pub fn occupy(folder: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join("in-use"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A folder that goes away with its owner.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// A new one in the system's temporary folder.
    pub fn new() -> io::Result<Self> {
        let mut tag = [0; 8];
        crate::environment::SystemEntropy.fill(&mut tag);
        let path = std::env::temp_dir().join(format!("opentsm-{}", hex::encode(tag)));
        make_private(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to clean: nobody needs it any more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_used_by_one_at_a_time_and_goes_away() {
        let folder = TemporaryFolder::new().unwrap();
        let path = folder.path().to_owned();
        let mark = occupy(&path).unwrap();
        assert!(mark.is_some());
        assert!(occupy(&path).unwrap().is_none());
        drop(mark);
        assert!(occupy(&path).unwrap().is_some());
        drop(folder);
        assert!(!path.exists());
    }
}
