//! Blocks of ours: journalled, given to Bitcoin Core by every path at once, and kept until they can't be lost any more.
//!
//! A connection hands a found block over and goes on. Its [`delivery`] is a task of its own: nothing may hold a submission
//! up, the journal has a few milliseconds before it, the ledger none at all. The [`keeper`] has a [`case`] for each block
//! that is in danger: a node that does not know it any more gets it again, and what becomes of it is booked. What the process
//! leaves behind when it ends is in the journal, and goes on from there at the next start.
//!
//! ```text
//!  session ──Found──► keeper ──spawns──► delivery ──► journal, then SubmitSolution and submitblock on every node
//!                      │  ▲  ◄──────────── events ───┘
//!                      │  └── visit, each node every two seconds: what has it of them? what it lacks, it gets again
//!                      ├── the share of an accepted block ──► share log, if it is not there
//!                      └── rows, one at a time ──► ledger ◄── follow, for what is no longer in danger
//! ```

mod case;
mod delivery;
mod follow;
mod journal;
mod keeper;
mod visit;
mod winning_share;

use crate::channel::Candidate;
use crate::share_log::{Origin, ShareLog, ShareRecord};
use crate::shipper::Shipping;
use crate::work::{self, Work};
pub(crate) use follow::follow;
use hh_bitcoin::{BlockSubmitter, Rpc};
use hh_ledger::Ledger;
use hh_mining::BlockHash;
pub(crate) use journal::Journal;
pub(crate) use keeper::BlockKeeper;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};

/// Found blocks that wait for a task: one every ten minutes is the rule, a burst on a test chain is what fills it.
const QUEUE: usize = 4096;

/// The blocks that the keeper has; nobody else changes their rows.
pub(crate) type InHand = watch::Receiver<Arc<HashSet<BlockHash>>>;

/// A block as its connection hands it over.
#[derive(Debug)]
pub(crate) struct Found {
    pub candidate: Candidate,
    /// Whose prefix is in the coinbase.
    pub origin: Arc<Origin>,
    /// What the share log is to have of it, if the block is accepted and its connection could not log it. Its time is that of the
    /// find.
    pub share: ShareRecord,
}

/// Where connections hand their blocks over. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    sender: mpsc::Sender<Found>,
    found: Arc<AtomicU64>,
}

/// The ways on which a block goes, and what is asked about it.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub journal: Journal,
    pub ledger: Ledger,
    pub submitter: BlockSubmitter,
    /// With their names, the preferred one first.
    pub nodes: Vec<(String, Rpc)>,
    pub work: work::Receiver,
    pub log: ShareLog,
    pub shipping: watch::Receiver<Shipping>,
}

/// What a block is kept under: in the order in which nodes need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    height: u32,
    hash: BlockHash,
}

impl Blocks {
    fn new(sender: mpsc::Sender<Found>) -> Self {
        let found = Arc::default();
        Self { sender, found }
    }

    /// Takes a block over; does not wait.
    pub(crate) fn found(&self, found: Found) {
        self.found.fetch_add(1, Ordering::Relaxed);
        let hash = found.candidate.hash;
        let height = found.candidate.job.template.height;
        let (account, worker) = (found.origin.account(), found.origin.worker());
        tracing::info!(%hash, height, account, worker, "block found");
        metrics::counter!("hyperhash_blocks_total", "result" => "found").increment(1);
        if let Err(error) = self.sender.try_send(found) {
            tracing::error!(%hash, height, %error, "found block lost: more blocks wait than can be");
        }
    }

    /// A handle to a keeper that is not there.
    #[cfg(test)]
    pub(crate) fn to_nobody() -> Self {
        Self::new(mpsc::channel(1).0)
    }

    /// How many were found since the start.
    pub(crate) fn count(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

impl Paths {
    /// Height of the block that is being mined; 0 before there is work.
    fn next_height(&self) -> u32 {
        let height = |work: &Arc<Work>| work.job.template.height;
        self.work.borrow().as_ref().map_or(0, height)
    }
}
