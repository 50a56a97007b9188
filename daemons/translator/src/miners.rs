//! The connected miners and the lanes, as operators and Prometheus see them, and how many of them there may be.
//!
//! Sessions write here what they have done; nothing in a session depends on what stands here.

use crate::bridge::Rejection;
use crate::config::{LaneConfig, LaneProtocol, LimitsConfig};
use crate::difficulty::LaneDifficulty;
use crate::downstream::{SessionEnd, account};
use crate::hashrate::Hashrate;
use crate::proxy::ProxyEnd;
use hh_daemon::{AddressRange, Full, Places};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the gauges that fade by themselves are set.
const EXPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Values of the label `result` of `hyperhash_shares_total`.
const RESULTS: [&str; 7] = [
    "accepted",
    "stale",
    "duplicate",
    "low_difficulty",
    "invalid",
    "unauthorized",
    "unsettled",
];

/// Value of the label `reason` of `hyperhash_miner_disconnects_total` for a connection that got no place.
pub(crate) const OVER_LIMIT: &str = "over_limit";

/// The same for a connection from an address that is banned.
pub(crate) const BANNED: &str = "banned";

/// The same for a connection to a lane that lets nobody in.
pub(crate) const PAUSED: &str = "lane_paused";

/// The same for a connection from a proxy that does not begin with a header.
pub(crate) const PROXY_HEADER: &str = "proxy_header";

/// All lanes and all connections. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Miners(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lanes: Vec<Arc<Lane>>,
    places: Places,
    /// Connections of proxies that have not told for whom they are.
    unannounced: Places,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    last_id: u64,
    miners: BTreeMap<u64, Arc<Miner>>,
    /// SV2 connections, which are listed by their channels and have none at first.
    carriers: BTreeMap<u64, Arc<Miner>>,
}

/// A listener with what came through it.
#[derive(Debug)]
pub(crate) struct Lane {
    pub name: String,
    pub listen_address: SocketAddr,
    pub protocol: LaneProtocol,
    pub difficulty: LaneDifficulty,
    /// Since when no new connection is let in.
    paused_at: Mutex<Option<SystemTime>>,
    /// How many connections ended or were not let in, by reason.
    ended: Mutex<BTreeMap<&'static str, u64>>,
    connections: AtomicU32,
    in_flight: AtomicU64,
    counts: Mutex<(ShareCounts, Hashrate)>,
    shares_total: BTreeMap<&'static str, Counter>,
    hashes_total: Counter,
    connections_gauge: Gauge,
    pub notify_seconds: Histogram,
    pub settle_seconds: Histogram,
}

/// What miners were answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShareCounts {
    pub accepted: u64,
    /// By the error code of SV2.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Answered with an error because the upstream went away.
    pub unsettled: u64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Miner {
    pub id: u64,
    pub peer: SocketAddr,
    pub lane: Arc<Lane>,
    pub connected_at: SystemTime,
    /// Tells its connection to end, of which an SV2 miner may be one of many.
    pub kicked: Arc<Notify>,
    state: Mutex<MinerState>,
}

/// What changes of a connection.
#[derive(Clone, Debug)]
pub(crate) struct MinerState {
    pub user_name: String,
    /// Further names that it may submit for.
    pub other_users: Vec<String>,
    pub user_agent: String,
    /// Its channel at the pool.
    pub channel_id: Option<u32>,
    pub difficulty: f64,
    pub version_rolling: bool,
    pub shares: ShareCounts,
    pub last_share_at: Option<SystemTime>,
    pub hashrate: Hashrate,
}

/// A connection's place among the limits, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    miners: Miners,
    pub miner: Arc<Miner>,
    _counted: hh_daemon::Place,
}

/// An SV2 channel's row in the list of miners, taken out when it is dropped.
#[derive(Debug)]
pub(crate) struct ChannelRow {
    miners: Miners,
    pub miner: Arc<Miner>,
}

impl Miners {
    /// `lanes` with the addresses that their sockets are bound to.
    pub(crate) fn new(lanes: &[(LaneConfig, SocketAddr)], limits: &LimitsConfig) -> Self {
        describe();
        let lanes = lanes
            .iter()
            .map(|(config, address)| Arc::new(Lane::new(config, *address)));
        Self(Arc::new(Shared {
            lanes: lanes.collect(),
            places: Places::new(limits.max_connections, limits.max_connections_per_address),
            unannounced: Places::new(limits.max_connections, limits.max_connections),
            connections: Mutex::default(),
        }))
    }

    pub(crate) fn lanes(&self) -> &[Arc<Lane>] {
        &self.0.lanes
    }

    /// The oldest `max` connections.
    pub(crate) fn oldest(&self, max: usize) -> Vec<Arc<Miner>> {
        self.lock().miners.values().take(max).cloned().collect()
    }

    /// One connection, by its id.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Miner>> {
        self.lock().miners.get(&id).cloned()
    }

    /// The connections that `is_meant` takes, the oldest first.
    pub(crate) fn select(&self, is_meant: impl Fn(&Miner) -> bool) -> Vec<Arc<Miner>> {
        let miners: Vec<_> = self.lock().miners.values().cloned().collect();
        miners.into_iter().filter(|miner| is_meant(miner)).collect()
    }

    /// What tells the connections from `range` to end, those included that have no channel yet.
    pub(crate) fn ends_from(&self, range: AddressRange) -> Vec<Arc<Notify>> {
        let connections = self.lock();
        let rows = connections.miners.values();
        let from_there = rows
            .chain(connections.carriers.values())
            .filter(|miner| range.contains(miner.peer.ip()));
        // An SV2 connection has one for all of its channels.
        let ends = from_there.map(|miner| (Arc::as_ptr(&miner.kicked), &miner.kicked));
        let ends: HashMap<_, _> = ends.collect();
        ends.into_values().cloned().collect()
    }

    /// A place for a connection.
    ///
    /// # Errors
    /// If there is none left, in all or for the address.
    pub(crate) fn admit(&self, lane: &Arc<Lane>, peer: SocketAddr) -> Result<Place, Full> {
        let counted = self.0.places.take(peer.ip())?;
        let miner = self.list(lane, peer, Arc::default());
        lane.connections.fetch_add(1, Ordering::Relaxed);
        lane.connections_gauge.increment(1.0);
        let miners = self.clone();
        Ok(Place {
            miners,
            miner,
            _counted: counted,
        })
    }

    /// Another row of the list.
    fn list(&self, lane: &Arc<Lane>, peer: SocketAddr, kicked: Arc<Notify>) -> Arc<Miner> {
        let mut connections = self.lock();
        connections.last_id += 1;
        let miner = Arc::new(Miner::new(
            connections.last_id,
            peer,
            Arc::clone(lane),
            kicked,
        ));
        connections.miners.insert(miner.id, Arc::clone(&miner));
        miner
    }

    /// A place for a connection of a proxy until it has told for whom it is.
    ///
    /// # Errors
    /// If there are too many such.
    pub(crate) fn await_header(&self, proxy: SocketAddr) -> Result<hh_daemon::Place, Full> {
        self.0.unannounced.take(proxy.ip())
    }

    /// Sets the gauges that change without an event, until `stop` is cancelled.
    pub(crate) async fn export(self, stop: CancellationToken) {
        let pause = || tokio::time::sleep(EXPORT_INTERVAL);
        while stop.run_until_cancelled(pause()).await.is_some() {
            for lane in self.lanes() {
                gauge!("hyperhash_lane_hashrate_hashes_per_second", "lane" => lane.name.clone(), "window" => "10m")
                    .set(lane.hashrate_hs());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        lock(&self.0.connections)
    }
}

impl Place {
    /// The connection is listed by its channels from here on, and not by itself.
    pub(crate) fn list_channels(&self) {
        let mut connections = self.miners.lock();
        connections.miners.remove(&self.miner.id);
        let carrier = Arc::clone(&self.miner);
        connections.carriers.insert(self.miner.id, carrier);
    }

    /// A row for another channel of the connection.
    pub(crate) fn channel(&self) -> ChannelRow {
        let Miner {
            peer, lane, kicked, ..
        } = &*self.miner;
        ChannelRow {
            miners: self.miners.clone(),
            miner: self.miners.list(lane, *peer, Arc::clone(kicked)),
        }
    }
}

impl Drop for ChannelRow {
    fn drop(&mut self) {
        self.miners.lock().miners.remove(&self.miner.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let lane = &self.miner.lane;
        lane.connections.fetch_sub(1, Ordering::Relaxed);
        lane.connections_gauge.decrement(1.0);
        let mut connections = self.miners.lock();
        connections.miners.remove(&self.miner.id);
        connections.carriers.remove(&self.miner.id);
    }
}

impl Lane {
    fn new(config: &LaneConfig, listen_address: SocketAddr) -> Self {
        let name = config.name.clone();
        for reason in SessionEnd::LABELS
            .into_iter()
            .chain(ProxyEnd::LABELS)
            .chain([BANNED, OVER_LIMIT, PAUSED, PROXY_HEADER])
        {
            counter!("hyperhash_miner_disconnects_total", "lane" => name.clone(), "reason" => reason).absolute(0);
        }
        gauge!("hyperhash_lane_paused", "lane" => name.clone()).set(0.0);
        for direction in ["up", "down"] {
            counter!("hyperhash_vardiff_adjustments_total", "lane" => name.clone(), "direction" => direction).absolute(0);
        }
        let shares_total = RESULTS.map(|result| {
            let counter =
                counter!("hyperhash_shares_total", "lane" => name.clone(), "result" => result);
            // So that the first one is an increase too.
            counter.absolute(0);
            (result, counter)
        });
        Self {
            listen_address,
            protocol: config.protocol,
            difficulty: LaneDifficulty::new(config),
            paused_at: Mutex::default(),
            ended: Mutex::default(),
            connections: AtomicU32::new(0),
            in_flight: AtomicU64::new(0),
            counts: Mutex::new((ShareCounts::default(), Hashrate::new(Instant::now()))),
            shares_total: BTreeMap::from(shares_total),
            hashes_total: counter!("hyperhash_lane_hashes_total", "lane" => name.clone()),
            connections_gauge: gauge!("hyperhash_miner_connections", "lane" => name.clone()),
            notify_seconds: histogram!("hyperhash_job_notify_seconds", "lane" => name.clone()),
            settle_seconds: histogram!("hyperhash_translator_share_settle_seconds", "lane" => name.clone()),
            name,
        }
    }

    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Shares forwarded and not yet settled.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn shares(&self) -> ShareCounts {
        lock(&self.counts).0.clone()
    }

    pub(crate) fn hashrate_hs(&self) -> f64 {
        lock(&self.counts).1.hashes_per_second(Instant::now())
    }

    /// Since when no new connection is let in; none while all are.
    pub(crate) fn paused_at(&self) -> Option<SystemTime> {
        *lock(&self.paused_at)
    }

    /// Lets no new connection in from now on, or all again.
    pub(crate) fn pause(&self, paused: bool) {
        let mut paused_at = lock(&self.paused_at);
        *paused_at = paused.then(|| paused_at.unwrap_or_else(SystemTime::now));
        gauge!("hyperhash_lane_paused", "lane" => self.name.clone())
            .set(f64::from(u8::from(paused)));
    }

    /// How many connections ended or were not let in, by reason.
    pub(crate) fn ended(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.ended).clone()
    }

    /// Why a connection of this lane ended.
    pub(crate) fn on_disconnect(&self, reason: &'static str) {
        *lock(&self.ended).entry(reason).or_default() += 1;
        counter!("hyperhash_miner_disconnects_total", "lane" => self.name.clone(), "reason" => reason)
            .increment(1);
    }

    /// The pool has changed a miner's target.
    pub(crate) fn on_retarget(&self, harder: bool) {
        let direction = if harder { "up" } else { "down" };
        counter!("hyperhash_vardiff_adjustments_total", "lane" => self.name.clone(), "direction" => direction)
            .increment(1);
    }

    fn count(&self, result: &str) {
        if let Some(counter) = self.shares_total.get(result) {
            counter.increment(1);
        }
    }
}

impl Miner {
    fn new(id: u64, peer: SocketAddr, lane: Arc<Lane>, kicked: Arc<Notify>) -> Self {
        Self {
            id,
            peer,
            lane,
            connected_at: SystemTime::now(),
            kicked,
            state: Mutex::new(MinerState {
                user_name: String::new(),
                other_users: Vec::new(),
                channel_id: None,
                user_agent: String::new(),
                difficulty: 0.0,
                version_rolling: false,
                shares: ShareCounts::default(),
                last_share_at: None,
                hashrate: Hashrate::new(Instant::now()),
            }),
        }
    }

    /// Whether it mines for the account `user`, or is the worker of that name.
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let state = lock(&self.state);
        let mut names = state.other_users.iter().chain([&state.user_name]);
        names.any(|name| name == user) || (!user.is_empty() && account(&state.user_name) == user)
    }

    /// A copy for a look.
    pub(crate) fn state(&self) -> MinerState {
        lock(&self.state).clone()
    }

    /// Changes what is shown.
    pub(crate) fn update(&self, change: impl FnOnce(&mut MinerState)) {
        change(&mut lock(&self.state));
    }

    pub(crate) fn on_forwarded(&self) {
        self.lane.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The pool has accepted a share of so many expected hashes.
    pub(crate) fn on_accepted(&self, hashes: u128) {
        self.lane.in_flight.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "a rate for display")]
        let hashes_display = hashes as f64;
        {
            let (counts, hashrate) = &mut *lock(&self.lane.counts);
            counts.accepted += 1;
            hashrate.add(hashes_display, now);
        }
        self.lane.count("accepted");
        self.lane
            .hashes_total
            .increment(u64::try_from(hashes).unwrap_or(u64::MAX));
        self.update(|state| {
            state.shares.accepted += 1;
            state.last_share_at = Some(SystemTime::now());
            state.hashrate.add(hashes_display, now);
        });
    }

    /// A share was rejected, by us or, if it was forwarded, by the pool.
    pub(crate) fn on_rejected(&self, reason: Rejection, forwarded: bool) {
        if forwarded {
            self.lane.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        let code = reason.sv2_code();
        *lock(&self.lane.counts).0.rejected.entry(code).or_default() += 1;
        self.lane.count(reason.metric_label());
        self.update(|state| *state.shares.rejected.entry(code).or_default() += 1);
    }

    /// Forwarded shares will never be settled.
    pub(crate) fn on_unsettled(&self, count: u64) {
        self.lane.in_flight.fetch_sub(count, Ordering::Relaxed);
        lock(&self.lane.counts).0.unsettled += count;
        if let Some(counter) = self.lane.shares_total.get("unsettled") {
            counter.increment(count);
        }
        self.update(|state| state.shares.unsettled += count);
    }
}

fn describe() {
    describe_counter!(
        "hyperhash_shares_total",
        "Shares by lane and by what the miner was answered"
    );
    describe_counter!(
        "hyperhash_lane_hashes_total",
        "Expected hashes of the accepted shares, by lane"
    );
    describe_gauge!(
        "hyperhash_lane_hashrate_hashes_per_second",
        "Hashrate of accepted shares, by lane"
    );
    describe_gauge!(
        "hyperhash_lane_paused",
        "1 while the lane lets no new connection in"
    );
    describe_gauge!(
        "hyperhash_miner_connections",
        "Open connections of miners, by lane"
    );
    describe_counter!(
        "hyperhash_miner_disconnects_total",
        "Connections of miners that ended, by lane and reason"
    );
    describe_counter!(
        "hyperhash_vardiff_adjustments_total",
        "Changes of a miner's target by the pool, by lane"
    );
    describe_histogram!(
        "hyperhash_job_notify_seconds",
        "From the pool's message to the write of the miner's notify"
    );
    describe_histogram!(
        "hyperhash_translator_share_settle_seconds",
        "From a miner's submit to its answer by the pool"
    );
    describe_gauge!(
        "hyperhash_translator_upstream_connected",
        "1 while the upstream is connected"
    );
    describe_counter!(
        "hyperhash_translator_upstream_switches_total",
        "Connections made to the upstream"
    );
}

/// What is locked is plain data, whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miners(max_connections: usize, max_connections_per_address: usize) -> Miners {
        let lane = LaneConfig::new("main", "127.0.0.1:0".parse().unwrap());
        let limits = LimitsConfig {
            max_connections,
            max_connections_per_address,
            ..LimitsConfig::default()
        };
        let address = lane.listen_address;
        Miners::new(&[(lane, address)], &limits)
    }

    #[test]
    fn a_miner_is_counted_and_listed_from_its_place_to_its_end() {
        let miners = miners(2, 1);
        let lane = &miners.lanes()[0];
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let first = miners.admit(lane, here).unwrap();
        assert_eq!(miners.admit(lane, here).unwrap_err(), Full::Address(1));
        assert_eq!((lane.connections(), miners.oldest(2).len()), (1, 1));
        drop(first);
        assert_eq!((lane.connections(), miners.oldest(2).len()), (0, 0));
        assert!(miners.admit(lane, here).is_ok());
    }

    #[test]
    fn every_share_forwarded_is_in_flight_until_it_is_settled() {
        let miners = miners(1, 1);
        let lane = &miners.lanes()[0];
        let place = miners.admit(lane, "127.0.0.1:1".parse().unwrap()).unwrap();
        for _ in 0..4 {
            place.miner.on_forwarded();
        }
        place.miner.on_accepted(1000);
        place.miner.on_rejected(Rejection::Stale, true);
        place.miner.on_rejected(Rejection::Duplicate, false);
        assert_eq!(lane.in_flight(), 2);
        place.miner.on_unsettled(2);
        assert_eq!(lane.in_flight(), 0);
        let shares = lane.shares();
        assert_eq!((shares.accepted, shares.unsettled), (1, 2));
        let rejected = BTreeMap::from([("stale-share", 1), ("duplicate-share", 1)]);
        assert_eq!(shares.rejected, rejected);
    }
}
