//! Blocks that clients found on our templates.
//!
//! Owns: the check that it is a block, its journal, its submission by mining IPC and by RPC at once, and what came of it.
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
use hh_bitcoin::{BlockOutcome, BlockSubmitter, Rpc, RpcError};
use hh_daemon::{Chain, Tasks};
use hh_ipc::api::template_provider::Solution;
use hh_mining::Header;
use hh_sv2::message::SubmitSolution;
use jiff::Timestamp;
use metrics::histogram;
use tracing::{error, info, warn};

use crate::served::ServedTemplate;
pub(crate) use journal::Journal;

mod journal;

/// The journal may hold up a submission for this long; then it goes on beside it.
const JOURNAL_TIME: Duration = Duration::from_millis(5);
/// The node sends a template's transactions right behind it.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(30);
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
    rpc: Rpc,
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

impl Solutions {
    pub(crate) fn new(tasks: Tasks, journal: Journal, rpc: Rpc) -> Self {
        let nodes = vec![(rpc_path(&rpc), rpc.clone())];
        let submitter = BlockSubmitter::new(nodes, tasks.tracker().clone(), tasks.token().clone());
        Self(Arc::new(Inner {
            tasks,
            journal,
            submitter,
            rpc,
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

    /// Submits what an earlier process journalled and did not see settled. Returns at once.
    pub(crate) fn resume(&self) {
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
                let outcome = inner.submit_by_rpc(hash, block.into()).await;
                inner.settle(hash, Some(path), outcome).await;
            });
        }
    }
}

impl Inner {
    async fn bring_home(self: Arc<Self>, solved: Solved) {
        self.keep(&solved);
        let Solved {
            template,
            header,
            hash,
            coinbase,
        } = solved;
        let by_ipc = self.submit_by_ipc(&template, &header, hash, coinbase.clone());
        let by_rpc = async {
            // Here long since, unless the template is some milliseconds old. The IPC path does not need it.
            let mut slot = template.node.block.clone();
            let block = tokio::time::timeout(TRANSACTIONS_DEADLINE, slot.arrived())
                .await
                .ok()??;
            let block: Arc<[u8]> = block.assemble(&header.to_bytes(), &coinbase).into();
            let height = template.node.height;
            let journalled = self
                .journal
                .write(height, hash, Arc::clone(&block), JOURNAL_TIME)
                .await;
            let outcome = self.submit_by_rpc(hash, Arc::clone(&block)).await;
            Some((block, journalled, outcome))
        };
        let ((), by_rpc) = tokio::join!(by_ipc, by_rpc);
        let Some((block, journalled, outcome)) = by_rpc else {
            error!(%hash, "block could be submitted by IPC only, its transactions are not known");
            return;
        };
        let journalled = match journalled {
            Some(write) => write.path().await,
            None => None,
        };
        if self.settle(hash, journalled, outcome).await == Some(false)
            && let Ok(Some(reason)) = template.node.handle.check_block(block).await
        {
            // By `submitblock` the reason is lost where IPC was faster.
            error!(%hash, reason, "block is not valid");
            self.note(hash, "check", reason);
        }
    }

    async fn submit_by_ipc(
        &self,
        template: &ServedTemplate,
        header: &Header,
        hash: BlockHash,
        coinbase: Vec<u8>,
    ) {
        let started = Instant::now();
        let Header {
            version,
            ntime,
            nonce,
            ..
        } = *header;
        let solution = hh_bitcoin::Solution {
            version,
            ntime,
            nonce,
            coinbase,
        };
        let result = template.node.handle.submit(solution).await;
        histogram!("hyperhash_block_submit_seconds", "path" => "ipc").record(started.elapsed());
        let outcome = match result {
            Ok(outcome) => outcome.to_string(),
            Err(error) => Chain(&error).to_string(),
        };
        info!(%hash, path = "ipc", outcome, "block submission answered");
        self.note(hash, "ipc", outcome);
    }

    async fn submit_by_rpc(&self, hash: BlockHash, block: Arc<[u8]>) -> Option<BlockOutcome> {
        let answered = self.submitter.submit(hash, block).recv().await?;
        histogram!("hyperhash_block_submit_seconds", "path" => "rpc").record(answered.elapsed);
        self.note(hash, &answered.path, answered.outcome.to_string());
        Some(answered.outcome)
    }

    /// The end of the matter: whether the block is on the best chain, in the log and in the journal. `None` while the node
    /// does not say.
    async fn settle(
        &self,
        hash: BlockHash,
        journalled: Option<PathBuf>,
        outcome: Option<BlockOutcome>,
    ) -> Option<bool> {
        let on_chain = match self.rpc.block_header(hash).await {
            Ok(header) => header.confirmations > 0,
            // It does not know the block.
            Err(RpcError::Refused { .. }) => false,
            Err(error) => {
                warn!(%hash, error = %Chain(&error), "block is not settled, it is submitted again at the next start");
                return None;
            }
        };
        let verdict = outcome.as_ref().map(BlockOutcome::as_str);
        let reason = outcome.as_ref().and_then(BlockOutcome::reason);
        if on_chain {
            info!(%hash, verdict, "block is on the best chain");
        } else {
            error!(%hash, verdict, reason, "block is not on the best chain");
        }
        let result = if on_chain {
            "on the best chain"
        } else {
            "not on the best chain"
        };
        self.note(hash, "chain", result.to_owned());
        if let Some(path) = journalled {
            self.journal
                .settle(path, if on_chain { "accepted" } else { "refused" })
                .await;
        }
        Some(on_chain)
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

    fn note(&self, hash: BlockHash, path: &str, outcome: String) {
        let hash = hash.to_string();
        if let Some(solution) = self
            .kept()
            .iter_mut()
            .find(|solution| solution.hash == hash)
        {
            solution.outcomes.push((path.to_owned(), outcome));
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, VecDeque<Solution>> {
        // No panic can leave the list half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rpc_path(rpc: &Rpc) -> String {
    format!("rpc {}", rpc.url())
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
        merkle_root: merkle_root_from_txid(txid, &template.node.template.merkle_path),
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

fn merkle_root_from_txid(txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    use bitcoin::hashes::sha256d;
    path.iter().fold(txid, |left, right| {
        sha256d::Hash::hash(&[left, *right].concat()).to_byte_array()
    })
}

#[cfg(test)]
mod tests;
