//! The connection itself: tried for ever with growing pauses, from the first of the configured upstreams to the last.
//!
//! Knows nothing of channels. What it learns about the upstream and its state can be read by everybody ([`Upstreams`]).

use crate::config::UpstreamConfig;
use hh_daemon::Chain;
use hh_sv2::message::Protocol;
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{Connection, ConnectionError, Limits, Message};
use rand::Rng;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, Sleep};

/// Pause after the first failure; it doubles with every further one.
const BACKOFF_MIN: Duration = Duration::from_millis(250);

/// Longest pause: a pool that comes back has its miners within half a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A connection that lived this long was a good one: the pauses start anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// Most shares are a hundred bytes; a job with a path of 12 has a kilobyte. Far less than the crate's limit, which is made
/// for blocks.
const FRAME_BYTES_MAX: usize = 256 * 1024;

/// What is waiting to be written: some thousand shares.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// State of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Connecting,
    Up,
    Down,
}

/// One upstream as operators see it.
#[derive(Clone, Debug)]
pub(crate) struct LinkView {
    pub address: String,
    pub state: LinkState,
    pub since: SystemTime,
    pub last_error: Option<String>,
}

/// What is known of the upstreams of one lane. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Upstreams(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    links: Vec<LinkView>,
    /// What a channel lets be rolled, from the last that was opened.
    room: Option<usize>,
    version_rolling_allowed: bool,
}

impl Upstreams {
    pub(crate) fn new(configs: &[UpstreamConfig]) -> Self {
        let links = configs.iter().map(|config| {
            let upstream = config.address.clone();
            metrics::gauge!("hyperhash_translator_upstream_connected", "upstream" => upstream.clone()).set(0.0);
            metrics::counter!("hyperhash_translator_upstream_switches_total", "upstream" => upstream).absolute(0);
            LinkView {
                address: config.address.clone(),
                state: LinkState::Down,
                since: SystemTime::now(),
                last_error: None,
            }
        });
        Self(Arc::new(Mutex::new(Known {
            links: links.collect(),
            room: None,
            version_rolling_allowed: true,
        })))
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn links(&self) -> Vec<LinkView> {
        self.lock().links.clone()
    }

    /// Bytes of the extranonce that a channel's miner may roll; none before the first channel.
    pub(crate) fn room(&self) -> Option<usize> {
        self.lock().room
    }

    /// Whether the last job allowed version rolling; true before the first one.
    pub(crate) fn version_rolling_allowed(&self) -> bool {
        self.lock().version_rolling_allowed
    }

    fn set(&self, index: usize, state: LinkState, error: Option<String>) {
        let mut known = self.lock();
        let link = &mut known.links[index];
        if link.state != state {
            link.since = SystemTime::now();
            link.state = state;
        }
        if error.is_some() {
            link.last_error = error;
        }
        let up = if state == LinkState::Up { 1.0 } else { 0.0 };
        let upstream = link.address.clone();
        metrics::gauge!("hyperhash_translator_upstream_connected", "upstream" => upstream).set(up);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Every statement leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, LinkError>> + Send>>;

enum State {
    Waiting(Pin<Box<Sleep>>),
    Connecting(Connecting),
    Up(Box<Connection>),
}

/// See the module.
pub(crate) struct Link {
    configs: Vec<UpstreamConfig>,
    upstreams: Upstreams,
    state: State,
    /// Which of `configs` is in use or tried next.
    index: usize,
    number: u64,
    /// Failures since the last good connection.
    failures: u32,
    up_since: Instant,
}

/// What happened to the link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Another attempt, or another pause.
    Changed,
    /// There is a new connection.
    Up,
    Message(Result<Message, ConnectionError>),
}

impl Link {
    /// `configs` is not empty; the first is preferred.
    pub(crate) fn new(configs: Vec<UpstreamConfig>, upstreams: Upstreams) -> Self {
        Self {
            configs,
            upstreams,
            state: State::Waiting(Box::pin(tokio::time::sleep(Duration::ZERO))),
            index: 0,
            number: 0,
            failures: 0,
            up_since: Instant::now(),
        }
    }

    /// Counts connections; another number is another connection.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// The next thing that happens. Cancel-safe.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        match &mut self.state {
            State::Waiting(pause) => {
                pause.await;
                self.connect();
                LinkEvent::Changed
            }
            State::Connecting(connecting) => match connecting.await {
                Ok(connection) => {
                    self.on_connected(connection);
                    LinkEvent::Up
                }
                Err(error) => {
                    self.on_failed(&error);
                    LinkEvent::Changed
                }
            },
            State::Up(connection) => LinkEvent::Message(connection.recv().await),
        }
    }

    /// The next message that is there already; none without a connection.
    pub(crate) fn try_recv(&mut self) -> Result<Option<Message>, ConnectionError> {
        match &mut self.state {
            State::Up(connection) => connection.try_recv(),
            State::Waiting(_) | State::Connecting(_) => Ok(None),
        }
    }

    /// Queues a message; without a connection it goes nowhere, and whoever waits for its answer is told of the loss.
    pub(crate) fn queue(&mut self, message: impl Into<Message>) -> Result<(), ConnectionError> {
        match &mut self.state {
            State::Up(connection) => connection.queue(message),
            State::Waiting(_) | State::Connecting(_) => Ok(()),
        }
    }

    /// Writes what is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionError> {
        match &mut self.state {
            State::Up(connection) => connection.flush().await,
            State::Waiting(_) | State::Connecting(_) => Ok(()),
        }
    }

    /// What a channel lets be rolled; none if what was known turned out wrong.
    pub(crate) fn learn_room(&self, room: Option<usize>) {
        self.upstreams.lock().room = room;
    }

    pub(crate) fn learn_version_rolling(&self, allowed: bool) {
        self.upstreams.lock().version_rolling_allowed = allowed;
    }

    /// The upstream wants us to connect again. We do, to the configured address: another one that it names is not
    /// authenticated by anything the operator wrote.
    pub(crate) fn on_reconnect_asked(&mut self) -> Result<(), ConnectionError> {
        match &self.state {
            State::Up(connection) => {
                let peer = connection.peer();
                tracing::info!(%peer, "upstream asks us to connect again");
                Err(ConnectionError::Closed { peer })
            }
            State::Waiting(_) | State::Connecting(_) => Ok(()),
        }
    }

    /// The connection failed; starts again with the preferred upstream.
    pub(crate) fn on_lost(&mut self, error: &ConnectionError) {
        let error = Chain(error).to_string();
        let upstream = &self.configs[self.index].address;
        tracing::warn!(upstream, error, "upstream lost");
        if self.up_since.elapsed() >= GOOD_AFTER {
            self.failures = 0;
        }
        self.upstreams.set(self.index, LinkState::Down, Some(error));
        self.index = 0;
        self.pause();
    }

    fn connect(&mut self) {
        self.upstreams.set(self.index, LinkState::Connecting, None);
        let config = self.configs[self.index].clone();
        self.state = State::Connecting(Box::pin(connect(config)));
    }

    fn on_connected(&mut self, connection: Connection) {
        let upstream = &self.configs[self.index].address;
        tracing::info!(upstream, "upstream connected");
        metrics::counter!("hyperhash_translator_upstream_switches_total", "upstream" => upstream.clone())
            .increment(1);
        self.upstreams.set(self.index, LinkState::Up, None);
        // It may be another pool.
        self.learn_room(None);
        self.number += 1;
        self.up_since = Instant::now();
        self.state = State::Up(Box::new(connection));
    }

    fn on_failed(&mut self, error: &LinkError) {
        let error = Chain(error).to_string();
        let upstream = self.configs[self.index].address.clone();
        self.upstreams
            .set(self.index, LinkState::Down, Some(error.clone()));
        self.index = (self.index + 1) % self.configs.len();
        let retry_in_ms = u64::try_from(self.pause().as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            upstream,
            error,
            retry_in_ms,
            "no connection to the upstream"
        );
    }

    /// Waits before the next attempt: twice as long each time, and not at the same moment as every other translator.
    fn pause(&mut self) -> Duration {
        let longest = BACKOFF_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = longest.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.state = State::Waiting(Box::pin(tokio::time::sleep(pause)));
        pause
    }
}

async fn connect(config: UpstreamConfig) -> Result<Connection, LinkError> {
    let limits = Limits {
        max_frame_bytes: FRAME_BYTES_MAX,
        max_queued_bytes: QUEUED_BYTES_MAX,
        ..Limits::CLIENT
    };
    let key = Some(&config.authority_public_key);
    let mut connection = Connection::connect(&config.address, key, &limits).await?;
    let (host, port) = config.host_and_port();
    let setup = ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags: 0,
        endpoint_host: host.to_owned(),
        endpoint_port: port,
        vendor: "Hyper Hash Network".to_owned(),
        hardware_version: String::new(),
        firmware: concat!("hh-translator ", env!("CARGO_PKG_VERSION")).to_owned(),
        device_id: String::new(),
    };
    client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
    Ok(connection)
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("upstream", &self.configs[self.index].address)
            .field("number", &self.number)
            .field("is_up", &self.is_up())
            .finish_non_exhaustive()
    }
}
