//! Found blocks on disk.
//!
//! Owns: a folder with a file a block, its whole serialization, so that it can be submitted by hand
//! (`bitcoin-cli submitblock $(xxd -p -c0 FILE)`). `HEIGHT-HASH.block` is not settled; then the extension becomes
//! `accepted` (it was on the best chain), `refused` (every node found it invalid) or `orphaned` (no best chain had it in two
//! hours). `HEIGHT-HASH.new` is still being written. Never: stops a submission, whatever the disk does, nor gives anybody a
//! part of a block: a node refuses that, and would not be given the whole one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bitcoin::consensus::encode::deserialize;
use bitcoin::{Block, BlockHash};
use hh_daemon::Chain;
use tracing::{error, info, warn};

/// Settled blocks that stay for people to look at; at 4 MB each that is 400 MB at the worst.
const SETTLED_MAX: usize = 100;
/// For so long a node is asked whether it still has a block. Bitcoin Core writes its block index every 50 to 70 minutes, older
/// releases every hour: what it has on the disk it does not forget.
const NODE_WRITES_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);
/// Extension of a block without a verdict.
const UNSETTLED: &str = "block";
/// Extension of a block that may not be whole.
const UNFINISHED: &str = "new";

/// The journal can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't write the block journal in {path}; create the folder for this user, or change data_dir"
)]
pub(crate) struct JournalError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Debug, Clone)]
pub(crate) struct Journal {
    dir: PathBuf,
    /// One at a time: a client may send a block twice, and both would write to the same new file.
    writing: Arc<Mutex<()>>,
}

/// A block that a node could still forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) hash: BlockHash,
    pub(super) height: u32,
    pub(super) path: PathBuf,
    /// It was on a best chain.
    pub(super) is_settled: bool,
}

/// A block that is in the journal, or on its way there.
pub(crate) enum Write {
    Done(PathBuf),
    UnderWay(tokio::task::JoinHandle<io::Result<PathBuf>>),
}

impl Write {
    /// Waits for its end; the file, if there is one.
    pub(crate) async fn path(self) -> Option<PathBuf> {
        match self {
            Self::Done(path) => Some(path),
            Self::UnderWay(writing) => logged(writing.await),
        }
    }
}

impl Journal {
    /// Makes the folder where it is missing, tries to write to it, and ends the writes that an earlier process did not end.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, JournalError> {
        let journal = Self {
            dir,
            writing: Arc::default(),
        };
        let probe = journal.dir.join(".probe");
        fs::create_dir_all(&journal.dir)
            .and_then(|()| File::create(&probe)?.sync_data())
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| JournalError {
                path: journal.dir.clone(),
                source,
            })?;
        journal.finish_writes();
        journal.prune();
        Ok(journal)
    }

    /// Writes a block and syncs it; after `patience` it goes on without the caller, who waits for the result later.
    pub(crate) async fn write(
        &self,
        height: u32,
        hash: BlockHash,
        block: Arc<[u8]>,
        patience: Duration,
    ) -> Option<Write> {
        let path = self.dir.join(format!("{height}-{hash}.{UNSETTLED}"));
        let lock = Arc::clone(&self.writing);
        let mut writing = tokio::task::spawn_blocking(move || {
            // A write that panics leaves nothing that the next one does not do anew.
            let _writing = lock.lock().unwrap_or_else(PoisonError::into_inner);
            write_block(&path, &block).map(|()| path)
        });
        match tokio::time::timeout(patience, &mut writing).await {
            Ok(written) => {
                let path = logged(written)?;
                info!(%hash, path = %path.display(), "block journalled");
                Some(Write::Done(path))
            }
            Err(_elapsed) => Some(Write::UnderWay(writing)),
        }
    }

    /// Renames a block's file to its verdict.
    pub(crate) async fn settle(&self, path: PathBuf, verdict: &'static str) {
        let journal = self.clone();
        let renaming = tokio::task::spawn_blocking(move || {
            // Whoever sees a verdict first renames the file.
            if let Err(source) = fs::rename(&path, path.with_extension(verdict))
                && source.kind() != io::ErrorKind::NotFound
            {
                error!(path = %path.display(), error = %source, "block journal cannot be updated");
            }
            journal.prune();
        });
        // Nothing depends on it: what keeps its name is submitted again at the next start.
        drop(renaming.await);
    }

    /// The blocks without a verdict.
    pub(crate) fn unsettled(&self) -> Vec<(PathBuf, io::Result<Vec<u8>>)> {
        self.files()
            .into_iter()
            .filter(|path| path.extension() == Some(OsStr::new(UNSETTLED)))
            .map(|path| {
                let block = fs::read(&path);
                (path, block)
            })
            .collect()
    }

    /// The blocks that nodes are to have, the lowest first; settles those that have been open for too long.
    pub(super) async fn kept(&self, now: SystemTime) -> Vec<Kept> {
        let journal = self.clone();
        let listing = tokio::task::spawn_blocking(move || journal.list_kept(now));
        listing.await.unwrap_or_default()
    }

    fn list_kept(&self, now: SystemTime) -> Vec<Kept> {
        let mut kept = Vec::new();
        for path in self.files() {
            let Some(found) = parse(path) else { continue };
            let modified = fs::metadata(&found.path).and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|at| now.duration_since(at).ok());
            if age.is_none_or(|age| age < NODE_WRITES_WITHIN) {
                kept.push(found);
            } else if !found.is_settled {
                info!(hash = %found.hash, "block is on no best chain");
                // A guard that comes first has done the same.
                drop(fs::rename(
                    &found.path,
                    found.path.with_extension("orphaned"),
                ));
            }
        }
        kept.sort_by_key(|kept| (kept.height, kept.hash));
        kept
    }

    /// A block that was written whole gets its name; one that was cut is gone. What cannot be read stays: it may be whole.
    fn finish_writes(&self) {
        let files = self.files().into_iter();
        for new in files.filter(|path| path.extension() == Some(OsStr::new(UNFINISHED))) {
            if let Err(source) = finish_write(&new) {
                error!(path = %new.display(), error = %source, "block journal cannot be updated");
            }
        }
    }

    /// Removes the oldest settled blocks that are too many.
    fn prune(&self) {
        let mut settled: Vec<_> = self
            .files()
            .into_iter()
            .filter(|path| {
                let is_open = |open| path.extension() == Some(OsStr::new(open));
                ![UNSETTLED, UNFINISHED].into_iter().any(is_open)
            })
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        settled.sort();
        let surplus = settled.len().saturating_sub(SETTLED_MAX);
        for (_, path) in settled.drain(..surplus) {
            // What stays is looked at again the next time.
            drop(fs::remove_file(path));
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// `HEIGHT-HASH.EXTENSION` of a block that was not refused.
fn parse(path: PathBuf) -> Option<Kept> {
    let is_settled = match path.extension()?.to_str()? {
        UNSETTLED => false,
        "accepted" => true,
        _ => return None,
    };
    let (height, hash) = path.file_stem()?.to_str()?.split_once('-')?;
    Some(Kept {
        hash: hash.parse().ok()?,
        height: height.parse().ok()?,
        path,
        is_settled,
    })
}

fn finish_write(new: &Path) -> io::Result<()> {
    if is_whole(new, &fs::read(new)?) {
        info!(path = %new.display(), "block in the journal was written whole");
        fs::rename(new, new.with_extension(UNSETTLED))
    } else {
        warn!(path = %new.display(), "block in the journal was cut short, its file is removed");
        fs::remove_file(new)
    }
}

/// Whether these bytes of a file are all of the block that it is named after.
fn is_whole(path: &Path, bytes: &[u8]) -> bool {
    let name = path.file_stem().and_then(OsStr::to_str);
    let hash = name.and_then(|name| name.split_once('-')?.1.parse::<BlockHash>().ok());
    let block = deserialize::<Block>(bytes);
    block.is_ok_and(|block| {
        hash == Some(block.block_hash())
            && block.check_merkle_root()
            && block.check_witness_commitment()
    })
}

/// Under its name it is whole: guards look while this writes, and a disk may refuse the rest of it.
fn write_block(path: &Path, block: &[u8]) -> io::Result<()> {
    let new = path.with_extension(UNFINISHED);
    let written = File::create(&new)
        .and_then(|mut file| {
            file.write_all(block)?;
            file.sync_data()
        })
        .and_then(|()| fs::rename(&new, path));
    if let Err(source) = written {
        // What there is of it takes room that other blocks need.
        fs::remove_file(&new).ok();
        return Err(source);
    }
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn logged(written: Result<io::Result<PathBuf>, tokio::task::JoinError>) -> Option<PathBuf> {
    match written {
        Ok(Ok(path)) => Some(path),
        Ok(Err(source)) => {
            error!(error = %Chain(&source), "block cannot be journalled");
            None
        }
        Err(source) => {
            error!(error = %Chain(&source), "block cannot be journalled");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn hash(number: u8) -> BlockHash {
        BlockHash::from_byte_array([number; 32])
    }

    #[tokio::test]
    async fn a_block_is_unsettled_until_it_has_a_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("blocks")).unwrap();
        let pending = journal
            .write(7, hash(1), Arc::from([1, 2, 3]), PATIENCE)
            .await
            .unwrap();
        let path = pending.path().await.unwrap();

        let again = Journal::open(dir.path().join("blocks")).unwrap();
        let mut unsettled = again.unsettled();
        let (found, block) = unsettled.pop().unwrap();
        assert_eq!((found, block.unwrap()), (path.clone(), vec![1, 2, 3]));
        again.settle(path.clone(), "accepted").await;
        assert!(again.unsettled().is_empty());
        assert!(path.with_extension("accepted").exists());
    }

    #[tokio::test]
    async fn a_slow_disk_is_not_waited_for_and_its_result_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        let pending = journal
            .write(7, hash(1), Arc::from(vec![0; 1 << 20]), Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(
            fs::read(pending.path().await.unwrap()).unwrap().len(),
            1 << 20
        );
    }

    #[tokio::test]
    async fn a_folder_that_vanished_loses_the_journal_only() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("blocks")).unwrap();
        fs::remove_dir(dir.path().join("blocks")).unwrap();
        assert!(
            journal
                .write(7, hash(1), Arc::from([1]), PATIENCE)
                .await
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_write_that_the_disk_refuses_leaves_no_part_of_the_block() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        let new = dir.path().join(format!("7-{}.new", hash(1)));
        std::os::unix::fs::symlink("/dev/full", new).unwrap();
        let block = Arc::from([1, 2, 3]);
        assert!(journal.write(7, hash(1), block, PATIENCE).await.is_none());
        assert!(journal.files().is_empty());
    }

    #[tokio::test]
    async fn a_block_that_comes_twice_at_once_is_whole_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        let block: Arc<[u8]> = Arc::from(vec![1; 1 << 16]);
        for height in 0..20 {
            let write = async || {
                let block = Arc::clone(&block);
                let writing = journal.write(height, hash(1), block, PATIENCE).await;
                writing.unwrap().path().await.unwrap()
            };
            let (path, same) = tokio::join!(write(), write());
            assert_eq!(path, same);
            assert_eq!(fs::read(path).unwrap().len(), block.len());
        }
    }

    #[test]
    fn at_a_start_a_block_that_was_written_whole_is_kept_and_one_that_was_cut_is_not() {
        let block = bitcoin::constants::genesis_block(bitcoin::Network::Regtest);
        let (hash, bytes) = (block.block_hash(), bitcoin::consensus::serialize(&block));
        let dir = tempfile::tempdir().unwrap();
        let path = |height: u32, extension| dir.path().join(format!("{height}-{hash}.{extension}"));
        for cut in 0..bytes.len() {
            assert!(!is_whole(&path(1, UNFINISHED), &bytes[..cut]), "{cut}");
        }
        fs::write(path(1, UNFINISHED), &bytes[..100]).unwrap();
        let mut torn = bytes.clone();
        torn[200..].fill(0);
        fs::write(path(2, UNFINISHED), torn).unwrap();
        fs::write(path(3, UNFINISHED), bytes).unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        assert_eq!(journal.files(), [path(3, UNSETTLED)]);
    }

    #[test]
    fn at_a_start_a_write_that_cannot_be_read_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join(format!("7-{}.new", hash(1)));
        std::os::unix::fs::symlink("/", &new).unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        assert_eq!(journal.files(), [new]);
    }

    #[test]
    fn only_the_newest_settled_blocks_stay() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        for number in 0..=SETTLED_MAX {
            fs::write(dir.path().join(format!("{number}-x.accepted")), [0]).unwrap();
        }
        fs::write(dir.path().join("1-y.block"), [0]).unwrap();
        fs::write(dir.path().join("1-z.new"), [0]).unwrap();
        journal.prune();
        assert_eq!(journal.files().len(), SETTLED_MAX + 2);
        assert_eq!(journal.unsettled().len(), 1);
    }

    #[test]
    fn blocks_are_kept_for_two_hours_and_what_is_open_then_is_orphaned() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        let name = |height: u32, number, extension: &str| {
            let name = format!("{height}-{}.{extension}", hash(number));
            dir.path().join(name)
        };
        for path in [
            name(10, 1, "accepted"),
            name(9, 2, "block"),
            name(8, 3, "refused"),
            dir.path().join("x.block"),
        ] {
            fs::write(path, [0]).unwrap();
        }
        let kept = journal.list_kept(SystemTime::now());
        let heights: Vec<_> = kept.iter().map(|k| (k.height, k.is_settled)).collect();
        assert_eq!(heights, [(9, false), (10, true)]);
        let later = SystemTime::now() + NODE_WRITES_WITHIN + Duration::from_secs(60);
        assert_eq!(journal.list_kept(later), []);
        assert!(name(10, 1, "accepted").exists());
        assert!(name(9, 2, "orphaned").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Journal::open("/proc/nowhere".into()).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"));
    }
}
