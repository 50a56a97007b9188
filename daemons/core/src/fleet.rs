//! Which nodes have a session at this replica now, and what they said last. Lost at a restart: nodes come back and say it again.

use crate::lease::{self, Lease};
use crate::node;
use crate::report;
use crate::store::{Store, StoreError, Transaction};
use hh_ipc::agent::{AuditSeen, LaneReport, ServiceReport, TelemetryBatch};
use hh_trust::NodeId;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often it is written down what nodes have said: other replicas know it to so many seconds, and a lease that was lost unheard is found.
const RENEW_INTERVAL: Duration = Duration::from_secs(4);

/// Sessions that end together are written down together.
const GATHER: Duration = Duration::from_millis(50);

/// What is known of a node that has a session.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) peer: SocketAddr,
    pub(crate) connected_at_ms: i64,
    pub(crate) seen_at_ms: i64,
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) services: Vec<ServiceReport>,
    pub(crate) lanes: Vec<LaneReport>,
    /// What it has pushed last, here.
    pub(crate) measured: Option<Measured>,
    /// Of the audit log; none of an agent that keeps no checkpoints.
    pub(crate) audit: Option<AuditSeen>,
}

/// What a node's machine has, of its last sample.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) load_1m_milli: u32,
    pub(crate) memory_total_bytes: u64,
    pub(crate) memory_available_bytes: u64,
    pub(crate) disk_total_bytes: u64,
    pub(crate) disk_available_bytes: u64,
    pub(crate) dropped_total: u64,
}

impl Measured {
    /// None of a batch without samples.
    pub(crate) fn last_of(batch: &TelemetryBatch) -> Option<Self> {
        let sample = batch.samples.last()?;
        Some(Self {
            load_1m_milli: sample.load_1m_milli,
            memory_total_bytes: sample.memory_total_bytes,
            memory_available_bytes: sample.memory_available_bytes,
            disk_total_bytes: sample.disk_total_bytes,
            disk_available_bytes: sample.disk_available_bytes,
            dropped_total: batch.dropped_total,
        })
    }
}

/// A session that has ended, and when its node was last heard of.
type Gone = (Lease, i64);

#[derive(Debug)]
struct Seat {
    lease: Lease,
    live: Live,
    wake: Arc<Notify>,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Seats {
    by_node: BTreeMap<NodeId, Seat>,
    /// Sessions that have ended since it was written down, and when they were last heard of.
    gone: Vec<Gone>,
}

#[derive(Debug, Default)]
struct Shared {
    seats: Mutex<Seats>,
    has_gone: Notify,
}

/// The sessions. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet(Arc<Shared>);

/// A session's place in the fleet; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    fleet: Fleet,
    pub(crate) lease: Lease,
    /// There may be commands.
    pub(crate) wake: Arc<Notify>,
    /// The session is to end: another one of this node has begun, or it may not be here.
    pub(crate) end: CancellationToken,
}

impl Fleet {
    /// A session begins. One of the same node ends: it is what a connection that broke has left.
    pub(crate) fn enter(&self, lease: Lease, live: Live) -> Place {
        let mut seats = self.lock();
        let (wake, end) = (Arc::new(Notify::new()), CancellationToken::new());
        let seat = Seat {
            lease: lease.clone(),
            live,
            wake: Arc::clone(&wake),
            end: end.clone(),
        };
        let known = seats.by_node.get(&lease.node);
        if known.is_some_and(|known| known.lease.fence > lease.fence) {
            // It was overtaken on its way here.
            end.cancel();
        } else if let Some(before) = seats.by_node.insert(lease.node.clone(), seat) {
            before.end.cancel();
        }
        gauge(&seats);
        Place {
            fleet: self.clone(),
            lease,
            wake,
            end,
        }
    }

    /// What is known of a node; none if it has no session.
    pub(crate) fn get(&self, node: &NodeId) -> Option<Live> {
        self.lock().by_node.get(node).map(|seat| seat.live.clone())
    }

    /// How many have a session.
    pub(crate) fn count(&self) -> usize {
        self.lock().by_node.len()
    }

    /// A node that has its session here has pushed what it measures.
    pub(crate) fn measured(&self, node: &NodeId, measured: Measured) {
        if let Some(seat) = self.lock().by_node.get_mut(node) {
            seat.live.measured = Some(measured);
        }
    }

    /// What the lanes of those do that have a session, in hashes a second, and the connections of miners to them.
    pub(crate) fn total(&self) -> (f64, u64) {
        let seats = self.lock();
        report::total(seats.by_node.values().flat_map(|seat| &seat.live.lanes))
    }

    /// There may be commands for a node.
    pub(crate) fn wake(&self, node: &NodeId) {
        if let Some(seat) = self.lock().by_node.get(node) {
            seat.wake.notify_one();
        }
    }

    /// There may be something for any node.
    pub(crate) fn wake_all(&self) {
        for seat in self.lock().by_node.values() {
            seat.wake.notify_one();
        }
    }

    /// Renews leases and writes down when nodes were last heard of, until the daemon stops and once more then.
    pub(crate) async fn remember(self, store: Store, stop: CancellationToken) {
        let mut is_written = true;
        loop {
            let waited = stop.run_until_cancelled(self.due()).await;
            let written = self.write_down(&store, waited.is_none()).await;
            if let Err(error) = &written
                && is_written
            {
                tracing::error!(
                    error = error as &dyn std::error::Error,
                    "leases of sessions not renewed"
                );
            }
            is_written = written.is_ok();
            if waited.is_none() {
                return;
            }
        }
    }

    async fn due(&self) {
        let gone = tokio::time::timeout(RENEW_INTERVAL, self.0.has_gone.notified());
        if gone.await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }

    /// At the end of the daemon all sessions are.
    async fn write_down(&self, store: &Store, is_end: bool) -> Result<(), StoreError> {
        let (mut here, mut gone) = self.sessions();
        if is_end {
            let ended = here.drain(..);
            gone.extend(ended.map(|(lease, live)| (lease, live.seen_at_ms)));
        }
        let again = gone.clone();
        let write = move |transaction: &Transaction<'_>| {
            let lost = lease::renew(transaction, &here)?;
            let released: Vec<Lease> = gone.iter().map(|(lease, _)| lease.clone()).collect();
            lease::release(transaction, &released)?;
            let here = here.into_iter();
            let here = here.map(|(lease, live)| (lease.node, live.seen_at_ms));
            let gone = gone.into_iter().map(|(lease, at_ms)| (lease.node, at_ms));
            let seen: Vec<_> = here.chain(gone).collect();
            node::seen(transaction, &seen)?;
            Ok(lost)
        };
        let written: Result<Vec<Lease>, StoreError> = store.rows(write).await;
        match written {
            Ok(lost) => {
                lost.iter().for_each(|lease| self.end(lease));
                Ok(())
            }
            Err(error) => {
                self.lock().gone.extend(again);
                Err(error)
            }
        }
    }

    fn end(&self, lease: &Lease) {
        let seats = self.lock();
        let seat = seats.by_node.get(&lease.node);
        if let Some(seat) = seat.filter(|seat| seat.lease == *lease) {
            seat.end.cancel();
        }
    }

    /// Those that are here, and those that have ended since it was asked last.
    fn sessions(&self) -> (Vec<(Lease, Live)>, Vec<Gone>) {
        let mut seats = self.lock();
        let gone = std::mem::take(&mut seats.gone);
        let here = seats.by_node.values();
        let here = here.map(|seat| (seat.lease.clone(), seat.live.clone()));
        (here.collect(), gone)
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing in between can panic.
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The node has said something.
    pub(crate) fn heard(&self, change: impl FnOnce(&mut Live)) {
        let mut seats = self.fleet.lock();
        let seat = seats.by_node.get_mut(&self.lease.node);
        if let Some(seat) = seat.filter(|seat| seat.lease == self.lease) {
            seat.live.seen_at_ms = Timestamp::now().as_millisecond();
            change(&mut seat.live);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.fleet.lock();
        let seat = seats.by_node.get(&self.lease.node);
        let seen_at_ms = seat
            .filter(|seat| seat.lease == self.lease)
            .map(|seat| seat.live.seen_at_ms);
        // One that was replaced has nothing to give up.
        if let Some(seen_at_ms) = seen_at_ms {
            seats.by_node.remove(&self.lease.node);
            seats.gone.push((self.lease.clone(), seen_at_ms));
            self.fleet.0.has_gone.notify_one();
        }
        gauge(&seats);
    }
}

fn gauge(seats: &Seats) {
    let count = u32::try_from(seats.by_node.len()).unwrap_or(u32::MAX);
    metrics::gauge!("hyperhash_fleet_nodes_connected").set(f64::from(count));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Live {
        Live {
            peer: "192.0.2.1:1000".parse().unwrap(),
            connected_at_ms: 1,
            seen_at_ms: 1,
            clock_ahead_ms: None,
            services: Vec::new(),
            lanes: Vec::new(),
            measured: None,
            audit: None,
        }
    }

    fn lease(fence: u64) -> Lease {
        Lease {
            node: "berlin".parse().unwrap(),
            fence,
        }
    }

    #[test]
    fn a_later_session_of_a_node_ends_the_earlier_one_and_outlives_it() {
        let fleet = Fleet::default();
        let node = lease(1).node;
        let first = fleet.enter(lease(1), live());
        let second = fleet.enter(lease(2), live());
        assert!(first.end.is_cancelled());
        assert!(!second.end.is_cancelled());
        first.heard(|live| live.clock_ahead_ms = Some(5));
        fleet.end(&lease(1));
        assert!(!second.end.is_cancelled());
        drop(first);
        assert_eq!(fleet.get(&node).unwrap().clock_ahead_ms, None);
        let overtaken = fleet.enter(lease(1), live());
        assert!(overtaken.end.is_cancelled());
        assert!(!second.end.is_cancelled());
        drop(overtaken);
        drop(second);
        assert_eq!(fleet.count(), 0);
        assert_eq!(fleet.sessions().1, [(lease(2), 1)]);
        assert_eq!(fleet.sessions().1, []);
    }
}
