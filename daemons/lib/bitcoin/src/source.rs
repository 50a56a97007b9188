//! Templates from a node: by its mining IPC where there is a socket, else by `getblocktemplate`.
//!
//! Owns: the thread that talks to the node, the recovery of a lost node, and which reservation classes are followed. Never:
//! numbers or keeps templates; what is live is what the receiver of the events holds. `capnp-rpc` is not `Send`, so all of
//! it lives on one thread with its own runtime, and the daemon talks to it by channels.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bitcoin::Network;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::node::{NodeError, NodeInfo, check_node};
use crate::rpc::Rpc;
use crate::submit::BlockOutcome;
use crate::template::{NodeTemplate, Reservation};

mod block;
mod gbt;
mod ipc;

/// A node that restarts is back within seconds: look soon, then less often.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
const RECONNECT_MAX: Duration = Duration::from_secs(5);
/// Templates wait here while the daemon is busy; it takes one in microseconds, so more than a few means it hangs.
const EVENTS_MAX: usize = 64;
/// Calls that hang in a node that is gone without a word, until their deadline of a day.
const LONG_POLLS_MAX: usize = 8;
/// Requests to one template under way: each is about a block.
const REQUESTS_MAX: usize = 16;

/// What to connect to, and how often to give out templates.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// `DATADIR/[CHAIN/]node.sock` of a bitcoin-node started with `-ipcbind=unix`; without it templates come by
    /// `getblocktemplate`.
    pub socket: Option<PathBuf>,
    /// The same node's JSON-RPC: its version decides the IPC schema.
    pub rpc: Rpc,
    /// Another chain is refused.
    pub chain: Network,
    /// On an unchanged tip a new template is given out when its fees are higher by at least this.
    pub fee_delta_sats: u64,
    /// And this time has passed since the one before.
    pub refresh_interval: Duration,
}

/// Why there are no templates from the node.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(
        "could not open the mining IPC socket {path}; start bitcoin-node with -ipcbind=unix, and let this user open the socket"
    )]
    Connect {
        path: String,
        source: std::io::Error,
    },
    #[error("mining IPC call {call} failed")]
    Call {
        call: &'static str,
        source: capnp::Error,
    },
    #[error("the node did not answer the mining IPC call {call} within {seconds} s")]
    TimedOut { call: &'static str, seconds: u64 },
    #[error("the node is shutting down")]
    ShuttingDown,
    #[error(
        "Bitcoin Core at {url} is in initial block download and gives no templates; they come by themselves after it"
    )]
    InitialDownload { url: String },
    #[error(
        "Bitcoin Core at {url} has no peers and gives no templates; look at its network connection"
    )]
    NotConnected { url: String },
    #[error("the node's template is not usable: {what}")]
    Malformed { what: &'static str },
    #[error("the connection to the node was lost")]
    Lost,
    #[error("the template thread could not be started")]
    Thread { source: std::io::Error },
}

impl SourceError {
    /// Whether only a change of the configuration (or of the node behind it) can help.
    pub fn is_config(&self) -> bool {
        matches!(self, Self::Node(source) if source.is_config())
    }

    /// All that [`Self::reason`] gives.
    pub const REASONS: [&str; 7] = [
        "refused",
        "rpc",
        "malformed",
        "timed_out",
        "initial_download",
        "not_connected",
        "ipc",
    ];

    /// The value of the metric label `reason`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Node(source) if source.is_config() => "refused",
            Self::Node(_) => "rpc",
            Self::Malformed { .. } => "malformed",
            Self::TimedOut { .. } => "timed_out",
            Self::InitialDownload { .. } => "initial_download",
            Self::NotConnected { .. } => "not_connected",
            Self::Connect { .. }
            | Self::Call { .. }
            | Self::ShuttingDown
            | Self::Lost
            | Self::Thread { .. } => "ipc",
        }
    }
}

/// What the source tells.
#[derive(Debug)]
pub enum SourceEvent {
    /// The node passed its checks, and templates follow.
    Connected(NodeInfo),
    /// There are no templates now; the source goes on trying by itself.
    Unavailable(SourceError),
    Template(Box<NodeTemplate>),
}

/// The handle to the thread.
#[derive(Debug, Clone)]
pub struct TemplateSource {
    followed: watch::Sender<BTreeSet<Reservation>>,
}

impl TemplateSource {
    /// Starts the thread. It follows the default reservation from the start, and ends with `stop`; the second value can be
    /// joined then.
    pub fn start(
        config: SourceConfig,
        stop: CancellationToken,
    ) -> Result<
        (
            Self,
            mpsc::Receiver<SourceEvent>,
            std::thread::JoinHandle<()>,
        ),
        SourceError,
    > {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let (followed, wanted) = watch::channel(BTreeSet::from([Reservation::default()]));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| SourceError::Thread { source })?;
        let source = Source {
            long_polls: config.rpc.with_limit(LONG_POLLS_MAX),
            config,
            events,
            followed: wanted,
            stop,
        };
        let thread = std::thread::Builder::new()
            .name("templates".to_owned())
            .spawn(move || LocalSet::new().block_on(&runtime, source.run()))
            .map_err(|source| SourceError::Thread { source })?;
        Ok((Self { followed }, receiver, thread))
    }

    /// Asks for templates of this class, from now on; the first comes as soon as the node has built it.
    pub fn follow(&self, reservation: Reservation) {
        self.followed
            .send_if_modified(|followed| followed.insert(reservation));
    }

    /// Nobody needs this class any more. The default class is always followed.
    pub fn unfollow(&self, reservation: Reservation) {
        if reservation != Reservation::default() {
            self.followed
                .send_if_modified(|followed| followed.remove(&reservation));
        }
    }
}

/// What is asked of a template.
#[derive(Debug)]
struct Request {
    solution: Solution,
    answer: oneshot::Sender<Result<BlockOutcome, SourceError>>,
}

/// A solved header for a template.
#[derive(Debug)]
pub struct Solution {
    pub version: u32,
    pub ntime: u32,
    pub nonce: u32,
    /// Serialized with its witness.
    pub coinbase: Vec<u8>,
}

/// A template as the node keeps it, while a clone of this lives.
#[derive(Debug, Clone)]
pub struct TemplateHandle {
    requests: mpsc::Sender<Request>,
}

impl TemplateHandle {
    /// Gives the block to the node that the template is from. By mining IPC (`submitSolution`) it needs nothing but the
    /// solution; by `getblocktemplate` it is the whole block by `submitblock`, one path with that of a
    /// [`BlockSubmitter`](crate::BlockSubmitter) on the same node. Where the node's answer is no verdict, its verdict is asked
    /// for by JSON-RPC before this returns; [`BlockOutcome::Inconclusive`] where that has no answer either.
    pub async fn submit(&self, solution: Solution) -> Result<BlockOutcome, SourceError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request { solution, answer })
            .await
            .map_err(|_closed| SourceError::Lost)?;
        answered.await.unwrap_or(Err(SourceError::Lost))
    }
}

/// The thread's state.
struct Source {
    config: SourceConfig,
    events: mpsc::Sender<SourceEvent>,
    followed: watch::Receiver<BTreeSet<Reservation>>,
    /// The node's JSON-RPC for calls that last.
    long_polls: Rpc,
    stop: CancellationToken,
}

impl Source {
    async fn run(mut self) {
        let stop = self.stop.clone();
        // Dropping the session drops its tasks and the connection.
        stop.run_until_cancelled(self.reconnect()).await;
    }

    async fn reconnect(&mut self) {
        let mut pause = RECONNECT_FIRST;
        loop {
            let mut connected = false;
            let Err(error) = self.session(&mut connected).await;
            if self
                .events
                .send(SourceEvent::Unavailable(error))
                .await
                .is_err()
            {
                return;
            }
            pause = if connected {
                RECONNECT_FIRST
            } else {
                (pause * 2).min(RECONNECT_MAX)
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One connection, from the checks to its loss.
    async fn session(
        &mut self,
        connected: &mut bool,
    ) -> Result<std::convert::Infallible, SourceError> {
        let info = check_node(&self.config.rpc, self.config.chain).await?;
        match self.config.socket.clone() {
            Some(socket) => ipc::session(self, &socket, info, connected).await,
            None => gbt::session(self, info, connected).await,
        }
    }
}

/// A call that may be under way.
type Pending<T> = Option<Pin<Box<dyn Future<Output = Result<T, SourceError>>>>>;

/// What a pending call comes to; never where there is none.
async fn arrived<T>(pending: &mut Pending<T>) -> Result<T, SourceError> {
    match pending {
        Some(call) => call.await,
        None => std::future::pending().await,
    }
}
