//! A small file of ours in the data directory, there whole or not at all: what an operator has set, or a claim that was made.
//!
//! It is read at the start and written as a whole at each change, which is seldom.

use serde::{Serialize, de::DeserializeOwned};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

/// Largest file that is read: ten thousand entries of a hundred bytes and a margin. A larger one is not ours.
const MAX_BYTES: u64 = 16 << 20;

/// Where it is.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

/// Why it can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    #[error("can't {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{} is not what was written there; restore it, or move it away to start without", path.display()
    )]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{} has {bytes} bytes, more than belongs there; move it away to start without", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
}

impl StateFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What it holds; none where there is no file.
    ///
    /// # Errors
    /// It can't be read, or is damaged: nothing an operator has set is passed over.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>, StateFileError> {
        let path = self.path.clone();
        let bytes = match fs::metadata(&path).map(|metadata| metadata.len()) {
            Ok(bytes) if bytes > MAX_BYTES => {
                return Err(StateFileError::TooLarge { path, bytes });
            }
            Ok(_) => fs::read(&path).map_err(|source| self.io("read", source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io("read", source)),
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed
            .map(Some)
            .map_err(|source| StateFileError::Malformed { path, source })
    }

    /// Replaces what it holds, durably. Blocks for the disk.
    ///
    /// # Errors
    /// The disk refuses; the file is as it was.
    pub fn write<T: Serialize>(&self, state: &T) -> Result<(), StateFileError> {
        let replace = || {
            let new = self.path.with_extension("new");
            let mut file = File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, state)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            self.path
                .parent()
                .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        replace().map_err(|source| self.io("write", source))
    }

    fn io(&self, action: &'static str, source: io::Error) -> StateFileError {
        StateFileError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir) -> StateFile {
        StateFile::new(dir.path().join("state.json"))
    }

    #[test]
    fn what_was_written_is_read_and_no_file_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        assert_eq!(file.read::<Vec<u32>>().unwrap(), None);
        file.write(&vec![1_u32, 2]).unwrap();
        file.write(&vec![3_u32]).unwrap();
        assert_eq!(file.read::<Vec<u32>>().unwrap(), Some(vec![3]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        fs::write(&file.path, "[1, 2").unwrap();
        let error = file.read::<Vec<u32>>().unwrap_err().to_string();
        assert!(error.contains("state.json"), "{error}");
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        file.write(&1_u32).unwrap();
        // Its new version has nowhere to be written to.
        fs::create_dir(file.path.with_extension("new")).unwrap();
        file.write(&2_u32).unwrap_err();
        assert_eq!(file.read::<u32>().unwrap(), Some(1));
    }
}
