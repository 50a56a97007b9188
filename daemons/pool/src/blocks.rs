//! Blocks of ours: journalled, given to Bitcoin Core by every path at once, and followed until the outcome is known.
//!
//! A connection hands a found block over and goes on; each block has a task of its own from there. Nothing may hold a
//! submission up: the journal has a few milliseconds before it, the ledger none at all. What is not settled when the
//! process ends is in the journal, and is submitted again at the next start.

mod follow;
mod journal;

use crate::channel::Candidate;
use crate::directory::unix_ms;
use crate::share_log::Origin;
use crate::template_client::Solution;
use crate::work::Work;
use bitcoin::hashes::Hash;
pub(crate) use follow::follow;
use hh_bitcoin::{BlockOutcome, BlockSubmitter, PathOutcome, Rpc};
use hh_daemon::Tasks;
use hh_ledger::{BlockRow, BlockState, Ledger};
use hh_mining::BlockHash;
use hh_sv2::message::SubmitSolution;
pub(crate) use journal::{Journal, JournalEntry, JournalError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Found blocks that wait for a task: one every ten minutes is the rule, a burst on a test chain is what fills it.
const QUEUE: usize = 4096;

/// What the journal may cost before a submission goes out: on a slow disk the block is worth more than the note of it.
const JOURNAL_GRACE: Duration = Duration::from_millis(5);

/// How long a block waits for the transactions of its template. The provider is asked for them with every template; without
/// them it alone can submit the block.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(30);

/// Pause before the ledger is tried again with a block.
const LEDGER_RETRY: Duration = Duration::from_secs(2);

/// A block as its connection hands it over.
#[derive(Debug)]
pub(crate) struct Found {
    pub candidate: Candidate,
    /// Whose prefix is in the coinbase.
    pub origin: Arc<Origin>,
    pub found_at_ms: i64,
}

/// Where connections hand their blocks over. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    sender: mpsc::Sender<Found>,
    found: Arc<AtomicU64>,
}

/// The task behind it.
#[derive(Debug)]
pub(crate) struct BlockKeeper {
    receiver: mpsc::Receiver<Found>,
    paths: Paths,
    tasks: Tasks,
}

/// What a block's task works with.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub journal: Journal,
    pub ledger: Ledger,
    pub submitter: BlockSubmitter,
    /// To ask what became of a block.
    pub nodes: Vec<(String, Rpc)>,
    /// Ends the wait for an outcome: what is not settled by then is in the journal.
    pub stop: CancellationToken,
    /// To the template provider.
    pub solutions: mpsc::Sender<Solution>,
    pub work: watch::Receiver<Option<Arc<Work>>>,
}

impl Blocks {
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
        Self {
            sender: mpsc::channel(1).0,
            found: Arc::default(),
        }
    }

    /// How many were found since the start.
    pub(crate) fn count(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

impl BlockKeeper {
    /// The keeper and the handle to it.
    pub(crate) fn new(paths: Paths, tasks: Tasks) -> (Blocks, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let found = Arc::default();
        let keeper = Self {
            receiver,
            paths,
            tasks,
        };
        (Blocks { sender, found }, keeper)
    }

    /// Submits what an earlier process left, then what is found, until the daemon stops.
    ///
    /// # Errors
    /// The journal can't be read: there may be a block in it.
    pub(crate) async fn run(mut self) -> Result<(), JournalError> {
        for entry in self.paths.journal.entries()? {
            tracing::info!(
                hash = entry.hash,
                height = entry.height,
                "block of an earlier run is submitted again"
            );
            let block = entry.block_bytes().map(Arc::from);
            self.spawn(entry, block);
        }
        let stop = self.tasks.token().clone();
        while let Some(Some(found)) = stop.run_until_cancelled(self.receiver.recv()).await {
            let paths = self.paths.clone();
            self.tasks
                .spawn_session("block", async move { paths.take(found).await });
        }
        Ok(())
    }

    fn spawn(&self, entry: JournalEntry, block: Option<Arc<[u8]>>) {
        let paths = self.paths.clone();
        self.tasks
            .spawn_session("block", async move { paths.settle(entry, block).await });
    }
}

impl Paths {
    /// A block that was found now: on its way before anything else.
    async fn take(self, found: Found) {
        let candidate = found.candidate;
        let job = &candidate.job;
        let coinbase = job.job.coinbase_with_witness(&candidate.extranonce);
        let transactions = job.template.transactions();
        let mut entry = entry(&candidate, &found.origin, found.found_at_ms);
        let block = transactions.map(|list| block(&candidate, &coinbase, &list));
        if let Some(block) = &block {
            entry.set_block(block);
        }
        let journalled = self.write_journal(entry.clone());
        tokio::time::timeout(JOURNAL_GRACE, journalled).await.ok();
        entry.template_provider = self.submit_solution(&candidate, coinbase.clone());
        let block = match block {
            Some(block) => Some(block),
            None => {
                let late = self.late_block(&candidate, &coinbase, &mut entry);
                self.stop.run_until_cancelled(late).await.flatten()
            }
        };
        self.settle(entry, block).await;
    }

    /// The block of a template whose transactions come after it was found.
    async fn late_block(
        &self,
        candidate: &Candidate,
        coinbase: &[u8],
        entry: &mut JournalEntry,
    ) -> Option<Arc<[u8]>> {
        let waiting = candidate.job.template.wait_for_transactions();
        let list = tokio::time::timeout(TRANSACTIONS_DEADLINE, waiting).await;
        let Ok(list) = list else {
            tracing::error!(hash = %candidate.hash, "the transactions of a found block did not come; only the template provider could submit it");
            return None;
        };
        let block = block(candidate, coinbase, &list);
        entry.set_block(&block);
        self.write_journal(entry.clone()).await;
        Some(block)
    }

    /// The write goes on when its caller stops waiting.
    async fn write_journal(&self, entry: JournalEntry) {
        let journal = self.journal.clone();
        let written = tokio::task::spawn_blocking(move || journal.write(&entry)).await;
        if let Ok(Err(error)) = written {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::error!(
                error,
                "found block not journalled; it is submitted all the same"
            );
        }
    }

    /// Gives the address of the template provider that it is sent to.
    fn submit_solution(&self, candidate: &Candidate, coinbase: Vec<u8>) -> Option<String> {
        let template = &candidate.job.template;
        let Ok(coinbase_tx) = coinbase.try_into() else {
            tracing::error!(hash = %candidate.hash, "the coinbase is too long for SubmitSolution");
            return None;
        };
        let message = SubmitSolution {
            template_id: template.template.template_id,
            version: candidate.header.version,
            header_timestamp: candidate.header.ntime,
            header_nonce: candidate.header.nonce,
            coinbase_tx,
        };
        let connection = template.provider.connection;
        let solution = Solution {
            connection,
            message,
        };
        match self.solutions.try_send(solution) {
            Ok(()) => Some(template.provider.address.to_string()),
            Err(error) => {
                tracing::error!(hash = %candidate.hash, %error, "solution not sent to the template provider");
                None
            }
        }
    }

    /// Submits the block to every node and books what they say. Returns when the ledger has the outcome, or at a stop.
    async fn settle(self, entry: JournalEntry, block: Option<Arc<[u8]>>) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.settle_in_time(entry, block))
            .await;
    }

    async fn settle_in_time(self, entry: JournalEntry, block: Option<Arc<[u8]>>) {
        let Ok(hash) = entry.hash.parse::<BlockHash>() else {
            tracing::error!(hash = entry.hash, "journal entry without a block hash");
            return;
        };
        let mut row = row(&entry, hash);
        let mut outcomes = block.map(|block| {
            let hash = bitcoin::BlockHash::from_byte_array(hash.to_byte_array());
            self.submitter.submit(hash, block)
        });
        if outcomes.is_some() {
            row.state = BlockState::Submitted;
        }
        self.book(&row).await;
        let mut work = self.work.clone();
        while !row.state.is_final() {
            let outcome = async {
                match &mut outcomes {
                    Some(outcomes) => outcomes.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                outcome = outcome => match outcome {
                    Some(outcome) => on_outcome(&mut row, outcome),
                    None => outcomes = None,
                },
                () = tip_names(&mut work, hash) => row.state = BlockState::Accepted,
                state = follow::outcome(&self.nodes, &row, &self.work) => row.state = state,
            }
            self.book(&row).await;
        }
        self.hear_the_others(&mut row, outcomes).await;
        let journal = self.journal.clone();
        let removed = tokio::task::spawn_blocking(move || journal.remove(&entry)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(
                error = hh_daemon::Chain(&error).to_string(),
                "journal entry stays"
            );
        }
        tell(&row);
    }

    /// The outcome is known; what the other paths say is written down as well.
    async fn hear_the_others(
        &self,
        row: &mut BlockRow,
        outcomes: Option<mpsc::Receiver<PathOutcome>>,
    ) {
        /// A path that takes longer is down, and its retries go on without a note.
        const PATIENCE: Duration = Duration::from_secs(10);
        let Some(mut outcomes) = outcomes else { return };
        while let Ok(Some(outcome)) = tokio::time::timeout(PATIENCE, outcomes.recv()).await {
            on_outcome(row, outcome);
        }
        self.book(row).await;
    }

    /// Writes the row until the ledger takes it.
    async fn book(&self, row: &BlockRow) {
        while let Err(error) = self.ledger.put_block(row.clone()).await {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::warn!(hash = %row.hash, error, "block not in the ledger yet; trying again");
            tokio::time::sleep(LEDGER_RETRY).await;
        }
    }
}

/// Completes when the work that miners have builds on `hash`.
async fn tip_names(work: &mut watch::Receiver<Option<Arc<Work>>>, hash: BlockHash) {
    let named = work.wait_for(|work| {
        let prev_hash = work.as_ref().map(|work| work.tip.tip.prev_hash);
        prev_hash == Some(hash.to_byte_array())
    });
    if named.await.is_err() {
        // The template client has ended: the daemon stops.
        std::future::pending::<()>().await;
    }
}

/// One path has spoken. Accepted is accepted, whatever another says: a refusal is final only when it is the last word.
fn on_outcome(row: &mut BlockRow, outcome: PathOutcome) {
    let path = format!("node {}", outcome.path);
    tracing::info!(hash = %row.hash, path, outcome = %outcome.outcome, attempts = outcome.attempts, "block submission answered");
    row.paths.retain(|known| known.path != path);
    row.paths.push(hh_ledger::BlockPath {
        path,
        outcome: outcome.outcome.to_string(),
        at_ms: unix_ms(),
    });
    match outcome.outcome {
        BlockOutcome::Accepted => row.state = BlockState::Accepted,
        // Valid or not judged; the look at the chain tells whether it is on it.
        BlockOutcome::Duplicate | BlockOutcome::Inconclusive => {}
        BlockOutcome::Rejected(reason) => {
            if row.state != BlockState::Accepted {
                row.state = BlockState::Rejected;
                row.reason = Some(reason);
            }
        }
    }
    if row.state == BlockState::Accepted {
        row.reason = None;
    }
}

fn tell(row: &BlockRow) {
    let (hash, height, reason) = (row.hash, row.height, row.reason.as_deref());
    match row.state {
        BlockState::Rejected => {
            metrics::counter!("hyperhash_blocks_total", "result" => "rejected").increment(1);
            tracing::error!(%hash, height, reason, "block rejected");
        }
        BlockState::Orphaned => {
            metrics::counter!("hyperhash_blocks_total", "result" => "orphaned").increment(1);
            tracing::error!(%hash, height, "block orphaned");
        }
        BlockState::Found | BlockState::Submitted | BlockState::Accepted => {
            metrics::counter!("hyperhash_blocks_total", "result" => "accepted").increment(1);
            tracing::info!(%hash, height, "block accepted");
        }
    }
}

fn block(candidate: &Candidate, coinbase: &[u8], transactions: &[Vec<u8>]) -> Arc<[u8]> {
    hh_mining::assemble_block(&candidate.header, coinbase, transactions).into()
}

fn entry(candidate: &Candidate, origin: &Origin, found_at_ms: i64) -> JournalEntry {
    JournalEntry {
        hash: candidate.hash.to_string(),
        height: candidate.job.template.height,
        account: origin.account().to_owned(),
        worker: origin.worker().to_owned(),
        node: origin.node().to_owned(),
        lane: origin.lane().to_owned(),
        found_at_ms,
        value_sat: candidate.job.job.reward().to_sat(),
        extranonce_prefix: candidate.extranonce.prefix().to_string(),
        template_provider: None,
        block: None,
    }
}

fn row(entry: &JournalEntry, hash: BlockHash) -> BlockRow {
    BlockRow {
        hash,
        height: entry.height,
        state: BlockState::Found,
        reason: None,
        account: entry.account.clone(),
        worker: entry.worker.clone(),
        node: entry.node.clone(),
        lane: entry.lane.clone(),
        found_at_ms: entry.found_at_ms,
        value_sat: entry.value_sat,
        extranonce_prefix: entry.extranonce_prefix.clone(),
        paths: entry.template_provider.iter().map(sent).collect(),
    }
}

/// The way through a template provider: SubmitSolution has no answer, so that it was sent is all there is to say.
fn sent(address: &String) -> hh_ledger::BlockPath {
    hh_ledger::BlockPath {
        path: format!("template-provider {address}"),
        outcome: "sent".to_owned(),
        at_ms: unix_ms(),
    }
}

#[cfg(test)]
mod tests;
