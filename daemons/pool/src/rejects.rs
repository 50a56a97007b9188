//! Rejected shares on their way to the ledger: counters by minute, origin and reason. They are for statistics; what is
//! counted in the last seconds before a crash is lost, and nobody is paid by it.

use crate::directory::unix_ms;
use hh_ledger::{Ledger, Origin, RejectedCount};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the ledger gets them.
const INTERVAL: Duration = Duration::from_secs(10);

/// What a stop waits for the last counts.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Counters kept while the ledger is away: a few MB. Beyond, counts are dropped.
const MAX_COUNTERS: usize = 50_000;

const MINUTE_MS: i64 = 60_000;

type Key = (i64, Arc<Origin>, &'static str);

/// Where connections count them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejects(Arc<Mutex<HashMap<Key, u64>>>);

impl Rejects {
    /// Counts one share of `origin`, refused with `code`.
    pub(crate) fn count(&self, origin: &Arc<Origin>, code: &'static str) {
        let minute = unix_ms() / MINUTE_MS;
        self.add((minute, Arc::clone(origin), code), 1);
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
        let counts = std::mem::take(&mut *self.lock());
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
            for (key, shares) in counts {
                self.add(key, shares);
            }
        }
    }

    fn add(&self, key: Key, shares: u64) {
        let mut counters = self.lock();
        if counters.len() < MAX_COUNTERS || counters.contains_key(&key) {
            *counters.entry(key).or_default() += shares;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u64>> {
        // The map is whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
