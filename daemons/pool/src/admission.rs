//! Who may connect: every connection from its accept to its end, counted in all and by address.
//!
//! Listeners ask for a place before anything is read, and `kick` ends connections through it. It knows nothing of shares,
//! and no share touches it.

use crate::config::LimitsConfig;
use crate::directory::{Clock, unix_ms};
use crate::disconnect::TurnedAway;
use hh_daemon::ban::BanBook;
use hh_daemon::{ConnectRate, Entered, Full, HalfOpen, Places};
use hh_trust::NodeId;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The connections of a process.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Places,
    half_open: HalfOpen,
    /// Connections of proxies that have not told for whom they are.
    unannounced: Places,
    rate: Mutex<ConnectRate>,
    bans: Arc<BanBook>,
    clock: Clock,
    stop: CancellationToken,
    connections: Mutex<Connections>,
    /// How many there are.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Connections {
    next_id: u64,
    by_id: BTreeMap<u64, Arc<ConnectionView>>,
}

/// A connection from its accept to its end.
#[derive(Debug)]
pub(crate) struct ConnectionView {
    /// Never given twice by a process.
    pub id: u64,
    pub peer: SocketAddr,
    /// Cancelled when it is to end: with the daemon, or alone.
    pub ending: CancellationToken,
    /// The node whose credential it has presented, while that holds.
    node: Mutex<Option<NodeId>>,
}

impl ConnectionView {
    /// One that has presented no credential.
    pub(crate) fn new(id: u64, peer: SocketAddr, ending: CancellationToken) -> Self {
        Self {
            id,
            peer,
            ending,
            node: Mutex::default(),
        }
    }

    /// Whose credential holds from now on.
    pub(crate) fn set_node(&self, node: Option<NodeId>) {
        *self.lock_node() = node;
    }

    fn lock_node(&self) -> MutexGuard<'_, Option<NodeId>> {
        // It is replaced as a whole.
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub connection: Arc<ConnectionView>,
    /// Cancelled where it has to go for a newer one, before it is set up; or with its connection.
    pub displaced: CancellationToken,
    half_open: Option<Entered>,
    admission: Arc<Admission>,
    _counted: hh_daemon::Place,
}

impl Admission {
    /// As many connections as `limits` allow, of whom `bans` does not keep out; all of them end with `stop`.
    pub(crate) fn new(
        limits: &LimitsConfig,
        bans: Arc<BanBook>,
        clock: Clock,
        stop: CancellationToken,
    ) -> Self {
        let rate = ConnectRate::new(
            limits.max_connects_per_minute,
            limits.max_connects_per_minute_per_address,
        );
        Self {
            places: Places::new(limits.max_connections, limits.max_connections_per_address),
            half_open: HalfOpen::new(limits.max_half_open, limits.max_half_open_per_address),
            unannounced: Places::new(limits.max_half_open, limits.max_half_open),
            rate: Mutex::new(rate),
            bans,
            clock,
            stop,
            connections: Mutex::default(),
            open: watch::Sender::default(),
        }
    }

    /// A place for `peer`, which has not said anything yet.
    ///
    /// # Errors
    /// It is banned, or which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, TurnedAway> {
        if let Some(range) = self.bans.of_address(peer.ip(), unix_ms()) {
            return Err(TurnedAway::Banned(range));
        }
        let now = Duration::from_millis(self.clock.now_ms());
        let counted = self.places.take(peer.ip())?;
        // A count that a panic left as it was is one of these too.
        let rate = self.rate.lock();
        let mut rate = rate.unwrap_or_else(PoisonError::into_inner);
        rate.admit(peer.ip(), now)?;
        drop(rate);
        let mut connections = self.lock();
        let ending = self.stop.child_token();
        let connection = ConnectionView::new(connections.next_id, peer, ending);
        let connection = Arc::new(connection);
        connections.next_id += 1;
        connections
            .by_id
            .insert(connection.id, Arc::clone(&connection));
        self.open.send_replace(connections.by_id.len());
        drop(connections);
        let displaced = connection.ending.child_token();
        let half_open = self.half_open.enter(peer.ip(), displaced.clone());
        let place = Place {
            connection,
            displaced,
            half_open: Some(half_open),
            admission: Arc::clone(self),
            _counted: counted,
        };
        // A ban that was made meanwhile has ended what was open, and this was not yet.
        match self.bans.of_address(peer.ip(), unix_ms()) {
            Some(range) => Err(TurnedAway::Banned(range)),
            None => Ok(place),
        }
    }

    /// Waits until no connection is open. One that comes after the daemon was told to stop ends before it does anything.
    pub(crate) async fn emptied(&self) {
        let emptied = self
            .open
            .subscribe()
            .wait_for(|open| *open == 0)
            .await
            .is_ok();
        debug_assert!(emptied, "the sender is ours");
    }

    /// A place for a connection of a proxy until it has told for whom it is. Proxies are not counted by address: miners are,
    /// when they are known.
    ///
    /// # Errors
    /// There are too many such.
    pub(crate) fn await_header(&self, proxy: SocketAddr) -> Result<hh_daemon::Place, Full> {
        self.unannounced.take(proxy.ip())
    }

    /// The connections from addresses that `wanted` takes, the oldest first.
    pub(crate) fn connections_from(
        &self,
        wanted: impl Fn(IpAddr) -> bool,
    ) -> Vec<Arc<ConnectionView>> {
        let connections = self.lock();
        let from_there = |view: &&Arc<ConnectionView>| wanted(view.peer.ip());
        connections
            .by_id
            .values()
            .filter(from_there)
            .cloned()
            .collect()
    }

    /// The connections that have presented the credential of `node`, the oldest first.
    pub(crate) fn connections_through(&self, node: &NodeId) -> Vec<Arc<ConnectionView>> {
        let connections = self.lock();
        let views = connections.by_id.values();
        let through = views.filter(|view| view.lock_node().as_ref() == Some(node));
        through.cloned().collect()
    }

    /// How many connections are not set up.
    pub(crate) fn half_open(&self) -> usize {
        self.half_open.count()
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // A panic in between would leave a place taken, and nothing worse.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The connection is set up: it is half-open no more.
    pub(crate) fn set_up(&mut self) {
        self.half_open = None;
    }

    /// As [`Admission::connections_from`].
    pub(crate) fn connections_from(
        &self,
        wanted: impl Fn(IpAddr) -> bool,
    ) -> Vec<Arc<ConnectionView>> {
        self.admission.connections_from(wanted)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.admission.lock();
        connections.by_id.remove(&self.connection.id);
        self.admission.open.send_replace(connections.by_id.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_daemon::TooMany;

    fn admission(limits: LimitsConfig) -> (Arc<Admission>, CancellationToken) {
        let stop = CancellationToken::new();
        let bans = Arc::new(crate::sample::no_bans());
        let admission = Admission::new(&limits, bans, Clock::start(), stop.clone());
        (Arc::new(admission), stop)
    }

    #[test]
    fn connections_are_found_by_address_until_they_end() {
        let (admission, _) = admission(LimitsConfig {
            max_connections_per_address: 1,
            ..LimitsConfig::default()
        });
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let there: SocketAddr = "127.0.0.2:1".parse().unwrap();
        let first = admission.admit(here).unwrap();
        let full = TurnedAway::Full(Full::Address(1));
        assert_eq!(admission.admit(here).unwrap_err(), full);
        let second = admission.admit(there).unwrap();
        let from = |peer: SocketAddr| admission.connections_from(|address| address == peer.ip());
        assert_eq!(from(there)[0].id, second.connection.id);
        drop(first);
        assert!(from(here).is_empty());
        let third = admission.admit(here).unwrap();
        assert_ne!(third.connection.id, second.connection.id);
    }

    #[tokio::test]
    async fn the_last_connection_that_ends_empties_it() {
        let (admission, _) = admission(LimitsConfig::default());
        admission.emptied().await;
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let places = [
            admission.admit(peer).unwrap(),
            admission.admit(peer).unwrap(),
        ];
        let mut emptied = Box::pin(admission.emptied());
        for place in places {
            assert!(futures::poll!(&mut emptied).is_pending());
            drop(place);
        }
        emptied.await;
    }

    #[test]
    fn a_connection_ends_alone_or_with_all() {
        let (admission, stop) = admission(LimitsConfig::default());
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let (one, other) = (
            admission.admit(peer).unwrap(),
            admission.admit(peer).unwrap(),
        );
        one.connection.ending.cancel();
        assert!(!other.connection.ending.is_cancelled());
        stop.cancel();
        assert!(other.connection.ending.is_cancelled());
        assert!(other.displaced.is_cancelled());
    }

    #[test]
    fn who_comes_too_often_is_turned_away_though_there_are_places() {
        let (admission, _) = admission(LimitsConfig {
            max_connects_per_minute_per_address: 2,
            ..LimitsConfig::default()
        });
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        drop(admission.admit(peer).unwrap());
        drop(admission.admit(peer).unwrap());
        let too_many = TurnedAway::TooMany(TooMany::Address(2));
        assert_eq!(admission.admit(peer).unwrap_err(), too_many);
        admission.admit("127.0.0.2:1".parse().unwrap()).unwrap();
    }

    #[test]
    fn who_is_set_up_is_displaced_by_nobody() {
        let (admission, _) = admission(LimitsConfig {
            max_half_open_per_address: 1,
            ..LimitsConfig::default()
        });
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut set_up = admission.admit(peer).unwrap();
        set_up.set_up();
        let silent = admission.admit(peer).unwrap();
        let _newest = admission.admit(peer).unwrap();
        assert!(silent.displaced.is_cancelled());
        assert!(!silent.connection.ending.is_cancelled());
        assert!(!set_up.displaced.is_cancelled());
        assert_eq!(admission.half_open(), 1);
    }
}
