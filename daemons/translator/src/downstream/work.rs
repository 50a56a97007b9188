//! Jobs: what the pool sends for the channel becomes `mining.set_difficulty` and `mining.notify`.

use super::{Channel, SentJob, Session, SessionEnd};
use crate::bridge::{ExtranonceFixed, MinerJob, Tip, UpstreamJob, sv1_difficulty};
use crate::sv1::message::{difficulty_json, notification};
use crate::upstream::{Command, CurrentWork, Event, LinkNumber, OpenedChannel};
use hh_mining::Target;
use std::sync::Arc;
use tokio::time::Instant;

/// Jobs that a miner may submit for. With a new one every half minute these are eight minutes of the same block.
const JOBS_MAX: usize = 16;

/// Jobs for the next block. A pool has one, and a newer one for every change of its template.
const FUTURE_JOBS_MAX: usize = 4;

impl Session {
    /// What the upstream has said, and all that it has said since.
    pub(super) fn on_events(&mut self, first: Option<Event>) -> Result<(), SessionEnd> {
        let mut event = first;
        loop {
            // The upstream drops a session that does not keep up by dropping its end of the queue.
            self.on_event(event.ok_or(SessionEnd::FellBehind)?)?;
            let next = self.events.as_mut().map(|events| events.try_recv());
            let Some(Ok(next)) = next else {
                return Ok(());
            };
            event = Some(next);
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), SessionEnd> {
        match event {
            Event::Opened(opened) => self.on_opened(&opened)?,
            Event::Refused(code) => self.on_refused(code)?,
            Event::Job(job, received_at) => self.on_job(job, received_at),
            Event::Tip(tip, received_at) => self.on_tip(tip, received_at),
            Event::Current(work) => self.on_current(*work),
            Event::Target(target) => self.on_target(*target),
            Event::ExtranoncePrefix(prefix) => self.on_extranonce_prefix(&prefix),
            Event::Accepted {
                route,
                last_sequence_number,
                count,
            } => self.on_accepted(route, last_sequence_number, count),
            Event::Rejected {
                route,
                sequence_number,
                reason,
                code: _,
            } => self.on_rejected(route, sequence_number, reason),
            // SV1 has no word for it, and the channel goes on as it was.
            Event::UpdateRefused(_) => {}
            Event::Closed(reason) => return Err(SessionEnd::ChannelClosed(reason)),
            Event::Lost(link) => self.on_lost(link),
        }
        Ok(())
    }

    /// The first channel, the one after a loss, or another one beside the one that the jobs out are for.
    fn on_opened(&mut self, opened: &OpenedChannel) -> Result<(), SessionEnd> {
        let split = self.split.as_ref().ok_or(SessionEnd::NoRoom)?;
        let fixed = ExtranonceFixed::new(
            &opened.extranonce_prefix,
            opened.extranonce_size,
            &opened.lease,
            split.size(),
        );
        let fixed = fixed.ok_or(SessionEnd::NoRoom)?;
        let before = self.channel.replace(Channel {
            route: opened.route,
            fixed,
            target: opened.target,
        });
        self.future_jobs.clear();
        if before.is_some_and(|before| before.route.link != opened.route.link) {
            self.forget_work();
        }
        let channel_id = Some(opened.route.channel_id);
        self.miner().update(|state| state.channel_id = channel_id);
        self.difficulty.on_target(opened.target);
        self.on_authorized();
        Ok(())
    }

    /// For jobs to come: the pool keeps the old target for those that are out.
    fn on_target(&mut self, target: Target) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        if channel.target != target {
            let harder = target < channel.target;
            channel.target = target;
            self.difficulty.on_target(target);
            self.miner().lane.on_retarget(harder);
        }
    }

    /// For jobs to come, like the target.
    fn on_extranonce_prefix(&mut self, prefix: &[u8]) {
        if let Some(channel) = &mut self.channel {
            channel.fixed = channel.fixed.with_prefix(prefix);
        }
    }

    fn on_job(&mut self, job: Arc<UpstreamJob>, received_at: Instant) {
        if job.min_ntime.is_some() {
            self.make_job(job, received_at);
            return;
        }
        if self.future_jobs.len() == FUTURE_JOBS_MAX {
            self.future_jobs.pop_front();
        }
        self.future_jobs.push_back(job);
    }

    /// Another block to build on: one future job becomes active, all others are void.
    fn on_tip(&mut self, tip: Arc<Tip>, received_at: Instant) {
        let job_id = tip.job_id;
        self.tip = Some(tip);
        self.seen.clear();
        self.clean_next = true;
        let mut future_jobs = std::mem::take(&mut self.future_jobs).into_iter();
        if let Some(job) = future_jobs.find(|job| job.job_id == job_id) {
            self.make_job(job, received_at);
        } else {
            let session = self.miner().id;
            tracing::warn!(
                session,
                job_id,
                "upstream activates a job that it did not send"
            );
        }
    }

    /// The miner comes to a channel in the middle of its work. On the block that it is on already, its earlier jobs stay good.
    fn on_current(&mut self, work: CurrentWork) {
        let known = self.tip.as_ref().map(|tip| tip.prev_hash);
        if known != Some(work.tip.prev_hash) {
            self.seen.clear();
            self.clean_next = true;
        }
        self.tip = Some(work.tip);
        self.make_job(work.job, Instant::now());
    }

    /// Makes the miner's own job of the upstream's, with what the channel has now, and sends it.
    fn make_job(&mut self, job: Arc<UpstreamJob>, received_at: Instant) {
        let (Some(channel), Some(tip)) = (&self.channel, &self.tip) else {
            return;
        };
        let id = self.last_job_id + 1;
        let (route, fixed, target) = (channel.route, channel.fixed.clone(), channel.target);
        let job = match MinerJob::new(id, job, Arc::clone(tip), fixed, target) {
            Ok(job) => job,
            Err(error) => {
                tracing::error!(session = self.miner().id, %error, "upstream job is unusable");
                return;
            }
        };
        self.last_job_id = id;
        if self.jobs.len() == JOBS_MAX {
            self.jobs.pop_front();
        }
        self.jobs.push_back(SentJob { route, job });
        if self.is_mining() {
            self.notify_received_at.get_or_insert(received_at);
        }
        self.send_newest_job();
    }

    /// Tells a miner that has subscribed and is authorized of its newest job; of no other, it has missed nothing.
    pub(super) fn send_newest_job(&mut self) {
        let Some(SentJob { job, .. }) = self.jobs.back().filter(|_| self.is_mining()) else {
            return;
        };
        let difficulty = sv1_difficulty(job.target());
        let rolling = job.version_rolling_allowed();
        let notify = job.notify(self.clean_next);
        self.tell_difficulty(difficulty);
        self.tell_version_mask(rolling);
        self.say(&notify);
        self.clean_next = false;
    }

    fn is_mining(&self) -> bool {
        self.subscribed && !self.users.is_empty()
    }

    #[expect(clippy::float_cmp, reason = "has the very number been sent before")]
    fn tell_difficulty(&mut self, difficulty: f64) {
        if self.difficulty_told.is_some_and(|told| told == difficulty) {
            return;
        }
        self.difficulty_told = Some(difficulty);
        self.say(&notification(
            "mining.set_difficulty",
            &difficulty_json(difficulty),
        ));
        self.miner().update(|state| state.difficulty = difficulty);
    }

    /// A word for a miner that has not been told anything for long; one that changes nothing.
    pub(super) fn keep_alive(&mut self, now: Instant) {
        self.last_said_at = now;
        if let Some(difficulty) = self.difficulty_told {
            self.say(&notification(
                "mining.set_difficulty",
                &difficulty_json(difficulty),
            ));
        }
    }

    /// Once for every miner that rolls (some firmware waits for it), and whenever the pool changes its mind.
    fn tell_version_mask(&mut self, rolling: bool) {
        let Some(granted) = self.version_mask else {
            return;
        };
        let mask = if rolling { granted } else { 0 };
        if self.version_mask_told == Some(mask) {
            return;
        }
        self.version_mask_told = Some(mask);
        self.say(&notification(
            "mining.set_version_mask",
            &format!("\"{mask:08x}\""),
        ));
        self.miner()
            .update(|state| state.version_rolling = mask != 0);
    }

    /// A connection to an upstream is gone, and with it the work of it. The miner stays.
    fn on_lost(&mut self, link: LinkNumber) {
        self.settle_none(link);
        self.jobs.retain(|sent| sent.route.link != link);
        let lost = self.channel.take_if(|channel| channel.route.link == link);
        if lost.is_none() {
            return;
        }
        self.miner().update(|state| state.channel_id = None);
        self.forget_work();
        // The next channel starts where this one was.
        let terms = self.terms();
        let session = self.miner().id;
        let command = Command::Update { session, terms };
        if self.upstream.commands.try_send(command).is_err() {
            tracing::debug!(session, "the next channel starts from an older hashrate");
        }
    }

    /// What comes next is another upstream's: its work drops all that is out.
    fn forget_work(&mut self) {
        self.tip = None;
        self.future_jobs.clear();
        self.seen.clear();
        self.clean_next = true;
    }
}
