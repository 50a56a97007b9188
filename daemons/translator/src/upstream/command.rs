//! What sessions ask of the upstream, and what they are told by it.

use super::link::Switched;
use crate::bridge::{Rejection, Share, Tip, UpstreamJob};
use hh_mining::Target;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Which connection to the upstream: counts up with every one that is made.
pub(crate) type LinkNumber = u32;

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
        events: EventSink,
    },
    /// The miner's hashrate or its bound of difficulty has changed.
    Update { session: u64, terms: ChannelTerms },
    /// Forward a share, unless its connection is gone: then [`Event::Lost`] has settled it.
    Submit {
        session: u64,
        route: Route,
        sequence_number: u32,
        share: Box<Share>,
        /// The worker who found it, if that is not the one that the channel was opened for.
        worker: Option<String>,
    },
    /// The session has ended.
    Close { session: u64 },
    /// An operator wants the upstream of that place in the configuration before all others.
    Switch {
        index: usize,
        done: oneshot::Sender<Switched>,
    },
}

/// A channel that a session wants.
#[derive(Clone, Debug)]
pub(crate) struct ChannelWish {
    /// As the miner gave it; at most 255 bytes.
    pub user_identity: String,
    pub min_extranonce_size: u16,
    pub terms: ChannelTerms,
    /// Where the pool leaves the difficulty to us, the channel is to be at exactly its `max_target`; else it is steered.
    pub is_exact: bool,
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
    /// The channel for all jobs from here on. Where there was another one, jobs that are out may still be submitted on that,
    /// until [`Self::Lost`] ends its connection.
    Opened(Box<OpenedChannel>),
    /// The pool does not open the channel; its error code. Nothing follows.
    Refused(Box<str>),
    Job(Arc<UpstreamJob>, Instant),
    Tip(Arc<Tip>, Instant),
    /// What the channel works on now, for a miner that comes to it in the middle of that.
    Current(Box<CurrentWork>),
    /// For the jobs after it.
    Target(Box<Target>),
    /// For the jobs after it.
    ExtranoncePrefix(Box<[u8]>),
    /// Settles every share of the channel up to this one that was not rejected.
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
    /// The connection is gone and its channel with it: nothing on it that is not settled ever will be. Where it was the
    /// channel of the jobs to come, [`Self::Opened`] follows when there is another one.
    Lost(LinkNumber),
}

/// A channel that is open.
#[derive(Clone, Debug)]
pub(crate) struct OpenedChannel {
    pub route: Route,
    pub target: Target,
    pub extranonce_prefix: Box<[u8]>,
    /// Bytes of the extranonce that may be rolled.
    pub extranonce_size: usize,
    /// The first of those, where the miner shares the channel with others; empty where it is its own.
    pub lease: Box<[u8]>,
}

/// The job that is active on a block.
#[derive(Clone, Debug)]
pub(crate) struct CurrentWork {
    pub tip: Arc<Tip>,
    pub job: Arc<UpstreamJob>,
}

/// Where a channel's events go.
#[derive(Clone, Debug)]
pub(crate) enum EventSink {
    /// To the session that the channel is for.
    Session(mpsc::Sender<Event>),
    /// To the task of an aggregated lane.
    Lane(LaneSink),
}

/// Events of all channels of a lane in one queue, each with its channel's key.
#[derive(Clone, Debug)]
pub(crate) struct LaneSink {
    key: u64,
    queue: mpsc::Sender<(u64, Event)>,
    /// Channels of which an event was lost.
    dropped: Arc<Mutex<Vec<u64>>>,
}

impl EventSink {
    /// Hands an event over without waiting.
    ///
    /// # Errors
    /// If whoever is to take it is too far behind, or gone.
    pub(crate) fn try_send(&self, event: Event) -> Result<(), TrySendError<()>> {
        let sent = match self {
            Self::Session(events) => events.try_send(event).map_err(without_event),
            Self::Lane(sink) => sink
                .queue
                .try_send((sink.key, event))
                .map_err(without_event),
        };
        if let (Err(TrySendError::Full(())), Self::Lane(sink)) = (&sent, self) {
            sink.lock().push(sink.key);
        }
        sent
    }
}

impl LaneSink {
    /// For no channel yet.
    pub(crate) fn new(queue: mpsc::Sender<(u64, Event)>) -> Self {
        Self {
            key: 0,
            queue,
            dropped: Arc::default(),
        }
    }

    pub(crate) fn for_key(&self, key: u64) -> Self {
        Self {
            key,
            ..self.clone()
        }
    }

    /// The channels of which events were lost since this was asked last; the upstream has closed them.
    pub(crate) fn take_dropped(&self) -> Vec<u64> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        // A list is whole after every statement.
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_event<T>(error: TrySendError<T>) -> TrySendError<()> {
    match error {
        TrySendError::Full(_) => TrySendError::Full(()),
        TrySendError::Closed(_) => TrySendError::Closed(()),
    }
}
