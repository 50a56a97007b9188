//! Found blocks on disk, until it is known what came of them.
//!
//! Owns: a folder with a file a block, its whole serialization, so that it can be submitted by hand
//! (`bitcoin-cli submitblock $(xxd -p -c0 FILE)`). `HEIGHT-HASH.block` is not settled; then the extension becomes
//! `accepted` (it was on the best chain) or `refused`. Never: stops a submission, whatever the disk does.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use hh_daemon::Chain;
use tracing::{error, info};

/// Settled blocks that stay for people to look at; at 4 MB each that is 400 MB at the worst.
const SETTLED_MAX: usize = 100;
/// Extension of a block without a verdict.
const UNSETTLED: &str = "block";

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
    /// Makes the folder where it is missing, and tries to write to it.
    pub(crate) fn open(dir: PathBuf) -> Result<Self, JournalError> {
        let journal = Self { dir };
        let probe = journal.dir.join(".probe");
        fs::create_dir_all(&journal.dir)
            .and_then(|()| File::create(&probe)?.sync_data())
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| JournalError {
                path: journal.dir.clone(),
                source,
            })?;
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
        let mut writing =
            tokio::task::spawn_blocking(move || write_block(&path, &block).map(|()| path));
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
            if let Err(source) = fs::rename(&path, path.with_extension(verdict)) {
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

    /// Removes the oldest settled blocks that are too many.
    fn prune(&self) {
        let mut settled: Vec<_> = self
            .files()
            .into_iter()
            .filter(|path| path.extension() != Some(OsStr::new(UNSETTLED)))
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

fn write_block(path: &Path, block: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(block)?;
    file.sync_data()?;
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

    const PATIENCE: Duration = Duration::from_secs(10);

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

    #[test]
    fn only_the_newest_settled_blocks_stay() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().into()).unwrap();
        for number in 0..=SETTLED_MAX {
            fs::write(dir.path().join(format!("{number}-x.accepted")), [0]).unwrap();
        }
        fs::write(dir.path().join("1-y.block"), [0]).unwrap();
        journal.prune();
        assert_eq!(journal.files().len(), SETTLED_MAX + 1);
        assert_eq!(journal.unsettled().len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Journal::open("/proc/nowhere".into()).unwrap_err();
        assert!(error.to_string().contains("/proc/nowhere"));
    }
}
