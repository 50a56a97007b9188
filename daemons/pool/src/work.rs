//! What miners work on: jobs made once per template, shared by every connection, and published as one snapshot.
//!
//! The [`WorkBoard`] belongs to the template client's task; everyone else sees the newest [`Work`] through a `watch` and
//! keeps by reference the jobs that it still has miners on. Nothing here knows a miner.

use crate::group::{self, GroupMessages};
use bitcoin::ScriptBuf;
use hh_mining::{CoinbaseRecipe, Job, JobError, Template, Tip};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Jobs that one template gives: the first is everybody's, the others are for channels whose target changes while it
/// lasts.
///
/// Each has its id in its coinbase. A miner that got the same coinbase again under a new id (a template that is as the last
/// one, a tip that comes back after a reorganization) would find its old shares again, and could be credited twice for them.
pub(crate) const VARIANTS: u32 = 64;

/// Templates kept that the provider may still make current by SetNewPrevHash: it sends one, at most two.
const MAX_FUTURE_TEMPLATES: usize = 4;

/// Serialized transactions in the order of the block, without the coinbase.
pub(crate) type Transactions = Arc<[Vec<u8>]>;

/// Where the newest work is seen; none before the first.
pub(crate) type Receiver = watch::Receiver<Option<Arc<Work>>>;

/// A template, the jobs made of it, and its transactions.
#[derive(Debug)]
pub(crate) struct TemplateWork {
    /// Counts the templates of this process; jobs are numbered by it.
    number: u32,
    pub template: Template,
    /// Height of the block to be, from the coinbase's BIP 34 push.
    pub height: u32,
    pub received_at_ms: u64,
    pub provider: Provider,
    recipe: Arc<CoinbaseRecipe>,
    /// All but the coinbase, serialized, once the provider has sent them.
    transactions: watch::Sender<Option<Transactions>>,
    variants: Mutex<Vec<Arc<PoolJob>>>,
}

/// A job as miners see it.
#[derive(Debug)]
pub(crate) struct PoolJob {
    pub id: u32,
    pub job: Job,
    pub template: Arc<TemplateWork>,
}

/// A connection to a template provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    /// Counts connections: a template's id means nothing on another one.
    pub connection: u64,
    /// `HOST:PORT`.
    pub address: Arc<str>,
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
}

/// Turns what a template provider sends into [`Work`].
#[derive(Debug)]
pub(crate) struct WorkBoard {
    recipe: Arc<CoinbaseRecipe>,
    templates: u32,
    tips: u64,
    future: BTreeMap<u64, Arc<TemplateWork>>,
    tip: Option<Arc<TipWork>>,
    sender: watch::Sender<Option<Arc<Work>>>,
}

impl WorkBoard {
    /// A board without work, whose coinbases pay `reward_script` and carry `tag`. Job ids start after those of
    /// `first_template`: a start value that differs from run to run keeps a miner's shares for the jobs of an earlier
    /// process from meeting jobs of this one.
    pub(crate) fn new(reward_script: ScriptBuf, tag: &str, first_template: u32) -> Self {
        let recipe = CoinbaseRecipe {
            reward_script,
            tag: tag.as_bytes().to_vec(),
        };
        Self {
            recipe: Arc::new(recipe),
            templates: first_template,
            tips: 0,
            future: BTreeMap::new(),
            tip: None,
            sender: watch::Sender::new(None),
        }
    }

    /// The newest work; none before the first template and tip.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Work>>> {
        self.sender.subscribe()
    }

    /// A provider was connected: what another one announced for later is void.
    pub(crate) fn on_connect(&mut self) {
        self.future.clear();
    }

    /// NewTemplate (SV2 specification 7.2). A future one waits for its SetNewPrevHash, another is published at once.
    ///
    /// # Errors
    /// The template makes no valid coinbase; nothing is published.
    pub(crate) fn on_new_template(
        &mut self,
        template: Template,
        future: bool,
        provider: &Provider,
        now_ms: u64,
    ) -> Result<Arc<TemplateWork>, WorkError> {
        let template_id = template.template_id;
        self.templates = self.templates.wrapping_add(1);
        let height = template.height().ok_or(WorkError::Height { template_id })?;
        let work = Arc::new(TemplateWork {
            number: self.templates,
            template,
            height,
            received_at_ms: now_ms,
            provider: provider.clone(),
            recipe: Arc::clone(&self.recipe),
            transactions: watch::Sender::new(None),
            variants: Mutex::default(),
        });
        let job = first_job(&work)?;
        match (&self.tip, future) {
            (Some(tip), false) => self.publish(Arc::clone(tip), job)?,
            _ => {
                self.future.insert(template_id, Arc::clone(&work));
                while self.future.len() > MAX_FUTURE_TEMPLATES {
                    self.future.pop_first();
                }
            }
        }
        Ok(work)
    }

    /// SetNewPrevHash (SV2 specification 7.3): the template it names becomes everybody's work. Where it is on the block that
    /// there is work on already, as when the provider changes, no job ends by it.
    ///
    /// # Errors
    /// The template was not sent before; the last work stays.
    pub(crate) fn on_set_new_prev_hash(
        &mut self,
        template_id: u64,
        tip: Tip,
    ) -> Result<(), WorkError> {
        let work = self
            .future
            .remove(&template_id)
            .ok_or(WorkError::UnknownTemplate { template_id })?;
        self.future.clear();
        if !self.tip.as_ref().is_some_and(|last| last.is_on(&tip)) {
            self.tips += 1;
        }
        let tip = Arc::new(TipWork {
            number: self.tips,
            tip,
        });
        self.tip = Some(Arc::clone(&tip));
        let job = first_job(&work)?;
        self.publish(tip, job)
    }

    fn publish(&self, tip: Arc<TipWork>, job: Arc<PoolJob>) -> Result<(), WorkError> {
        let messages = GroupMessages::new(&tip.tip, &job)?;
        let work = Work { tip, job, messages };
        self.sender.send_replace(Some(Arc::new(work)));
        Ok(())
    }
}

fn first_job(work: &Arc<TemplateWork>) -> Result<Arc<PoolJob>, WorkError> {
    let template_id = work.template.template_id;
    let job = work.variant(0).map_err(|source| WorkError::Coinbase {
        template_id,
        source,
    })?;
    Ok(job.expect("VARIANTS is above 0"))
}

#[cfg(test)]
mod tests;
