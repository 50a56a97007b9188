//! Shares as they come, for operators who look on. No share waits for them, or pays for them: accepted ones are read from the
//! share log, in which they are anyway; refused ones from the short memory of [`Rejects`], which counts each under a lock anyway.
//!
//! Who reads too slowly is told how much was passed over. Readers of the log are kept between the calls of one who follows, by
//! the place where they are: to find a place in a segment is to read the segment from its start.

use crate::rejects::{Rejected, Rejects};
use crate::share_log::{Entry, LogError, LogReader, Origin, Record, ShareLog};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How far back the last shares are looked for: half a minute at 2,000 shares/s. It is read in some tens of milliseconds.
const LOOK_BACK_RECORDS: u64 = 50_000;

/// Who is further behind than that is brought up to the present: he reads less than is accepted, and sees old shares only.
const BEHIND_RECORDS_MAX: u64 = 100_000;

/// Records read at once, between two looks at the filter.
const READ_RECORDS_MAX: usize = 2_000;

/// Readers kept for those who follow; more of them read a segment from its start again.
const KEPT_READERS_MAX: usize = 8;

/// How long they are kept: who follows asks again within [`WAIT_MAX`] and the time it takes to print.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Longest wait for a share: a caller's deadline is some seconds away.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(10);

/// Most shares of a kind in one answer: with the longest names they are two thirds of a frame of the control sockets.
pub(crate) const SHARES_MAX: usize = 500;

/// Readers, each with the time at which it was last used.
type Kept = Arc<Mutex<Vec<(Instant, LogReader)>>>;

/// See the module. Clones share what is kept.
#[derive(Clone, Debug)]
pub(crate) struct ShareTail {
    log: ShareLog,
    rejects: Rejects,
    kept: Kept,
}

/// The next record of the log, and the next refused share, that one who follows has not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub accepted: u64,
    pub rejected: u64,
}

/// Which shares are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub account: Option<String>,
    pub worker: Option<String>,
    pub lane: Option<String>,
    pub rejected_only: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Records of accepted shares, in the order of the log.
    pub accepted: Vec<Entry>,
    /// In the order in which they were refused.
    pub rejected: Vec<Rejected>,
    pub cursor: Cursor,
    /// Records and refused shares that were passed over.
    pub missed: u64,
}

impl Filter {
    fn takes(&self, origin: &Origin) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|w| w == name);
        is(&self.account, origin.account())
            && is(&self.worker, origin.worker())
            && is(&self.lane, origin.lane())
    }

    /// Accepted shares only; the log has records of other kinds too.
    fn takes_entry(&self, entry: &Entry) -> bool {
        match &entry.record {
            Record::Share(share) => self.takes(&share.origin),
            _ => false,
        }
    }
}

impl ShareTail {
    pub(crate) fn new(log: ShareLog, rejects: Rejects) -> Self {
        let kept = Arc::default();
        Self { log, rejects, kept }
    }

    /// The last shares that are wanted, at most `max` of a kind, of those still at hand.
    ///
    /// # Errors
    /// The log can't be read.
    pub(crate) async fn last(&self, max: usize, filter: &Filter) -> Result<Found, LogError> {
        let durable = *self.log.durable().borrow();
        let from = durable.saturating_sub(LOOK_BACK_RECORDS) + 1;
        let mut found = Found {
            cursor: Cursor {
                accepted: from.max(self.log.first_seq()),
                rejected: 0,
            },
            ..Found::default()
        };
        let looks_back = max > 0 && !filter.rejected_only;
        while looks_back && found.cursor.accepted <= durable {
            self.read(&mut found, usize::MAX, filter).await?;
            let more = found.accepted.len().saturating_sub(max);
            found.accepted.drain(..more);
        }
        found.cursor.accepted = found.cursor.accepted.max(durable + 1);
        let (rejected, next) = self.rejects.since(0);
        let wanted = rejected
            .into_iter()
            .filter(|share| filter.takes(&share.origin));
        found.rejected = wanted.collect();
        let more = found.rejected.len().saturating_sub(max);
        found.rejected.drain(..more);
        (found.cursor.rejected, found.missed) = (next, 0);
        Ok(found)
    }

    /// The shares from `cursor` on that are wanted, at most `max` of a kind. Where there is none, waits for one until `deadline`.
    ///
    /// # Errors
    /// The log can't be read.
    pub(crate) async fn since(
        &self,
        cursor: Cursor,
        max: usize,
        filter: &Filter,
        deadline: Instant,
    ) -> Result<Found, LogError> {
        let mut durable = self.log.durable();
        let mut found = Found {
            cursor,
            ..Found::default()
        };
        loop {
            let news = self.rejects.news();
            let last = *durable.borrow_and_update();
            if filter.rejected_only {
                found.cursor.accepted = found.cursor.accepted.max(last + 1);
            }
            self.catch_up(&mut found, last);
            while found.cursor.accepted <= last && found.accepted.len() < max {
                self.read(&mut found, max, filter).await?;
            }
            self.take_rejected(&mut found, max, filter);
            if !found.accepted.is_empty() || !found.rejected.is_empty() || found.missed > 0 {
                return Ok(found);
            }
            tokio::select! {
                () = news => {}
                changed = durable.changed() => if changed.is_err() {
                    return Ok(found);
                },
                () = tokio::time::sleep_until(deadline) => return Ok(found),
            }
        }
    }

    /// Passes over what is no longer in the log, and what is too much.
    fn catch_up(&self, found: &mut Found, last: u64) {
        let next = &mut found.cursor.accepted;
        let mut from = self.log.first_seq();
        if last.saturating_sub(*next) > BEHIND_RECORDS_MAX {
            from = from.max(last + 1 - BEHIND_RECORDS_MAX / 2);
        }
        found.missed += from.saturating_sub(*next);
        *next = from.max(*next);
    }

    /// Reads records from the cursor on, once.
    async fn read(&self, found: &mut Found, max: usize, filter: &Filter) -> Result<(), LogError> {
        let left = max.saturating_sub(found.accepted.len());
        match self.entries(found.cursor.accepted, left).await {
            Ok((entries, next_seq)) => {
                found.cursor.accepted = next_seq;
                let wanted = entries
                    .into_iter()
                    .filter(|entry| filter.takes_entry(entry));
                found.accepted.extend(wanted);
                Ok(())
            }
            // It was let go of between the look at the log's start and the read.
            Err(LogError::Released { first_seq, .. }) => {
                let next = found.cursor.accepted;
                found.cursor.accepted = first_seq.max(next + 1);
                found.missed += found.cursor.accepted - next;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Records from `seq` on, and the number of the next.
    async fn entries(&self, seq: u64, max: usize) -> Result<(Vec<Entry>, u64), LogError> {
        let mut reader = self.reader_at(seq)?;
        let reading = tokio::task::spawn_blocking(move || {
            let entries = reader.read(max.min(READ_RECORDS_MAX));
            (reader, entries)
        });
        // The runtime goes down, or the read panicked.
        let (reader, entries) = reading.await.map_err(|_error| LogError::Closed)?;
        let entries = entries?;
        let next_seq = reader.next_seq();
        self.keep(reader);
        Ok((entries, next_seq))
    }

    fn take_rejected(&self, found: &mut Found, max: usize, filter: &Filter) {
        let (shares, next) = self.rejects.since(found.cursor.rejected);
        let first = next.saturating_sub(shares.len() as u64);
        found.missed += first.saturating_sub(found.cursor.rejected);
        found.cursor.rejected = next;
        for (number, share) in (first..).zip(shares) {
            if found.rejected.len() == max {
                found.cursor.rejected = number;
                return;
            }
            if filter.takes(&share.origin) {
                found.rejected.push(share);
            }
        }
    }

    fn reader_at(&self, seq: u64) -> Result<LogReader, LogError> {
        let mut kept = self.lock();
        match kept.iter().position(|(_, reader)| reader.next_seq() == seq) {
            Some(index) => Ok(kept.remove(index).1),
            None => self.log.reader(seq),
        }
    }

    fn keep(&self, reader: LogReader) {
        let mut kept = self.lock();
        if kept.len() == KEPT_READERS_MAX {
            kept.remove(0);
        }
        kept.push((Instant::now(), reader));
    }

    /// Lets readers go whose followers have gone, until `stop` is cancelled: each may hold a segment on the disk that the log has
    /// let go of.
    pub(crate) async fn tidy(self, stop: CancellationToken) {
        let pause = || tokio::time::sleep(KEPT_FOR);
        while stop.run_until_cancelled(pause()).await.is_some() {
            self.lock()
                .retain(|(kept_at, _)| kept_at.elapsed() < KEPT_FOR);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, LogReader)>> {
        // The list is whole after every statement.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
