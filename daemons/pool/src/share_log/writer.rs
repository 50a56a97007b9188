//! The thread that writes the log. Owns the segment that is written to, the sequence numbers and the log's time;
//! resolves appends, and never before the sync that covers them has returned.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queue::{Append, Queue, Taken};
use super::segment::{self, FRAME_BYTES_MAX, FrameBuffer, Header};
use super::{
    Appended, ExtranoncePrefix, Health, Identity, LogError, Options, Record, Recovered, SegmentRef,
    Shared,
};

/// Writes the log of one pool.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    identity: Identity,
    segment_bytes: u64,
    retry_interval: Duration,
    preparer: Preparer,
    /// None exactly while there is a failure.
    pub(super) active: Option<Active>,
    last_index: u64,
    next_seq: u64,
    last_at_ms: i64,
    highest_prefix: Option<ExtranoncePrefix>,
    frame: FrameBuffer,
    failure: Option<Failure>,
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
            preparer: Preparer::start(shared, options.segment_bytes)?,
            active: None,
            last_index: recovered.last_index,
            next_seq: recovered.next_seq,
            last_at_ms: recovered.last_at_ms,
            highest_prefix: recovered.highest_prefix,
            frame: FrameBuffer::new(),
            failure: None,
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
                Taken::Idle => self.probe(),
                Taken::Closed => break,
            }
        }
    }

    /// Makes the appends durable, in as few frames as they fit in, and resolves them.
    pub(super) fn commit(&mut self, appends: &mut Vec<Append>) {
        let room = self.segment_bytes.saturating_sub(segment::HEADER_BYTES);
        let frame_bytes_max = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(FRAME_BYTES_MAX);
        let mut group = Vec::with_capacity(appends.len());
        for append in appends.drain(..) {
            let (len, count, at_ms) = (self.frame.len(), self.frame.count(), self.last_at_ms);
            self.push(&append.records);
            if self.frame.len() > frame_bytes_max && !group.is_empty() {
                self.frame.truncate(len, count);
                self.last_at_ms = at_ms;
                self.commit_frame(&mut group);
                self.push(&append.records);
            }
            if self.frame.len() > frame_bytes_max {
                self.frame.clear();
                let records = append.records.len();
                resolve(append, Err(LogError::BatchTooLarge { records }));
            } else {
                group.push(append);
            }
        }
        self.commit_frame(&mut group);
    }

    /// Tries to get a segment to write to, if there is none.
    pub(super) fn probe(&mut self) {
        if self.active.is_some() {
            return;
        }
        match self.activate() {
            Ok(active) => {
                self.active = Some(active);
                self.recovered();
            }
            Err(error) => self.failed(error),
        }
    }

    /// Adds records to the frame, with times that don't go back.
    fn push(&mut self, records: &[Record]) {
        for record in records {
            self.last_at_ms = self.last_at_ms.max(record.at_ms());
            if let Record::Binding(binding) = record {
                self.highest_prefix = self.highest_prefix.max(Some(binding.extranonce_prefix));
            }
            self.frame.push(record, self.last_at_ms);
        }
    }

    /// Writes and syncs the frame, publishes that it is durable, and resolves its appends.
    fn commit_frame(&mut self, group: &mut Vec<Append>) {
        if group.is_empty() {
            return;
        }
        let started = Instant::now();
        let written = self.write_frame();
        self.frame.clear();
        if let Err(error) = written {
            for append in group.drain(..) {
                resolve(append, Err(error.clone()));
            }
            return;
        }
        self.commit_seconds.record(started.elapsed());
        let mut seq = self.next_seq;
        self.next_seq += group
            .iter()
            .map(|append| append.records.len() as u64)
            .sum::<u64>();
        self.durable.send_replace(self.next_seq - 1);
        for append in group.drain(..) {
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

    fn write_frame(&mut self) -> Result<(), LogError> {
        let mut active = match self.active.take() {
            Some(active) if active.has_room(self.frame.len(), self.segment_bytes) => active,
            Some(_) | None => self.next_segment()?,
        };
        let epoch = self.shared.epoch;
        let bytes = self
            .frame
            .seal(&epoch, active.index, active.offset, self.next_seq);
        let written = active
            .file
            .write_all_at(bytes, active.offset)
            .and_then(|()| active.file.sync_data());
        if let Err(source) = written {
            let error = LogError::io("write to", &self.shared.path(active.index), source);
            abandon(&active);
            self.failed(error.clone());
            return Err(error);
        }
        active.offset += bytes.len() as u64;
        self.active = Some(active);
        Ok(())
    }

    /// A new segment; while the log is unwritable, no more often than it is to be retried.
    fn next_segment(&mut self) -> Result<Active, LogError> {
        if let Some(failure) = self
            .failure
            .as_ref()
            .filter(|f| Instant::now() < f.retry_at)
        {
            return Err(failure.error.clone());
        }
        match self.activate() {
            Ok(active) => {
                self.recovered();
                Ok(active)
            }
            Err(error) => {
                self.failed(error.clone());
                Err(error)
            }
        }
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
        };
        self.shared.segments().push_back(segment);
        self.preparer.request();
        Ok(Active {
            file,
            index: header.index,
            offset: segment::HEADER_BYTES,
        })
    }

    fn failed(&mut self, error: LogError) {
        if self.failure.is_none() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "share log is not writable"
            );
        }
        metrics::gauge!("hyperhash_share_log_writable").set(0.0);
        self.health.send_replace(Health::Unwritable(error.clone()));
        self.failure = Some(Failure {
            error,
            retry_at: Instant::now() + self.retry_interval,
        });
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            tracing::info!("share log is writable again");
        }
        metrics::gauge!("hyperhash_share_log_writable").set(1.0);
        self.health.send_replace(Health::Writable);
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody waits for it for ever.
    fn drop(&mut self) {
        self.queue.close();
        self.queue.clear();
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

/// Cuts off a frame that failed. The next segment's first sequence number says the same, so this only gives back room.
fn abandon(active: &Active) {
    if let Err(e) = active.file.set_len(active.offset) {
        tracing::debug!(error = %e, "could not truncate an abandoned share log segment");
    }
}

fn resolve(append: Append, result: Result<Appended, LogError>) {
    if append.done.send(result).is_err() {
        tracing::trace!("nobody waits for an append to the share log any more");
    }
}

/// Prepares the next segment on a thread of its own, because to zero one takes longer than a commit may.
#[derive(Debug)]
struct Preparer {
    requests: SyncSender<()>,
    prepared: Receiver<Result<File, LogError>>,
    is_requested: bool,
}

impl Preparer {
    fn start(shared: &Arc<Shared>, segment_bytes: u64) -> Result<Self, LogError> {
        let (requests, requested) = sync_channel::<()>(1);
        let (done, prepared) = sync_channel(1);
        let dir = shared.dir.clone();
        std::thread::Builder::new()
            .name("share-log-prep".to_owned())
            .spawn(move || {
                // Either channel ends when the writer does.
                while requested.recv().is_ok()
                    && done.send(segment::prepare(&dir, segment_bytes)).is_ok()
                {}
            })
            .map_err(|e| LogError::io("start a thread for", &shared.dir, e))?;
        Ok(Self {
            requests,
            prepared,
            is_requested: false,
        })
    }

    /// Asks for a file ahead of its use.
    fn request(&mut self) {
        if !self.is_requested {
            // The thread takes requests until this end is dropped, and one at a time fits.
            self.is_requested = self.requests.try_send(()).is_ok();
        }
    }

    /// The prepared file, or a new attempt if an earlier one failed. Waits for it.
    fn take(&mut self) -> Result<File, LogError> {
        let early = self.is_requested.then(|| self.receive());
        match early {
            Some(Ok(file)) => Ok(file),
            Some(Err(_)) | None => {
                self.request();
                self.receive()
            }
        }
    }

    fn receive(&mut self) -> Result<File, LogError> {
        self.is_requested = false;
        self.prepared.recv().unwrap_or(Err(LogError::Closed))
    }
}
