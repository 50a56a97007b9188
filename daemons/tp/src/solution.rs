//! Blocks that clients found on our templates.
//!
//! Owns: the check that it is a block, its journal, its submission by mining IPC to the node that made the template and by
//! RPC to every node, all at once, what came of it, and that nodes keep it.
//! Never: lets a slow disk, or one path, hold up another. `SubmitSolution` has no answer, so the outcome is logged and kept
//! for `hhctl tp status`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin::hashes::Hash;
use bitcoin::{BlockHash, Transaction, Witness};
use hh_bitcoin::{BlockOutcome, BlockSubmitter, PathOutcome, Rpc, RpcError};
use hh_daemon::{Chain, Tasks};
use hh_ipc::api::template_provider::Solution;
use hh_mining::Header;
use hh_sv2::message::SubmitSolution;
use jiff::Timestamp;
use metrics::histogram;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::served::ServedTemplate;
use guard::Guard;
pub(crate) use journal::Journal;

mod guard;
mod journal;

/// The journal may hold up a submission for this long; then it goes on beside it.
const JOURNAL_TIME: Duration = Duration::from_millis(5);
/// The node sends a template's transactions right behind it.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(30);
/// A node that has taken a block in has it on its best chain within milliseconds, or seconds on a slow disk.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
const CONNECTED_LOOK: Duration = Duration::from_millis(100);
/// From the first node's answer on: one that takes longer is down. Its submission goes on without being waited for.
const OTHERS_WITHIN: Duration = Duration::from_secs(30);
/// What `hhctl tp status` can show.
const KEPT_MAX: usize = 50;

/// Why what a client sent is no block.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("its coinbase cannot be read")]
    Coinbase(#[source] bitcoin::consensus::encode::Error),
    #[error("its hash {hash} is above the template's target")]
    AboveTarget { hash: BlockHash },
}

/// Takes solutions from all sessions. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Solutions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tasks: Tasks,
    journal: Journal,
    submitter: BlockSubmitter,
    nodes: Vec<(String, Rpc)>,
    /// The newest first.
    kept: Mutex<VecDeque<Solution>>,
}

/// A solved block on its way.
struct Solved {
    template: Arc<ServedTemplate>,
    header: Header,
    hash: BlockHash,
    /// Serialized with its witness.
    coinbase: Vec<u8>,
}

/// What became of a block.
enum Verdict {
    OnChain,
    /// With the word of the first node; each found it invalid.
    Refused {
        reason: String,
    },
}

impl Solutions {
    /// `nodes` with their names.
    pub(crate) fn new(tasks: Tasks, journal: Journal, nodes: Vec<(String, Rpc)>) -> Self {
        let (tracker, stop) = (tasks.tracker().clone(), tasks.token().clone());
        let submitter = BlockSubmitter::new(nodes.clone(), tracker, stop);
        Self(Arc::new(Inner {
            tasks,
            journal,
            submitter,
            nodes,
            kept: Mutex::default(),
        }))
    }

    /// The newest first.
    pub(crate) fn list(&self) -> Vec<Solution> {
        self.0.kept().iter().cloned().collect()
    }

    /// Submits it; returns at once. `template` is the one that it names, if we still have it.
    pub(crate) fn submit(
        &self,
        peer: SocketAddr,
        template: Option<Arc<ServedTemplate>>,
        solution: SubmitSolution,
    ) {
        let template_id = solution.template_id;
        let Some(template) = template else {
            error!(%peer, template_id, "solution for a template that is not known, block lost");
            return;
        };
        match solve(template, &solution) {
            Ok(solved) => {
                let height = solved.template.node.height;
                info!(%peer, template_id, height, hash = %solved.hash, "solution received");
                let inner = Arc::clone(&self.0);
                self.0
                    .tasks
                    .spawn_session("solution", inner.bring_home(solved));
            }
            Err(refusal) => {
                warn!(%peer, template_id, error = %Chain(&refusal), "solution refused");
            }
        }
    }

    /// Submits what an earlier process journalled and did not see settled, and looks after what is in the journal from here on.
    /// Returns at once.
    pub(crate) fn resume(&self) {
        let tasks = &self.0.tasks;
        for (name, rpc) in self.0.nodes.iter().cloned() {
            let guard = Guard::new(name, rpc, self.0.journal.clone());
            tasks.spawn_session("block guard", guard.run(tasks.token().clone()));
        }
        for (path, block) in self.0.journal.unsettled() {
            let Ok(block) = block else {
                warn!(path = %path.display(), "journalled block cannot be read");
                continue;
            };
            let Some(header) = block.first_chunk::<80>() else {
                continue;
            };
            let hash = BlockHash::hash(header);
            info!(%hash, path = %path.display(), "journalled block is submitted again");
            let inner = Arc::clone(&self.0);
            self.0.tasks.spawn_session("solution", async move {
                let mut outcomes = inner.submitter.submit(hash, block.into());
                let path = async { Some(path) };
                inner.settle(hash, &mut outcomes, path).await;
                inner.hear_the_others(hash, outcomes).await;
            });
        }
    }
}

impl Inner {
    async fn bring_home(self: Arc<Self>, solved: Solved) {
        self.keep(&solved);
        tokio::join!(self.submit_by_ipc(&solved), self.submit_by_rpc(&solved));
    }

    /// To the node that made the template. It needs no transactions.
    async fn submit_by_ipc(&self, solved: &Solved) {
        let (template, hash) = (&solved.template, solved.hash);
        if !template.origin.ipc {
            return;
        }
        let started = Instant::now();
        let Header {
            version,
            ntime,
            nonce,
            ..
        } = solved.header;
        let solution = hh_bitcoin::Solution {
            version,
            ntime,
            nonce,
            coinbase: solved.coinbase.clone(),
        };
        let result = template.node.handle.submit(solution).await;
        histogram!("hyperhash_block_submit_seconds", "path" => "ipc").record(started.elapsed());
        let outcome = match result {
            Ok(outcome) => outcome.to_string(),
            Err(error) => Chain(&error).to_string(),
        };
        let path = format!("{} ipc", template.origin.node);
        info!(%hash, path, outcome, "block submission answered");
        self.note(hash, path, outcome);
    }

    /// To every node.
    async fn submit_by_rpc(&self, solved: &Solved) {
        let (template, hash) = (&solved.template, solved.hash);
        // Here long since, unless the template is some milliseconds old.
        let mut slot = template.node.block.clone();
        let arrived = tokio::time::timeout(TRANSACTIONS_DEADLINE, slot.arrived()).await;
        let Ok(Some(block)) = arrived else {
            error!(%hash, "block could be submitted by IPC only, its transactions are not known");
            return;
        };
        let block: Arc<[u8]> = block
            .assemble(&solved.header.to_bytes(), &solved.coinbase)
            .into();
        let height = template.node.height;
        let journalled = self
            .journal
            .write(height, hash, Arc::clone(&block), JOURNAL_TIME)
            .await;
        let mut outcomes = self.submitter.submit(hash, block);
        let path = async { journalled?.path().await };
        self.settle(hash, &mut outcomes, path).await;
        self.hear_the_others(hash, outcomes).await;
    }

    /// The end of the matter: whether the block is on a best chain, in the log and in the journal, once a node says.
    async fn settle(
        &self,
        hash: BlockHash,
        outcomes: &mut mpsc::Receiver<PathOutcome>,
        journalled: impl Future<Output = Option<PathBuf>>,
    ) {
        let verdict = self.verdict(hash, outcomes).await;
        let (on_chain, reason) = match verdict {
            None => {
                warn!(%hash, "block is not settled; nodes are asked for it, and given it again");
                return;
            }
            Some(Verdict::OnChain) => {
                info!(%hash, "block is on the best chain");
                (true, "on the best chain".to_owned())
            }
            Some(Verdict::Refused { reason }) => {
                error!(%hash, reason, "block is not on the best chain");
                (false, "not on the best chain".to_owned())
            }
        };
        self.note(hash, "chain".to_owned(), reason);
        if let Some(path) = journalled.await {
            let verdict = if on_chain { "accepted" } else { "refused" };
            self.journal.settle(path, verdict).await;
        }
    }

    /// What the paths say that are not waited for, for the record.
    async fn hear_the_others(&self, hash: BlockHash, mut outcomes: mpsc::Receiver<PathOutcome>) {
        while let Ok(Some(outcome)) = tokio::time::timeout(OTHERS_WITHIN, outcomes.recv()).await {
            self.note_rpc(hash, &outcome);
        }
    }

    /// As soon as one node has the block on its best chain, that is it; else all have to refuse it. `None` where it is open.
    async fn verdict(
        &self,
        hash: BlockHash,
        outcomes: &mut mpsc::Receiver<PathOutcome>,
    ) -> Option<Verdict> {
        let mut answers = Vec::new();
        let mut next = outcomes.recv().await;
        let deadline = tokio::time::Instant::now() + OTHERS_WITHIN;
        while let Some(outcome) = next {
            self.note_rpc(hash, &outcome);
            if self.is_on_chain(hash, &outcome).await {
                return Some(Verdict::OnChain);
            }
            answers.push(outcome.outcome);
            next = tokio::time::timeout_at(deadline, outcomes.recv())
                .await
                .unwrap_or_default();
        }
        let reason = unanimous_refusal(&answers, self.submitter.path_count())?.to_owned();
        Some(Verdict::Refused { reason })
    }

    /// Whether the node that gave this outcome says that it has the block on its best chain.
    async fn is_on_chain(&self, hash: BlockHash, outcome: &PathOutcome) -> bool {
        let Some((_, rpc)) = self.nodes.iter().find(|(name, _)| *name == outcome.path) else {
            return false;
        };
        let started = Instant::now();
        loop {
            match rpc.block_header(hash).await {
                Ok(header) if header.confirmations > 0 => return true,
                // It may be about to connect it.
                Ok(_) | Err(RpcError::Refused { .. })
                    if outcome.outcome.reason().is_none()
                        && started.elapsed() < CONNECTED_WITHIN => {}
                // It knows it, and it is not on its best chain; or it does not know it.
                Ok(_) | Err(RpcError::Refused { .. }) => return false,
                Err(error) => {
                    warn!(%hash, node = outcome.path, error = %Chain(&error), "node does not say what became of the block");
                    return false;
                }
            }
            tokio::time::sleep(CONNECTED_LOOK).await;
        }
    }

    fn note_rpc(&self, hash: BlockHash, outcome: &PathOutcome) {
        histogram!("hyperhash_block_submit_seconds", "path" => "rpc").record(outcome.elapsed);
        let path = format!("{} rpc", outcome.path);
        self.note(hash, path, outcome.outcome.to_string());
    }

    fn keep(&self, solved: &Solved) {
        let mut kept = self.kept();
        kept.push_front(Solution {
            template_id: solved.template.id(),
            hash: solved.hash.to_string(),
            height: solved.template.node.height,
            received_at: Timestamp::now(),
            outcomes: Vec::new(),
        });
        kept.truncate(KEPT_MAX);
    }

    fn note(&self, hash: BlockHash, path: String, outcome: String) {
        let hash = hash.to_string();
        if let Some(solution) = self
            .kept()
            .iter_mut()
            .find(|solution| solution.hash == hash)
        {
            solution.outcomes.push((path, outcome));
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Solution>> {
        // No panic can leave the list half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the first node says against a block that every node finds invalid. One that has not answered, or has no verdict, may
/// still take it: the refusal may be the other's fault.
fn unanimous_refusal(answers: &[BlockOutcome], path_count: usize) -> Option<&str> {
    let all_refuse = answers.iter().all(|answer| answer.reason().is_some());
    if answers.len() < path_count || !all_refuse {
        return None;
    }
    answers.first()?.reason()
}

/// Checks the proof of work, and completes the coinbase where the client left out its witness.
fn solve(template: Arc<ServedTemplate>, solution: &SubmitSolution) -> Result<Solved, Refusal> {
    let mut coinbase: Transaction =
        deserialize(solution.coinbase_tx.as_ref()).map_err(Refusal::Coinbase)?;
    let txid = coinbase.compute_txid().to_byte_array();
    let witness = &template.node.coinbase_witness;
    if let Some(input) = coinbase.input.first_mut()
        && input.witness.is_empty()
        && !witness.is_empty()
    {
        input.witness = Witness::from_slice(&[witness]);
    }
    let header = Header {
        version: solution.version,
        prev_hash: template.node.tip.prev_hash,
        merkle_root: hh_mining::merkle_root(txid, &template.node.template.merkle_path),
        ntime: solution.header_timestamp,
        nbits: template.node.tip.nbits,
        nonce: solution.header_nonce,
    };
    let mined = header.hash();
    let hash = BlockHash::from_byte_array(mined.to_byte_array());
    if !template.node.tip.target.is_met_by(&mined) {
        return Err(Refusal::AboveTarget { hash });
    }
    Ok(Solved {
        header,
        hash,
        coinbase: serialize(&coinbase),
        template,
    })
}

#[cfg(test)]
mod tests;
