//! What the template providers have announced, and which of it miners have.
//!
//! Every provider's newest template and tip are kept ready, so that another one takes over without a pause. Going from one to
//! another on the same tip makes no job stale; and where both announced the same template it is one piece of work, which
//! miners keep and whose blocks go to both. No job is given a second time: what comes back gets new jobs.

use super::choice::{LAG_GRACE_MS, Standing, choose};
use super::{
    FutureTemplates, PoolJob, Provider, TemplateWork, TipWork, Transactions, Work, WorkError,
};
use crate::group::GroupMessages;
use bitcoin::ScriptBuf;
use hh_mining::{CoinbaseRecipe, Template, Tip};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Templates kept that a provider may still make current by SetNewPrevHash: it sends one, at most two.
const MAX_FUTURE_TEMPLATES: usize = 4;

/// Templates of the provider in use whose transactions are kept or awaited: with an update each 30 s these are older than any
/// job in use.
const LIVE_TEMPLATES: usize = 32;

/// The same for a provider that is not in use: its newest and the one that a new tip is about to make current.
const LIVE_TEMPLATES_IN_RESERVE: usize = 2;

/// Turns what template providers send into [`Work`].
#[derive(Debug)]
pub(crate) struct WorkBoard {
    recipe: Arc<CoinbaseRecipe>,
    templates: u32,
    tips: u64,
    feeds: Vec<Feed>,
    active: Option<usize>,
    return_after_ms: u64,
    tip: Option<Arc<TipWork>>,
    /// What miners were given last.
    last: Option<Arc<TemplateWork>>,
    sender: watch::Sender<Option<Arc<Work>>>,
    announced: watch::Sender<Vec<Arc<TemplateWork>>>,
}

/// What one provider has announced on its connection.
#[derive(Debug, Default)]
struct Feed {
    provider: Option<Provider>,
    future: BTreeMap<u64, Arc<TemplateWork>>,
    current: Option<(Tip, Arc<TemplateWork>)>,
    /// Those whose transactions may come, under the ids of this connection.
    live: VecDeque<(u64, Arc<TemplateWork>)>,
    ready_since_ms: u64,
    behind_since_ms: Option<u64>,
}

impl WorkBoard {
    /// A board without work for `providers` in the order of preference, whose coinbases pay `reward_script` and carry `tag`.
    /// Job ids start after those of `first_template`: a start value that differs from run to run keeps a miner's shares for
    /// the jobs of an earlier process from meeting jobs of this one.
    pub(crate) fn new(
        reward_script: ScriptBuf,
        tag: &str,
        first_template: u32,
        providers: usize,
        return_after: Duration,
    ) -> Self {
        let recipe = CoinbaseRecipe {
            reward_script,
            tag: tag.as_bytes().to_vec(),
        };
        let mut feeds = Vec::new();
        feeds.resize_with(providers, Feed::default);
        Self {
            recipe: Arc::new(recipe),
            templates: first_template,
            tips: 0,
            feeds,
            active: None,
            return_after_ms: u64::try_from(return_after.as_millis()).unwrap_or(u64::MAX),
            tip: None,
            last: None,
            sender: watch::Sender::new(None),
            announced: watch::Sender::default(),
        }
    }

    /// The newest work; none before the first template and tip.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Arc<Work>>> {
        self.sender.subscribe()
    }

    /// The templates that wait for their tip, of every provider.
    pub(crate) fn future_templates(&self) -> FutureTemplates {
        self.announced.subscribe()
    }

    /// The provider whose work miners have; none while no provider has any, and they keep the last.
    pub(crate) fn active(&self) -> Option<usize> {
        self.active
    }

    /// A provider is connected: what it announced on an earlier connection is void.
    pub(crate) fn on_up(&mut self, index: usize, provider: Provider) {
        self.feeds[index] = Feed {
            provider: Some(provider),
            ..Feed::default()
        };
        self.announce();
    }

    /// A provider is gone. What miners have of it stays valid.
    ///
    /// # Errors
    /// As of [`Self::look`].
    pub(crate) fn on_down(&mut self, index: usize, now_ms: u64) -> Result<(), WorkError> {
        self.feeds[index] = Feed::default();
        self.announce();
        self.look(now_ms)
    }

    /// NewTemplate (SV2 specification 7.2). A future one waits for its SetNewPrevHash, another is current at once.
    ///
    /// # Errors
    /// The template makes no valid coinbase; nothing is published.
    pub(crate) fn on_new_template(
        &mut self,
        index: usize,
        template: Template,
        future: bool,
        now_ms: u64,
    ) -> Result<(), WorkError> {
        let template_id = template.template_id;
        let work = self.template_work(index, template, now_ms)?;
        let feed = &mut self.feeds[index];
        feed.live.push_back((template_id, Arc::clone(&work)));
        let is_active = self.active == Some(index);
        feed.trim(is_active);
        match &feed.current {
            Some((tip, _)) if !future => {
                feed.current = Some((*tip, work));
                self.on_news(index, now_ms)
            }
            // One without a tip waits for it too.
            _ => {
                feed.future.insert(template_id, work);
                while feed.future.len() > MAX_FUTURE_TEMPLATES {
                    feed.future.pop_first();
                }
                self.announce();
                Ok(())
            }
        }
    }

    /// SetNewPrevHash (SV2 specification 7.3): the template it names becomes the provider's work.
    ///
    /// # Errors
    /// The template was not sent before; the last work stays.
    pub(crate) fn on_set_new_prev_hash(
        &mut self,
        index: usize,
        template_id: u64,
        tip: Tip,
        now_ms: u64,
    ) -> Result<(), WorkError> {
        let feed = &mut self.feeds[index];
        let work = feed.future.remove(&template_id);
        let work = work.ok_or(WorkError::UnknownTemplate { template_id })?;
        feed.future.clear();
        if feed.current.is_none() {
            feed.ready_since_ms = now_ms;
        }
        feed.current = Some((tip, work));
        let given = self.on_news(index, now_ms);
        self.announce();
        given
    }

    fn announce(&self) {
        let future = self.feeds.iter().flat_map(|feed| feed.future.values());
        self.announced.send_replace(future.cloned().collect());
    }

    /// RequestTransactionData.Success for a template of this connection (SV2 specification 7.5).
    pub(crate) fn on_transactions(&self, index: usize, template_id: u64, list: Vec<Vec<u8>>) {
        let mut live = self.feeds[index].live.iter();
        if let Some((_, work)) = live.find(|(id, _)| *id == template_id) {
            work.set_transactions(list);
        }
    }

    /// Looks which provider is to be used now, and gives miners its work where that is another one.
    ///
    /// # Errors
    /// Its work makes no job.
    pub(crate) fn look(&mut self, now_ms: u64) -> Result<(), WorkError> {
        let heights = self.feeds.iter().filter_map(Feed::height);
        let highest = heights.max().unwrap_or(0);
        for feed in &mut self.feeds {
            feed.look(highest, now_ms);
        }
        let standings: Vec<_> = self.feeds.iter().map(Feed::standing).collect();
        let chosen = choose(self.active, &standings, now_ms, self.return_after_ms);
        if chosen == self.active {
            return Ok(());
        }
        self.active = chosen;
        for (index, feed) in self.feeds.iter_mut().enumerate() {
            feed.trim(chosen == Some(index));
        }
        match chosen {
            Some(index) => self.publish(index),
            None => Ok(()),
        }
    }

    /// A provider has other work than before.
    fn on_news(&mut self, index: usize, now_ms: u64) -> Result<(), WorkError> {
        let was_active = self.active == Some(index);
        self.look(now_ms)?;
        if was_active && self.active == Some(index) {
            self.publish(index)?;
        }
        Ok(())
    }

    /// Gives miners the work of a provider, unless they have it.
    fn publish(&mut self, index: usize) -> Result<(), WorkError> {
        let Some((tip, mut work)) = self.feeds[index].current.clone() else {
            return Ok(());
        };
        let is_same_tip = self.tip.as_ref().is_some_and(|known| known.is_on(&tip));
        let is_last = |last: &Arc<TemplateWork>| Arc::ptr_eq(last, &work);
        if is_same_tip && self.last.as_ref().is_some_and(is_last) {
            tracing::debug!(index, "miners have this work");
            return Ok(());
        }
        if work.given.load(Ordering::Relaxed) {
            work = self.again(&work)?;
            self.feeds[index].current = Some((tip, Arc::clone(&work)));
        }
        // On the same block to build on, what was sent stays valid.
        self.tips += u64::from(!is_same_tip);
        let number = self.tips;
        let tip = Arc::new(TipWork { number, tip });
        let job = first_job(&work)?;
        let messages = GroupMessages::new(&tip.tip, &job)?;
        self.tip = Some(Arc::clone(&tip));
        work.given.store(true, Ordering::Relaxed);
        self.last = Some(work);
        let work = Work { tip, job, messages };
        self.sender.send_replace(Some(Arc::new(work)));
        Ok(())
    }

    /// The work of a template: the piece that is there, where another connection has announced the same or miners have it.
    fn template_work(
        &mut self,
        index: usize,
        template: Template,
        now_ms: u64,
    ) -> Result<Arc<TemplateWork>, WorkError> {
        let template_id = template.template_id;
        let height = template.height().ok_or(WorkError::Height { template_id })?;
        let work = match self.like(&template) {
            Some(same) => same,
            None => self.numbered(TemplateWork {
                number: 0,
                template,
                height,
                received_at_ms: now_ms,
                given: AtomicBool::new(false),
                known_to: Mutex::default(),
                recipe: Arc::clone(&self.recipe),
                transactions: Arc::new(watch::Sender::new(None::<Transactions>)),
                variants: Mutex::default(),
            })?,
        };
        if let Some(provider) = &self.feeds[index].provider {
            work.add_known_to(template_id, provider);
        }
        Ok(work)
    }

    /// What makes the same blocks: miners have it, or a provider has announced it.
    fn like(&self, template: &Template) -> Option<Arc<TemplateWork>> {
        let announced = self.feeds.iter().flat_map(Feed::works);
        let mut known = self.last.iter().chain(announced);
        known.find(|work| work.is_like(template)).cloned()
    }

    /// The same template once more, with other jobs: miners would find their old shares again on those that they had.
    fn again(&mut self, given: &TemplateWork) -> Result<Arc<TemplateWork>, WorkError> {
        self.numbered(TemplateWork {
            number: 0,
            template: given.template.clone(),
            height: given.height,
            received_at_ms: given.received_at_ms,
            given: AtomicBool::new(false),
            known_to: Mutex::new(given.known_to().clone()),
            recipe: Arc::clone(&given.recipe),
            transactions: Arc::clone(&given.transactions),
            variants: Mutex::default(),
        })
    }

    /// Gives new work its number, and proves its coinbase before anybody is told of it.
    fn numbered(&mut self, work: TemplateWork) -> Result<Arc<TemplateWork>, WorkError> {
        self.templates = self.templates.wrapping_add(1);
        let number = self.templates;
        let work = Arc::new(TemplateWork { number, ..work });
        first_job(&work)?;
        Ok(work)
    }
}

impl Feed {
    fn works(&self) -> impl Iterator<Item = &Arc<TemplateWork>> {
        let current = self.current.iter().map(|(_, work)| work);
        current.chain(self.future.values())
    }

    fn height(&self) -> Option<u32> {
        self.current.as_ref().map(|(_, work)| work.height)
    }

    /// Notes whether it is behind the highest there is. One that was left for that has to do well anew.
    fn look(&mut self, highest: u32, now_ms: u64) {
        let is_behind = self.height().is_some_and(|height| height < highest);
        self.behind_since_ms = match self.behind_since_ms {
            since if is_behind => since.or(Some(now_ms)),
            Some(since) if now_ms.saturating_sub(since) >= LAG_GRACE_MS => {
                self.ready_since_ms = now_ms;
                None
            }
            _ => None,
        };
    }

    fn standing(&self) -> Option<Standing> {
        let height = self.height()?;
        Some(Standing {
            ready_since_ms: self.ready_since_ms,
            height,
            behind_since_ms: self.behind_since_ms,
        })
    }

    fn trim(&mut self, is_active: bool) {
        let keep = if is_active {
            LIVE_TEMPLATES
        } else {
            LIVE_TEMPLATES_IN_RESERVE
        };
        let surplus = self.live.len().saturating_sub(keep);
        self.live.drain(..surplus);
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
