//! Which nodes have a session now, and what they said last. Lost at a restart: nodes come back and say it again.

use crate::node;
use crate::store::{Store, StoreError};
use hh_ipc::agent::ServiceReport;
use hh_trust::NodeId;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often it is written down when nodes were last heard of: after a restart it is known to so many seconds.
const SEEN_INTERVAL: Duration = Duration::from_secs(10);

/// What is known of a node that has a session.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) peer: SocketAddr,
    pub(crate) connected_at_ms: i64,
    pub(crate) seen_at_ms: i64,
    pub(crate) clock_ahead_ms: Option<i64>,
    pub(crate) services: Vec<ServiceReport>,
}

#[derive(Debug)]
struct Seat {
    number: u64,
    live: Live,
    wake: Arc<Notify>,
    end: CancellationToken,
}

#[derive(Debug, Default)]
struct Seats {
    by_node: BTreeMap<NodeId, Seat>,
    next_number: u64,
    /// Of nodes that have gone since it was written down.
    gone: BTreeMap<NodeId, i64>,
}

/// The sessions. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fleet(Arc<Mutex<Seats>>);

/// A session's place in the fleet; given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    fleet: Fleet,
    node: NodeId,
    number: u64,
    /// There may be commands.
    pub(crate) wake: Arc<Notify>,
    /// The session is to end: another one of this node has begun, or it may not be here.
    pub(crate) end: CancellationToken,
}

impl Fleet {
    /// A session begins. One of the same node ends: it is what a connection that broke has left.
    pub(crate) fn enter(&self, node: &NodeId, live: Live) -> Place {
        let mut seats = self.lock();
        let number = seats.next_number;
        seats.next_number += 1;
        let (wake, end) = (Arc::new(Notify::new()), CancellationToken::new());
        let seat = Seat {
            number,
            live,
            wake: Arc::clone(&wake),
            end: end.clone(),
        };
        if let Some(before) = seats.by_node.insert(node.clone(), seat) {
            before.end.cancel();
        }
        gauge(&seats);
        Place {
            fleet: self.clone(),
            node: node.clone(),
            number,
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

    /// There may be commands for a node.
    pub(crate) fn wake(&self, node: &NodeId) {
        if let Some(seat) = self.lock().by_node.get(node) {
            seat.wake.notify_one();
        }
    }

    /// Ends the session of a node, if it has one.
    pub(crate) fn end(&self, node: &NodeId) {
        if let Some(seat) = self.lock().by_node.get(node) {
            seat.end.cancel();
        }
    }

    /// Writes down when nodes were last heard of, until the daemon stops and once more then.
    pub(crate) async fn remember(self, store: Store, stop: CancellationToken) {
        loop {
            let waited = stop
                .run_until_cancelled(tokio::time::sleep(SEEN_INTERVAL))
                .await;
            let seen = self.seen();
            let written: Result<(), StoreError> = store
                .call(move |transaction| node::seen(transaction, &seen))
                .await;
            if let Err(error) = written {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "last sight of nodes not written"
                );
            }
            if waited.is_none() {
                return;
            }
        }
    }

    fn seen(&self) -> Vec<(NodeId, i64)> {
        let mut seats = self.lock();
        let gone = std::mem::take(&mut seats.gone);
        let here = seats.by_node.iter();
        let here = here.map(|(node, seat)| (node.clone(), seat.live.seen_at_ms));
        here.chain(gone).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing in between can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The node has said something.
    pub(crate) fn heard(&self, change: impl FnOnce(&mut Live)) {
        let mut seats = self.fleet.lock();
        let seat = seats.by_node.get_mut(&self.node);
        if let Some(seat) = seat.filter(|seat| seat.number == self.number) {
            seat.live.seen_at_ms = Timestamp::now().as_millisecond();
            change(&mut seat.live);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.fleet.lock();
        let is_ours = |seat: &Seat| seat.number == self.number;
        if seats.by_node.get(&self.node).is_some_and(is_ours)
            && let Some(seat) = seats.by_node.remove(&self.node)
        {
            seats.gone.insert(self.node.clone(), seat.live.seen_at_ms);
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
        }
    }

    #[test]
    fn a_later_session_of_a_node_ends_the_earlier_one_and_outlives_it() {
        let fleet = Fleet::default();
        let node: NodeId = "berlin".parse().unwrap();
        let first = fleet.enter(&node, live());
        let second = fleet.enter(&node, live());
        assert!(first.end.is_cancelled());
        assert!(!second.end.is_cancelled());
        first.heard(|live| live.clock_ahead_ms = Some(5));
        drop(first);
        assert_eq!(fleet.get(&node).unwrap().clock_ahead_ms, None);
        drop(second);
        assert_eq!(fleet.count(), 0);
        assert_eq!(fleet.seen(), [(node, 1)]);
        assert_eq!(fleet.seen(), []);
    }
}
