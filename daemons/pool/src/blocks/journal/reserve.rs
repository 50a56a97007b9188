//! Files that are written and zeroed ahead of their use, so that a block goes to the disk without asking it for room: one that
//! is full at that moment still takes it. A thread of its own makes them; nobody waits for it.

use crate::zeroed_file;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Room for the largest block that Bitcoin Core takes, 4,000,000 bytes, and its entry.
pub(super) const RESERVE_BYTES: u64 = 4 << 20;

/// Blocks that can be found while the disk is full: two within minutes are rare, and each takes room from the shares.
const RESERVES: usize = 2;

/// Pause before another attempt on a disk without room.
const RETRY: Duration = Duration::from_secs(5);

/// What the files are called before they have a block.
const PREFIX: &str = "reserve-";

/// See the module. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Reserves {
    ready: Arc<Mutex<VecDeque<Reserve>>>,
    wanted: SyncSender<()>,
}

/// A file of zeros.
#[derive(Debug)]
pub(super) struct Reserve {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// The thread's part.
struct Maker {
    dir: PathBuf,
    next_number: u64,
    ready: Arc<Mutex<VecDeque<Reserve>>>,
    is_failing: bool,
}

impl Reserves {
    /// Takes those in `left`, which an earlier process made and which hold nothing, and starts to make what is missing in `dir`
    /// with numbers from `next_number` on; returns at once.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(dir: &Path, left: &[PathBuf], next_number: u64) -> io::Result<Self> {
        let ready = left.iter().filter_map(|path| reuse(path)).collect();
        let ready: Arc<Mutex<VecDeque<Reserve>>> = Arc::new(Mutex::new(ready));
        publish(&ready);
        let (wanted, asked) = sync_channel(1);
        let maker = Maker {
            dir: dir.to_owned(),
            next_number,
            ready: Arc::clone(&ready),
            is_failing: false,
        };
        std::thread::Builder::new()
            .name("block-reserve".to_owned())
            .spawn(move || maker.run(&asked))?;
        Ok(Self { ready, wanted })
    }

    /// One that is ready. Does not wait.
    pub(super) fn take(&self) -> Option<Reserve> {
        let reserve = lock(&self.ready).pop_front();
        publish(&self.ready);
        reserve
    }

    /// How many are ready.
    #[cfg(test)]
    pub(super) fn ready(&self) -> usize {
        lock(&self.ready).len()
    }

    /// Has the thread make what is missing.
    pub(super) fn refill(&self) {
        // A request that waits is as good as two.
        self.wanted.try_send(()).ok();
    }
}

impl Maker {
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            let is_full = self.fill();
            let next = if is_full {
                asked
                    .recv()
                    .map_err(|_closed| RecvTimeoutError::Disconnected)
            } else {
                asked.recv_timeout(RETRY)
            };
            if next == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Makes what is missing; false if the disk refuses.
    fn fill(&mut self) -> bool {
        while lock(&self.ready).len() < RESERVES {
            let path = self.dir.join(format!("{PREFIX}{}", self.next_number));
            self.next_number += 1;
            match zeroed_file::create(&path, RESERVE_BYTES) {
                Ok(file) => {
                    lock(&self.ready).push_back(Reserve { file, path });
                    publish(&self.ready);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!("the block journal has a reserve again");
                    }
                }
                Err(error) => {
                    self.failed(&path, &error);
                    return false;
                }
            }
        }
        true
    }

    fn failed(&mut self, path: &Path, error: &io::Error) {
        // What there is of it takes room on a disk that has none.
        fs::remove_file(path).ok();
        if !std::mem::replace(&mut self.is_failing, true) {
            let ready = lock(&self.ready).len();
            tracing::warn!(
                path = %path.display(), %error, ready,
                "no room for the block journal's reserve; free some, or a block that is found is in memory only"
            );
        }
    }
}

/// A reserve of an earlier process as it is; what it had not finished goes.
fn reuse(path: &Path) -> Option<Reserve> {
    let opened = File::options().read(true).write(true).open(path);
    match opened {
        Ok(file) if file.metadata().is_ok_and(|m| m.len() == RESERVE_BYTES) => {
            let path = path.to_owned();
            return Some(Reserve { file, path });
        }
        Ok(_) | Err(_) => {}
    }
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path = %path.display(), %error, "unfinished reserve of the block journal stays");
    }
    None
}

/// The number of a reserve, if that is what a file of this name is.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn lock(ready: &Mutex<VecDeque<Reserve>>) -> MutexGuard<'_, VecDeque<Reserve>> {
    // It is only pushed to and popped from.
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

fn publish(ready: &Mutex<VecDeque<Reserve>>) {
    let ready = u32::try_from(lock(ready).len()).unwrap_or(u32::MAX);
    metrics::gauge!("hyperhash_block_journal_reserves").set(f64::from(ready));
}
