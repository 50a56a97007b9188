//! One mining channel: which jobs it was sent with which targets, and the check of its shares.
//!
//! It belongs to its connection's task. It decides about a share and remembers that it was seen; it does no I/O and
//! does not know how jobs and answers travel.

use crate::directory::ChannelView;
use crate::share_log::Origin;
use crate::work::{PoolJob, TipWork};
use hh_mining::{
    BlockHash, CheckedShare, Extranonce, ExtranoncePrefix, Header, ShareTarget, ShareTerms, Target,
    Vardiff, WorkerName,
};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Jobs of the current tip that a channel may still send shares for. With a new template each 30 s it is twelve
/// minutes, longer than most tips last; each costs some 120 bytes.
const MAX_JOBS: usize = 24;

/// Share hashes remembered for one tip. At 18 shares a minute it is a month; a channel that gets here floods, and gets
/// `duplicate-share` until the next tip.
const MAX_SEEN: usize = 1 << 20;

/// Workers that a channel's shares may name; a proxy for more opens more channels.
const MAX_WORKERS: usize = 10_000;

/// How far a share's time may be ahead of our clock: a block is refused by Bitcoin Core from 7,200 s on, and some
/// firmware rolls the time that far (ckpool takes 7,000).
const MAX_NTIME_AHEAD_SECONDS: u32 = 7_000;

/// Whether the miner rolls the extranonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelKind {
    /// Header-only mining: the pool sets the whole extranonce.
    Standard,
    Extended,
}

/// What a miner found, as it submitted it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submission {
    pub sequence_number: u32,
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    pub extranonce: Extranonce,
}

/// A share's fate.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What it is credited, or the error code of SubmitShares.Error.
    pub share: Result<Accepted, &'static str>,
    /// The share makes a block, whatever became of it as a share.
    pub block: Option<Candidate>,
}

/// An accepted share, and what it was measured against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub share: CheckedShare,
    pub target: ShareTarget,
}

/// A header that meets the network's target, and what its block is assembled from.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub hash: BlockHash,
    pub header: Header,
    pub extranonce: Extranonce,
    pub job: Arc<PoolJob>,
    /// Of the job when it was sent: what its share is worth.
    pub target: ShareTarget,
}

impl Candidate {
    /// Its share, whatever became of that: a hash that meets the network's target meets every job's.
    pub(crate) fn share(&self) -> Accepted {
        Accepted {
            share: CheckedShare {
                hash: self.hash,
                work: self.target.work(),
                score: self.target.score(),
                meets_network: true,
            },
            target: self.target,
        }
    }
}

#[derive(Debug)]
struct SentJob {
    job: Arc<PoolJob>,
    tip: Arc<TipWork>,
    target: ShareTarget,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Channel {
    pub id: u32,
    pub kind: ChannelKind,
    pub prefix: ExtranoncePrefix,
    pub origin: Arc<Origin>,
    pub view: Arc<ChannelView>,
    pub vardiff: Vardiff,
    /// The client's `max_target`: no job is easier.
    pub max_target: Target,
    /// What the miner was told last: by the answer to its open, or by SetTarget.
    pub announced: Target,
    jobs: VecDeque<SentJob>,
    /// Those of the tip before, and of this tip such as were too many; at most [`MAX_JOBS`] as well.
    stale_jobs: VecDeque<SentJob>,
    /// Origins of the workers that shares have named.
    workers: HashMap<String, Arc<Origin>>,
    /// Low halves of the hashes of this tip's accepted shares: they differ by chance 2^-64, and to make two alike
    /// costs more work than a share.
    seen: HashSet<u64>,
}

impl Channel {
    /// A channel that was not sent a job yet.
    pub(crate) fn new(
        id: u32,
        kind: ChannelKind,
        prefix: ExtranoncePrefix,
        view: Arc<ChannelView>,
        vardiff: Vardiff,
        max_target: Target,
    ) -> Self {
        Self {
            id,
            kind,
            prefix,
            origin: view.origin(),
            view,
            announced: vardiff.target(),
            vardiff,
            max_target,
            jobs: VecDeque::new(),
            stale_jobs: VecDeque::new(),
            workers: HashMap::new(),
            seen: HashSet::new(),
        }
    }

    /// The whole extranonce of a standard channel.
    pub(crate) fn standard_extranonce(&self) -> Extranonce {
        self.prefix.standard_extranonce()
    }

    /// The target for the next job on `tip`: vardiff's, but never harder than the network's, since a miner does not
    /// submit what misses its target.
    pub(crate) fn wanted_target(&self, tip: &TipWork) -> Target {
        self.vardiff
            .target()
            .max(tip.tip.target)
            .min(self.max_target)
    }

    /// Remembers that `job` was sent on `tip` with the target announced last. A new tip makes all earlier jobs stale.
    pub(crate) fn on_job_sent(&mut self, job: Arc<PoolJob>, tip: &Arc<TipWork>) {
        if self
            .jobs
            .back()
            .is_some_and(|last| last.tip.number != tip.number)
        {
            self.stale_jobs = std::mem::take(&mut self.jobs);
            // Gives the memory back as well: most tips see few shares.
            self.seen = HashSet::new();
        }
        let Ok(target) = ShareTarget::new(self.announced, tip.tip.nbits) else {
            // The template provider sent nBits that are no target: no share can be credited, and none is taken.
            return;
        };
        if self.jobs.len() == MAX_JOBS
            && let Some(oldest) = self.jobs.pop_front()
        {
            // It gives no share any more, but a block in it is as good as any.
            if self.stale_jobs.len() == MAX_JOBS {
                self.stale_jobs.pop_front();
            }
            self.stale_jobs.push_back(oldest);
        }
        self.view.set_job(job.id, self.announced);
        self.jobs.push_back(SentJob {
            job,
            tip: Arc::clone(tip),
            target,
        });
    }

    /// The newest job that was sent.
    pub(crate) fn last_job(&self) -> Option<&Arc<PoolJob>> {
        self.jobs.back().map(|sent| &sent.job)
    }

    /// Decides about a share. `now_unix` is our clock in seconds. An accepted share is remembered as seen.
    ///
    /// A share for a job of the tip before, or for one that too many have followed, is stale, but where it makes a block, that
    /// block may still win.
    pub(crate) fn check(&mut self, submission: &Submission, now_unix: u32) -> Verdict {
        let sent_as = |sent: &&SentJob| sent.job.id == submission.job_id;
        if let Some(sent) = self.jobs.iter().rev().find(sent_as) {
            let (checked, block) = measure(sent, submission, now_unix);
            let target = sent.target;
            let share = checked.and_then(|share| self.remember(share));
            let share = share.map(|share| Accepted { share, target });
            return Verdict { share, block };
        }
        let stale = self.stale_jobs.iter().rev().find(sent_as);
        let block = stale.and_then(|sent| measure(sent, submission, now_unix).1);
        let share = Err(self.unknown_job(submission.job_id));
        Verdict { share, block }
    }

    /// Shares come through another node or lane from now on; account and worker are the same.
    pub(crate) fn set_origin(&mut self, origin: Arc<Origin>) {
        self.workers.clear();
        self.view.set_origin(Arc::clone(&origin));
        self.origin = origin;
    }

    /// Who is credited for a share that names `worker` (extension 0x0002): a worker of this channel's account, never
    /// another account. A name that is none counts as the channel's own worker.
    pub(crate) fn origin_of(&mut self, worker: Option<&str>) -> Arc<Origin> {
        let Some(worker) = worker else {
            return Arc::clone(&self.origin);
        };
        let account = self.origin.account();
        let of_account = worker
            .strip_prefix(account)
            .and_then(|rest| rest.strip_prefix('.'));
        let worker = of_account.unwrap_or(worker);
        if let Some(known) = self.workers.get(worker) {
            return Arc::clone(known);
        }
        let valid = WorkerName::parse(worker).is_ok() && self.workers.len() < MAX_WORKERS;
        let (node, lane) = (self.origin.node(), self.origin.lane());
        match Origin::new(account, worker, node, lane) {
            Ok(origin) if valid => {
                let origin = Arc::new(origin);
                self.workers.insert(worker.to_owned(), Arc::clone(&origin));
                origin
            }
            _ => Arc::clone(&self.origin),
        }
    }

    fn remember(&mut self, share: CheckedShare) -> Result<CheckedShare, &'static str> {
        let hash = share.hash.as_byte_array();
        let low = u64::from_le_bytes([
            hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7],
        ]);
        if self.seen.len() >= MAX_SEEN || !self.seen.insert(low) {
            return Err("duplicate-share");
        }
        Ok(share)
    }

    /// Ids grow with time, so what is older than our oldest was valid once.
    fn unknown_job(&self, job_id: u32) -> &'static str {
        match self.jobs.front() {
            Some(oldest) if job_id < oldest.job.id => "stale-share",
            _ => "invalid-job-id",
        }
    }
}

/// Hashes a share and measures it against its job.
fn measure(
    sent: &SentJob,
    submission: &Submission,
    now_unix: u32,
) -> (Result<CheckedShare, &'static str>, Option<Candidate>) {
    let merkle_root = sent.job.job.merkle_root(&submission.extranonce);
    let terms = terms(sent, now_unix);
    let Submission {
        version,
        ntime,
        nonce,
        ..
    } = *submission;
    let checked = hh_mining::share::check(&terms, merkle_root, version, ntime, nonce);
    let meets_network = match &checked {
        Ok(share) => share.meets_network,
        Err(share) => share.meets_network,
    };
    let block = meets_network.then(|| {
        let nbits = sent.target.nbits();
        let prev_hash = terms.prev_hash;
        let header = Header {
            version,
            prev_hash,
            merkle_root,
            ntime,
            nbits,
            nonce,
        };
        Candidate {
            hash: header.hash(),
            header,
            extranonce: submission.extranonce,
            job: Arc::clone(&sent.job),
            target: sent.target,
        }
    });
    (checked.map_err(|refused| refused.reason.code()), block)
}

fn terms(sent: &SentJob, now_unix: u32) -> ShareTerms {
    let tip = &sent.tip.tip;
    ShareTerms {
        target: sent.target,
        job_version: sent.job.template.template.version,
        version_rolling_allowed: true,
        min_ntime: tip.header_timestamp,
        max_ntime: tip
            .header_timestamp
            .max(now_unix)
            .saturating_add(MAX_NTIME_AHEAD_SECONDS),
        prev_hash: tip.prev_hash,
        network_target: tip.target,
    }
}

#[cfg(test)]
mod tests;
