//! The block journal: every block of ours is written to a file of its own before it is submitted, and stays there until
//! the ledger knows what became of it. What is found there at a start is submitted again.

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
    /// Address of the template provider that its solution was sent to.
    #[serde(default)]
    pub template_provider: Option<String>,
    /// The serialized block in hex; none while the transactions of its template had not come.
    pub block: Option<String>,
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

    /// Writes an entry, or writes it anew; durable when it returns. Blocks.
    ///
    /// # Errors
    /// The disk refuses; the entry there before is whole.
    pub(crate) fn write(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        let path = self.path(entry);
        let new = path.with_extension("new");
        let bytes = serde_json::to_vec(entry).map_err(|source| JournalError::Malformed {
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

    /// The ledger has the outcome: the entry is not needed any more. Blocks.
    ///
    /// # Errors
    /// The file can't be removed; a missing one is no error.
    pub(crate) fn remove(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        let path = self.path(entry);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    /// All entries, the lowest height first.
    ///
    /// # Errors
    /// A file that can't be read or understood: a block may be in it, so it is not passed over.
    pub(crate) fn entries(&self) -> Result<Vec<JournalEntry>, JournalError> {
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
                entries.push(read(&path)?);
            }
        }
        entries.sort_by(|a, b| (a.height, &a.hash).cmp(&(b.height, &b.hash)));
        Ok(entries)
    }

    fn path(&self, entry: &JournalEntry) -> PathBuf {
        self.dir
            .join(format!("{:07}-{}.json", entry.height, entry.hash))
    }
}

impl JournalEntry {
    /// The serialized block, if it is there and is hex.
    pub(crate) fn block_bytes(&self) -> Option<Vec<u8>> {
        Vec::from_hex(self.block.as_deref()?).ok()
    }

    /// Adds the serialized block.
    pub(crate) fn set_block(&mut self, block: &[u8]) {
        self.block = Some(block.to_lower_hex_string());
    }
}

fn read(path: &Path) -> Result<JournalEntry, JournalError> {
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
            template_provider: None,
            block: None,
        }
    }

    #[test]
    fn entries_come_back_in_order_of_height_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("blocks")).unwrap();
        let (low, mut high) = (entry(9), entry(1_000_000));
        high.set_block(&[1, 2, 3]);
        journal.write(&high).unwrap();
        journal.write(&low).unwrap();
        assert_eq!(journal.entries().unwrap(), [low.clone(), high.clone()]);
        assert_eq!(high.block_bytes().unwrap(), [1, 2, 3]);
        journal.remove(&low).unwrap();
        journal.remove(&low).unwrap();
        assert_eq!(journal.entries().unwrap(), [high]);
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
