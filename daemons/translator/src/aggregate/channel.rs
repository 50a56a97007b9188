//! One upstream channel of an aggregated lane: what it is open with, the work that it has, and who is on it.

use super::class::Class;
use super::lease::Leases;
use crate::bridge::{Tip, UpstreamJob};
use crate::upstream::{CurrentWork, LinkNumber, OpenedChannel, Route};
use hh_mining::Target;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Jobs for the next block. A pool has one, and a newer one for every change of its template.
const FUTURE_JOBS_MAX: usize = 4;

/// Whom a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All miners of a class, at exactly its target.
    Class(Class),
    /// One miner alone. The pool chooses its target.
    Own,
    /// Nobody any more: who is on it goes to another one, and jobs of it may be alive until then.
    Left,
}

/// See the module.
#[derive(Debug)]
pub(super) struct LaneChannel {
    pub account: Arc<str>,
    pub purpose: Purpose,
    pub open: Option<OpenedChannel>,
    pub tip: Option<Arc<Tip>>,
    /// The newest on the tip, and the target that it was sent with.
    pub job: Option<(Arc<UpstreamJob>, Target)>,
    pub future_jobs: VecDeque<Arc<UpstreamJob>>,
    pub leases: Leases,
    /// Miners whose jobs come from it.
    pub members: BTreeSet<u64>,
    /// Miners that come when it is open, or has the tip that they are on.
    pub waiting: BTreeSet<u64>,
    /// Since when nobody is on it, in milliseconds.
    pub idle_since_ms: Option<u64>,
}

impl LaneChannel {
    pub(super) fn new(account: Arc<str>, purpose: Purpose) -> Self {
        Self {
            account,
            purpose,
            open: None,
            tip: None,
            job: None,
            future_jobs: VecDeque::new(),
            leases: Leases::default(),
            members: BTreeSet::new(),
            waiting: BTreeSet::new(),
            idle_since_ms: None,
        }
    }

    pub(super) fn route(&self) -> Option<Route> {
        self.open.as_ref().map(|open| open.route)
    }

    pub(super) fn link(&self) -> Option<LinkNumber> {
        self.route().map(|route| route.link)
    }

    /// How many are on it or on their way.
    pub(super) fn miners(&self) -> usize {
        self.members.len() + self.waiting.len()
    }

    /// It is open on another connection, or for the first time: nothing of before is on it.
    pub(super) fn on_opened(&mut self, opened: OpenedChannel) {
        self.forget_work();
        self.open = Some(opened);
    }

    pub(super) fn on_lost(&mut self) {
        self.forget_work();
        self.open = None;
    }

    pub(super) fn on_job(&mut self, job: &Arc<UpstreamJob>) {
        if job.min_ntime.is_some() {
            self.job = self.with_target(Arc::clone(job));
            return;
        }
        if self.future_jobs.len() == FUTURE_JOBS_MAX {
            self.future_jobs.pop_front();
        }
        self.future_jobs.push_back(Arc::clone(job));
    }

    pub(super) fn on_tip(&mut self, tip: &Arc<Tip>) {
        let mut future_jobs = std::mem::take(&mut self.future_jobs).into_iter();
        let job = future_jobs.find(|job| job.job_id == tip.job_id);
        self.job = job.and_then(|job| self.with_target(Arc::new(job.activated_by(tip))));
        self.tip = Some(Arc::clone(tip));
        self.leases.on_new_tip();
    }

    /// What a miner that comes now works on, and at which target.
    pub(super) fn current_work(&self) -> Option<(CurrentWork, Target)> {
        let (tip, (job, target)) = self.tip.as_ref().zip(self.job.as_ref())?;
        let work = CurrentWork {
            tip: Arc::clone(tip),
            job: Arc::clone(job),
        };
        Some((work, *target))
    }

    fn with_target(&self, job: Arc<UpstreamJob>) -> Option<(Arc<UpstreamJob>, Target)> {
        Some((job, self.open.as_ref()?.target))
    }

    /// Whether both are on the same connection and build on the same block, so that a miner may go from the one to the other
    /// and keep its jobs.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let block = |channel: &Self| channel.tip.as_ref().map(|tip| tip.prev_hash);
        self.link() == other.link() && block(self) == block(other) && self.job.is_some()
    }

    fn forget_work(&mut self) {
        self.tip = None;
        self.job = None;
        self.future_jobs.clear();
        self.leases = Leases::default();
    }
}
