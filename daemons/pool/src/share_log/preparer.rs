//! Prepares the next segment on a thread of its own, because to zero one takes longer than a commit may; and ahead of its
//! use, because a disk that is full should be noticed while there is still a segment to write to.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{LogError, Options, Shared, segment};

/// The thread, and what it made.
#[derive(Debug)]
pub(super) struct Preparer {
    /// None once it is to end.
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    prepared: Receiver<Result<File, LogError>>,
    is_requested: bool,
    ready: Option<File>,
    failure: Option<Failure>,
    retry_interval: Duration,
}

#[derive(Debug)]
struct Failure {
    error: LogError,
    retry_at: Instant,
}

/// News of the next segment.
#[derive(Debug)]
pub(super) enum Prepared<'a> {
    /// It can't be had.
    Failing(&'a LogError),
    /// It is there, after it could not be had.
    Again,
}

impl Preparer {
    pub(super) fn start(shared: &Arc<Shared>, options: &Options) -> Result<Self, LogError> {
        let (requests, requested) = sync_channel::<()>(1);
        let (done, prepared) = sync_channel(1);
        let (dir, segment_bytes) = (shared.dir.clone(), options.segment_bytes);
        let thread = std::thread::Builder::new()
            .name("share-log-prep".to_owned())
            .spawn(move || {
                // Either channel ends when the writer does.
                while requested.recv().is_ok()
                    && done.send(segment::prepare(&dir, segment_bytes)).is_ok()
                {}
            })
            .map_err(|e| LogError::io("start a thread for", &shared.dir, e))?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
            prepared,
            is_requested: false,
            ready: None,
            failure: None,
            retry_interval: options.retry_interval,
        })
    }

    /// Asks for a file ahead of its use.
    pub(super) fn request(&mut self) {
        if self.ready.is_none() && !self.is_requested {
            // The thread takes requests until this end is dropped, and one at a time fits.
            let requests = self.requests.as_ref();
            self.is_requested = requests.is_some_and(|requests| requests.try_send(()).is_ok());
        }
    }

    /// The prepared file; waits for it. A failure of before is tried again.
    pub(super) fn take(&mut self) -> Result<File, LogError> {
        if let Some(file) = self.ready.take() {
            return Ok(file);
        }
        let early = self.is_requested.then(|| self.receive());
        let file = match early {
            Some(Ok(file)) => Ok(file),
            Some(Err(_)) | None => {
                self.request();
                self.receive()
            }
        };
        if file.is_ok() {
            self.failure = None;
        }
        file
    }

    fn receive(&mut self) -> Result<File, LogError> {
        self.is_requested = false;
        self.prepared.recv().unwrap_or(Err(LogError::Closed))
    }

    /// Looks whether the file that was asked for is there, and asks again where it could not be had a while ago. Gives
    /// what is news; does not wait.
    pub(super) fn poll(&mut self) -> Option<Prepared<'_>> {
        if !self.is_requested {
            let due = |failure: &Failure| failure.retry_at <= Instant::now();
            if self.failure.as_ref().is_some_and(due) {
                self.request();
            }
            return None;
        }
        let result = match self.prepared.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(LogError::Closed),
            Ok(result) => result,
        };
        self.is_requested = false;
        match result {
            Ok(file) => {
                self.ready = Some(file);
                self.failure.take().map(|_| Prepared::Again)
            }
            Err(error) => {
                let is_news = self.failure.is_none();
                let retry_at = Instant::now() + self.retry_interval;
                let failure = self.failure.insert(Failure { error, retry_at });
                is_news.then_some(Prepared::Failing(&failure.error))
            }
        }
    }

    /// Ends the thread, and waits for it: what it is at work on bears the name that the next preparer of this directory gives
    /// its own file.
    pub(super) fn end(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::debug!("the thread that prepares segments of the share log panicked");
        }
    }

    /// Why there is no next segment.
    pub(super) fn error(&self) -> Option<&LogError> {
        self.failure.as_ref().map(|failure| &failure.error)
    }
}

#[cfg(test)]
impl Preparer {
    /// Gives up the file that is or will be there, and asks for another one.
    pub(super) fn begin_again(&mut self) {
        if self.is_requested {
            self.receive().ok();
        }
        self.ready = None;
        self.request();
    }
}
