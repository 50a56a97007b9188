//! What the upstream says to a channel, passed on to its miner.

use super::channel::{Channel, ChannelKind, NewJob};
use super::open::{announce_prefix, announce_target};
use super::{ProxyEnd, ProxySession};
use crate::bridge::{Tip, UpstreamJob};
use crate::upstream::{Command, Event, LinkNumber};
use hh_sv2::message::{NewExtendedMiningJob, NewMiningJob, Seq0255, SetNewPrevHash, Sv2Option};
use hh_sv2::{ConnectionError, Message};
use std::sync::Arc;
use tokio::time::Instant;

impl ProxySession {
    pub(super) fn on_events(&mut self, events: Vec<(u32, Option<Event>)>) -> Result<(), ProxyEnd> {
        for (channel_id, event) in events {
            // Behind its last event comes the end of its queue.
            if !self.channels.contains_key(&channel_id) {
                continue;
            }
            // The upstream drops a channel that does not keep up by dropping its end of the queue.
            let event = event.ok_or(ProxyEnd::FellBehind)?;
            self.on_event(channel_id, event)?;
        }
        Ok(())
    }

    fn on_event(&mut self, id: u32, event: Event) -> Result<(), ProxyEnd> {
        match event {
            Event::Opened(opened) => self.on_opened(id, &opened),
            Event::Refused(code) => self.on_refused(id, &code),
            Event::Job(job, received_at) => self.on_job(id, job, received_at),
            Event::Tip(tip, received_at) => self.on_tip(id, tip, received_at),
            // Of aggregated lanes, which SV2 miners are never on.
            Event::Current(_) => Ok(()),
            Event::Target(target) => self.with_channel(id, |channel, connection| {
                announce_target(channel, *target, connection)
            }),
            Event::ExtranoncePrefix(prefix) => self.on_extranonce_prefix(id, &prefix),
            Event::Accepted {
                route,
                last_sequence_number,
                count,
            } => self.on_accepted(id, route, last_sequence_number, count),
            Event::Rejected {
                route,
                sequence_number,
                reason,
                code,
            } => self.on_rejected(id, (route, sequence_number), reason, &code),
            Event::UpdateRefused(code) => self.on_update_refused(id, &code),
            Event::Closed(reason) => self.end_channel(id, &reason),
            Event::Lost(link) => self.on_lost(id, link),
        }
    }

    fn with_channel(
        &mut self,
        id: u32,
        act: impl FnOnce(&mut Channel, &mut hh_sv2::Connection) -> Result<(), ConnectionError>,
    ) -> Result<(), ProxyEnd> {
        // One that is gone has been told why.
        match self.channels.get_mut(&id) {
            Some(channel) => Ok(act(channel, &mut self.connection)?),
            None => Ok(()),
        }
    }

    fn on_extranonce_prefix(&mut self, id: u32, prefix: &[u8]) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        match channel.set_prefix(prefix) {
            Some(fixed) => Ok(announce_prefix(
                channel,
                fixed.bytes(),
                &mut self.connection,
            )?),
            None => self.end_channel(id, super::open::NO_ROOM),
        }
    }

    fn on_job(
        &mut self,
        id: u32,
        job: Arc<UpstreamJob>,
        received_at: Instant,
    ) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let job_id = job.job_id;
        let rolling = job.version_rolling_allowed;
        let Some(new) = channel.add_job(job) else {
            tracing::warn!(
                channel_id = id,
                job_id,
                "upstream sends a job without a block to build on"
            );
            return Ok(());
        };
        channel
            .row
            .miner
            .update(|state| state.version_rolling = rolling);
        if new.min_ntime.is_some() {
            self.jobs_received_at.push(received_at);
        }
        let message = job_message(channel, &new);
        Ok(self.connection.queue(message)?)
    }

    fn on_tip(&mut self, id: u32, tip: Arc<Tip>, received_at: Instant) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let Some(job_id) = channel.set_tip(Arc::clone(&tip)) else {
            tracing::warn!(
                channel_id = id,
                job_id = tip.job_id,
                "upstream activates a job that it did not send"
            );
            return Ok(());
        };
        self.jobs_received_at.push(received_at);
        Ok(self.connection.queue(SetNewPrevHash {
            channel_id: id,
            job_id,
            prev_hash: tip.prev_hash.into(),
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
        })?)
    }

    /// A connection of the upstream is gone. The miner keeps its channel, and works on what it has until there is another.
    fn on_lost(&mut self, id: u32, link: LinkNumber) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let lost = channel.detach(link);
        self.tell_lost(id, &lost)?;
        let Some(channel) = self.channels.get(&id).filter(|c| !c.is_attached()) else {
            return Ok(());
        };
        channel.row.miner.update(|state| state.channel_id = None);
        // The next channel starts where this one was.
        let terms = self.terms(channel.said, Some(channel.target));
        let session = channel.row.miner.id;
        let command = Command::Update { session, terms };
        if self.upstream.commands.try_send(command).is_err() {
            tracing::debug!(session, "the next channel starts from an older hashrate");
        }
        Ok(())
    }
}

/// The job as the miner's kind of channel takes it.
fn job_message(channel: &Channel, new: &NewJob) -> Message {
    let NewJob {
        id,
        job,
        fixed,
        min_ntime,
    } = new;
    let min_ntime = Sv2Option::new(*min_ntime);
    match channel.kind {
        ChannelKind::Standard => NewMiningJob {
            channel_id: channel.id,
            job_id: *id,
            min_ntime,
            version: job.version,
            merkle_root: job.merkle_root(fixed.bytes()).into(),
        }
        .into(),
        ChannelKind::Extended => {
            let path = job.merkle_path.iter().map(|hash| (*hash).into()).collect();
            NewExtendedMiningJob {
                channel_id: channel.id,
                job_id: *id,
                min_ntime,
                version: job.version,
                version_rolling_allowed: job.version_rolling_allowed,
                merkle_path: Seq0255::new(path).expect(READ),
                coinbase_tx_prefix: job.coinbase_tx_prefix.clone().try_into().expect(READ),
                coinbase_tx_suffix: job.coinbase_tx_suffix.clone().try_into().expect(READ),
            }
            .into()
        }
    }
}

/// Why the parts of a job fit the message.
const READ: &str = "it was read from the same message";
