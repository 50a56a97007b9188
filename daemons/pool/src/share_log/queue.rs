//! The queue of appends between the connections and the writer. It has no limit of its own: every append holds its
//! part of the semaphore in [`super::ShareLog`].
//!
//! A mutex and a condition variable instead of a channel, because the writer waits for a whole group: a channel would
//! wake it (15 us) for each append that arrives between two commits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Appended, LogError, Record};

/// Records waiting that are committed early: their sync is then shared by enough of them.
const FULL_RECORDS: usize = 1_024;

/// Records on their way to the disk, and who waits for them.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) records: Vec<Record>,
    pub(super) done: oneshot::Sender<Result<Appended, LogError>>,
    /// When it was taken in.
    pub(super) since: Instant,
    pub(super) _room: OwnedSemaphorePermit,
}

/// What [`Queue::take`] ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Appends,
    Idle,
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    commit_interval: Duration,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Append>,
    records: usize,
    /// When the last group was taken.
    taken_at: Option<Instant>,
    /// A binding waits: a miner gets its first job after it, and the others profit.
    is_urgent: bool,
    closed: bool,
}

impl Append {
    /// Bindings are appended alone, so the first record tells.
    fn is_urgent(&self) -> bool {
        matches!(self.records.first(), Some(Record::Binding(_)))
    }
}

impl State {
    /// Nothing is gained by waiting longer.
    fn is_due(&self) -> bool {
        self.records >= FULL_RECORDS || self.is_urgent || self.closed
    }
}

impl Queue {
    pub(super) fn new(commit_interval: Duration) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            commit_interval,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No critical section below can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an append; gives it back if the queue is closed.
    pub(super) fn push(&self, append: Append) -> Result<(), Append> {
        let mut state = self.state();
        if state.closed {
            return Err(append);
        }
        let was_empty = state.waiting.is_empty();
        let was_due = state.is_due();
        state.records += append.records.len();
        state.is_urgent |= append.is_urgent();
        state.waiting.push(append);
        if was_empty || (!was_due && state.is_due()) {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Moves all that waits into `appends` (which must be empty), but not sooner than the commit interval after the last
    /// time. Without an append it waits, for at most `idle` if that is given.
    pub(super) fn take(&self, appends: &mut Vec<Append>, idle: Option<Duration>) -> Taken {
        let mut state = self.state();
        let nothing = |state: &mut State| state.waiting.is_empty() && !state.closed;
        state = match idle {
            None => self
                .wake
                .wait_while(state, nothing)
                .unwrap_or_else(PoisonError::into_inner),
            Some(idle) => {
                self.wake
                    .wait_timeout_while(state, idle, nothing)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        if state.waiting.is_empty() {
            return if state.closed {
                Taken::Closed
            } else {
                Taken::Idle
            };
        }
        let elapsed = state.taken_at.map(|taken_at| taken_at.elapsed());
        let rest = elapsed.map(|elapsed| self.commit_interval.saturating_sub(elapsed));
        state = self
            .wake
            .wait_timeout_while(state, rest.unwrap_or_default(), |state| !state.is_due())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.taken_at = Some(Instant::now());
        std::mem::swap(&mut state.waiting, appends);
        state.records = 0;
        state.is_urgent = false;
        Taken::Appends
    }

    /// Takes no more appends; what waits can still be taken.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Drops what waits: whoever waits for it learns that the log is closed.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.records = 0;
        state.is_urgent = false;
        state.waiting.clear();
    }
}
