//! Asks a node by JSON-RPC now and then who it is and where its chain stands.
//!
//! Owns: when it is asked. Never: judges the answer, or keeps it.

use std::time::{Duration, Instant};

use bitcoin::Network;
use hh_bitcoin::{NodeError, NodeInfo, Rpc, check_node};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Report;

/// How soon it is noticed that a node hangs or lags; for the node, two cheap calls.
const INTERVAL: Duration = Duration::from_secs(2);

/// An answer, or why there is none.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Which of the configured nodes.
    pub(crate) node: usize,
    pub(crate) asked_at: Instant,
    pub(crate) latency: Duration,
    pub(crate) result: Result<NodeInfo, NodeError>,
}

/// Asks again and again, until nobody wants to know.
pub(super) async fn probe(node: usize, rpc: Rpc, chain: Network, reports: mpsc::Sender<Report>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let asked_at = Instant::now();
        let result = check_node(&rpc, chain).await;
        let probe = Probe {
            node,
            asked_at,
            latency: asked_at.elapsed(),
            result,
        };
        if reports.send(Report::Probe(probe)).await.is_err() {
            return;
        }
    }
}
