//! What can be seen of the pool from outside its tasks: the open channels, the lanes, and their counters.
//!
//! Connections write it, `control.rs` and the metrics read it. Each lock guards small plain data and is held for a few
//! instructions; nothing is decided by what stands here.

use crate::admission::ConnectionView;
use crate::difficulty::DifficultyRange;
use crate::rate::RateWindow;
use crate::share_log::Origin;
use hh_daemon::AddressRange;
use hh_mining::{Target, Work};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// All open channels and all lanes of one process.
#[derive(Debug)]
pub(crate) struct Directory {
    clock: Clock,
    lanes: Vec<Arc<LaneView>>,
    channels: Mutex<BTreeMap<u32, Arc<ChannelView>>>,
    next_channel_id: AtomicU32,
}

/// Milliseconds since the start, from a clock that never goes back, and its start in civil time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at_ms: i64,
}

/// A listener and the sums over its connections.
#[derive(Debug)]
pub(crate) struct LaneView {
    pub name: String,
    pub listen_address: SocketAddr,
    pub difficulty: DifficultyRange,
    pub connections: AtomicU32,
    pub channels: AtomicU32,
    counters: Mutex<Counters>,
    /// By reason.
    disconnects: Mutex<BTreeMap<&'static str, u64>>,
}

/// An open channel.
#[derive(Debug)]
pub(crate) struct ChannelView {
    pub id: u32,
    pub connection: Arc<ConnectionView>,
    /// `standard` or `extended`.
    pub kind: &'static str,
    pub device: Arc<str>,
    pub connected_at_ms: i64,
    pub nominal_hashrate_hs: f64,
    /// Its connection is to close it.
    closing: AtomicBool,
    live: Mutex<ChannelLive>,
}

/// What changes while a channel is open.
#[derive(Clone, Debug)]
pub(crate) struct ChannelLive {
    /// Node and lane may change; account and worker do not.
    pub origin: Arc<Origin>,
    /// Of the job that was sent last, as `target` is; none before the first.
    pub job_id: Option<u32>,
    pub target: Target,
    pub best_difficulty: f64,
    pub last_share_at_ms: Option<i64>,
    pub counters: Counters,
}

/// Shares and their work.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub accepted: u64,
    /// Expected hashes of the accepted shares; wraps as a counter may.
    pub hashes: u64,
    /// By error code.
    pub rejected: BTreeMap<&'static str, u64>,
    pub rate: RateWindow,
}

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            started_at_ms: unix_ms(),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Unix time of the start in milliseconds.
    pub(crate) fn started_at_ms(&self) -> i64 {
        self.started_at_ms
    }
}

/// Unix time in milliseconds, as the system's clock tells it now.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl Counters {
    fn new(now_ms: u64) -> Self {
        Self {
            accepted: 0,
            hashes: 0,
            rejected: BTreeMap::new(),
            rate: RateWindow::new(now_ms),
        }
    }

    fn accept(&mut self, now_ms: u64, count: u32, work: Work) {
        self.accepted += u64::from(count);
        self.hashes = self
            .hashes
            .wrapping_add(u64::try_from(work.0).unwrap_or(u64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        self.rate.add(now_ms, work.0 as f64);
    }

    fn reject(&mut self, code: &'static str) {
        *self.rejected.entry(code).or_default() += 1;
    }
}

impl LaneView {
    fn new(lane: NewLane, now_ms: u64) -> Self {
        Self {
            name: lane.name,
            listen_address: lane.listen_address,
            difficulty: lane.difficulty,
            connections: AtomicU32::new(0),
            channels: AtomicU32::new(0),
            counters: Mutex::new(Counters::new(now_ms)),
            disconnects: Mutex::new(no_disconnects()),
        }
    }

    /// Counts a connection that has ended, or was not let in.
    pub(crate) fn on_disconnect(&self, reason: &'static str) {
        *lock(&self.disconnects).entry(reason).or_default() += 1;
    }

    /// How many connections ended or were not let in, by reason.
    pub(crate) fn disconnects(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.disconnects).clone()
    }

    /// Counts accepted shares; `work` is their sum.
    pub(crate) fn accept(&self, now_ms: u64, count: u32, work: Work) {
        lock(&self.counters).accept(now_ms, count, work);
    }

    /// Counts a share refused with `code`.
    pub(crate) fn reject(&self, code: &'static str) {
        lock(&self.counters).reject(code);
    }

    /// Counts a channel.
    pub(crate) fn on_channel_opened(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a channel off.
    pub(crate) fn on_channel_closed(&self) {
        self.channels.fetch_sub(1, Ordering::Relaxed);
    }

    /// A copy of the counters.
    pub(crate) fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }
}

impl ChannelView {
    /// Counts accepted shares; `work` is their sum, `difficulty` the highest of a hash.
    pub(crate) fn accept(&self, now_ms: u64, count: u32, work: Work, difficulty: f64) {
        let mut live = lock(&self.live);
        live.counters.accept(now_ms, count, work);
        live.best_difficulty = live.best_difficulty.max(difficulty);
        live.last_share_at_ms = Some(unix_ms());
    }

    /// Counts a share refused with `code`.
    pub(crate) fn reject(&self, code: &'static str) {
        lock(&self.live).counters.reject(code);
    }

    /// Has its connection close it at the next tick, within a second or so.
    pub(crate) fn close_soon(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::close_soon`] was called.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Who is credited, and through what its shares come now.
    pub(crate) fn origin(&self) -> Arc<Origin> {
        Arc::clone(&lock(&self.live).origin)
    }

    /// Its shares come through something else from now on.
    pub(crate) fn set_origin(&self, origin: Arc<Origin>) {
        lock(&self.live).origin = origin;
    }

    /// The job that was sent last, and its target.
    pub(crate) fn set_job(&self, job_id: u32, target: Target) {
        let mut live = lock(&self.live);
        live.job_id = Some(job_id);
        live.target = target;
    }

    /// The job that was sent last.
    pub(crate) fn job_id(&self) -> Option<u32> {
        lock(&self.live).job_id
    }

    /// A copy of what changes.
    pub(crate) fn live(&self) -> ChannelLive {
        lock(&self.live).clone()
    }
}

/// What a lane is registered with.
#[derive(Debug)]
pub(crate) struct NewLane {
    pub name: String,
    /// As it is bound.
    pub listen_address: SocketAddr,
    pub difficulty: DifficultyRange,
}

/// What a channel is registered with.
#[derive(Debug)]
pub(crate) struct NewChannel {
    pub origin: Arc<Origin>,
    pub connection: Arc<ConnectionView>,
    pub kind: &'static str,
    pub device: Arc<str>,
    pub nominal_hashrate_hs: f64,
    pub target: Target,
}

impl Directory {
    /// An empty one.
    pub(crate) fn new(clock: Clock, lanes: Vec<NewLane>) -> Self {
        let now_ms = clock.now_ms();
        let lanes = lanes.into_iter();
        let view = |lane| Arc::new(LaneView::new(lane, now_ms));
        Self {
            clock,
            lanes: lanes.map(view).collect(),
            channels: Mutex::default(),
            next_channel_id: AtomicU32::new(crate::group::GROUP_CHANNEL_ID + 1),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn lanes(&self) -> &[Arc<LaneView>] {
        &self.lanes
    }

    /// Gives a new channel its id, which no open channel of this process has, and lists it.
    pub(crate) fn open(&self, new: NewChannel) -> Arc<ChannelView> {
        let mut channels = lock(&self.channels);
        let id = loop {
            let id = self.next_channel_id.fetch_add(1, Ordering::Relaxed);
            if id > crate::group::GROUP_CHANNEL_ID && !channels.contains_key(&id) {
                break id;
            }
        };
        let live = ChannelLive {
            origin: new.origin,
            job_id: None,
            target: new.target,
            best_difficulty: 0.0,
            last_share_at_ms: None,
            counters: Counters::new(self.clock.now_ms()),
        };
        let view = Arc::new(ChannelView {
            id,
            connection: new.connection,
            kind: new.kind,
            device: new.device,
            connected_at_ms: unix_ms(),
            nominal_hashrate_hs: new.nominal_hashrate_hs,
            closing: AtomicBool::new(false),
            live: Mutex::new(live),
        });
        channels.insert(id, Arc::clone(&view));
        view
    }

    /// Takes a channel off the list.
    pub(crate) fn close(&self, id: u32) {
        lock(&self.channels).remove(&id);
    }

    /// One open channel.
    pub(crate) fn channel(&self, id: u32) -> Option<Arc<ChannelView>> {
        lock(&self.channels).get(&id).cloned()
    }

    /// Whether an open channel from these addresses has an accepted share.
    pub(crate) fn has_shares_from(&self, range: AddressRange) -> bool {
        let channels = lock(&self.channels);
        channels.values().any(|channel| {
            range.contains(channel.connection.peer.ip())
                && lock(&channel.live).counters.accepted > 0
        })
    }

    /// All open channels, the oldest first.
    pub(crate) fn channels(&self) -> Vec<Arc<ChannelView>> {
        lock(&self.channels).values().cloned().collect()
    }
}

/// Every reason, so that the first one of each is an increase too.
fn no_disconnects() -> BTreeMap<&'static str, u64> {
    use crate::disconnect::{DROPPED, LEFT, TURNED_AWAY};
    let reasons = TURNED_AWAY.into_iter().chain(DROPPED).chain(LEFT);
    reasons.map(|reason| (reason, 0)).collect()
}

/// What is behind these locks is valid after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
