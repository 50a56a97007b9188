//! The block journal: every block of ours is written to a file of its own before it is submitted, and stays there until it
//! can't be lost any more. What is found there at a start is looked after again.
//!
//! `HEIGHT-HASH.block` is a block; `reserve-N` are zeros that wait to become one, so that a full disk still takes it;
//! `*.unreadable` is what no process could read: it is kept for people, and told at each start.

mod content;
mod recovery;
mod reserve;

use super::Key;
use content::{Content, ContentError};
use reserve::{RESERVE_BYTES, Reserve, Reserves};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A directory with a file for each block. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    reserves: Reserves,
    /// One at a time: of two writes of an entry the better one is to stay, and a file and its place are one.
    writing: Mutex<()>,
    places: Mutex<BTreeMap<Key, Place>>,
}

/// Where an entry is: under the name that it should have, unless it could not be renamed or an earlier version wrote it.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    has_block: bool,
}

/// What is needed to book a block, and to submit it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalEntry {
    /// As Bitcoin Core prints it.
    pub hash: String,
    pub height: u32,
    pub account: String,
    pub worker: String,
    pub node: String,
    pub lane: String,
    pub found_at_ms: i64,
    pub value_sat: u64,
    /// The extranonce prefix in the coinbase, in hex: whose block it is, by the share log's binding.
    pub extranonce_prefix: String,
    /// What the share log is to have of it, in the log's encoding and in hex. Earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

/// An entry that an earlier process has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub key: Key,
    pub entry: JournalEntry,
    /// Its block is there too.
    pub has_block: bool,
}

/// What can go wrong with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("could not start the thread for the reserve of {}", dir.display())]
    Thread { dir: PathBuf, source: io::Error },
    #[error("{} is no entry of the block journal", path.display())]
    Content { path: PathBuf, source: ContentError },
    #[error("an entry of the block journal could not be put into words")]
    Encode(#[from] serde_json::Error),
}

impl Journal {
    /// The journal in `dir`, which is made if it is not there, and what is in it, the lowest height first. What can't be read is
    /// set aside and told. Blocks.
    ///
    /// # Errors
    /// The directory can't be made or listed, or a thread not started.
    pub(crate) fn open(dir: PathBuf) -> Result<(Self, Vec<Left>), JournalError> {
        fs::create_dir_all(&dir).map_err(|source| io_error("create", &dir, source))?;
        let recovered = recovery::recover(&dir)?;
        let reserves = Reserves::start(&dir, &recovered.reserves, recovered.next_reserve);
        let reserves = match reserves {
            Ok(reserves) => reserves,
            Err(source) => return Err(JournalError::Thread { dir, source }),
        };
        let inner = Inner {
            dir,
            reserves,
            writing: Mutex::default(),
            places: Mutex::new(recovered.places),
        };
        Ok((Self(Arc::new(inner)), recovered.left))
    }

    /// Writes an entry, or writes it anew, with the serialized block if that is known; durable when it returns. An entry that
    /// has its block stays as it is. Blocks.
    ///
    /// # Errors
    /// The disk refuses, and there is no reserve; the entry there before is whole.
    pub(crate) fn write(
        &self,
        key: Key,
        entry: &JournalEntry,
        block: Option<&[u8]>,
    ) -> Result<(), JournalError> {
        let bytes = content::encode(entry, block)?;
        let _writing = self.0.writing();
        if self
            .0
            .places()
            .get(&key)
            .is_some_and(|place| place.has_block)
        {
            return Ok(());
        }
        let written = self.write_bytes(&path(&self.0.dir, key), &bytes);
        self.0.reserves.refill();
        let place = Place {
            path: written?,
            has_block: block.is_some(),
        };
        let now = place.path.clone();
        let before = self.0.places().insert(key, place);
        match before {
            Some(before) if before.path != now => remove_file(&before.path),
            _ => Ok(()),
        }
    }

    /// By a reserve, if there is one; gives where they are then.
    fn write_bytes(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, JournalError> {
        if bytes.len() as u64 <= RESERVE_BYTES
            && let Some(reserve) = self.0.reserves.take()
            && let Ok(at) = self.write_to_reserve(reserve, bytes, path)
        {
            return Ok(at);
        }
        // Where a reserve failed another file may do: it lies elsewhere on the disk.
        write_file(path, bytes)?;
        Ok(path.to_owned())
    }

    /// Puts the bytes over a reserve's zeros; gives where they are then.
    fn write_to_reserve(
        &self,
        reserve: Reserve,
        bytes: &[u8],
        path: &Path,
    ) -> Result<PathBuf, JournalError> {
        let Reserve { file, path: from } = reserve;
        let written = file.write_all_at(bytes, 0).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // It goes to another file; of this one nobody knows what it has.
            fs::remove_file(&from).ok();
            return Err(io_error("write", &from, source));
        }
        // From here on it is found at a start, under whichever name.
        let renamed = fs::rename(&from, path).and_then(|()| sync_dir(&self.0.dir));
        match renamed {
            Ok(()) => {
                // The zeros behind it go back to the disk, for the next reserve.
                file.set_len(bytes.len() as u64).ok();
                Ok(path.to_owned())
            }
            Err(error) if from.exists() => {
                tracing::warn!(path = %from.display(), %error, "block journal entry keeps the name of a reserve");
                Ok(from)
            }
            Err(source) => Err(io_error("rename to", path, source)),
        }
    }

    /// The serialized block of an entry, if that has it. Blocks.
    ///
    /// # Errors
    /// The file can't be read or understood.
    pub(crate) fn read_block(&self, key: Key) -> Result<Option<Vec<u8>>, JournalError> {
        let path = self.0.places().get(&key).map(|place| place.path.clone());
        match path {
            Some(path) => Ok(read(&path)?.block),
            None => Ok(None),
        }
    }

    /// The entry is not needed any more, nor written any more: a write that begins later would bring it back. Blocks.
    ///
    /// # Errors
    /// The file can't be removed; a missing one is no error.
    pub(crate) fn remove(&self, key: Key) -> Result<(), JournalError> {
        // Not between a write's file and its place.
        let _writing = self.0.writing();
        let place = self.0.places().remove(&key);
        place.map_or(Ok(()), |place| remove_file(&place.path))
    }
}

impl Inner {
    fn writing(&self) -> MutexGuard<'_, ()> {
        // Nothing is left half done by a panic that the next write would not do anew.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Key, Place>> {
        // It is changed by one call each time.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn path(dir: &Path, key: Key) -> PathBuf {
    dir.join(format!("{:07}-{}.block", key.height, key.hash))
}

/// The way without a reserve: a new file, renamed when it is whole.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    if let Err(source) = written {
        // What there is of it takes room that a reserve could have.
        fs::remove_file(&new).ok();
        return Err(io_error("write", &new, source));
    }
    fs::rename(&new, path).map_err(|source| io_error("rename", &new, source))?;
    let dir = path.parent().unwrap_or(path);
    sync_dir(dir).map_err(|source| io_error("sync", dir, source))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn read(path: &Path) -> Result<Content, JournalError> {
    let bytes = fs::read(path).map_err(|source| io_error("read", path, source))?;
    decode(path, &bytes)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Content, JournalError> {
    content::decode(bytes).map_err(|source| JournalError::Content {
        path: path.to_owned(),
        source,
    })
}

fn remove_file(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", path, source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
