//! What is in the journal's directory at a start. Whatever a crash has left is made good; what can't be read is set aside, and
//! stops nothing.

use super::content::Content;
use super::{JournalEntry, JournalError, Key, Left, Place, decode, io_error, path, reserve};
use crate::zeroed_file::is_zero;
use hh_mining::BlockHash;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What became of a file's name that nobody could read.
const UNREADABLE: &str = "unreadable";

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The lowest height first.
    pub(super) left: Vec<Left>,
    pub(super) places: BTreeMap<Key, Place>,
    /// Reserves that hold nothing.
    pub(super) reserves: Vec<PathBuf>,
    /// After the highest number that a reserve has.
    pub(super) next_reserve: u64,
}

/// Goes through the directory.
///
/// # Errors
/// It can't be listed.
pub(super) fn recover(dir: &Path) -> Result<Recovered, JournalError> {
    let mut recovered = Recovered::default();
    let mut found: BTreeMap<Key, (Left, PathBuf)> = BTreeMap::new();
    let mut unreadable = 0;
    for path in files(dir)? {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(reserve::number);
        if let Some(number) = number {
            recovered.next_reserve = recovered.next_reserve.max(number + 1);
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        match (number, extension) {
            (Some(_), _) | (_, Some("block" | "json" | "new")) => {}
            (_, Some(UNREADABLE)) => {
                unreadable += 1;
                continue;
            }
            _ => continue,
        }
        match look_at(&path) {
            Ok(Some(left)) => keep_better(&mut found, left, path),
            Ok(None) if number.is_some() => recovered.reserves.push(path),
            // Begun, and nothing in it yet.
            Ok(None) => drop(fs::remove_file(path)),
            Err(error) => {
                unreadable += 1;
                set_aside(&path, &error);
            }
        }
    }
    if unreadable > 0 {
        let dir = dir.display();
        tracing::error!(files = unreadable, %dir, "the block journal has files that could not be read; look at *.{UNREADABLE}, and remove them when nothing in them is missed");
    }
    for (key, (left, at)) in found {
        let place = Place {
            path: name_rightly(at, path(dir, key)),
            has_block: left.has_block,
        };
        recovered.places.insert(key, place);
        recovered.left.push(left);
    }
    Ok(recovered)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, JournalError> {
    let failed = |source| io_error("list", dir, source);
    let mut files = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        files.push(file.map_err(failed)?.path());
    }
    // In an order that does not depend on the file system.
    files.sort();
    Ok(files)
}

/// The entry in a file; none where there are zeros only.
fn look_at(path: &Path) -> Result<Option<Left>, JournalError> {
    let bytes = fs::read(path).map_err(|source| io_error("read", path, source))?;
    if is_zero(&bytes) {
        return Ok(None);
    }
    let Content { entry, block } = decode(path, &bytes)?;
    let key = key(&entry, path)?;
    let has_block = block.is_some();
    Ok(Some(Left {
        key,
        entry,
        has_block,
    }))
}

fn key(entry: &JournalEntry, path: &Path) -> Result<Key, JournalError> {
    let hash = entry.hash.parse::<BlockHash>();
    let hash = hash.map_err(|source| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, source);
        io_error("find a block hash in", path, source)
    })?;
    Ok(Key {
        height: entry.height,
        hash,
    })
}

/// Two files may have one block, after a crash between two steps: the one with its transactions is better.
fn keep_better(found: &mut BTreeMap<Key, (Left, PathBuf)>, left: Left, path: PathBuf) {
    let key = left.key;
    let surplus = match found.get(&key) {
        Some((known, _)) if known.has_block || !left.has_block => Some(path),
        _ => found.insert(key, (left, path)).map(|(_, path)| path),
    };
    if let Some(surplus) = surplus {
        // What stays is surplus again at the next start.
        drop(fs::remove_file(surplus));
    }
}

/// Gives an entry the name that it should have; it stays where that fails, or an earlier version wrote it.
fn name_rightly(at: PathBuf, to: PathBuf) -> PathBuf {
    let is_old = at.extension().is_some_and(|extension| extension == "json");
    if at == to || is_old || fs::rename(&at, &to).is_err() {
        return at;
    }
    to
}

fn set_aside(path: &Path, error: &JournalError) {
    let error = hh_daemon::Chain(error).to_string();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0;
    let aside = loop {
        let aside = path.with_file_name(format!("{name}.{number}.{UNREADABLE}"));
        if !aside.exists() {
            break aside;
        }
        number += 1;
    };
    if let Err(failed) = fs::rename(path, &aside) {
        let failed = failed.to_string();
        tracing::error!(path = %path.display(), error, failed, "block journal entry can't be read, nor set aside; a block may be in it");
        return;
    }
    tracing::error!(path = %aside.display(), error, "block journal entry can't be read and is set aside; a block may be in it");
}
