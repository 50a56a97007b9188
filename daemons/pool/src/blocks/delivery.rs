//! The way of a found block to Bitcoin Core: journalled for a few milliseconds, then on every path at once, whatever the disk
//! does. Tells the keeper how far it is.

use super::journal::{Journal, JournalEntry};
use super::keeper::Event;
use super::{Found, Key, Paths};
use crate::channel::Candidate;
use bitcoin::hashes::Hash;
use hh_bitcoin::PathOutcome;
use hh_sv2::message::{B064K, SubmitSolution};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the journal may cost before a submission goes out: on a slow disk the block is worth more than the note of it.
const JOURNAL_GRACE: Duration = Duration::from_millis(5);

/// How long a block waits for the transactions of its template. The provider is asked for them with every template; without
/// them it alone can submit the block.
const TRANSACTIONS_DEADLINE: Duration = Duration::from_secs(30);

/// One block on its way.
pub(super) struct Delivery {
    pub key: Key,
    pub entry: JournalEntry,
    pub candidate: Candidate,
    pub paths: Paths,
    pub events: mpsc::Sender<Event>,
    /// Ends the wait for what may come later; what there is is journalled in any case.
    pub stop: CancellationToken,
}

impl Delivery {
    /// Brings it to every path; ends when each has answered, and the journal too.
    pub(super) async fn run(self) {
        let job = &self.candidate.job;
        let coinbase = job.job.coinbase_with_witness(&self.candidate.extranonce);
        let transactions = job.template.transactions();
        let block = transactions.map(|list| self.assemble(&coinbase, &list));
        let mut writing = self.journal(block.clone());
        let written = tokio::time::timeout(JOURNAL_GRACE, &mut writing).await;
        let sent = self.submit_solution(&coinbase);
        let outcomes = block.as_ref().map(|block| self.submit(block));
        // It is on its way; from here on nothing is pressing.
        for address in sent {
            let key = self.key;
            self.tell(Event::Sent { key, address }).await;
        }
        let written = async {
            let ended = match written {
                Ok(ended) => ended,
                Err(_elapsed) => writing.await,
            };
            self.tell_journalled(block.is_some(), ended).await;
        };
        match outcomes.zip(block.clone()) {
            Some((outcomes, block)) => {
                tokio::join!(written, self.hear(block, outcomes));
            }
            None => {
                written.await;
                self.run_late(&coinbase).await;
            }
        }
    }

    /// A block of a template whose transactions come after it was found.
    async fn run_late(&self, coinbase: &[u8]) {
        let waiting = self.candidate.job.template.wait_for_transactions();
        let waiting = tokio::time::timeout(TRANSACTIONS_DEADLINE, waiting);
        let Some(list) = self.stop.run_until_cancelled(waiting).await else {
            return;
        };
        let Ok(list) = list else {
            tracing::error!(hash = %self.key.hash, "the transactions of a found block did not come; only the template provider could submit it");
            return;
        };
        let block = self.assemble(coinbase, &list);
        let writing = self.journal(Some(Arc::clone(&block)));
        let outcomes = self.submit(&block);
        let written = async { self.tell_journalled(true, writing.await).await };
        tokio::join!(written, self.hear(block, outcomes));
    }

    fn assemble(&self, coinbase: &[u8], transactions: &[Vec<u8>]) -> Arc<[u8]> {
        hh_mining::assemble_block(&self.candidate.header, coinbase, transactions).into()
    }

    fn journal(&self, block: Option<Arc<[u8]>>) -> JoinHandle<bool> {
        let journal = self.paths.journal.clone();
        write(journal, self.key, self.entry.clone(), block)
    }

    async fn tell_journalled(&self, whole: bool, ended: Result<bool, tokio::task::JoinError>) {
        let written = ended.unwrap_or(false);
        let key = self.key;
        self.tell(Event::Journalled {
            key,
            whole,
            written,
        })
        .await;
    }

    /// To every node; the outcomes come one by one.
    fn submit(&self, block: &Arc<[u8]>) -> mpsc::Receiver<PathOutcome> {
        let hash = bitcoin::BlockHash::from_byte_array(self.key.hash.to_byte_array());
        self.paths.submitter.submit(hash, Arc::clone(block))
    }

    async fn hear(&self, block: Arc<[u8]>, mut outcomes: mpsc::Receiver<PathOutcome>) {
        let key = self.key;
        self.tell(Event::Submitted { key, block }).await;
        while let Some(outcome) = outcomes.recv().await {
            self.tell(Event::Answered { key, outcome }).await;
        }
    }

    /// Gives the addresses of the template providers that it is sent to: those that know the template.
    fn submit_solution(&self, coinbase: &[u8]) -> Vec<Arc<str>> {
        let (hash, header) = (self.key.hash, &self.candidate.header);
        let Ok(coinbase_tx) = B064K::try_from(coinbase.to_vec()) else {
            tracing::error!(%hash, "the coinbase is too long for SubmitSolution");
            return Vec::new();
        };
        let template = &self.candidate.job.template;
        let sent = template.submit(|template_id| SubmitSolution {
            template_id,
            version: header.version,
            header_timestamp: header.ntime,
            header_nonce: header.nonce,
            coinbase_tx: coinbase_tx.clone(),
        });
        if sent.is_empty() {
            tracing::warn!(%hash, "no template provider that knows the template is connected; nodes get the block by RPC");
        }
        sent
    }

    async fn tell(&self, event: Event) {
        // The keeper ends with the daemon; what it does not hear is in the journal.
        self.events.send(event).await.ok();
    }
}

/// Writes a journal entry on a thread of its own, also when nobody waits for it; says whether it is on the disk.
pub(super) fn write(
    journal: Journal,
    key: Key,
    entry: JournalEntry,
    block: Option<Arc<[u8]>>,
) -> JoinHandle<bool> {
    tokio::task::spawn_blocking(move || {
        let written = journal.write(key, &entry, block.as_deref());
        if let Err(error) = &written {
            let error = hh_daemon::Chain(error).to_string();
            tracing::error!(hash = %key.hash, error, "found block not journalled yet; it is submitted all the same");
        }
        written.is_ok()
    })
}

/// What the journal is to have of a block.
pub(super) fn entry(found: &Found) -> JournalEntry {
    let Found {
        candidate,
        origin,
        share,
    } = found;
    JournalEntry {
        hash: candidate.hash.to_string(),
        height: candidate.job.template.height,
        account: origin.account().to_owned(),
        worker: origin.worker().to_owned(),
        node: origin.node().to_owned(),
        lane: origin.lane().to_owned(),
        found_at_ms: share.accepted_at_ms,
        value_sat: candidate.job.job.reward().to_sat(),
        extranonce_prefix: candidate.extranonce.prefix().to_string(),
        share: Some(hex::encode(share.to_bytes())),
    }
}
