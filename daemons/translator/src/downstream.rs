//! One SV1 miner: its socket, its handshake, its jobs and its shares, in one task.
//!
//! A share is answered `true` when the pool has answered, and by nothing else. The connection outlives the upstream's: while
//! there is none, shares are refused with the reason, and the next job drops all earlier ones.

mod handshake;
mod malformed;
mod shares;
mod work;

pub(crate) use handshake::{account, worker};

use crate::bridge::{ExtranonceFixed, ExtranonceSplit, MinerJob, Tip, UpstreamJob};
use crate::difficulty::MinerDifficulty;
use crate::miners::{Miner, Place};
use crate::stream::MinerStream;
use crate::sv1::line::{LineBuffer, LineTooLong, MAX_LINE_BYTES, MAX_LINE_BYTES_UNAUTHORIZED};
use crate::sv1::message::{Call, Id, Incoming, RejectCode, answer, parse, refusal};
use crate::upstream::link::Upstreams;
use crate::upstream::{Command, Event, Route};
use hh_daemon::ban::Offence;
use hh_mining::{BlockHash, Target};
use malformed::{LINES_MAX, MalformedLines, WINDOW};
use shares::Unsettled;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// For `mining.authorize` to come, from the accept or from a refusal. Firmware sends it within a second; the rest is for slow
/// links. Waiting for the pool's answer does not count.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(15);

/// A miner that takes nothing from its socket for so long is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// After so long without a word for it a miner is told its difficulty again: while the pool is away there are no jobs, and firmware
/// leaves a server that has been silent for 90 s or two minutes.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What may wait to be written: dozens of jobs.
const OUT_BYTES_MAX: usize = 256 * 1024;

/// With so much waiting to be written nothing more is read: a miner that does not read its answers gets to ask no more.
const OUT_BYTES_PAUSE: usize = 32 * 1024;

/// Shares that wait for the pool, after which the miner is not read any more: some seconds of the fastest.
const UNSETTLED_MAX: usize = 1024;

/// Lines before `mining.authorize` succeeds. Real handshakes have at most ten.
const LINES_UNAUTHORIZED_MAX: u32 = 64;

/// How a TLS handshake begins: the type of its record, and the first byte of any version.
const TLS_HELLO: [u8; 2] = [0x16, 0x03];

/// One read. It is on the stack for as long as the read takes only.
const READ_BYTES: usize = 4096;

/// The way to the upstream of a lane. Clones are cheap.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamHandle {
    pub commands: mpsc::Sender<Command>,
    pub upstreams: Upstreams,
    /// Bytes of the extranonce by which miners on one channel are told apart; 0 where each has its own.
    pub lease_size: usize,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("closed by the miner")]
    Closed,
    #[error("socket failed")]
    Io(#[source] io::Error),
    #[error(
        "TLS failed; a miner that speaks plain Stratum V1 belongs on a lane with protocol = \"sv1\""
    )]
    Tls(#[source] io::Error),
    #[error("speaks TLS, which belongs on a lane with protocol = \"sv1-tls\"")]
    UnexpectedTls,
    #[error("not authorized within {} s", HANDSHAKE_DEADLINE.as_secs())]
    HandshakeDeadline,
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    #[error("{LINES_MAX} lines within {} s were no JSON-RPC", WINDOW.as_secs())]
    Malformed,
    #[error("{LINES_UNAUTHORIZED_MAX} lines without a successful authorize")]
    Chatter,
    #[error("does not read what it is sent")]
    SlowReader,
    #[error("the pool closed the channel: {0}")]
    ChannelClosed(Box<str>),
    #[error("the pool refused to open the channel again: {0}")]
    Refused(Box<str>),
    #[error("the channel has less room for the extranonce than the miner was promised")]
    NoRoom,
    #[error("fell behind the pool's messages")]
    FellBehind,
    #[error("an operator closed it")]
    Kicked,
    #[error("the translator stops")]
    Stop,
}

impl SessionEnd {
    /// What [`Self::label`] may be.
    pub(crate) const LABELS: [&str; 15] = [
        "closed",
        "io",
        "tls",
        "unexpected_tls",
        "handshake_deadline",
        "line_too_long",
        "malformed",
        "chatter",
        "slow_reader",
        "channel_closed",
        "refused",
        "no_room",
        "fell_behind",
        "kicked",
        "stop",
    ];

    /// The label `reason` of `hyperhash_miner_disconnects_total`.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Tls(_) => "tls",
            Self::UnexpectedTls => "unexpected_tls",
            Self::HandshakeDeadline => "handshake_deadline",
            Self::LineTooLong(_) => "line_too_long",
            Self::Malformed => "malformed",
            Self::Chatter => "chatter",
            Self::SlowReader => "slow_reader",
            Self::ChannelClosed(_) => "channel_closed",
            Self::Refused(_) => "refused",
            Self::NoRoom => "no_room",
            Self::FellBehind => "fell_behind",
            Self::Kicked => "kicked",
            Self::Stop => "stop",
        }
    }

    /// What it says about the peer's conduct, if anything. Who is merely slow, silent or gone has done nothing.
    pub(crate) fn offence(&self) -> Option<Offence> {
        match self {
            Self::Tls(_)
            | Self::UnexpectedTls
            | Self::LineTooLong(_)
            | Self::Malformed
            | Self::Chatter => Some(Offence::Garbage),
            Self::Closed
            | Self::Io(_)
            | Self::HandshakeDeadline
            | Self::SlowReader
            | Self::ChannelClosed(_)
            | Self::Refused(_)
            | Self::NoRoom
            | Self::FellBehind
            | Self::Kicked
            | Self::Stop => None,
        }
    }

    fn of_socket(error: io::Error) -> Self {
        let inner = error.get_ref();
        let is_tls = inner.is_some_and(|inner| inner.is::<rustls::Error>());
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ if is_tls => Self::Tls(error),
            _ => Self::Io(error),
        }
    }
}

/// The channel of a session while it is open.
#[derive(Debug)]
struct Channel {
    route: Route,
    fixed: ExtranonceFixed,
    /// For the next job.
    target: Target,
}

/// A job of the miner's, and the channel that its shares go to.
#[derive(Debug)]
struct SentJob {
    route: Route,
    job: MinerJob,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    stream: MinerStream,
    place: Place,
    upstream: UpstreamHandle,
    lines: LineBuffer,
    out: Vec<u8>,
    /// Since when the socket takes nothing of `out`.
    blocked_since: Option<Instant>,
    /// None once authorize has been sent.
    handshake_deadline: Option<Instant>,
    lines_unauthorized: u32,
    malformed: MalformedLines,

    subscribed: bool,
    split: Option<ExtranonceSplit>,
    /// Granted by configure; none if version rolling was not asked for.
    version_mask: Option<u32>,
    /// The mask that the miner was told last by a notification.
    version_mask_told: Option<u32>,
    difficulty: MinerDifficulty,
    /// User names that may submit; all of one account.
    users: Vec<String>,
    /// Authorize calls that wait for the pool.
    authorizing: Vec<(Id, String)>,

    events: Option<mpsc::Receiver<Event>>,
    channel: Option<Channel>,
    future_jobs: VecDeque<Arc<UpstreamJob>>,
    tip: Option<Arc<Tip>>,
    /// Jobs that the miner may submit for, oldest first.
    jobs: VecDeque<SentJob>,
    last_job_id: u64,
    /// When something was last written to the miner.
    last_said_at: Instant,
    idle_max: Duration,
    difficulty_told: Option<f64>,
    /// The next notify drops all earlier jobs.
    clean_next: bool,
    /// When the work in `out` came from the pool.
    notify_received_at: Option<Instant>,

    /// Goes on over all channels, so that it is unique in each.
    last_sequence_number: u32,
    unsettled: VecDeque<Unsettled>,
    /// Headers forwarded on the present tip.
    seen: HashSet<BlockHash>,
}

enum Wake {
    Stop,
    Kicked,
    Event(Option<Event>),
    Readable(io::Result<()>),
    Writable(io::Result<()>),
    Timer,
}

impl Session {
    pub(crate) fn new(stream: MinerStream, place: Place, upstream: UpstreamHandle) -> Self {
        Self {
            stream,
            place,
            upstream,
            lines: LineBuffer::default(),
            out: Vec::new(),
            blocked_since: None,
            handshake_deadline: Some(Instant::now() + HANDSHAKE_DEADLINE),
            lines_unauthorized: 0,
            malformed: MalformedLines::default(),
            subscribed: false,
            split: None,
            version_mask: None,
            version_mask_told: None,
            difficulty: MinerDifficulty::default(),
            users: Vec::new(),
            authorizing: Vec::new(),
            events: None,
            channel: None,
            future_jobs: VecDeque::new(),
            tip: None,
            jobs: VecDeque::new(),
            last_job_id: first_job_id(),
            last_said_at: Instant::now(),
            idle_max: IDLE_MAX,
            difficulty_told: None,
            clean_next: true,
            notify_received_at: None,
            last_sequence_number: 0,
            unsettled: VecDeque::new(),
            seen: HashSet::new(),
        }
    }

    /// Serves the miner until the connection ends, and says why it did.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> SessionEnd {
        let end = match self.serve(stop).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.stream.close();
        self.leave().await;
        end
    }

    async fn serve(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<std::convert::Infallible, SessionEnd> {
        // One for all deadlines: it goes off at the next one or before it, and is set anew.
        let mut timer = std::pin::pin!(tokio::time::sleep_until(self.deadline()));
        loop {
            if self.deadline() < timer.deadline() {
                timer.as_mut().reset(self.deadline());
            }
            let wake = tokio::select! {
                // A new block before the shares of the old one.
                biased;
                () = stop.cancelled() => Wake::Stop,
                () = self.place.miner.kicked.notified() => Wake::Kicked,
                () = &mut timer => Wake::Timer,
                event = next_event(&mut self.events) => Wake::Event(event),
                ready = self.stream.writable(), if self.wants_output() => Wake::Writable(ready),
                ready = self.stream.readable(), if self.wants_input() => Wake::Readable(ready),
            };
            match wake {
                Wake::Stop => return Err(SessionEnd::Stop),
                Wake::Kicked => return Err(SessionEnd::Kicked),
                Wake::Event(event) => self.on_events(event)?,
                Wake::Readable(ready) => self.on_readable(ready).await?,
                Wake::Writable(ready) => ready.map_err(SessionEnd::Io)?,
                Wake::Timer => {
                    self.on_timer(Instant::now())?;
                    timer.as_mut().reset(self.deadline());
                }
            }
            self.flush()?;
        }
    }

    fn wants_input(&self) -> bool {
        self.unsettled.len() < UNSETTLED_MAX && self.out.len() < OUT_BYTES_PAUSE
    }

    fn wants_output(&self) -> bool {
        !self.out.is_empty() || self.stream.wants_write()
    }

    /// When something is to be done without an event.
    fn deadline(&self) -> Instant {
        let write = self.blocked_since.map(|since| since + WRITE_DEADLINE);
        let deadlines = [self.handshake_deadline, write].into_iter().flatten();
        deadlines.fold(self.last_said_at + self.idle_max, Instant::min)
    }

    fn on_timer(&mut self, now: Instant) -> Result<(), SessionEnd> {
        if self
            .blocked_since
            .is_some_and(|since| now >= since + WRITE_DEADLINE)
        {
            return Err(SessionEnd::SlowReader);
        }
        if self
            .handshake_deadline
            .is_some_and(|deadline| now >= deadline)
        {
            return Err(SessionEnd::HandshakeDeadline);
        }
        if now >= self.last_said_at + self.idle_max {
            self.keep_alive(now);
        }
        Ok(())
    }

    async fn on_readable(&mut self, ready: io::Result<()>) -> Result<(), SessionEnd> {
        ready.map_err(SessionEnd::Io)?;
        if !self.read()? {
            return Ok(());
        }
        // Taken out for as long as its lines are borrowed.
        let mut lines = std::mem::take(&mut self.lines);
        while let Some(line) = lines.next_line(self.line_limit())? {
            self.on_line(line).await?;
        }
        self.lines = lines;
        Ok(())
    }

    /// Reads what is there; false if nothing was after all.
    fn read(&mut self) -> Result<bool, SessionEnd> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(SessionEnd::Closed),
            Ok(_) if buffer.starts_with(&TLS_HELLO) && self.lines_unauthorized == 0 => {
                Err(SessionEnd::UnexpectedTls)
            }
            Ok(length) => {
                self.lines.push(&buffer[..length]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(SessionEnd::of_socket(error)),
        }
    }

    fn line_limit(&self) -> usize {
        if self.users.is_empty() {
            MAX_LINE_BYTES_UNAUTHORIZED
        } else {
            MAX_LINE_BYTES
        }
    }

    async fn on_line(&mut self, line: &[u8]) -> Result<(), SessionEnd> {
        if self.users.is_empty() {
            self.lines_unauthorized += 1;
            if self.lines_unauthorized > LINES_UNAUTHORIZED_MAX {
                return Err(SessionEnd::Chatter);
            }
        }
        match parse(line) {
            Ok(Incoming::Response) => Ok(()),
            Ok(Incoming::Request { id, call: Ok(call) }) => self.on_call(id, call).await,
            Ok(Incoming::Request {
                id,
                call: Err(error),
            }) if error.method == "mining.submit" => {
                self.on_unreadable_share(&id, error);
                Ok(())
            }
            Ok(Incoming::Request {
                id,
                call: Err(error),
            }) => {
                self.refuse(&id, RejectCode::Other, &error.to_string());
                Ok(())
            }
            Err(error) => {
                self.malformed.add(Instant::now())?;
                self.refuse(&Id::default(), RejectCode::Other, &error.to_string());
                Ok(())
            }
        }
    }

    async fn on_call(&mut self, id: Id, call: Call) -> Result<(), SessionEnd> {
        match call {
            Call::Configure(configure) => self.on_configure(&id, &configure).await?,
            Call::Subscribe { user_agent } => self.on_subscribe(&id, user_agent).await?,
            Call::Authorize {
                user_name,
                difficulty,
            } => self.on_authorize(id, user_name, difficulty).await?,
            Call::Submit(submit) => self.on_submit(id, &submit).await?,
            Call::SuggestDifficulty(difficulty) => {
                self.on_suggest_difficulty(&id, difficulty).await?;
            }
            // A new prefix comes as a new job, so nothing is left for mining.set_extranonce to do.
            Call::ExtranonceSubscribe => self.say(&answer(&id, "true")),
            Call::Ping => self.say(&answer(&id, "\"pong\"")),
            Call::Unknown => self.refuse(&id, RejectCode::Other, "unknown method"),
        }
        Ok(())
    }

    /// Puts a line into the queue; it goes out when everything at hand is done.
    fn say(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.last_said_at = Instant::now();
    }

    fn refuse(&mut self, id: &Id, code: RejectCode, reason: &str) {
        self.say(&refusal(id, "null", code, reason));
    }

    /// Writes as much as the socket takes.
    fn flush(&mut self) -> Result<(), SessionEnd> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.try_write(&self.out[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(SessionEnd::of_socket(error)),
            }
        }
        match self.stream.try_flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                return Err(SessionEnd::of_socket(error));
            }
            _ => {}
        }
        self.out.drain(..written);
        if !self.wants_output() {
            self.on_all_written();
            return Ok(());
        }
        if self.out.len() > OUT_BYTES_MAX {
            return Err(SessionEnd::SlowReader);
        }
        if written > 0 || self.blocked_since.is_none() {
            self.blocked_since = Some(Instant::now());
        }
        Ok(())
    }

    fn on_all_written(&mut self) {
        // A notify is a kilobyte and comes twice a minute; what is held in between is not worth its memory.
        self.out = Vec::new();
        self.blocked_since = None;
        if let Some(received_at) = self.notify_received_at.take() {
            self.miner()
                .lane
                .notify_seconds
                .record(received_at.elapsed());
        }
    }

    fn miner(&self) -> &Arc<Miner> {
        &self.place.miner
    }

    async fn tell_upstream(&self, command: Command) -> Result<(), SessionEnd> {
        let sent = self.upstream.commands.send(command).await;
        sent.map_err(|_closed| SessionEnd::Stop)
    }

    /// Gives the channel back. Shares that were on their way stay counted as never settled.
    async fn leave(&mut self) {
        let count = self.unsettled.len() as u64;
        self.miner().on_unsettled(count);
        if self.events.is_some() {
            let session = self.miner().id;
            // Otherwise the upstream has stopped, and with it all its channels.
            self.tell_upstream(Command::Close { session }).await.ok();
        }
    }
}

/// Where a session's job ids begin. Not where another's do: a miner that comes back may still send shares for jobs of its last
/// connection, which are to be told as such and not as work that is wrong.
fn first_job_id() -> u64 {
    u64::from(rand::random::<u16>()) << 16
}

/// Never completes while there is no channel to have events.
async fn next_event(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
