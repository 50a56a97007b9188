//! Sees to it that nodes keep the blocks that clients found.
//!
//! Bitcoin Core forgets what it accepted where it is killed before it has written it down. hh-pool looks after its own blocks; a
//! client of another make does not, and a client may be gone. So for two hours each node is asked for the blocks in the
//! journal, and given again what it does not have. Never: decides more than the name of a file.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bitcoin::BlockHash;
use hh_bitcoin::{BlockOutcome, Presence, Rpc, Sought, presence, submit_once};
use hh_daemon::Chain;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::journal::{Journal, Kept};

/// How often each node is asked; a call costs it a millisecond.
const INTERVAL: Duration = Duration::from_secs(2);

/// So deep a block is in the node of everybody who mines; it is asked for no more while a higher one is there.
const SAFE_DEPTH: u32 = 6;

/// A node that does not know the block before it gets that from other nodes: the block is not tried on it again sooner. While it
/// catches up each try would cost it megabytes.
const PARENT_PAUSE: Duration = Duration::from_secs(30);

/// One node's.
#[derive(Debug)]
pub(super) struct Guard {
    name: String,
    rpc: Rpc,
    journal: Journal,
    /// What was seen deep on the node's best chain.
    settled: HashSet<BlockHash>,
    /// What the node has found invalid.
    refused: HashSet<BlockHash>,
    /// What the node had no parent for, and when that was.
    too_early: HashMap<BlockHash, Instant>,
}

impl Guard {
    pub(super) fn new(name: String, rpc: Rpc, journal: Journal) -> Self {
        Self {
            name,
            rpc,
            journal,
            settled: HashSet::new(),
            refused: HashSet::new(),
            too_early: HashMap::new(),
        }
    }

    /// Looks again and again until `stop` is cancelled.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let looking = async {
            loop {
                tokio::time::sleep(INTERVAL).await;
                self.look().await;
            }
        };
        stop.run_until_cancelled(looking).await;
    }

    async fn look(&mut self) {
        let kept = self.journal.kept(SystemTime::now()).await;
        let known: HashSet<BlockHash> = kept.iter().map(|kept| kept.hash).collect();
        self.settled.retain(|hash| known.contains(hash));
        self.refused.retain(|hash| known.contains(hash));
        self.too_early.retain(|_, at| at.elapsed() < PARENT_PAUSE);
        if kept.is_empty() {
            return;
        }
        let sought: Vec<Sought> = kept.iter().rev().map(|kept| self.sought(kept)).collect();
        let sight = presence::look(&self.rpc, &sought).await;
        if sight.error.is_some() {
            // What it said before may be true no more when it is back. The watch on nodes tells of it.
            self.settled.clear();
            return;
        }
        // The lowest first: each needs the one before.
        for (hash, presence) in sight.seen.into_iter().rev() {
            let Some(kept) = kept.iter().find(|kept| kept.hash == hash) else {
                continue;
            };
            match presence {
                Presence::OnBestChain { confirmations } => {
                    if confirmations >= SAFE_DEPTH {
                        self.settled.insert(hash);
                    }
                    if !kept.is_settled {
                        info!(%hash, node = self.name, "block is on the best chain");
                        self.journal.settle(kept.path.clone(), "accepted").await;
                    }
                }
                Presence::Unknown
                    if !self.refused.contains(&hash) && !self.too_early.contains_key(&hash) =>
                {
                    self.give(kept).await;
                }
                Presence::Unknown | Presence::OffBestChain => {}
            }
        }
    }

    fn sought(&self, kept: &Kept) -> Sought {
        Sought {
            hash: kept.hash,
            settled: self.settled.contains(&kept.hash),
        }
    }

    async fn give(&mut self, kept: &Kept) {
        let (hash, node) = (kept.hash, &self.name);
        let Some(block) = read(kept.path.clone()).await else {
            // Settled by another node's guard, and renamed: the next look finds it.
            return;
        };
        warn!(%hash, node, "node does not have a block of a client; it gets it again");
        match submit_once(&self.rpc, &block).await {
            Ok(outcome) => {
                info!(%hash, node, outcome = %outcome, "block submission answered");
                match outcome {
                    BlockOutcome::Rejected(_) => {
                        self.refused.insert(hash);
                    }
                    BlockOutcome::ParentUnknown => {
                        self.too_early.insert(hash, Instant::now());
                    }
                    BlockOutcome::Accepted
                    | BlockOutcome::Duplicate
                    | BlockOutcome::Inconclusive => {}
                }
            }
            Err(failure) => {
                error!(%hash, node, error = %Chain(&failure), "block not given again yet");
            }
        }
    }
}

async fn read(path: PathBuf) -> Option<Arc<[u8]>> {
    let reading = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    reading.ok()?.ok().map(Arc::from)
}
