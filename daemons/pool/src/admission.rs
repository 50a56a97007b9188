//! Who may connect: every connection from its accept to its end, counted in all and by address.
//!
//! Listeners ask for a place before anything is read, and `kick` ends connections through it. It knows nothing of shares,
//! and no share touches it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The connections of a process.
#[derive(Debug)]
pub(crate) struct Admission {
    max_total: usize,
    max_per_address: usize,
    stop: CancellationToken,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    next_id: u64,
    by_id: BTreeMap<u64, Arc<ConnectionView>>,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection from its accept to its end.
#[derive(Debug)]
pub(crate) struct ConnectionView {
    /// Never given twice by a process.
    pub id: u64,
    pub peer: SocketAddr,
    /// Cancelled when it is to end: with the daemon, or alone.
    pub ending: CancellationToken,
}

/// A place for one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub connection: Arc<ConnectionView>,
    admission: Arc<Admission>,
}

impl Admission {
    /// Places for `max_total` connections, of which one address gets `max_per_address`; all of them end with `stop`.
    pub(crate) fn new(max_total: usize, max_per_address: usize, stop: CancellationToken) -> Self {
        Self {
            max_total,
            max_per_address,
            stop,
            connections: Mutex::default(),
        }
    }

    /// A place for `peer`, or none where a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let mut connections = self.lock();
        let address = peer.ip();
        let of_address = connections.by_address.get(&address).copied().unwrap_or(0);
        if connections.by_id.len() >= self.max_total || of_address >= self.max_per_address {
            return None;
        }
        let connection = Arc::new(ConnectionView {
            id: connections.next_id,
            peer,
            ending: self.stop.child_token(),
        });
        connections.next_id += 1;
        connections
            .by_id
            .insert(connection.id, Arc::clone(&connection));
        connections.by_address.insert(address, of_address + 1);
        Some(Place {
            connection,
            admission: Arc::clone(self),
        })
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

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // A panic in between would leave a place taken, and nothing worse.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.admission.lock();
        connections.by_id.remove(&self.connection.id);
        let address = self.connection.peer.ip();
        if let Some(count) = connections.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                connections.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let admission = Arc::new(Admission::new(3, 2, CancellationToken::new()));
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let there: SocketAddr = "127.0.0.2:1".parse().unwrap();
        let first = admission.admit(here).unwrap();
        let _second = admission.admit(here).unwrap();
        assert!(
            admission.admit(here).is_none(),
            "two are the limit of an address"
        );
        let third = admission.admit(there).unwrap();
        assert!(
            admission.admit(there).is_none(),
            "three are the limit of all"
        );
        drop(first);
        let fourth = admission.admit(here).unwrap();
        assert_ne!(fourth.connection.id, third.connection.id);
        let of_there = admission.connections_from(|address| address == there.ip());
        assert_eq!(of_there.len(), 1);
        assert_eq!(of_there[0].id, third.connection.id);
    }

    #[test]
    fn a_connection_ends_alone_or_with_all() {
        let stop = CancellationToken::new();
        let admission = Arc::new(Admission::new(3, 3, stop.clone()));
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let (one, other) = (
            admission.admit(peer).unwrap(),
            admission.admit(peer).unwrap(),
        );
        one.connection.ending.cancel();
        assert!(!other.connection.ending.is_cancelled());
        stop.cancel();
        assert!(other.connection.ending.is_cancelled());
    }
}
