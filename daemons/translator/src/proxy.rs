//! SV2 miners on a lane: hh-translator as an edge proxy, under the node's own authority key.
//!
//! Each channel of a miner is one extended channel of the upstream, with ids, job ids and sequence numbers of its own; a
//! standard channel is one of which nothing is left to roll (docs/adr/0013-sv2-miners-on-a-lane.md). A channel outlives the
//! connection to the upstream: the miner is given another prefix and new jobs when there is one again.
//! `SubmitShares.Success` is said only of shares of which the upstream has said it. One task has a connection with its channels; it
//! waits for its socket and for room in the upstream's queue, and reads nothing meanwhile.

mod channel;
mod connect;
mod end;
mod open;
mod quota;
mod shares;
mod work;

pub(crate) use connect::{Entrance, serve};
pub(crate) use end::ProxyEnd;

use crate::downstream::UpstreamHandle;
use crate::miners::Place;
use crate::upstream::{Command, Event};
use channel::Channel;
use hh_mining::FloodWatch;
use hh_sv2::message::{
    EXTENSION_WORKER_HASHRATE, REQUIRES_STANDARD_JOBS, RequestExtensions, SetCustomMiningJobError,
    SetupConnection, Str0255,
};
use hh_sv2::setup::printable;
use hh_sv2::{Connection, Message};
use quota::MessageQuota;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a connection may have no channel. A miner opens its first one at once, and after a CloseChannel another; waiting for
/// the upstream to open it does not count.
const CHANNEL_DEADLINE: Duration = Duration::from_secs(60);

/// Shares of one connection that wait for the upstream, after which it is not read any more: some seconds of a proxy for
/// thousands of miners, and some 300 kB.
const UNSETTLED_MAX: usize = 4096;

/// Events of one channel that wait: an answer to each share that may, and what else may come with them.
const CHANNEL_EVENTS_MAX: usize = UNSETTLED_MAX + 256;

/// Messages handled before the connection is written: bounds the latency of the first of them.
const MESSAGES_A_WRITE: usize = 256;

/// Events handled before the connection is written, for the same reason: a new block for a few hundred channels.
const EVENTS_A_WRITE: usize = 1024;

/// What a peer is given to take what is queued for it when its connection ends: one that reads takes it at once.
const FAREWELL_GRACE: Duration = Duration::from_secs(2);

/// Channel ids begin after the ids of groups, which are sizes of an extranonce: at most 32 bytes.
const FIRST_CHANNEL_ID: u32 = 33;

/// See the module.
#[derive(Debug)]
pub(crate) struct ProxySession {
    connection: Connection,
    place: Place,
    upstream: UpstreamHandle,
    max_channels: usize,
    device: String,
    /// The device takes standard jobs only: its channels are in no group.
    standard_jobs: bool,
    /// Extension 0x0002 was granted: shares may name a worker of their channel's account.
    workers_granted: bool,
    /// Those that are open and those that the upstream has been asked for, by the id that the miner knows. Boxed: a node of the
    /// map has room for eleven, and most connections have one.
    channels: BTreeMap<u32, Box<Channel>>,
    next_channel_id: u32,
    /// Since when it had none, if it has none.
    without_channel_since: Instant,
    /// Shares of all channels that wait for the upstream.
    unsettled: usize,
    quota: MessageQuota,
    flood: FloodWatch,
    started_at: Instant,
    /// When the jobs that are queued came from the upstream.
    jobs_received_at: Vec<Instant>,
}

enum Wake {
    Stop,
    Kicked,
    NoChannel,
    Events(Vec<(u32, Option<Event>)>),
    Message(Message),
}

impl ProxySession {
    /// A connection after its handshake and setup, that may have `max_channels`.
    fn new(
        connection: Connection,
        setup: &SetupConnection,
        place: Place,
        upstream: UpstreamHandle,
        max_channels: usize,
    ) -> Self {
        let now = Instant::now();
        Self {
            connection,
            place,
            upstream,
            max_channels,
            device: device(setup),
            standard_jobs: setup.flags & REQUIRES_STANDARD_JOBS != 0,
            workers_granted: false,
            channels: BTreeMap::new(),
            next_channel_id: FIRST_CHANNEL_ID,
            without_channel_since: now,
            unsettled: 0,
            quota: MessageQuota::new(max_channels),
            flood: FloodWatch::default(),
            started_at: now,
            jobs_received_at: Vec::new(),
        }
    }

    /// Serves the miner until the connection ends, and says why it did.
    async fn run(mut self, stop: &CancellationToken) -> ProxyEnd {
        let end = match self.serve(stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.leave().await;
        if end.is_ours() {
            let closing = tokio::time::timeout(FAREWELL_GRACE, self.connection.close());
            // It ends in any case.
            closing.await.ok();
        }
        end
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Result<Infallible, ProxyEnd> {
        loop {
            let reads = self.unsettled < UNSETTLED_MAX;
            let no_channel_at = self.without_channel_since + CHANNEL_DEADLINE;
            let has_none = self.channels.is_empty();
            let wake = tokio::select! {
                // A new block before the shares of the old one.
                biased;
                () = stop.cancelled() => Wake::Stop,
                () = self.place.miner.kicked.notified() => Wake::Kicked,
                () = tokio::time::sleep_until(no_channel_at), if has_none => Wake::NoChannel,
                events = next_events(&mut self.channels) => Wake::Events(events),
                message = self.connection.recv(), if reads => Wake::Message(message?),
            };
            match wake {
                Wake::Stop => return Err(ProxyEnd::Stop),
                Wake::Kicked => return Err(ProxyEnd::Kicked),
                Wake::NoChannel => return Err(ProxyEnd::NoChannel),
                Wake::Events(events) => self.on_events(events)?,
                Wake::Message(message) => self.on_messages(message).await?,
            }
            // A peer that does not read must not hold up a stop.
            match stop.run_until_cancelled(self.connection.flush()).await {
                Some(flushed) => flushed?,
                None => return Err(ProxyEnd::Stop),
            }
            for received_at in self.jobs_received_at.drain(..) {
                let lane = &self.place.miner.lane;
                lane.notify_seconds.record(received_at.elapsed());
            }
        }
    }

    /// What came in one read, so that all of it goes on together.
    async fn on_messages(&mut self, first: Message) -> Result<(), ProxyEnd> {
        let mut message = first;
        for _ in 0..MESSAGES_A_WRITE {
            self.on_message(message).await?;
            if self.unsettled >= UNSETTLED_MAX {
                return Ok(());
            }
            match self.connection.try_recv()? {
                Some(next) => message = next,
                None => return Ok(()),
            }
        }
        // The last one that was taken.
        self.on_message(message).await
    }

    async fn on_message(&mut self, message: Message) -> Result<(), ProxyEnd> {
        match message {
            Message::SubmitSharesStandard(share) => self.on_submit_standard(&share).await,
            Message::SubmitSharesExtended(share, worker) => {
                let worker = worker.filter(|_| self.workers_granted);
                self.on_submit_extended(&share, worker).await
            }
            other if self.quota.takes(self.now_ms()) => self.on_request(other).await,
            _ => Err(ProxyEnd::TooManyMessages),
        }
    }

    async fn on_request(&mut self, message: Message) -> Result<(), ProxyEnd> {
        match message {
            Message::OpenStandardMiningChannel(open) => self.on_open_standard(&open).await,
            Message::OpenExtendedMiningChannel(open) => self.on_open_extended(&open).await,
            Message::UpdateChannel(update) => self.on_update_channel(&update).await,
            Message::CloseChannel(close) => self.on_close_channel(close.channel_id).await,
            Message::RequestExtensions(request) => self.on_request_extensions(request),
            Message::SetCustomMiningJob(job) => {
                Ok(self.connection.queue(SetCustomMiningJobError {
                    channel_id: job.channel_id,
                    request_id: job.request_id,
                    error_code: text("jd-not-supported"),
                })?)
            }
            // Of an extension that was not negotiated, so nobody is to have it: neither we nor the upstream.
            Message::Unknown(_) => Ok(()),
            other => Err(ProxyEnd::Unexpected(other.name())),
        }
    }

    /// What the upstream has granted us can be granted. Where another upstream does not have it, what it adds is left out.
    fn on_request_extensions(&mut self, request: RequestExtensions) -> Result<(), ProxyEnd> {
        let supported: &[u16] = if self.upstream.upstreams.names_workers() {
            &[EXTENSION_WORKER_HASHRATE]
        } else {
            &[]
        };
        let (answer, granted) = hh_sv2::extensions::answer(request, supported);
        self.workers_granted |= !granted.is_empty();
        Ok(self.connection.queue(answer)?)
    }

    async fn tell_upstream(&self, command: Command) -> Result<(), ProxyEnd> {
        let sent = self.upstream.commands.send(command).await;
        sent.map_err(|_closed| ProxyEnd::Stop)
    }

    /// Since the connection began.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives the channels back. Shares that were on their way stay counted as never settled.
    async fn leave(&mut self) {
        let ids: Vec<u32> = self.channels.keys().copied().collect();
        for id in ids {
            // Otherwise the upstream has stopped, and with it all its channels.
            self.forget(id).await.ok();
        }
    }
}

/// What has happened to the channels; never completes without one. Cancel-safe: it takes nothing before it is ready.
async fn next_events(channels: &mut BTreeMap<u32, Box<Channel>>) -> Vec<(u32, Option<Event>)> {
    poll_fn(|context| {
        let mut ready = Vec::new();
        for (&id, channel) in channels.iter_mut() {
            while ready.len() < EVENTS_A_WRITE
                && let Poll::Ready(event) = channel.events.poll_recv(context)
            {
                let is_last = event.is_none();
                ready.push((id, event));
                if is_last {
                    break;
                }
            }
        }
        if ready.is_empty() {
            Poll::Pending
        } else {
            Poll::Ready(ready)
        }
    })
    .await
}

/// What a device says it is, for logs and tables.
fn device(setup: &SetupConnection) -> String {
    /// Vendor, model and firmware of real devices are shorter.
    const MAX_BYTES: usize = 96;
    let words = [&setup.vendor, &setup.hardware_version, &setup.firmware]
        .map(|text| printable(text.as_bytes()));
    let mut device = words.join(" ").trim().to_owned();
    device.truncate(MAX_BYTES);
    device
}

/// A string field of ours.
fn text(code: &str) -> Str0255 {
    code.try_into()
        .expect("our own codes, and those that were read from a STR0_255, fit in one")
}
