//! The SV2 connection to a pool: one task owns it, opens a channel for every miner, and passes messages on by channel.
//!
//! It converges: sessions say which channels they want, and whenever there is a connection the channels that are missing are
//! opened. It never waits for a session (one that does not take its events is dropped), never judges a share, and never
//! gives up: a pool that is away is tried again for ever. Where miners are moved to another upstream, each keeps its old
//! channel until it has a new one, and shares on the old one are settled there for as long as that connection is kept.

mod backoff;
mod choice;
mod command;
mod dial;
mod known;
pub(crate) mod link;
mod message;
mod probe;
mod reconnect;
pub(crate) mod standing;
mod steered;
mod steering;
pub(crate) mod trial;

pub(crate) use command::{
    ChannelTerms, ChannelWish, Command, CurrentWork, Event, EventSink, LaneSink, LinkNumber,
    OpenedChannel, Route,
};

use crate::bridge::{Rejection, Tip, UpstreamJob};
use hh_mining::Target;
use hh_sv2::message::{
    CloseChannel, NewExtendedMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenMiningChannelError, SetExtranoncePrefix, SetGroupChannel,
    SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesSuccess, UpdateChannelError,
};
use hh_sv2::setup::printable;
use hh_sv2::{ConnectionError, Message};
use link::{Link, LinkEvent};
use message::{close_message, submit_message, text};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use steering::Steering;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior};
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

/// How often the difficulty of channels is looked at, where it is ours, and the end of a credential.
const TICK: Duration = Duration::from_secs(1);

/// Commands handled before the connection is written: bounds the latency of the first of them.
const COMMANDS_A_WRITE: usize = 256;

/// The error code of a channel that would have to let more of the extranonce be rolled than the pool can give.
pub(crate) const MIN_EXTRANONCE_SIZE_TOO_LARGE: &str = "min-extranonce-size-too-large";

/// What one session wants and has.
#[derive(Debug)]
struct Wanted {
    wish: Box<ChannelWish>,
    events: EventSink,
    channel: Option<Channel>,
    /// What it had on the connection that is being left.
    former: Option<Route>,
    /// Where the pool leaves the channel's difficulty to us.
    steering: Option<Steering>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    route: Route,
    group_id: u32,
    /// Of the next jobs, as the pool has set it.
    target: Target,
}

impl Wanted {
    /// Whether a message on `link` to `channel_id`, a channel's own or a group's, is about work of this session.
    fn is_in_group(&self, route: Route) -> bool {
        self.channel.is_some_and(|channel| {
            channel.route.link == route.link && channel.group_id == route.channel_id
        })
    }

    fn has_on(&self, link: LinkNumber) -> bool {
        let channel = self.channel.map(|channel| channel.route);
        [channel, self.former]
            .into_iter()
            .flatten()
            .any(|route| route.link == link)
    }
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
    /// Sessions by their channels, those on a connection that is being left included.
    channels: HashMap<Route, u64>,
    /// No work whose difficulty we choose is harder.
    hardest: Target,
    started: Instant,
}

enum Wake {
    Link(LinkEvent),
    Command(Command),
    Tick,
    Stop,
}

impl Upstream {
    /// Where the pool leaves the difficulty to us, and we choose it, no work is harder than `hardest`.
    pub(crate) fn new(link: Link, commands: mpsc::Receiver<Command>, hardest: Target) -> Self {
        Self {
            link,
            commands,
            sessions: HashMap::new(),
            to_open: VecDeque::new(),
            opening: HashMap::new(),
            last_request_id: 0,
            channels: HashMap::new(),
            hardest,
            started: Instant::now(),
        }
    }

    /// Serves until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = tokio::select! {
                () = stop.cancelled() => Wake::Stop,
                _ = tick.tick() => Wake::Tick,
                event = self.link.next() => Wake::Link(event),
                Some(command) = self.commands.recv() => Wake::Command(command),
            };
            let handled = match wake {
                Wake::Stop => return,
                Wake::Link(event) => self.on_link(event),
                Wake::Command(command) => self.on_command(command),
                Wake::Tick => self.on_tick(),
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
            LinkEvent::Credential => self.on_credential(),
            LinkEvent::Up { gone } => {
                if let Some(gone) = gone {
                    self.on_gone(gone);
                }
                self.on_up();
                Ok(())
            }
            LinkEvent::Message(message) => self.on_message(message?),
            LinkEvent::Late(link, message) => {
                self.on_late(link, message);
                Ok(())
            }
            LinkEvent::Left(link) => {
                self.on_gone(link);
                Ok(())
            }
        }
    }

    /// Everybody gets a channel on the new connection.
    fn on_up(&mut self) {
        self.opening.clear();
        self.to_open = self.sessions.keys().copied().collect();
    }

    fn on_lost(&mut self, error: &ConnectionError) {
        let lost = self.link.on_lost(error);
        self.to_open.clear();
        self.opening.clear();
        self.on_gone(lost);
        if self.link.is_up() {
            self.on_up();
        }
    }

    /// Nothing comes from a connection any more. A session that had no channel yet has nothing to lose, and goes on waiting for
    /// one.
    fn on_gone(&mut self, link: LinkNumber) {
        self.channels.retain(|route, _| route.link != link);
        let mut losing = Vec::new();
        for (&session, wanted) in &mut self.sessions {
            if wanted.has_on(link) {
                losing.push(session);
            }
            wanted.channel.take_if(|channel| channel.route.link == link);
            wanted.former.take_if(|route| route.link == link);
        }
        for session in losing {
            self.deliver(session, Event::Lost(link));
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
                    former: None,
                    steering: None,
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
                worker,
                ..
            } => {
                self.on_share(route, share.hashes);
                let worker = worker.filter(|_| self.link.names_workers(route.link));
                let share = submit_message(route.channel_id, sequence_number, *share);
                let message = Message::SubmitSharesExtended(share, worker);
                self.link.queue_on(route.link, message)
            }
            Command::Switch { index, done } => {
                self.link.switch_to(index, done);
                Ok(())
            }
            Command::Close { session } => self.forget(session),
        }
    }

    fn on_update(&mut self, session: u64, terms: ChannelTerms) -> Result<(), ConnectionError> {
        let Some(wanted) = self.sessions.get_mut(&session) else {
            return Ok(());
        };
        wanted.wish.terms = terms;
        let max_target = self.steer(session, None);
        self.ask(session, max_target)
    }

    /// Asks for channels that are wanted, as many as may be under way.
    fn open_wanted(&mut self) -> Result<(), ConnectionError> {
        while self.link.is_up()
            && self.opening.len() < OPENING_MAX
            && let Some(session) = self.to_open.pop_front()
        {
            let max_target = self.steer(session, None);
            let Some(wanted) = self.sessions.get(&session) else {
                continue;
            };
            let ChannelWish {
                user_identity,
                min_extranonce_size,
                terms,
                ..
            } = &*wanted.wish;
            self.last_request_id = self.last_request_id.wrapping_add(1);
            self.opening.insert(self.last_request_id, session);
            self.link.queue(OpenExtendedMiningChannel {
                request_id: self.last_request_id,
                user_identity: text(user_identity),
                nominal_hash_rate: terms.nominal_hash_rate,
                max_target: max_target.to_le_bytes().into(),
                min_extranonce_size: *min_extranonce_size,
            })?;
        }
        Ok(())
    }

    fn on_message(&mut self, message: Message) -> Result<(), ConnectionError> {
        let link = self.link.number();
        match message {
            Message::OpenExtendedMiningChannelSuccess(opened) => return self.on_opened(opened),
            Message::OpenMiningChannelError(error) => self.on_refused(&error),
            Message::CloseChannel(close) => self.on_closed(link, &close),
            Message::PresentCredentialSuccess(_) | Message::PresentCredentialError(_) => {
                return self.on_credential_answer(&message);
            }
            Message::Reconnect(asked) => self.link.on_reconnect_asked(&asked),
            Message::NewExtendedMiningJob(job) => {
                self.link.learn_version_rolling(job.version_rolling_allowed);
                self.on_job(link, job);
            }
            other => self.on_channel_message(link, other),
        }
        Ok(())
    }

    /// From the connection that is being left: no channel is opened there any more, and none that it closes is missed.
    fn on_late(&mut self, link: LinkNumber, message: Message) {
        match message {
            Message::NewExtendedMiningJob(job) => self.on_job(link, job),
            other => self.on_channel_message(link, other),
        }
    }

    fn on_channel_message(&mut self, link: LinkNumber, message: Message) {
        match message {
            Message::SetNewPrevHash(tip) => self.on_tip(link, tip),
            Message::SetTarget(message) => self.on_target(link, &message),
            Message::SetExtranoncePrefix(message) => self.on_extranonce_prefix(link, &message),
            Message::SubmitSharesSuccess(success) => self.on_accepted(link, &success),
            Message::SubmitSharesError(error) => self.on_rejected(link, &error),
            Message::SetGroupChannel(message) => self.on_group(link, &message),
            Message::UpdateChannelError(error) => self.on_update_refused(link, &error),
            // For standard channels, which we have none of, and of extensions that we did not ask for.
            other => tracing::debug!(message = other.name(), "upstream message ignored"),
        }
    }

    fn on_opened(
        &mut self,
        opened: OpenExtendedMiningChannelSuccess,
    ) -> Result<(), ConnectionError> {
        let Some(session) = self.opening.remove(&opened.request_id) else {
            return Ok(());
        };
        let target = Target::from_le_bytes(opened.target.to_array());
        let route = Route {
            link: self.link.number(),
            channel_id: opened.channel_id,
        };
        let Some(wanted) = self.sessions.get_mut(&session) else {
            // The miner has left while its channel was being opened.
            return self.link.queue(close_message(route.channel_id));
        };
        let before = wanted.channel.replace(Channel {
            route,
            group_id: opened.group_channel_id,
            target,
        });
        if let Some(before) = before {
            wanted.former = Some(before.route);
        }
        self.channels.insert(route, session);
        self.on_channel_target(route, target);
        self.link
            .learn_room(Some(usize::from(opened.extranonce_size)));
        let event = OpenedChannel {
            route,
            target,
            extranonce_prefix: opened.extranonce_prefix.as_bytes().into(),
            extranonce_size: usize::from(opened.extranonce_size),
            lease: Box::default(),
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

    fn on_job(&mut self, link: LinkNumber, message: NewExtendedMiningJob) {
        let received_at = Instant::now();
        let channel_id = message.channel_id;
        let job = Arc::new(UpstreamJob::from(message));
        self.deliver_work(Route { link, channel_id }, || {
            Event::Job(Arc::clone(&job), received_at)
        });
    }

    fn on_tip(&mut self, link: LinkNumber, message: SetNewPrevHash) {
        let received_at = Instant::now();
        let (channel_id, nbits) = (message.channel_id, message.nbits);
        match Tip::try_from(message) {
            Ok(tip) => {
                let tip = Arc::new(tip);
                self.deliver_work(Route { link, channel_id }, || {
                    Event::Tip(Arc::clone(&tip), received_at)
                });
            }
            Err(error) => {
                tracing::error!(nbits, %error, "upstream sent a block to build on without a target");
            }
        }
    }

    fn on_target(&mut self, link: LinkNumber, message: &SetTarget) {
        let target = Target::from_le_bytes(message.maximum_target.to_array());
        let channel_id = message.channel_id;
        let route = Route { link, channel_id };
        self.on_channel_target(route, target);
        self.deliver_work(route, || Event::Target(Box::new(target)));
    }

    fn on_extranonce_prefix(&mut self, link: LinkNumber, message: &SetExtranoncePrefix) {
        let prefix = message.extranonce_prefix.as_bytes();
        let channel_id = message.channel_id;
        self.deliver_work(Route { link, channel_id }, || {
            Event::ExtranoncePrefix(prefix.into())
        });
    }

    fn on_accepted(&mut self, link: LinkNumber, success: &SubmitSharesSuccess) {
        let channel_id = success.channel_id;
        let route = Route { link, channel_id };
        let event = Event::Accepted {
            route,
            last_sequence_number: success.last_sequence_number,
            count: success.new_submits_accepted_count,
        };
        if let Some(&session) = self.channels.get(&route) {
            self.deliver(session, event);
        }
    }

    fn on_update_refused(&mut self, link: LinkNumber, error: &UpdateChannelError) {
        let code = printable(error.error_code.as_bytes());
        let channel_id = error.channel_id;
        tracing::warn!(channel_id, code, "upstream refused a change of a channel");
        self.deliver_work(Route { link, channel_id }, || {
            Event::UpdateRefused(code.as_str().into())
        });
    }

    fn on_rejected(&mut self, link: LinkNumber, error: &SubmitSharesError) {
        let code = printable(error.error_code.as_bytes());
        let reason = Rejection::from_sv2_code(&code);
        let channel_id = error.channel_id;
        if reason == Rejection::Other {
            tracing::debug!(channel_id, code, "share rejected by the upstream");
        }
        let route = Route { link, channel_id };
        let event = Event::Rejected {
            route,
            sequence_number: error.sequence_number,
            reason,
            code: code.into(),
        };
        if let Some(&session) = self.channels.get(&route) {
            self.deliver(session, event);
        }
    }

    fn on_group(&mut self, link: LinkNumber, message: &SetGroupChannel) {
        for &channel_id in message.channel_ids.iter() {
            let route = Route { link, channel_id };
            let session = self.channels.get(&route);
            let wanted = session.and_then(|session| self.sessions.get_mut(session));
            if let Some(channel) = wanted.and_then(|wanted| wanted.channel.as_mut())
                && channel.route == route
            {
                channel.group_id = message.group_channel_id;
            }
        }
    }

    fn on_closed(&mut self, link: LinkNumber, close: &CloseChannel) {
        let reason = printable(close.reason_code.as_bytes());
        let channel_id = close.channel_id;
        for session in self.sessions_of(Route { link, channel_id }) {
            self.deliver(session, Event::Closed(reason.as_str().into()));
            if let Some(wanted) = self.sessions.remove(&session) {
                self.forget_channels(&wanted);
            }
        }
    }

    /// The session whose jobs come from the channel, or all in the group of that id: they share one namespace.
    fn sessions_of(&self, route: Route) -> Vec<u64> {
        if let Some(session) = self.channels.get(&route) {
            let wanted = self.sessions.get(session);
            let channel = wanted.and_then(|wanted| wanted.channel);
            let is_present = channel.is_some_and(|channel| channel.route == route);
            return is_present.then_some(*session).into_iter().collect();
        }
        let sessions = self.sessions.iter();
        let members =
            sessions.filter_map(|(&session, wanted)| wanted.is_in_group(route).then_some(session));
        members.collect()
    }

    /// Work and its terms: for a session that has another channel meanwhile they are nothing.
    fn deliver_work(&mut self, route: Route, event: impl Fn() -> Event) {
        for session in self.sessions_of(route) {
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
        let Some(wanted) = self.sessions.remove(&session) else {
            return Ok(());
        };
        self.forget_channels(&wanted);
        match wanted.channel {
            Some(Channel { route, .. }) => self
                .link
                .queue_on(route.link, close_message(route.channel_id)),
            None => Ok(()),
        }
    }

    fn forget_channels(&mut self, wanted: &Wanted) {
        let channel = wanted.channel.map(|channel| channel.route);
        for route in [channel, wanted.former].into_iter().flatten() {
            self.channels.remove(&route);
        }
    }
}
