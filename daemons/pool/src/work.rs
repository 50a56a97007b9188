//! What miners work on: jobs made once per template, shared by every connection, and published as one snapshot.
//!
//! The [`WorkBoard`] belongs to the template client's task; everyone else sees the newest [`Work`] through a `watch` and
//! keeps by reference the jobs that it still has miners on. Nothing here knows a miner.

mod board;
mod choice;

use crate::group::{self, GroupMessages};
pub(crate) use board::WorkBoard;
use hh_mining::{CoinbaseRecipe, Job, JobError, Template, Tip};
use hh_sv2::message::SubmitSolution;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};

/// Jobs that one template gives: the first is everybody's, the others are for channels whose target changes while it
/// lasts.
///
/// Each has its id in its coinbase. A miner that got the same coinbase again under a new id (a template that is as the last
/// one, a tip that comes back after a reorganization) would find its old shares again, and could be credited twice for them.
pub(crate) const VARIANTS: u32 = 64;

/// Serialized transactions in the order of the block, without the coinbase.
pub(crate) type Transactions = Arc<[Vec<u8>]>;

/// Where the newest work is seen; none before the first.
pub(crate) type Receiver = watch::Receiver<Option<Arc<Work>>>;

/// Where the templates are seen that wait for their tip.
pub(crate) type FutureTemplates = watch::Receiver<Vec<Arc<TemplateWork>>>;

/// A template, the jobs made of it, and its transactions.
#[derive(Debug)]
pub(crate) struct TemplateWork {
    /// Counts the templates of this process; jobs are numbered by it.
    number: u32,
    pub template: Template,
    /// Height of the block to be, from the coinbase's BIP 34 push.
    pub height: u32,
    pub received_at_ms: u64,
    /// Miners have had its jobs.
    given: AtomicBool,
    /// The connections on which it was announced, each with the id that it has there.
    known_to: Mutex<Vec<(u64, Provider)>>,
    recipe: Arc<CoinbaseRecipe>,
    /// All but the coinbase, serialized, once a provider has sent them; shared by templates with the same contents.
    transactions: Arc<watch::Sender<Option<Transactions>>>,
    variants: Mutex<Vec<Arc<PoolJob>>>,
}

/// A job as miners see it.
#[derive(Debug)]
pub(crate) struct PoolJob {
    pub id: u32,
    pub job: Job,
    pub template: Arc<TemplateWork>,
}

/// A connection to a template provider. A template's id means nothing on another one.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// `HOST:PORT`.
    pub address: Arc<str>,
    /// To the task that has the connection; closed with it.
    pub solutions: mpsc::Sender<SubmitSolution>,
}

/// A chain tip as the template provider announced it.
#[derive(Debug)]
pub(crate) struct TipWork {
    /// Counts the blocks that this process has had work on: jobs of another number are stale.
    pub number: u64,
    pub tip: Tip,
}

impl TipWork {
    /// Whether the jobs of this tip are as good on `tip`: another provider may name the block again.
    fn is_on(&self, tip: &Tip) -> bool {
        (self.tip.prev_hash, self.tip.nbits) == (tip.prev_hash, tip.nbits)
    }
}

/// The newest of both, and the messages that most connections get about them.
#[derive(Debug)]
pub(crate) struct Work {
    pub tip: Arc<TipWork>,
    pub job: Arc<PoolJob>,
    pub messages: GroupMessages,
}

/// Why a template can't be worked on. The provider is at fault; the last work stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkError {
    #[error("template {template_id} makes no valid coinbase")]
    Coinbase { template_id: u64, source: JobError },
    #[error("the coinbase prefix of template {template_id} does not begin with a height (BIP 34)")]
    Height { template_id: u64 },
    #[error("SetNewPrevHash names template {template_id}, which was not sent before")]
    UnknownTemplate { template_id: u64 },
    #[error("a job could not be encoded")]
    Encode(#[from] group::EncodeError),
}

impl TemplateWork {
    /// Gives a block on this template, by `message` of the id that it is given, to every provider that announced it and is
    /// still connected. Gives their addresses.
    pub(crate) fn submit(&self, message: impl Fn(u64) -> SubmitSolution) -> Vec<Arc<str>> {
        let known_to = self.known_to().clone();
        let sent = known_to.into_iter().filter(|(template_id, provider)| {
            let sent = provider.solutions.try_send(message(*template_id));
            sent.inspect_err(|error| {
                let address = &*provider.address;
                tracing::debug!(address, %error, "solution not sent to a template provider");
            })
            .is_ok()
        });
        sent.map(|(_, provider)| provider.address).collect()
    }

    /// A connection has announced the template under an id of its own; it may know an earlier one no more.
    pub(crate) fn add_known_to(&self, template_id: u64, provider: &Provider) {
        let mut known_to = self.known_to();
        known_to.retain(|(_, known)| {
            !known.solutions.is_closed() && !known.solutions.same_channel(&provider.solutions)
        });
        known_to.push((template_id, provider.clone()));
    }

    /// A provider that announced it, of those that are still connected where there is one, and whether it is.
    pub(crate) fn provider(&self) -> Option<(Arc<str>, bool)> {
        let known_to = self.known_to();
        let connected = |(_, provider): &&(u64, Provider)| !provider.solutions.is_closed();
        let found = known_to.iter().find(connected);
        let is_connected = found.is_some();
        let found = found.or_else(|| known_to.last());
        found.map(|(_, provider)| (Arc::clone(&provider.address), is_connected))
    }

    fn known_to(&self) -> MutexGuard<'_, Vec<(u64, Provider)>> {
        // Nothing in between can panic.
        self.known_to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `template` makes the same blocks, whatever its id.
    fn is_like(&self, template: &Template) -> bool {
        let under_our_id = Template {
            template_id: self.template.template_id,
            ..template.clone()
        };
        self.template == under_our_id
    }

    /// The transactions without the coinbase; none before the provider has sent them.
    pub(crate) fn transactions(&self) -> Option<Transactions> {
        self.transactions.borrow().clone()
    }

    /// The same, when they have come.
    pub(crate) async fn wait_for_transactions(&self) -> Transactions {
        let mut receiver = self.transactions.subscribe();
        match receiver
            .wait_for(Option::is_some)
            .await
            .map(|list| list.clone())
        {
            Ok(Some(list)) => list,
            // The sender lives as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Takes RequestTransactionData.Success for this template (SV2 specification 7.5).
    pub(crate) fn set_transactions(&self, transactions: Vec<Vec<u8>>) {
        self.transactions.send_replace(Some(transactions.into()));
    }

    /// The job with the `index`-th coinbase of this template, made when it is first asked for. None from
    /// [`VARIANTS`] on: the caller waits for the next template.
    ///
    /// # Errors
    /// The template makes no valid coinbase.
    pub(crate) fn variant(self: &Arc<Self>, index: u32) -> Result<Option<Arc<PoolJob>>, JobError> {
        if index >= VARIANTS {
            return Ok(None);
        }
        // A panic while jobs are built leaves a shorter list, which is valid.
        let mut variants = self.variants.lock().unwrap_or_else(PoisonError::into_inner);
        while variants.len() <= index as usize {
            let next = variants.len();
            variants.push(Arc::new(self.build(next)?));
        }
        Ok(variants.get(index as usize).cloned())
    }

    fn build(self: &Arc<Self>, index: usize) -> Result<PoolJob, JobError> {
        #[expect(clippy::cast_possible_truncation, reason = "below VARIANTS")]
        let index = index as u32;
        let id = self.number.wrapping_mul(VARIANTS).wrapping_add(index);
        let mut recipe = CoinbaseRecipe::clone(&self.recipe);
        recipe.tag.extend(id.to_le_bytes());
        Ok(PoolJob {
            id,
            job: Job::build(&self.template, &recipe)?,
            template: Arc::clone(self),
        })
    }
}

impl PoolJob {
    /// Which of its template's jobs this is.
    pub(crate) fn variant_index(&self) -> u32 {
        self.id % VARIANTS
    }

    /// Whether the job with this id is of the same template.
    pub(crate) fn shares_template_with(&self, job_id: u32) -> bool {
        self.id / VARIANTS == job_id / VARIANTS
    }
}

#[cfg(test)]
mod tests;
