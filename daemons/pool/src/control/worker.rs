//! The answer to `workers`: what the ledger has of them, and which of their channels are open.

use super::{Control, count, page_rows, timestamp, unavailable};
use crate::directory::unix_ms;
use crate::rate::TEN_MINUTES;
use hh_ipc::ApiError;
use hh_ipc::api::pool::{Worker, WorkerPage, WorkerQuery};
use hh_ledger::{WorkerSum, WorkerWindows};
use std::collections::BTreeMap;

/// By account and worker.
type Workers = BTreeMap<(String, String), Worker>;

impl Control {
    pub(super) async fn workers(&self, query: WorkerQuery) -> Result<WorkerPage, ApiError> {
        let now_ms = unix_ms();
        let windows = WorkerWindows::until(now_ms);
        let reader = self.ledger.reader();
        let sums = reader.worker_sums(query.account.clone(), windows).await;
        let sums = sums.map_err(|error| unavailable(&error))?;
        let mut workers: Workers = sums
            .into_iter()
            .map(|sum| in_ledger(sum, windows, now_ms))
            .collect();
        self.add_live(&mut workers, query.account.as_deref());
        Ok(WorkerPage {
            total: count(workers.len()),
            workers: workers
                .into_values()
                .skip(query.offset as usize)
                .take(page_rows(query.limit))
                .collect(),
        })
    }

    /// The open channels; one whose binding is not in the ledger yet makes a worker of its own.
    fn add_live(&self, workers: &mut Workers, account: Option<&str>) {
        let now_ms = self.shared.directory.clock().now_ms();
        for channel in self.shared.directory.channels() {
            let origin = channel.origin();
            if account.is_some_and(|account| account != origin.account()) {
                continue;
            }
            let key = (origin.account().to_owned(), origin.worker().to_owned());
            let worker = workers
                .entry(key)
                .or_insert_with_key(|(account, worker)| Worker {
                    account: account.clone(),
                    worker: worker.clone(),
                    nodes: Vec::new(),
                    lanes: Vec::new(),
                    channels: 0,
                    hashrate_10m_hs: 0.0,
                    hashrate_1h_hs: 0.0,
                    hashrate_24h_hs: 0.0,
                    shares: 0,
                    work: "0".to_owned(),
                    shares_24h: 0,
                    rejected_24h: 0,
                    last_share_at: None,
                });
            for (names, name) in [
                (&mut worker.nodes, origin.node()),
                (&mut worker.lanes, origin.lane()),
            ] {
                if let Err(place) = names.binary_search_by(|known| known.as_str().cmp(name)) {
                    names.insert(place, name.to_owned());
                }
            }
            let live = channel.live();
            worker.channels += 1;
            worker.hashrate_10m_hs += live.counters.rate.rate(now_ms, TEN_MINUTES);
            // The ledger has it a second or two later.
            let last_share_at = live.last_share_at_ms.map(timestamp);
            worker.last_share_at = worker.last_share_at.max(last_share_at);
        }
    }
}

fn in_ledger(sum: WorkerSum, windows: WorkerWindows, now_ms: i64) -> ((String, String), Worker) {
    let worker = Worker {
        account: sum.account.clone(),
        worker: sum.worker.clone(),
        nodes: sum.nodes,
        lanes: sum.lanes,
        channels: 0,
        hashrate_10m_hs: 0.0,
        hashrate_1h_hs: rate(sum.hour.work, now_ms - windows.hour_ms()),
        hashrate_24h_hs: rate(sum.day.work, now_ms - windows.day_ms()),
        shares: sum.total.shares,
        work: sum.total.work.to_string(),
        shares_24h: sum.day.shares,
        rejected_24h: sum.rejected_day,
        last_share_at: sum.last_share_at_ms.map(timestamp),
    };
    ((sum.account, sum.worker), worker)
}

/// Hashes a second.
fn rate(work: u128, over_ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let (work, seconds) = (work as f64, over_ms.max(1) as f64 / 1000.0);
    work / seconds
}
