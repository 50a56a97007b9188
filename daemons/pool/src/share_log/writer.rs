//! The thread that writes the log. Owns the segment that is written to, the sequence numbers and the log's time;
//! resolves appends, and never before the sync that covers them has returned.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::block_shares::BlockShares;
use super::preparer::{Prepared, Preparer};
use super::queue::{Append, Queue, Taken};
use super::segment::{self, FRAME_BYTES_MAX, FrameBuffer, Header};
use super::{
    Appended, ExtranoncePrefix, Health, Identity, LogError, Options, Record, Recovered, SegmentRef,
    Shared,
};

/// How far the pause between two attempts grows while segments can be had but not written: each costs a zeroed file, on
/// a disk that is ill.
const RETRY_INTERVALS_MAX: u32 = 16;

/// Writes the log of one pool.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    identity: Identity,
    segment_bytes: u64,
    retry_interval: Duration,
    hold_max: Duration,
    pub(super) preparer: Preparer,
    /// None exactly while there is a failure.
    pub(super) active: Option<Active>,
    last_index: u64,
    next_seq: u64,
    last_at_ms: i64,
    highest_prefix: Option<ExtranoncePrefix>,
    /// Taken from the queue and not resolved, oldest first. They keep their part of the queue's limit.
    held: VecDeque<Append>,
    frame: FrameBuffer,
    block_shares: BlockShares,
    failure: Option<Failure>,
    /// Retry intervals that the next write which fails is followed by: none at first, another segment may do at once.
    backoff: u32,
    durable: watch::Sender<u64>,
    health: watch::Sender<Health>,
    /// Looked up once: the registry takes as long as encoding the records of a commit.
    commit_seconds: metrics::Histogram,
    /// Keeps other processes out until this thread ends.
    lock: Option<File>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: File,
    index: u64,
    /// Where the next frame goes; all before it is durable.
    offset: u64,
}

#[derive(Debug)]
struct Failure {
    error: LogError,
    retry_at: Instant,
}

impl Writer {
    /// A writer that goes on after what was recovered, with its first segment if the disk gives one.
    pub(super) fn new(
        shared: &Arc<Shared>,
        queue: &Arc<Queue>,
        (identity, options): (&Identity, &Options),
        recovered: &Recovered,
        lock: File,
    ) -> Result<(Self, watch::Receiver<u64>, watch::Receiver<Health>), LogError> {
        let (durable, durable_seen) = watch::channel(recovered.next_seq - 1);
        let (health, health_seen) = watch::channel(Health::Writable);
        let mut writer = Self {
            shared: Arc::clone(shared),
            queue: Arc::clone(queue),
            identity: identity.clone(),
            segment_bytes: options.segment_bytes,
            retry_interval: options.retry_interval,
            hold_max: options.hold_max,
            preparer: Preparer::start(shared, options)?,
            active: None,
            last_index: recovered.last_index,
            next_seq: recovered.next_seq,
            last_at_ms: recovered.last_at_ms,
            highest_prefix: recovered.highest_prefix,
            held: VecDeque::new(),
            frame: FrameBuffer::new(),
            block_shares: BlockShares::default(),
            failure: None,
            backoff: 0,
            durable,
            health,
            commit_seconds: metrics::histogram!("hyperhash_share_log_commit_seconds"),
            lock: Some(lock),
        };
        writer.probe();
        Ok((writer, durable_seen, health_seen))
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut appends = Vec::new();
        loop {
            let idle = self.failure.is_some().then_some(self.retry_interval);
            match self.queue.take(&mut appends, idle) {
                Taken::Appends => self.commit(&mut appends),
                Taken::Idle => self.retry(),
                Taken::Closed => break,
            }
        }
        if let Some(failure) = &mut self.failure {
            // The last attempt; what it does not make durable is told that the log is closed.
            failure.retry_at = Instant::now();
            self.retry();
        }
    }

    /// Makes the appends durable, in as few frames as they fit in, and resolves them. What the disk refuses is held and
    /// tried again, in its order, for [`Options::hold_max`].
    pub(super) fn commit(&mut self, appends: &mut Vec<Append>) {
        self.held.extend(appends.drain(..));
        while !self.held.is_empty() && self.is_due() {
            let last_at_ms = self.last_at_ms;
            let group = self.gather();
            if group.is_empty() {
                continue;
            }
            let started = Instant::now();
            self.shared.set_commit_started(Some(started));
            let written = self.write_frame();
            self.shared.set_commit_started(None);
            self.frame.clear();
            match written {
                Ok(()) => {
                    self.commit_seconds.record(started.elapsed());
                    self.written(group);
                }
                Err(()) => {
                    self.last_at_ms = last_at_ms;
                    self.block_shares.truncate(0);
                    group
                        .into_iter()
                        .rev()
                        .for_each(|append| self.held.push_front(append));
                }
            }
        }
        self.give_up_old();
        self.look_after_next();
    }

    /// Tries again what waits; without anything that waits, to get a segment to write to.
    pub(super) fn retry(&mut self) {
        if self.held.is_empty() {
            self.probe();
        }
        self.commit(&mut Vec::new());
    }

    fn probe(&mut self) {
        if self.active.is_some() || !self.is_due() {
            return;
        }
        match self.activate() {
            Ok(active) => {
                self.active = Some(active);
                self.recovered();
            }
            Err(error) => self.failed(error, self.retry_interval),
        }
    }

    /// Whether a failure, if there is one, is so old that another attempt is due.
    fn is_due(&self) -> bool {
        let failure = self.failure.as_ref();
        failure.is_none_or(|failure| failure.retry_at <= Instant::now())
    }

    /// Encodes the oldest appends that fit in one frame, and takes them off.
    fn gather(&mut self) -> Vec<Append> {
        let room = self.segment_bytes.saturating_sub(segment::HEADER_BYTES);
        let frame_bytes_max = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(FRAME_BYTES_MAX);
        let mut group = Vec::with_capacity(self.held.len());
        while let Some(append) = self.held.pop_front() {
            let (len, count, at_ms) = (self.frame.len(), self.frame.count(), self.last_at_ms);
            let block_shares = self.block_shares.in_frame();
            self.push(&append.records);
            if self.frame.len() <= frame_bytes_max {
                group.push(append);
                continue;
            }
            self.frame.truncate(len, count);
            self.block_shares.truncate(block_shares);
            self.last_at_ms = at_ms;
            if !group.is_empty() {
                self.held.push_front(append);
                break;
            }
            let records = append.records.len();
            resolve(append, Err(LogError::BatchTooLarge { records }));
        }
        group
    }

    /// Adds records to the frame, with times that don't go back.
    fn push(&mut self, records: &[Record]) {
        for record in records {
            self.last_at_ms = self.last_at_ms.max(record.at_ms());
            if let Record::Binding(binding) = record {
                self.highest_prefix = self.highest_prefix.max(Some(binding.extranonce_prefix));
            }
            let at_ms = self.last_at_ms;
            match record {
                Record::Share(share) if share.is_block && !self.block_shares.add(share.hash) => {
                    // Its append counts its records.
                    self.frame.push(&Record::Watermark { at_ms }, at_ms);
                }
                record => self.frame.push(record, at_ms),
            }
        }
    }

    /// The frame is durable: publishes that, and resolves its appends.
    fn written(&mut self, group: Vec<Append>) {
        self.backoff = 0;
        self.block_shares.written();
        if self.failure.is_some() {
            self.recovered();
        }
        let mut seq = self.next_seq;
        self.next_seq += group
            .iter()
            .map(|append| append.records.len() as u64)
            .sum::<u64>();
        self.durable.send_replace(self.next_seq - 1);
        for append in group {
            let first_seq = seq;
            seq += append.records.len() as u64;
            resolve(
                append,
                Ok(Appended {
                    first_seq,
                    last_seq: seq - 1,
                }),
            );
        }
    }

    /// Appends that have waited for as long as they may fail, with the reason of the last attempt.
    fn give_up_old(&mut self) {
        let Some(failure) = &self.failure else { return };
        while let Some(append) = self
            .held
            .pop_front_if(|a| a.since.elapsed() >= self.hold_max)
        {
            resolve(append, Err(failure.error.clone()));
        }
    }

    /// Writes and syncs the frame. Where that fails the failure is noted, and the segment is given up: after a failed sync
    /// the system calls pages clean that are not on the disk, so that another sync of the same file would prove nothing.
    fn write_frame(&mut self) -> Result<(), ()> {
        let active = match self.active.take() {
            Some(active) if active.has_room(self.frame.len(), self.segment_bytes) => Ok(active),
            Some(_) | None => self.activate(),
        };
        let mut active = active.map_err(|error| self.failed(error, self.retry_interval))?;
        let epoch = self.shared.epoch;
        let bytes = self
            .frame
            .seal(&epoch, active.index, active.offset, self.next_seq);
        let length = bytes.len() as u64;
        let written = active
            .file
            .write_all_at(bytes, active.offset)
            .and_then(|()| active.file.sync_data());
        if let Err(source) = written {
            let error = LogError::io("write to", &self.shared.path(active.index), source);
            self.abandon(&active);
            let pause = self.retry_interval * self.backoff;
            self.backoff = (self.backoff * 2).clamp(1, RETRY_INTERVALS_MAX);
            self.failed(error, pause);
            return Err(());
        }
        active.offset += length;
        self.active = Some(active);
        Ok(())
    }

    /// Makes a prepared file the next segment.
    fn activate(&mut self) -> Result<Active, LogError> {
        let file = self.preparer.take()?;
        let header = Header {
            identity: self.identity.clone(),
            epoch: self.shared.epoch,
            index: self.last_index + 1,
            first_seq: self.next_seq,
            last_at_ms: self.last_at_ms,
            highest_prefix: self.highest_prefix,
        };
        // An index is not used again, even if the file under it could not be finished.
        self.last_index = header.index;
        segment::activate(&self.shared.dir, &file, &header)?;
        let segment = SegmentRef {
            index: header.index,
            first_seq: header.first_seq,
            last_at_ms: header.last_at_ms,
        };
        self.shared.segments().push_back(segment);
        self.preparer.request();
        Ok(Active {
            file,
            index: header.index,
            offset: segment::HEADER_BYTES,
        })
    }

    /// Cuts off a frame that failed; a segment without any other goes. The next segment's first sequence number says
    /// the same, so this only gives back room.
    fn abandon(&self, active: &Active) {
        if active.offset > segment::HEADER_BYTES {
            if let Err(e) = active.file.set_len(active.offset) {
                tracing::debug!(error = %e, "could not truncate an abandoned share log segment");
            }
            return;
        }
        match fs::remove_file(self.shared.path(active.index)) {
            Ok(()) => self
                .shared
                .segments()
                .retain(|segment| segment.index != active.index),
            Err(e) => {
                tracing::debug!(error = %e, "could not delete an abandoned share log segment");
            }
        }
    }

    fn failed(&mut self, error: LogError, pause: Duration) {
        metrics::counter!("hyperhash_share_log_failures_total").increment(1);
        if self.failure.is_none() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "share log is not writable; shares wait for it and are not acknowledged"
            );
        }
        let retry_at = Instant::now() + pause;
        self.failure = Some(Failure { error, retry_at });
        self.publish();
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!("share log is writable again");
        }
        self.publish();
    }

    /// Sees to it that the next segment is prepared, and says so while it can't be.
    fn look_after_next(&mut self) {
        let Some(prepared) = self.preparer.poll() else {
            return;
        };
        match prepared {
            Prepared::Failing(error) => tracing::warn!(
                error = error as &dyn std::error::Error,
                "the next segment of the share log can't be prepared; shares are taken until the present one is full"
            ),
            Prepared::Again => tracing::info!("the next segment of the share log is prepared"),
        }
        self.publish();
    }

    fn publish(&self) {
        let health = match (&self.failure, self.preparer.error()) {
            (Some(failure), _) => Health::Unwritable(failure.error.clone()),
            (None, Some(error)) => Health::LastSegment(error.clone()),
            (None, None) => Health::Writable,
        };
        let writable = if self.failure.is_some() { 0.0 } else { 1.0 };
        metrics::gauge!("hyperhash_share_log_writable").set(writable);
        self.health.send_replace(health);
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody waits for it for ever.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.clear();
        self.preparer.end();
        // Before the log says that it is closed: whoever waits for that may open it at once.
        drop(self.lock.take());
        self.health.send_replace(Health::Closed);
    }
}

impl Active {
    fn has_room(&self, frame_bytes: usize, segment_bytes: u64) -> bool {
        self.offset + frame_bytes as u64 <= segment_bytes
    }
}

fn resolve(append: Append, result: Result<Appended, LogError>) {
    if append.done.send(result).is_err() {
        tracing::trace!("nobody waits for an append to the share log any more");
    }
}
