//! Rejected shares on their way to the ledger: counters by minute, origin and reason. They are for statistics; what is
//! counted in the last seconds before a crash is lost, and nobody is paid by it. And the last of them one by one, for operators
//! who look on.

use crate::directory::unix_ms;
use hh_ledger::{Ledger, Origin, RejectedCount};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

/// How often the ledger gets them.
const INTERVAL: Duration = Duration::from_secs(10);

/// What a stop waits for the last counts.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Counters kept while the ledger is away: a few MB. Beyond, counts are dropped.
const MAX_COUNTERS: usize = 50_000;

const MINUTE_MS: i64 = 60_000;

type Key = (i64, Arc<Origin>, &'static str);

/// Rejected shares that are remembered one by one: some 50 kB. A miner that is refused sends some a minute.
const MAX_RECENT: usize = 1_000;

/// Where connections count them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejects(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    counters: HashMap<Key, u64>,
    /// The last [`MAX_RECENT`], the oldest first.
    recent: VecDeque<Rejected>,
    /// How many there were; the number of the next.
    total: u64,
}

/// A share that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Rejected {
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub channel_id: u32,
    pub origin: Arc<Origin>,
    pub code: &'static str,
}

impl Rejects {
    /// Counts one share of `origin`, refused with `code` on the channel with this id.
    pub(crate) fn count(&self, channel_id: u32, origin: &Arc<Origin>, code: &'static str) {
        let at_ms = unix_ms();
        let share = Rejected {
            at_ms,
            channel_id,
            origin: Arc::clone(origin),
            code,
        };
        let mut state = self.lock();
        state.add((at_ms / MINUTE_MS, Arc::clone(origin), code), 1);
        if state.recent.len() == MAX_RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back(share);
        state.total += 1;
        drop(state);
        self.0.news.notify_waiters();
    }

    /// Those that were refused from number `first` on and are remembered, and the number of the next.
    pub(crate) fn since(&self, first: u64) -> (Vec<Rejected>, u64) {
        let state = self.lock();
        let oldest = state.total - state.recent.len() as u64;
        let skip = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        (
            state.recent.iter().skip(skip).cloned().collect(),
            state.total,
        )
    }

    /// Resolves when a share is refused after this call.
    pub(crate) fn news(&self) -> Notified<'_> {
        self.0.news.notified()
    }

    /// Takes the counts to the ledger until `stop` is cancelled, and once more then.
    pub(crate) async fn keep(self, ledger: Ledger, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_some()
        {
            // A stop does not wait for a server that does not answer.
            stop.run_until_cancelled(self.ship(&ledger)).await;
        }
        let last = tokio::time::timeout(STOP_GRACE, self.ship(&ledger)).await;
        if last.is_err() {
            tracing::warn!("the last counts of rejected shares are lost: the ledger is slow");
        }
    }

    async fn ship(&self, ledger: &Ledger) {
        let counts = std::mem::take(&mut self.lock().counters);
        if counts.is_empty() {
            return;
        }
        let row = |((minute, origin, reason), shares): (&Key, &u64)| RejectedCount {
            at_ms: minute * MINUTE_MS,
            origin: Arc::clone(origin),
            reason: (*reason).to_owned(),
            shares: *shares,
        };
        if ledger
            .count_rejected(counts.iter().map(row).collect())
            .await
            .is_err()
        {
            // The shipper has told of the ledger; these wait with it.
            let mut state = self.lock();
            for (key, shares) in counts {
                state.add(key, shares);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whole after every statement, but for a share that is counted and not remembered.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, key: Key, shares: u64) {
        if self.counters.len() < MAX_COUNTERS || self.counters.contains_key(&key) {
            *self.counters.entry(key).or_default() += shares;
        }
    }
}
