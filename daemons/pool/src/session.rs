//! One miner's connection: its channels, its shares and its answers, in one task.
//!
//! A share is checked where it arrives, and what came in one read is logged as one append and answered by one write. The
//! task never waits for the log or the ledger: appends under way are kept in order and answered when they resolve. It
//! waits for its socket only, and reads nothing meanwhile: what is queued to a peer that does not read stays what one read
//! and one job made, and the peer is dropped after the write deadline.

mod open;
mod passage;
mod shares;

use crate::admission::ConnectionView;
use crate::blocks::Blocks;
use crate::channel::{Channel, ChannelKind};
use crate::config::{LimitsConfig, ReconnectConfig};
use crate::difficulty::DifficultySettings;
use crate::directory::{Directory, LaneView, unix_ms};
use crate::group::{self, EncodeError};
use crate::hyper_nodes::{HyperNodes, Passage};
use crate::rejects::Rejects;
use crate::share_log::{Appended, Appending, LogError, ShareLog};
use crate::work::{PoolJob, Work};
use bitcoin::Network;
use hh_daemon::ban::BanBook;
use hh_mining::{FloodWatch, JobError, PrefixAllocator};
use hh_sv2::message::{
    EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE, OpenMiningChannelError,
    REQUIRES_STANDARD_JOBS, Reconnect, SetCustomMiningJobError, SetTarget, SetupConnection,
};
use hh_sv2::{Connection, ConnectionError, Message};
use open::Opening;
use shares::{Ack, Batch};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often vardiff looks at each channel.
const TICK: Duration = Duration::from_secs(1);

/// Appends under way for one connection; what comes then gathers in its batch. At one a millisecond these are longer than
/// a commit takes on a slow disk.
const MAX_APPENDS: usize = 64;

/// What a connection that ends waits for its shares to be durable. With the next one, and a second for the peer to read and
/// close, it is eight seconds: the daemon has ten to stop.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// What a peer is given to take its last answers: one that reads takes them at once.
const FAREWELL_GRACE: Duration = Duration::from_secs(2);

/// How soon a batch that the log had no room for is offered again.
const FULL_LOG_RETRY: Duration = Duration::from_millis(5);

/// Extensions that a client is granted: a worker's name in each share, and our own, with which a node presents its credential.
const EXTENSIONS: [u16; 2] = [EXTENSION_WORKER_HASHRATE, EXTENSION_NODE_CREDENTIAL];

/// What all connections of the pool share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub network: Network,
    pub directory: Directory,
    pub log: ShareLog,
    pub prefixes: Mutex<PrefixAllocator>,
    pub blocks: Blocks,
    pub rejects: Rejects,
    pub bans: Arc<BanBook>,
    pub hyper_nodes: Arc<HyperNodes>,
    pub work: watch::Receiver<Option<Arc<Work>>>,
    pub difficulty: watch::Receiver<Arc<DifficultySettings>>,
    pub limits: LimitsConfig,
    /// Where miners are sent when the daemon stops; nothing is said to them where there is none.
    pub reconnect_on_stop: Option<ReconnectConfig>,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
}

/// Why a connection ended; it is closed in any case.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("a job could not be made")]
    Job(#[from] JobError),
    #[error("a job could not be encoded")]
    Encode(#[from] EncodeError),
    #[error("it did not take its last answers within {} s", FAREWELL_GRACE.as_secs())]
    Deaf,
    #[error("it sent a flood of invalid shares")]
    Flood,
    #[error("the message {name} has no business on a connection of a miner")]
    Unexpected { name: &'static str },
}

/// Something that is done when an append is durable.
#[derive(Debug)]
enum AfterAppend {
    Settle(Vec<Ack>),
    Open(Box<Opening>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    view: Arc<ConnectionView>,
    shared: Arc<Shared>,
    lane: Arc<LaneView>,
    device: Arc<str>,
    /// The device takes standard jobs only: its channels are in no group and get a message each.
    standard_jobs: bool,
    /// Extension 0x0002 was granted: shares may name a worker of their channel's account.
    workers_granted: bool,
    /// Our own extension was granted: it may present a node's credential.
    credentials_granted: bool,
    /// Through which node its shares come; none where it has not proven any, or its credential has ended.
    passage: Option<Passage>,
    /// Boxed: a node of the map has room for eleven, and most connections have one.
    channels: BTreeMap<u32, Box<Channel>>,
    work: watch::Receiver<Option<Arc<Work>>>,
    difficulty: watch::Receiver<Arc<DifficultySettings>>,
    current: Option<Arc<Work>>,
    batch: Batch,
    flood: FloodWatch,
    appends: VecDeque<(Appending, AfterAppend)>,
}

/// What woke the task.
enum Event {
    End,
    Work,
    Appended(Result<Appended, LogError>),
    Message(Message),
    Tick,
    LogHasRoom,
}

impl Session {
    /// A connection after its handshake and setup.
    pub(crate) fn new(
        connection: Connection,
        setup: &SetupConnection,
        view: Arc<ConnectionView>,
        shared: Arc<Shared>,
        lane: Arc<LaneView>,
    ) -> Self {
        let device = [&setup.vendor, &setup.hardware_version, &setup.firmware]
            .map(|text| text.as_utf8_or_hex())
            .join(" ");
        Self {
            connection,
            view,
            lane,
            device: printable(device.trim()).into(),
            standard_jobs: setup.flags & REQUIRES_STANDARD_JOBS != 0,
            workers_granted: false,
            credentials_granted: false,
            passage: None,
            channels: BTreeMap::new(),
            work: shared.work.clone(),
            difficulty: shared.difficulty.clone(),
            current: None,
            batch: Batch::default(),
            flood: FloodWatch::default(),
            appends: VecDeque::new(),
            shared,
        }
    }

    /// Serves the connection until the peer ends it, or its view says that it is to end.
    ///
    /// # Errors
    /// Why it ended; closing by the peer is an error as well.
    pub(crate) async fn run(mut self) -> Result<(), SessionError> {
        let ending = self.view.ending.clone();
        let result = self.serve(&ending).await;
        self.leave();
        result?;
        Ok(self.connection.close().await?)
    }

    async fn serve(&mut self, ending: &CancellationToken) -> Result<(), SessionError> {
        self.work.mark_changed();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reading = self.is_reading();
            let event = tokio::select! {
                biased;
                () = ending.cancelled() => Event::End,
                Ok(()) = self.work.changed() => Event::Work,
                Some(result) = first_of(&mut self.appends) => Event::Appended(result),
                // Before what the peer sends: a flood holds up neither vardiff nor an operator.
                _ = tick.tick() => Event::Tick,
                message = self.connection.recv(), if reading => Event::Message(message?),
                () = tokio::time::sleep(FULL_LOG_RETRY), if self.batch.is_stalled() => Event::LogHasRoom,
            };
            if matches!(event, Event::End) {
                return self.finish().await;
            }
            self.on_event(event)?;
            self.append_batch()?;
            // A peer that does not read must not hold up its end.
            let flushed = ending.run_until_cancelled(self.connection.flush()).await;
            match flushed {
                Some(flushed) => flushed?,
                None => return self.finish().await,
            }
        }
    }

    /// A flood stays in the peer's socket while the disk is merely slow. While it fails everything is read and answered:
    /// there may be a block among the shares.
    fn is_reading(&self) -> bool {
        !self.batch.is_full() || self.shared.log.is_failing()
    }

    /// What is checked is made durable and answered, if the disk takes it in time; nothing more is read.
    async fn finish(&mut self) -> Result<(), SessionError> {
        let settled = tokio::time::timeout(FINISH_GRACE, self.settle_all()).await;
        settled.unwrap_or(Ok(()))?;
        self.say_where_to_go()?;
        let flushed = tokio::time::timeout(FAREWELL_GRACE, self.connection.flush()).await;
        Ok(flushed.map_err(|_elapsed| SessionError::Deaf)??)
    }

    /// Reconnect (SV2 specification 3.6.5), where the daemon stops and the operator wants it: an empty host and port 0 mean the
    /// same ones again.
    fn say_where_to_go(&mut self) -> Result<(), SessionError> {
        let Some(to) = &self.shared.reconnect_on_stop else {
            return Ok(());
        };
        if !self.shared.stop.is_cancelled() {
            return Ok(());
        }
        Ok(self.connection.queue(Reconnect {
            new_host: text(&to.host),
            new_port: to.port,
        })?)
    }

    async fn settle_all(&mut self) -> Result<(), SessionError> {
        self.append_batch()?;
        while !self.shared.log.is_failing()
            && let Some(result) = first_of(&mut self.appends).await
        {
            self.on_appended(result)?;
            self.append_batch()?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), SessionError> {
        match event {
            Event::Work => self.on_work(),
            Event::Appended(result) => self.on_appended(result),
            Event::Message(message) => {
                self.on_message(message)?;
                while let Some(message) = self.connection.try_recv()? {
                    self.on_message(message)?;
                }
                Ok(())
            }
            Event::Tick => self.on_tick(),
            Event::LogHasRoom | Event::End => Ok(()),
        }
    }

    fn on_message(&mut self, message: Message) -> Result<(), SessionError> {
        match message {
            Message::SubmitSharesStandard(share) => self.on_submit_standard(share),
            Message::SubmitSharesExtended(share, worker) => {
                let worker = worker.filter(|_| self.workers_granted);
                self.on_submit_extended(share, worker.as_deref())
            }
            Message::OpenStandardMiningChannel(open) => self.on_open_standard(open),
            Message::OpenExtendedMiningChannel(open) => self.on_open_extended(open),
            Message::UpdateChannel(update) => self.on_update_channel(update),
            Message::CloseChannel(close) => {
                self.on_close_channel(close.channel_id);
                Ok(())
            }
            Message::RequestExtensions(request) => {
                let (answer, granted) = hh_sv2::extensions::answer(request, &EXTENSIONS);
                self.workers_granted |= granted.contains(&EXTENSION_WORKER_HASHRATE);
                self.credentials_granted |= granted.contains(&EXTENSION_NODE_CREDENTIAL);
                Ok(self.connection.queue(answer)?)
            }
            Message::PresentCredential(message) => self.on_present_credential(&message),
            Message::SetCustomMiningJob(job) => {
                Ok(self.connection.queue(SetCustomMiningJobError {
                    channel_id: job.channel_id,
                    request_id: job.request_id,
                    error_code: text("jd-not-supported"),
                })?)
            }
            // What is of an extension we don't know is for us to discard (SV2 specification 3.4).
            Message::Unknown(_) => Ok(()),
            other => Err(SessionError::Unexpected { name: other.name() }),
        }
    }

    /// The newest work goes to every channel; what came in between was never sent and is not missed.
    fn on_work(&mut self) -> Result<(), SessionError> {
        let Some(work) = self.work.borrow_and_update().clone() else {
            return Ok(());
        };
        let tip = self.current.as_ref().map(|current| current.tip.number);
        let new_tip = tip != Some(work.tip.number);
        self.current = Some(Arc::clone(&work));
        if self.channels.is_empty() {
            return Ok(());
        }
        for channel in self.channels.values_mut() {
            announce_target(&mut self.connection, channel, &work)?;
        }
        if self.standard_jobs {
            for channel in self.channels.values() {
                send_job(&mut self.connection, channel, &work, new_tip)?;
            }
        } else if new_tip {
            self.connection.queue_encoded(&work.messages.future_job)?;
            self.connection
                .queue_encoded(&work.messages.set_new_prev_hash)?;
        } else {
            self.connection.queue_encoded(&work.messages.job)?;
        }
        for channel in self.channels.values_mut() {
            channel.on_job_sent(Arc::clone(&work.job), &work.tip);
        }
        Ok(())
    }

    fn on_tick(&mut self) -> Result<(), SessionError> {
        self.close_marked()?;
        self.expire_passage(unix_ms() / 1000)?;
        let now_ms = self.shared.directory.clock().now_ms();
        if self.flood.is_flood(now_ms) {
            return Err(SessionError::Flood);
        }
        let Some(work) = self.current.clone() else {
            return Ok(());
        };
        let changed = self.difficulty.has_changed().unwrap_or(false);
        if changed {
            self.apply_difficulty();
        }
        for channel in self.channels.values_mut() {
            if channel.vardiff.tick(now_ms).is_some() || changed {
                retarget(&mut self.connection, channel, &work)?;
            }
        }
        Ok(())
    }

    fn leave(&mut self) {
        for id in std::mem::take(&mut self.channels).into_keys() {
            self.forget(id);
        }
    }
}

/// Resolves with the oldest append under way, and takes it not off: that is for who handles it.
async fn first_of(
    appends: &mut VecDeque<(Appending, AfterAppend)>,
) -> Option<Result<Appended, LogError>> {
    let (appending, _) = appends.front_mut()?;
    Some(appending.await)
}

/// SetTarget, if the target for the next job differs from what the miner was told last.
fn announce_target(
    connection: &mut Connection,
    channel: &mut Channel,
    work: &Work,
) -> Result<bool, SessionError> {
    let target = channel.wanted_target(&work.tip);
    if target == channel.announced {
        return Ok(false);
    }
    channel.announced = target;
    connection.queue(SetTarget {
        channel_id: channel.id,
        maximum_target: group::u256(target.to_le_bytes()),
    })?;
    Ok(true)
}

/// Tells a channel its new target and gives it, at once, other work of the same template to which it applies. Where the
/// template has no further variant, the target waits for the next template.
fn retarget(
    connection: &mut Connection,
    channel: &mut Channel,
    work: &Arc<Work>,
) -> Result<(), SessionError> {
    let next = match channel.last_job() {
        Some(last) if work.job.shares_template_with(last.id) => last.variant_index() + 1,
        _ => 1,
    };
    let Some(job) = work.job.template.variant(next)? else {
        return Ok(());
    };
    if !announce_target(connection, channel, work)? {
        return Ok(());
    }
    send_other_job(connection, channel, &job, work)?;
    channel.on_job_sent(job, &work.tip);
    Ok(())
}

/// Everybody's job to one channel: as a future job with its SetNewPrevHash where the tip is new to it.
fn send_job(
    connection: &mut Connection,
    channel: &Channel,
    work: &Work,
    new_tip: bool,
) -> Result<(), SessionError> {
    let min_ntime = (!new_tip).then_some(work.tip.tip.header_timestamp);
    match channel.kind {
        ChannelKind::Standard => {
            let extranonce = channel.standard_extranonce();
            connection.queue(group::standard_job(
                channel.id,
                &work.job,
                &extranonce,
                min_ntime,
            ))?;
        }
        ChannelKind::Extended if new_tip => {
            connection.queue_encoded_for(&work.messages.future_job, channel.id)?;
        }
        ChannelKind::Extended => connection.queue_encoded_for(&work.messages.job, channel.id)?,
    }
    if new_tip {
        connection.queue_encoded_for(&work.messages.set_new_prev_hash, channel.id)?;
    }
    Ok(())
}

/// A job that only this channel gets, on the tip that it has.
fn send_other_job(
    connection: &mut Connection,
    channel: &Channel,
    job: &PoolJob,
    work: &Work,
) -> Result<(), SessionError> {
    let now = Some(work.tip.tip.header_timestamp);
    match channel.kind {
        ChannelKind::Standard => {
            let extranonce = channel.standard_extranonce();
            connection.queue(group::standard_job(channel.id, job, &extranonce, now))?;
        }
        ChannelKind::Extended => connection.queue(group::extended_job(channel.id, job, now)?)?,
    }
    Ok(())
}

fn open_error(request_id: u32, code: &str) -> OpenMiningChannelError {
    OpenMiningChannelError {
        request_id,
        error_code: text(code),
    }
}

/// A string field of ours.
fn text(code: &str) -> hh_sv2::message::Str0255 {
    let code = code.to_owned().try_into();
    code.expect("our own codes are shorter than 255 bytes, and so is a configured host")
}

/// What a peer wrote, for logs and tables: control characters are gone, and it is short.
fn printable(text: &str) -> String {
    /// Vendor, model and firmware of real devices are shorter.
    const MAX_CHARS: usize = 96;
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests;
