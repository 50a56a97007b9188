//! The pruner: has the ledger let go of the rows of shares that nobody will ask for again. Their sums stay for ever.
//!
//! A reward is split over a window of shares, of which the oldest is counted in part, so the rows of a window must be there until
//! its block is settled. A row goes once it lies before the window of every block that was found within the last
//! `keep_shares_days`, or whose outcome is not known; until then it stays, however long that is: on a small pool a window takes
//! years. Any pool on a ledger prunes it, and they come to the same.

use crate::config::LedgerConfig;
use crate::directory::unix_ms;
use hh_ledger::{Ledger, LedgerError};
use hh_mining::Score;
use metrics::{counter, describe_counter};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long after a start. What a pool does at its start comes first, and one that is started every day prunes all the same.
const FIRST_AFTER: Duration = Duration::from_secs(600);

/// How often. It reads the sums of a whole window, for a few hours' rows.
const INTERVAL: Duration = Duration::from_secs(6 * 3600);

const DAY_MS: i64 = 86_400_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pruner {
    ledger: Ledger,
    /// Blocks that were found within so many days may be split again.
    keep_days: u32,
}

impl Pruner {
    pub(crate) fn new(ledger: &Ledger, config: &LedgerConfig) -> Self {
        Self {
            ledger: ledger.clone(),
            keep_days: config.keep_shares_days,
        }
    }

    /// Prunes until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        describe_counter!(
            "hyperhash_ledger_pruned_shares_total",
            "Rows of shares that were deleted from the ledger, before every window that may still be split"
        );
        counter!("hyperhash_ledger_pruned_shares_total").absolute(0);
        let mut pause = FIRST_AFTER;
        while stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
        {
            pause = INTERVAL;
            let started = Instant::now();
            match stop.run_until_cancelled(self.prune(unix_ms())).await {
                Some(Ok(0)) | None => {}
                Some(Ok(rows)) => {
                    counter!("hyperhash_ledger_pruned_shares_total").increment(rows);
                    let seconds = started.elapsed().as_secs();
                    tracing::info!(rows, seconds, "old rows of shares deleted; their sums stay");
                }
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "old rows of shares stay in the ledger for now");
                }
            }
        }
    }

    /// Deletes what may go at `now_ms` (milliseconds since 1970); says how many rows.
    async fn prune(&self, now_ms: i64) -> Result<u64, LedgerError> {
        let reader = self.ledger.reader();
        let end_ms = now_ms.saturating_sub(i64::from(self.keep_days).saturating_mul(DAY_MS));
        let end_ms = match reader.oldest_open_block().await? {
            Some(found_at_ms) => end_ms.min(found_at_ms),
            None => end_ms,
        };
        match reader.window_start(end_ms, Score::WINDOW.0).await? {
            Some(before_ms) => self.ledger.prune_before(before_ms).await,
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests;
