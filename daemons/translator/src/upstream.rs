//! The SV2 connection to a pool: one task owns it, opens a channel for every miner, and passes messages on by channel.
//!
//! It converges: sessions say which channels they want, and whenever there is a connection the channels that are missing are
//! opened. It never waits for a session (one that does not take its events is dropped), never judges a share, and never
//! gives up: a pool that is away is tried again for ever.

pub(crate) mod link;

use crate::bridge::{Rejection, Share, Tip, UpstreamJob};
use hh_mining::Target;
use hh_sv2::message::{
    CloseChannel, NewExtendedMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, SetExtranoncePrefix, SetGroupChannel,
    SetNewPrevHash, SetTarget, Str0255, SubmitSharesError, SubmitSharesExtended,
    SubmitSharesSuccess, UpdateChannel, UpdateChannelError,
};
use hh_sv2::setup::printable;
use hh_sv2::{ConnectionError, Message};
use link::{Link, LinkEvent};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Commands of all sessions that wait: a share each from a thousand miners. A session whose command does not fit waits, and
/// with it its miner.
pub(crate) const COMMAND_QUEUE: usize = 1024;

/// Events of one session that wait. A session that is this far behind (a second's worth of a flood of rejected shares) is
/// stuck and is dropped.
pub(crate) const EVENT_QUEUE: usize = 256;

/// Channels asked for and not yet answered; the others wait. After a reconnect with thousands of miners this keeps shares
/// of the first from queueing behind the opening of the last.
const OPENING_MAX: usize = 256;

/// Commands handled before the connection is written: bounds the latency of the first of them.
const COMMANDS_A_WRITE: usize = 256;

/// The error code of a channel that would have to let more of the extranonce be rolled than the pool can give.
pub(crate) const MIN_EXTRANONCE_SIZE_TOO_LARGE: &str = "min-extranonce-size-too-large";

/// Which connection to the upstream: counts up with every one that is made.
pub(crate) type LinkNumber = u64;

/// A channel, on one connection: what a job is for, and where its shares go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub link: LinkNumber,
    pub channel_id: u32,
}

/// What a session asks of the upstream.
#[derive(Debug)]
pub(crate) enum Command {
    /// Keep a channel open for this session, on this connection and all later ones.
    Open {
        session: u64,
        wish: Box<ChannelWish>,
        events: mpsc::Sender<Event>,
    },
    /// The miner's hashrate or its bound of difficulty has changed.
    Update { session: u64, terms: ChannelTerms },
    /// Forward a share, unless `link` is gone: then [`Event::Lost`] has settled it.
    Submit {
        route: Route,
        sequence_number: u32,
        share: Box<Share>,
    },
    /// The session has ended.
    Close { session: u64 },
}

/// A channel that a session wants.
#[derive(Clone, Debug)]
pub(crate) struct ChannelWish {
    /// As the miner gave it; at most 255 bytes.
    pub user_identity: String,
    pub min_extranonce_size: u16,
    pub terms: ChannelTerms,
}

/// What the pool chooses a channel's target from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChannelTerms {
    /// Expected, hashes a second.
    pub nominal_hash_rate: f32,
    /// Easiest target that the miner takes.
    pub max_target: Target,
}

/// What happens to a session's channel. Small, because every session's queue has room for 32 at once.
#[derive(Debug)]
pub(crate) enum Event {
    Opened(Box<OpenedChannel>),
    /// The pool does not open the channel; its error code. Nothing follows.
    Refused(Box<str>),
    Job(Arc<UpstreamJob>, Instant),
    Tip(Arc<Tip>, Instant),
    /// For the jobs after it.
    Target(Box<Target>),
    /// For the jobs after it.
    ExtranoncePrefix(Box<[u8]>),
    /// Settles every share up to this one that was not rejected.
    Accepted {
        route: Route,
        last_sequence_number: u32,
        count: u32,
    },
    Rejected {
        route: Route,
        sequence_number: u32,
        reason: Rejection,
        /// The pool's own word.
        code: Box<str>,
    },
    /// The pool does not take what [`Command::Update`] asked for; its error code.
    UpdateRefused(Box<str>),
    /// The pool closed the channel; its reason. Nothing follows.
    Closed(Box<str>),
    /// The connection is gone and the channel with it: nothing that is not settled ever will be. [`Self::Opened`] follows when
    /// there is another one.
    Lost(LinkNumber),
}

/// A channel that is open.
#[derive(Clone, Debug)]
pub(crate) struct OpenedChannel {
    pub route: Route,
    pub target: Target,
    pub extranonce_prefix: Box<[u8]>,
    /// Bytes of the extranonce that are the miner's.
    pub extranonce_size: usize,
}

/// What one session wants and has.
#[derive(Debug)]
struct Wanted {
    wish: Box<ChannelWish>,
    events: mpsc::Sender<Event>,
    channel: Option<Channel>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    id: u32,
    group_id: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Upstream {
    link: Link,
    commands: mpsc::Receiver<Command>,
    sessions: HashMap<u64, Wanted>,
    /// Sessions whose channel is to be asked for.
    to_open: VecDeque<u64>,
    /// Sessions whose channel was asked for, by request id.
    opening: HashMap<u32, u64>,
    last_request_id: u32,
    /// Sessions by the id of their open channel.
    channels: HashMap<u32, u64>,
}

enum Wake {
    Link(LinkEvent),
    Command(Command),
    Stop,
}

impl Upstream {
    pub(crate) fn new(link: Link, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            link,
            commands,
            sessions: HashMap::new(),
            to_open: VecDeque::new(),
            opening: HashMap::new(),
            last_request_id: 0,
            channels: HashMap::new(),
        }
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let wake = tokio::select! {
                () = stop.cancelled() => Wake::Stop,
                event = self.link.next() => Wake::Link(event),
                Some(command) = self.commands.recv() => Wake::Command(command),
            };
            let handled = match wake {
                Wake::Stop => return,
                Wake::Link(event) => self.on_link(event),
                Wake::Command(command) => self.on_command(command),
            };
            let handled = handled.and_then(|()| self.drain());
            let flushed = match handled {
                Ok(()) => self.link.flush().await,
                Err(error) => Err(error),
            };
            if let Err(error) = flushed {
                self.on_lost(&error);
            }
        }
    }

    /// Handles what has come in meanwhile, so that all of it goes out in one write.
    fn drain(&mut self) -> Result<(), ConnectionError> {
        while let Some(message) = self.link.try_recv()? {
            self.on_message(message)?;
        }
        for _ in 0..COMMANDS_A_WRITE {
            let Ok(command) = self.commands.try_recv() else {
                break;
            };
            self.on_command(command)?;
        }
        self.open_wanted()
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), ConnectionError> {
        match event {
            LinkEvent::Changed => Ok(()),
            LinkEvent::Up => {
                self.to_open = self.sessions.keys().copied().collect();
                Ok(())
            }
            LinkEvent::Message(message) => self.on_message(message?),
        }
    }

    fn on_lost(&mut self, error: &ConnectionError) {
        self.link.on_lost(error);
        self.to_open.clear();
        self.opening.clear();
        self.channels.clear();
        // A session that had no channel yet has nothing to lose, and goes on waiting for one.
        let with_channel: Vec<u64> = self
            .sessions
            .iter_mut()
            .filter_map(|(&session, wanted)| wanted.channel.take().map(|_| session))
            .collect();
        for session in with_channel {
            self.deliver(session, Event::Lost(self.link.number()));
        }
    }

    fn on_command(&mut self, command: Command) -> Result<(), ConnectionError> {
        match command {
            Command::Open {
                session,
                wish,
                events,
            } => {
                let wanted = Wanted {
                    wish,
                    events,
                    channel: None,
                };
                self.sessions.insert(session, wanted);
                self.to_open.push_back(session);
                Ok(())
            }
            Command::Update { session, terms } => self.on_update(session, terms),
            Command::Submit {
                route,
                sequence_number,
                share,
            } if route.link == self.link.number() => {
                let message = submit_message(route.channel_id, sequence_number, *share);
                self.link.queue(message)
            }
            Command::Submit { .. } => Ok(()),
            Command::Close { session } => self.forget(session),
        }
    }

    fn on_update(&mut self, session: u64, terms: ChannelTerms) -> Result<(), ConnectionError> {
        let Some(wanted) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        wanted.wish.terms = terms;
        let Some(channel) = wanted.channel else {
            return Ok(());
        };
        self.link.queue(UpdateChannel {
            channel_id: channel.id,
            nominal_hash_rate: terms.nominal_hash_rate,
            maximum_target: terms.max_target.to_le_bytes().into(),
        })
    }

    /// Asks for channels that are wanted, as many as may be under way.
    fn open_wanted(&mut self) -> Result<(), ConnectionError> {
        while self.link.is_up()
            && self.opening.len() < OPENING_MAX
            && let Some(session) = self.to_open.pop_front()
        {
            let Some(wanted) = self.sessions.get(&session) else {
                continue;
            };
            let ChannelWish {
                user_identity,
                min_extranonce_size,
                terms,
            } = &*wanted.wish;
            self.last_request_id = self.last_request_id.wrapping_add(1);
            self.opening.insert(self.last_request_id, session);
            self.link.queue(OpenExtendedMiningChannel {
                request_id: self.last_request_id,
                user_identity: text(user_identity),
                nominal_hash_rate: terms.nominal_hash_rate,
                max_target: terms.max_target.to_le_bytes().into(),
                min_extranonce_size: *min_extranonce_size,
            })?;
        }
        Ok(())
    }

    fn on_message(&mut self, message: Message) -> Result<(), ConnectionError> {
        match message {
            Message::OpenExtendedMiningChannelSuccess(opened) => self.on_opened(opened)?,
            Message::OpenMiningChannelError(error) => self.on_refused(&error),
            Message::NewExtendedMiningJob(job) => self.on_job(job),
            Message::SetNewPrevHash(tip) => self.on_tip(tip),
            Message::SetTarget(message) => self.on_target(&message),
            Message::SetExtranoncePrefix(message) => self.on_extranonce_prefix(&message),
            Message::SubmitSharesSuccess(success) => self.on_accepted(&success),
            Message::SubmitSharesError(error) => self.on_rejected(&error),
            Message::SetGroupChannel(message) => self.on_group(&message),
            Message::CloseChannel(close) => self.on_closed(&close),
            Message::UpdateChannelError(error) => self.on_update_refused(&error),
            Message::Reconnect(_) => return self.link.on_reconnect_asked(),
            // For standard channels, which we have none of, and of extensions that we did not ask for.
            other => tracing::debug!(message = other.name(), "upstream message ignored"),
        }
        Ok(())
    }

    fn on_opened(
        &mut self,
        opened: OpenExtendedMiningChannelSuccess,
    ) -> Result<(), ConnectionError> {
        let Some(session) = self.opening.remove(&opened.request_id) else {
            return Ok(());
        };
        let channel = Channel {
            id: opened.channel_id,
            group_id: opened.group_channel_id,
        };
        let Some(wanted) = self.sessions.get_mut(&session) else {
            // The miner has left while its channel was being opened.
            return self.link.queue(close_message(channel.id));
        };
        wanted.channel = Some(channel);
        self.channels.insert(channel.id, session);
        self.link
            .learn_room(Some(usize::from(opened.extranonce_size)));
        let event = OpenedChannel {
            route: Route {
                link: self.link.number(),
                channel_id: channel.id,
            },
            target: Target::from_le_bytes(opened.target.to_array()),
            extranonce_prefix: opened.extranonce_prefix.as_bytes().into(),
            extranonce_size: usize::from(opened.extranonce_size),
        };
        self.deliver(session, Event::Opened(Box::new(event)));
        Ok(())
    }

    fn on_refused(&mut self, error: &OpenMiningChannelError) {
        let Some(session) = self.opening.remove(&error.request_id) else {
            return;
        };
        let code = printable(error.error_code.as_bytes());
        tracing::info!(session, code, "upstream refused to open a channel");
        if code == MIN_EXTRANONCE_SIZE_TOO_LARGE {
            self.link.learn_room(None);
        }
        self.deliver(session, Event::Refused(code.into()));
        self.sessions.remove(&session);
    }

    fn on_job(&mut self, message: NewExtendedMiningJob) {
        let received_at = Instant::now();
        let channel_id = message.channel_id;
        let job = Arc::new(UpstreamJob::from(message));
        self.link.learn_version_rolling(job.version_rolling_allowed);
        self.deliver_to(channel_id, || Event::Job(Arc::clone(&job), received_at));
    }

    fn on_tip(&mut self, message: SetNewPrevHash) {
        let received_at = Instant::now();
        let (channel_id, nbits) = (message.channel_id, message.nbits);
        match Tip::try_from(message) {
            Ok(tip) => {
                let tip = Arc::new(tip);
                self.deliver_to(channel_id, || Event::Tip(Arc::clone(&tip), received_at));
            }
            Err(error) => {
                tracing::error!(nbits, %error, "upstream sent a block to build on without a target");
            }
        }
    }

    fn on_target(&mut self, message: &SetTarget) {
        let target = Target::from_le_bytes(message.maximum_target.to_array());
        self.deliver_to(message.channel_id, || Event::Target(Box::new(target)));
    }

    fn on_extranonce_prefix(&mut self, message: &SetExtranoncePrefix) {
        let prefix = message.extranonce_prefix.as_bytes();
        self.deliver_to(message.channel_id, || {
            Event::ExtranoncePrefix(prefix.into())
        });
    }

    fn on_accepted(&mut self, success: &SubmitSharesSuccess) {
        let route = Route {
            link: self.link.number(),
            channel_id: success.channel_id,
        };
        self.deliver_to(success.channel_id, || Event::Accepted {
            route,
            last_sequence_number: success.last_sequence_number,
            count: success.new_submits_accepted_count,
        });
    }

    fn on_update_refused(&mut self, error: &UpdateChannelError) {
        let code = printable(error.error_code.as_bytes());
        let channel_id = error.channel_id;
        tracing::warn!(channel_id, code, "upstream refused a change of a channel");
        self.deliver_to(channel_id, || Event::UpdateRefused(code.as_str().into()));
    }

    fn on_rejected(&mut self, error: &SubmitSharesError) {
        let code = printable(error.error_code.as_bytes());
        let reason = Rejection::from_sv2_code(&code);
        let channel_id = error.channel_id;
        if reason == Rejection::Other {
            tracing::debug!(channel_id, code, "share rejected by the upstream");
        }
        let route = Route {
            link: self.link.number(),
            channel_id,
        };
        self.deliver_to(channel_id, || Event::Rejected {
            route,
            sequence_number: error.sequence_number,
            reason,
            code: code.as_str().into(),
        });
    }

    fn on_group(&mut self, message: &SetGroupChannel) {
        for channel_id in message.channel_ids.iter() {
            let session = self.channels.get(channel_id);
            let wanted = session.and_then(|session| self.sessions.get_mut(session));
            if let Some(channel) = wanted.and_then(|wanted| wanted.channel.as_mut()) {
                channel.group_id = message.group_channel_id;
            }
        }
    }

    fn on_closed(&mut self, close: &CloseChannel) {
        let reason = printable(close.reason_code.as_bytes());
        for session in self.sessions_of(close.channel_id) {
            self.deliver(session, Event::Closed(reason.as_str().into()));
            if let Some(channel) = self
                .sessions
                .remove(&session)
                .and_then(|wanted| wanted.channel)
            {
                self.channels.remove(&channel.id);
            }
        }
    }

    /// The session that has the channel, or all in the group of that id: they share one namespace.
    fn sessions_of(&self, channel_id: u32) -> Vec<u64> {
        if let Some(&session) = self.channels.get(&channel_id) {
            return vec![session];
        }
        let in_group = |wanted: &Wanted| {
            let group_id = wanted.channel.map(|channel| channel.group_id);
            group_id == Some(channel_id)
        };
        let sessions = self.sessions.iter();
        let members = sessions.filter_map(|(&session, wanted)| in_group(wanted).then_some(session));
        members.collect()
    }

    fn deliver_to(&mut self, channel_id: u32, event: impl Fn() -> Event) {
        for session in self.sessions_of(channel_id) {
            self.deliver(session, event());
        }
    }

    /// Hands an event over without waiting. A session that is too far behind or has ended loses its channel.
    fn deliver(&mut self, session: u64, event: Event) {
        let Some(wanted) = self.sessions.get(&session) else {
            return;
        };
        match wanted.events.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!(
                    session,
                    limit = EVENT_QUEUE,
                    "session is stuck and is dropped"
                );
                self.forget_quietly(session);
            }
            Err(TrySendError::Closed(_)) => self.forget_quietly(session),
        }
    }

    /// Forgets a session in the middle of a message; what can't be written now shows at the next flush.
    fn forget_quietly(&mut self, session: u64) {
        if let Err(error) = self.forget(session) {
            tracing::debug!(%error, "channel not closed");
        }
    }

    fn forget(&mut self, session: u64) -> Result<(), ConnectionError> {
        let Some(channel) = self
            .sessions
            .remove(&session)
            .and_then(|wanted| wanted.channel)
        else {
            return Ok(());
        };
        self.channels.remove(&channel.id);
        self.link.queue(close_message(channel.id))
    }
}

fn submit_message(channel_id: u32, sequence_number: u32, share: Share) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id,
        sequence_number,
        job_id: share.job_id,
        nonce: share.nonce,
        ntime: share.ntime,
        version: share.version,
        extranonce: share
            .extranonce
            .try_into()
            .expect("a channel's extranonce was read from a B0_32"),
    }
}

fn close_message(channel_id: u32) -> CloseChannel {
    CloseChannel {
        channel_id,
        reason_code: text("miner-left"),
    }
}

fn text(value: &str) -> Str0255 {
    value
        .try_into()
        .expect("the parser takes no user name longer than a STR0_255")
}
