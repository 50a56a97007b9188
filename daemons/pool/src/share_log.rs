//! The share log: what makes a share durable before it is acknowledged.
//!
//! Owns the directory of append-only segments of one pool, the thread that writes them, and the order of what is in
//! them: every record has a sequence number, counted from 1 in the log's epoch and never given twice. It never decides
//! what a share is worth, never talks to the ledger and never waits for it.
//!
//! # How it works
//!
//! [`ShareLog::append`] puts records into a bounded queue. The writer takes all that is waiting (at most each
//! [`Options::commit_interval`], so that a commit serves many connections; at once where a miner waits for its first job),
//! writes it as one frame, calls `fdatasync`
//! once, publishes the new durable watermark and then resolves every append of that commit. So an answer sent after
//! its append resolved can't overtake the sync which covers it.
//!
//! A segment is written and zeroed ahead of its use: a sync need not touch the file's metadata, and a disk that is
//! full is noticed at the change of a segment, never in a commit. A frame's checksum covers the epoch, the segment's
//! index and the frame's offset, so what lies in the wrong place, or was put together by a miner who chose his worker's
//! name well, is not a frame.
//!
//! A share that is a block may be appended twice, by its connection and by the keeper of found blocks, and is in the log once:
//! a watermark takes the place of the second record.
//!
//! # When it goes wrong
//!
//! A failed write or sync abandons the segment at its durable end and goes on in a new one, to which the same appends are
//! written again. The new segment's first sequence number says where the abandoned one ends, whatever of the failed
//! frame reached the disk. While no segment can be had (the disk is full) the log is [`Health::Unwritable`]: appends
//! wait in their order, within the queue's limit and for [`Options::hold_max`], and are durable as soon as there is room
//! again; what waits for longer resolves with the error. After a crash the torn frame at the end of the last segment is
//! cut off (it was never acknowledged); damage anywhere else is refused.

mod block_shares;
mod preparer;
mod queue;
mod reader;
mod record;
mod recovery;
mod retention;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot, watch};

pub use hh_ledger::{Epoch, Origin, OriginError};
use queue::{Append, Queue};
pub use reader::{Entry, LogReader};
pub use record::{Binding, Record, ShareRecord};
pub use recovery::Recovered;
pub use retention::Retention;
use writer::Writer;

/// What a channel's share of the extranonce space is named by; unique within an epoch.
pub type ExtranoncePrefix = [u8; 8];

/// A commit that takes longer is a disk in trouble: a slow one takes tens of milliseconds.
const STUCK_AFTER: Duration = Duration::from_secs(1);

/// Most records one [`ShareLog::append`] may carry: keeps a frame far below a segment.
pub const BATCH_RECORDS_MAX: usize = 4_096;

/// Whose log it is; written into every segment and compared when the log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the pool, at most [`Identity::POOL_BYTES_MAX`] bytes; the `pool` of the ledger's keys.
    pub pool: String,
    /// The pool's part of the extranonce space.
    pub server_id: u16,
}

impl Identity {
    /// What a segment's header has room for.
    pub const POOL_BYTES_MAX: usize = 64;
}

/// How the log behaves; [`Options::default`] is right for a pool.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of a segment. The default of 64 MiB is three minutes at 2,000 shares/s; two exist at any time.
    pub segment_bytes: u64,
    /// Two commits begin no sooner after one another, unless a [`Binding`] is among the records: what comes after a rest is
    /// committed at once, what comes faster shares. It trades latency for syncs, each of which costs as much CPU time as the
    /// rest of five shares: with 8 ms there are at most 125 a second, and at 2,000 shares/s sixteen share one.
    pub commit_interval: Duration,
    /// Most records that are queued or being written; more wait in [`ShareLog::append`].
    pub queue_records_max: u32,
    /// Records that are checked at the opening, the newest first, and whole segments: some hundred megabytes by default, which
    /// take about a second. What lies before is checked when it is read.
    pub checked_records_min: u64,
    /// How often a log that can't be written tries again.
    pub retry_interval: Duration,
    /// How long an append waits for a log that can't be written. Miners get no answer in that time: it outlasts a disk that
    /// somebody cleans up or fails over, and ends well before a miner gives the connection up (SV1 firmware does so
    /// after one to two minutes).
    pub hold_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            commit_interval: Duration::from_millis(8),
            queue_records_max: 65_536,
            checked_records_min: 1_200_000,
            retry_interval: Duration::from_secs(1),
            hold_max: Duration::from_secs(30),
        }
    }
}

/// Where the records of an append are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Sequence number of the first record; the others follow without a gap.
    pub first_seq: u64,
    /// Sequence number of the last record.
    pub last_seq: u64,
}

/// Whether the log takes records.
#[derive(Debug, Clone)]
pub enum Health {
    /// It does.
    Writable,
    /// It does until its last segment is full: the next one could not be prepared. It is tried again.
    LastSegment(LogError),
    /// The last attempt failed for this reason; it is tried again every [`Options::retry_interval`].
    Unwritable(LogError),
    /// It was closed, or its thread ended.
    Closed,
}

/// What can be wrong with a log or an append.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The file system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// Another process has the log open.
    #[error("share log {} is in use by another process", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The log was made by another pool, or for another part of the extranonce space.
    #[error(
        "share log segment {} belongs to pool {found_pool:?} with server id {found_server_id}, not to {:?} with {}",
        path.display(), wanted.pool, wanted.server_id
    )]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// The pool named in it.
        found_pool: String,
        /// The server id named in it.
        found_server_id: u16,
        /// Who opened it.
        wanted: Identity,
    },
    /// The pool's name is empty or too long.
    #[error("pool name {pool:?} must have 1 to {} bytes", Identity::POOL_BYTES_MAX)]
    PoolName {
        /// The name.
        pool: String,
    },
    /// A newer version of this program wrote the segment.
    #[error("share log segment {} has format version {version}, newer than {}", path.display(), segment::FORMAT_VERSION)]
    NewerFormat {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A record that was acknowledged can't be read any more. Nothing is repaired or skipped: restore the file, or move
    /// the directory away (a new log with a new epoch starts then) once the ledger has what can be had.
    #[error("share log segment {} is damaged at byte {offset}, where record {seq} should be: {reason}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The record expected there.
        seq: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// More records in one append than [`BATCH_RECORDS_MAX`] or than a segment holds.
    #[error("{records} records are too many for one append to the share log")]
    BatchTooLarge {
        /// How many there were.
        records: usize,
    },
    /// An append without a record.
    #[error("an append to the share log needs a record")]
    BatchEmpty,
    /// A reader asked for a record that was released.
    #[error("record {seq} is no longer in the share log, which starts at {first_seq}")]
    Released {
        /// The record asked for.
        seq: u64,
        /// The first one that is there.
        first_seq: u64,
    },
    /// The log was closed.
    #[error("the share log is closed")]
    Closed,
}

impl LogError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// An append that was not taken, with its records.
#[derive(Debug, thiserror::Error)]
#[error("the share log did not take the records: {reason:?}")]
pub struct NotTaken {
    /// The records, untouched.
    pub records: Vec<Record>,
    /// Why.
    pub reason: NotTakenReason,
}

/// Why [`ShareLog::try_append`] did not take records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTakenReason {
    /// The queue is full: the disk is slower than the shares come.
    Full,
    /// No record, or more than [`BATCH_RECORDS_MAX`].
    BatchSize,
    /// The log is closed.
    Closed,
}

/// An append under way; resolves when the records are durable, or are not going to be.
#[derive(Debug)]
pub struct Appending(oneshot::Receiver<Result<Appended, LogError>>);

impl Future for Appending {
    type Output = Result<Appended, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).unwrap_or(Err(LogError::Closed)))
    }
}

/// Handle to a share log that is open. The log closes when the last one is dropped.
#[derive(Debug, Clone)]
pub struct ShareLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    queue_records_max: u32,
    durable: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the writer, the readers and the handle see together.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    epoch: Epoch,
    /// The segments there are, oldest first; the last one is written to.
    segments: Mutex<VecDeque<SegmentRef>>,
    /// The commit that is under way.
    commit_started: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct SegmentRef {
    index: u64,
    first_seq: u64,
    /// Time of the last record before it, milliseconds since 1970; `i64::MIN` if there was none.
    last_at_ms: i64,
}

impl Shared {
    fn segments(&self) -> MutexGuard<'_, VecDeque<SegmentRef>> {
        // Whoever panicked left a whole deque: it is only pushed to and popped from.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, index: u64) -> PathBuf {
        segment::path(&self.dir, index)
    }

    fn commit_started(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is read and written as a whole.
        self.commit_started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set_commit_started(&self, at: Option<Instant>) {
        *self.commit_started() = at;
    }
}

impl ShareLog {
    /// Opens the log in `dir`, or makes a new one there, and starts its writer. Blocks while it reads the last segments
    /// and prepares a new one (some hundred milliseconds).
    ///
    /// A disk that is full does not fail the opening: the log is then [`Health::Unwritable`] and tries again.
    ///
    /// # Errors
    /// [`LogError::Locked`], [`LogError::Foreign`], [`LogError::Damaged`], [`LogError::NewerFormat`], or
    /// [`LogError::Io`] if the directory can't be read.
    pub fn open(
        dir: &Path,
        identity: &Identity,
        options: &Options,
    ) -> Result<(Self, Recovered), LogError> {
        if identity.pool.is_empty() || identity.pool.len() > Identity::POOL_BYTES_MAX {
            return Err(LogError::PoolName {
                pool: identity.pool.clone(),
            });
        }
        create_dir(dir)?;
        let lock = lock(dir)?;
        let (recovered, segments) = recovery::recover(dir, identity, options)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            epoch: recovered.epoch,
            segments: Mutex::new(segments),
            commit_started: Mutex::default(),
        });
        let queue = Arc::new(Queue::new(options.commit_interval));
        let (writer, durable, health) =
            Writer::new(&shared, &queue, (identity, options), &recovered, lock)?;
        std::thread::Builder::new()
            .name("share-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| LogError::io("start the writer of", dir, e))?;
        let inner = Inner {
            shared,
            queue,
            room: Arc::new(Semaphore::new(options.queue_records_max as usize)),
            queue_records_max: options.queue_records_max,
            durable,
            health,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            recovered,
        ))
    }

    /// Appends records; resolves when they are durable. Waits while the queue is full. Records of one append are
    /// durable together or not at all.
    ///
    /// # Errors
    /// The [`LogError`] with which the commit failed. Whether the records survive a crash is then open, but unless the
    /// process crashes they are not in the log: appending them again does not double them.
    pub async fn append(&self, records: Vec<Record>) -> Result<Appended, LogError> {
        if records.is_empty() {
            return Err(LogError::BatchEmpty);
        }
        let Some(permits) = self.permits(records.len()) else {
            return Err(LogError::BatchTooLarge {
                records: records.len(),
            });
        };
        let room = Arc::clone(&self.inner.room)
            .acquire_many_owned(permits)
            .await;
        // The semaphore is never closed, so this can't be an error; a closed log is what it would mean.
        let Ok(room) = room else {
            return Err(LogError::Closed);
        };
        let (done, appending) = oneshot::channel();
        match self.inner.queue.push(Append {
            records,
            done,
            since: Instant::now(),
            _room: room,
        }) {
            Ok(()) => Appending(appending).await,
            Err(_) => Err(LogError::Closed),
        }
    }

    /// Appends records without waiting for room; what comes back resolves as [`ShareLog::append`] does. Appends of one
    /// caller are durable in the order of the calls.
    ///
    /// # Errors
    /// [`NotTaken`], with the records.
    pub fn try_append(&self, records: Vec<Record>) -> Result<Appending, NotTaken> {
        let Some(permits) = self.permits(records.len()).filter(|n| *n > 0) else {
            return Err(NotTaken {
                records,
                reason: NotTakenReason::BatchSize,
            });
        };
        let Ok(room) = Arc::clone(&self.inner.room).try_acquire_many_owned(permits) else {
            return Err(NotTaken {
                records,
                reason: NotTakenReason::Full,
            });
        };
        let (done, appending) = oneshot::channel();
        match self.inner.queue.push(Append {
            records,
            done,
            since: Instant::now(),
            _room: room,
        }) {
            Ok(()) => Ok(Appending(appending)),
            Err(append) => Err(NotTaken {
                records: append.records,
                reason: NotTakenReason::Closed,
            }),
        }
    }

    fn permits(&self, records: usize) -> Option<u32> {
        let permits = u32::try_from(records).ok()?;
        (records <= BATCH_RECORDS_MAX && permits <= self.inner.queue_records_max).then_some(permits)
    }

    /// Sequence number of the last durable record, 0 if there is none. Not to be borrowed over an await: the writer waits
    /// for the guard.
    #[must_use]
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.inner.durable.clone()
    }

    /// Whether the log takes records. Not to be borrowed over an await either.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.health.clone()
    }

    /// How long the commit under way has been waiting for the disk, if that is more than a slow disk takes.
    #[must_use]
    pub fn stuck_for(&self) -> Option<Duration> {
        let started = *self.inner.shared.commit_started();
        let since = started.map(|started| started.elapsed());
        since.filter(|since| *since >= STUCK_AFTER)
    }

    /// Whether the log does not make anything durable at present: the disk refuses, or does not answer.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        let refuses = match &*self.inner.health.borrow() {
            Health::Writable | Health::LastSegment(_) => false,
            Health::Unwritable(_) | Health::Closed => true,
        };
        refuses || self.stuck_for().is_some()
    }

    /// How many records are queued, being written or held.
    #[must_use]
    pub fn waiting_records(&self) -> usize {
        self.inner.queue_records_max as usize - self.inner.room.available_permits()
    }

    /// The epoch in which the sequence numbers count.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.shared.epoch
    }

    /// Sequence number of the first record that was not released.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.inner
            .shared
            .segments()
            .front()
            .map_or(1, |s| s.first_seq)
    }

    /// A reader of the durable records from `seq` on.
    ///
    /// # Errors
    /// [`LogError::Released`] if `seq` lies before what is kept.
    pub fn reader(&self, seq: u64) -> Result<LogReader, LogError> {
        LogReader::new(Arc::clone(&self.inner.shared), self.durable(), seq)
    }

    /// Takes no more appends, commits those that were taken, and waits until the writer has ended.
    pub async fn close(&self) {
        self.inner.queue.close();
        let mut health = self.health();
        // An error means that the writer is gone, which is what we wait for.
        if health
            .wait_for(|h| matches!(h, Health::Closed))
            .await
            .is_err()
        {
            tracing::debug!("share log writer ended before it said so");
        }
    }
}

/// Makes the directory, durably, if it is not there.
fn create_dir(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|parent| parent.sync_all());
    synced.map_err(|e| LogError::io("sync", parent, e))
}

/// Takes the lock that keeps two processes from writing one log; held until the file is closed.
fn lock(dir: &Path) -> Result<File, LogError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| LogError::io("open", &path, e))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LogError::Locked {
            dir: dir.to_owned(),
        }),
        Err(e) => Err(LogError::io("lock", &path, e.into())),
    }
}
