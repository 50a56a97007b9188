//! A channel of an SV2 miner: what it was told, and the upstream's channel behind it. No socket, no waiting.

use crate::bridge::{ExtranonceFixed, MinerJob, Rejection, Share, Tip, UpstreamJob};
use crate::miners::ChannelRow;
use crate::upstream::{Event, LinkNumber, OpenedChannel, Route};
use hh_mining::{BlockHash, Target};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Jobs that a miner may submit for. With a new one every half minute these are eight minutes of the same block.
const JOBS_MAX: usize = 16;

/// Jobs for the next block. A pool has one, and a newer one for every change of its template.
const FUTURE_JOBS_MAX: usize = 4;

/// Longest extranonce, with its prefix: a B0_32 (SV2 specification, OpenExtendedMiningChannel.Success).
const EXTRANONCE_BYTES_MAX: usize = 32;

/// Headers that are remembered to tell duplicates without the pool. It tells them in any case.
const SEEN_MAX: usize = 16 * 1024;

/// What kind of shares a channel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelKind {
    Standard,
    Extended,
}

/// What a miner says of itself, when it opens a channel or changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Hashes a second, at least 0.
    pub nominal_hash_rate: f32,
    /// Easiest target that it takes; not 0.
    pub max_target: Target,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    pub id: u32,
    pub kind: ChannelKind,
    /// The request that is to be answered; none once the channel is open.
    pub request_id: Option<u32>,
    pub row: ChannelRow,
    pub events: mpsc::Receiver<Event>,
    pub said: Said,
    /// Its group, 0 for none.
    pub group_id: u32,
    /// Bytes of the extranonce that the miner was told to roll.
    pub extranonce_size: usize,
    /// As the miner was told last; for the jobs after it.
    pub target: Target,
    /// The upstream's channel for the jobs to come, while there is one.
    route: Option<Route>,
    /// Of the upstream's last channel.
    fixed: Option<ExtranonceFixed>,
    future_jobs: VecDeque<FutureJob>,
    tip: Option<Arc<Tip>>,
    /// Jobs that the miner may submit for, oldest first, each with the channel that its shares belong on.
    jobs: VecDeque<(Route, MinerJob)>,
    last_job_id: u32,
    /// With the upstream. Goes on over its channels.
    last_sequence_number: u32,
    /// In the order in which the miner sent them.
    unsettled: VecDeque<Unsettled>,
    /// Headers forwarded on the present tip.
    seen: HashSet<BlockHash>,
}

/// A job that SetNewPrevHash is to make active. The prefix is that of the time when the miner was told of it, the target will be
/// that of the time when it becomes active (SV2 specification, SetExtranoncePrefix and SetTarget).
#[derive(Debug)]
struct FutureJob {
    id: u32,
    job: Arc<UpstreamJob>,
    fixed: ExtranonceFixed,
}

/// A share that was forwarded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsettled {
    route: Route,
    /// The upstream's.
    upstream_number: u32,
    /// The upstream has accepted it. It waits for one before it, so that no success up to it is taken for that one's.
    is_accepted: bool,
    /// The miner's.
    pub sequence_number: u32,
    pub hashes: u128,
    pub difficulty: f64,
    pub submitted_at: Instant,
}

/// What `SubmitShares.Success` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// The miner's.
    pub last_sequence_number: u32,
    pub count: u32,
    /// Sum of the shares'.
    pub difficulty: f64,
}

/// A share as a miner submits it.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub sequence_number: u32,
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    /// Nothing on a standard channel.
    pub rolled: Vec<u8>,
}

/// A share for the upstream, as [`crate::upstream::Command::Submit`] wants it.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub route: Route,
    pub sequence_number: u32,
    pub share: Share,
}

/// A job as it is sent to a miner.
#[derive(Debug)]
pub(super) struct NewJob {
    pub id: u32,
    pub job: Arc<UpstreamJob>,
    pub fixed: ExtranonceFixed,
    /// None for a future job.
    pub min_ntime: Option<u32>,
}

impl Channel {
    /// One that the upstream is being asked for.
    pub(super) fn new(
        id: u32,
        kind: ChannelKind,
        request_id: u32,
        said: Said,
        row: ChannelRow,
        events: mpsc::Receiver<Event>,
    ) -> Self {
        Self {
            id,
            kind,
            request_id: Some(request_id),
            row,
            events,
            said,
            group_id: 0,
            extranonce_size: 0,
            target: said.max_target,
            route: None,
            fixed: None,
            future_jobs: VecDeque::new(),
            tip: None,
            jobs: VecDeque::new(),
            last_job_id: 0,
            last_sequence_number: 0,
            unsettled: VecDeque::new(),
            seen: HashSet::new(),
        }
    }

    /// The miner has been told that it has this channel.
    pub(super) fn is_open(&self) -> bool {
        self.request_id.is_none()
    }

    /// The upstream has opened its channel; what the miner has to take for its prefix. None if that channel has less room than
    /// the miner was told to roll, or an extranonce that no message can hold.
    pub(super) fn attach(&mut self, opened: &OpenedChannel) -> Option<ExtranonceFixed> {
        let fixed = ExtranonceFixed::new(
            &opened.extranonce_prefix,
            opened.extranonce_size,
            &opened.lease,
            self.extranonce_size,
        );
        let fixed = fixed.filter(|fixed| self.fits(fixed))?;
        self.route = Some(opened.route);
        self.fixed = Some(fixed.clone());
        // They were for the channel before it.
        self.future_jobs.clear();
        self.tip = None;
        Some(fixed)
    }

    /// A connection of the upstream is gone, and with it its channel and all work of that. Gives the shares that nobody will
    /// settle any more.
    pub(super) fn detach(&mut self, link: LinkNumber) -> Vec<Unsettled> {
        self.route.take_if(|route| route.link == link);
        if self.route.is_none() {
            self.tip = None;
            self.future_jobs.clear();
            self.seen.clear();
        }
        self.jobs.retain(|(route, _)| route.link != link);
        self.take_lost(|share| share.route.link == link)
    }

    /// All channels of the upstream are gone.
    pub(super) fn detach_all(&mut self) -> Vec<Unsettled> {
        self.route = None;
        self.tip = None;
        self.future_jobs.clear();
        self.jobs.clear();
        self.seen.clear();
        self.take_lost(|_| true)
    }

    /// Takes those out that are `on` what is gone, and were not accepted there.
    fn take_lost(&mut self, on: impl Fn(&Unsettled) -> bool) -> Vec<Unsettled> {
        let shares = std::mem::take(&mut self.unsettled).into_iter();
        let (lost, kept): (Vec<_>, Vec<_>) =
            shares.partition(|share| on(share) && !share.is_accepted);
        self.unsettled = kept.into();
        lost
    }

    /// Whether there is a channel of the upstream for the jobs to come.
    pub(super) fn is_attached(&self) -> bool {
        self.route.is_some()
    }

    /// The prefix that the miner has, if there was one.
    pub(super) fn fixed(&self) -> Option<&ExtranonceFixed> {
        self.fixed.as_ref()
    }

    /// The upstream has changed its prefix; gives what the miner has to take for it, for the jobs to come. None if the extranonce
    /// were longer than any message can hold.
    pub(super) fn set_prefix(&mut self, prefix: &[u8]) -> Option<ExtranonceFixed> {
        let fixed = self.fixed.as_ref().map(|fixed| fixed.with_prefix(prefix));
        let fixed = fixed.filter(|fixed| self.fits(fixed))?;
        self.fixed = Some(fixed.clone());
        Some(fixed)
    }

    fn fits(&self, fixed: &ExtranonceFixed) -> bool {
        fixed.bytes().len() + self.extranonce_size <= EXTRANONCE_BYTES_MAX
    }

    /// A job of the upstream, as the miner gets it. None where it is valid at once and there is nothing to build on.
    pub(super) fn add_job(&mut self, job: Arc<UpstreamJob>) -> Option<NewJob> {
        let fixed = self.fixed.clone()?;
        let id = self.last_job_id.wrapping_add(1);
        let new = NewJob {
            id,
            fixed: fixed.clone(),
            min_ntime: job.min_ntime,
            job: Arc::clone(&job),
        };
        let future = FutureJob { id, job, fixed };
        if new.min_ntime.is_some() {
            self.activate(future)?;
        } else {
            if self.future_jobs.len() == FUTURE_JOBS_MAX {
                self.future_jobs.pop_front();
            }
            self.future_jobs.push_back(future);
        }
        self.last_job_id = id;
        Some(new)
    }

    /// Another block to build on: one future job becomes active, all others are void. Gives the id of that job with the miner;
    /// none if the miner was never told of it.
    pub(super) fn set_tip(&mut self, tip: Arc<Tip>) -> Option<u32> {
        let job_id = tip.job_id;
        self.tip = Some(tip);
        self.seen.clear();
        let mut future_jobs = std::mem::take(&mut self.future_jobs).into_iter();
        let future = future_jobs.find(|future| future.job.job_id == job_id)?;
        let id = future.id;
        self.activate(future)?;
        Some(id)
    }

    fn activate(&mut self, future: FutureJob) -> Option<()> {
        let FutureJob { id, job, fixed } = future;
        let (route, tip) = (self.route?, Arc::clone(self.tip.as_ref()?));
        match MinerJob::new(id.into(), job, tip, fixed, self.target) {
            Ok(job) => {
                if self.jobs.len() == JOBS_MAX {
                    self.jobs.pop_front();
                }
                self.jobs.push_back((route, job));
                Some(())
            }
            Err(error) => {
                tracing::error!(channel_id = self.id, %error, "upstream job is unusable");
                None
            }
        }
    }

    /// Judges what can be judged without the pool, and counts a share that can be sent to it.
    pub(super) fn submit(&mut self, submission: &Submission) -> Result<Forwarded, Rejection> {
        let job_id = u64::from(submission.job_id);
        let mut jobs = self.jobs.iter();
        let Some((route, job)) = jobs.find(|(_, job)| job.id == job_id) else {
            return Err(match submission.job_id {
                0 => Rejection::UnknownJob,
                id if id > self.last_job_id => Rejection::UnknownJob,
                // Job ids grow: it was one.
                _ if self.route.is_none() => Rejection::NoUpstream,
                _ => Rejection::Stale,
            });
        };
        if submission.rolled.len() != self.extranonce_size {
            return Err(Rejection::BadExtranonceSize);
        }
        let Submission {
            rolled,
            version,
            ntime,
            nonce,
            ..
        } = submission;
        let share = job.check(rolled, *version, *ntime, *nonce)?;
        if self.seen.contains(&share.hash) {
            return Err(Rejection::Duplicate);
        }
        if self.seen.len() < SEEN_MAX {
            self.seen.insert(share.hash);
        }
        self.last_sequence_number = self.last_sequence_number.wrapping_add(1);
        self.unsettled.push_back(Unsettled {
            route: *route,
            is_accepted: false,
            upstream_number: self.last_sequence_number,
            sequence_number: submission.sequence_number,
            hashes: share.hashes,
            difficulty: job.target().difficulty(),
            submitted_at: Instant::now(),
        });
        Ok(Forwarded {
            route: *route,
            sequence_number: self.last_sequence_number,
            share,
        })
    }

    /// The upstream has accepted every share on `route` up to `last` that it has not refused; gives them.
    pub(super) fn accept(&mut self, route: Route, last: u32) -> Vec<Unsettled> {
        let mut accepted = Vec::new();
        for share in &mut self.unsettled {
            if is_after(share.upstream_number, last) {
                break;
            }
            if share.route == route && !share.is_accepted {
                share.is_accepted = true;
                accepted.push(*share);
            }
        }
        accepted
    }

    /// What the miner can be told is accepted, without a word about a share that waits.
    pub(super) fn take_settled(&mut self) -> Option<Settled> {
        let mut settled: Option<Settled> = None;
        while let Some(share) = self.unsettled.pop_front_if(|share| share.is_accepted) {
            let (count, difficulty) = settled.map_or((0, 0.0), |s| (s.count, s.difficulty));
            settled = Some(Settled {
                last_sequence_number: share.sequence_number,
                count: count + 1,
                difficulty: difficulty + share.difficulty,
            });
        }
        settled
    }

    /// The share that the upstream has refused, if it waits for an answer.
    pub(super) fn refuse(&mut self, route: Route, upstream_number: u32) -> Option<Unsettled> {
        let is_it = |share: &Unsettled| {
            share.route == route && share.upstream_number == upstream_number && !share.is_accepted
        };
        let position = self.unsettled.iter().position(is_it)?;
        self.unsettled.remove(position)
    }

    /// Shares that the miner has had no answer to.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }
}

/// Whether `number` comes after `other`, in numbers that wrap.
fn is_after(number: u32, other: u32) -> bool {
    let distance = number.wrapping_sub(other);
    distance != 0 && distance < 1 << 31
}

#[cfg(test)]
mod tests;
