//! The block journal: every block of ours is written to a file of its own before it is submitted, and stays there until it
//! can't be lost any more. What is found there at a start is looked after again.

use super::Key;
use bitcoin::hex::{DisplayHex, FromHex};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A directory with a file `HEIGHT-HASH.json` per unsettled block.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
}

/// What is needed to submit a block again and to book it.
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
}

/// What is in a file.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    entry: JournalEntry,
    /// The serialized block in hex; none while the transactions of its template had not come.
    block: Option<String>,
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
    #[error("{} is no journal entry; move it away to go on", path.display())]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
}

impl Journal {
    /// The journal in `dir`, which is made if it is not there.
    ///
    /// # Errors
    /// The directory can't be made.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, JournalError> {
        fs::create_dir_all(&dir).map_err(|source| io_error("create", &dir, source))?;
        Ok(Self { dir })
    }

    /// Writes an entry, or writes it anew, with the serialized block if that is known; durable when it returns. Blocks.
    ///
    /// # Errors
    /// The disk refuses; the entry there before is whole.
    pub(crate) fn write(
        &self,
        entry: &JournalEntry,
        block: Option<&[u8]>,
    ) -> Result<(), JournalError> {
        let path = self.path(entry.height, &entry.hash);
        let new = path.with_extension("new");
        let stored = Stored {
            entry: entry.clone(),
            block: block.map(DisplayHex::to_lower_hex_string),
        };
        let bytes = serde_json::to_vec(&stored).map_err(|source| JournalError::Malformed {
            path: path.clone(),
            source,
        })?;
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_data()
        });
        written.map_err(|source| io_error("write", &new, source))?;
        fs::rename(&new, &path).map_err(|source| io_error("rename", &new, source))?;
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(|source| io_error("sync", &self.dir, source))
    }

    /// The entry is not needed any more. Blocks.
    ///
    /// # Errors
    /// The file can't be removed; a missing one is no error.
    pub(crate) fn remove(&self, key: Key) -> Result<(), JournalError> {
        let path = self.path(key.height, &key.hash.to_string());
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// The serialized block of an entry, if that has it. Blocks.
    ///
    /// # Errors
    /// The file can't be read or understood.
    pub(crate) fn read_block(&self, key: Key) -> Result<Option<Vec<u8>>, JournalError> {
        let stored = read(&self.path(key.height, &key.hash.to_string()))?;
        Ok(stored.block_bytes())
    }

    /// All entries, the lowest height first, and whether each has its block. Blocks.
    ///
    /// # Errors
    /// A file that can't be read or understood: a block may be in it, so it is not passed over.
    pub(crate) fn entries(&self) -> Result<Vec<(JournalEntry, bool)>, JournalError> {
        let mut entries = Vec::new();
        let listed =
            fs::read_dir(&self.dir).map_err(|source| io_error("list", &self.dir, source))?;
        for file in listed {
            let path = file
                .map_err(|source| io_error("list", &self.dir, source))?
                .path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let stored = read(&path)?;
                let whole = stored.block_bytes().is_some();
                entries.push((stored.entry, whole));
            }
        }
        entries.sort_by(|(a, _), (b, _)| (a.height, &a.hash).cmp(&(b.height, &b.hash)));
        Ok(entries)
    }

    fn path(&self, height: u32, hash: &str) -> PathBuf {
        self.dir.join(format!("{height:07}-{hash}.json"))
    }
}

impl Stored {
    /// The serialized block, if it is there and is hex.
    fn block_bytes(&self) -> Option<Vec<u8>> {
        Vec::from_hex(self.block.as_deref()?).ok()
    }
}

fn read(path: &Path) -> Result<Stored, JournalError> {
    let bytes = fs::read(path).map_err(|source| io_error("read", path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| JournalError::Malformed {
        path: path.to_owned(),
        source,
    })
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(height: u32) -> JournalEntry {
        JournalEntry {
            hash: format!("{height:064x}"),
            height,
            account: "alice".to_owned(),
            worker: "rig1".to_owned(),
            node: "core".to_owned(),
            lane: "sv2".to_owned(),
            found_at_ms: 1_700_000_000_000,
            value_sat: 5_000_000_000,
            extranonce_prefix: "0001000000000007".to_owned(),
        }
    }

    fn key(entry: &JournalEntry) -> Key {
        Key {
            height: entry.height,
            hash: entry.hash.parse().unwrap(),
        }
    }

    #[test]
    fn entries_come_back_in_order_of_height_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("blocks")).unwrap();
        let (low, high) = (entry(9), entry(1_000_000));
        journal.write(&high, Some(&[1, 2, 3])).unwrap();
        journal.write(&low, None).unwrap();
        let both = [(low.clone(), false), (high.clone(), true)];
        assert_eq!(journal.entries().unwrap(), both);
        assert_eq!(journal.read_block(key(&low)).unwrap(), None);
        let block = journal.read_block(key(&high)).unwrap();
        assert_eq!(block.unwrap(), [1, 2, 3]);
        journal.remove(key(&low)).unwrap();
        journal.remove(key(&low)).unwrap();
        assert_eq!(journal.entries().unwrap(), [(high, true)]);
    }

    #[test]
    fn a_damaged_entry_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().to_owned()).unwrap();
        fs::write(dir.path().join("0000001-aa.json"), "{").unwrap();
        let error = journal.entries().unwrap_err().to_string();
        assert!(error.contains("0000001-aa.json"), "{error}");
    }

    #[test]
    fn an_interrupted_write_leaves_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().to_owned()).unwrap();
        fs::write(dir.path().join("0000001-aa.new"), "{\"hash\"").unwrap();
        assert!(journal.entries().unwrap().is_empty());
    }
}
