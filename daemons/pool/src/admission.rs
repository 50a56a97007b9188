//! Who may connect: every connection from its accept to its end, counted in all and by address.
//!
//! Listeners ask for a place before anything is read, and `kick` ends connections through it. It knows nothing of shares,
//! and no share touches it.

use hh_daemon::{Full, Places};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The connections of a process.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Places,
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
}

/// A place for one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub connection: Arc<ConnectionView>,
    admission: Arc<Admission>,
    _counted: hh_daemon::Place,
}

impl Admission {
    /// Places for `max_total` connections, of which one address gets `max_per_address`; all of them end with `stop`.
    pub(crate) fn new(max_total: usize, max_per_address: usize, stop: CancellationToken) -> Self {
        Self {
            places: Places::new(max_total, max_per_address),
            stop,
            connections: Mutex::default(),
            open: watch::Sender::default(),
        }
    }

    /// A place for `peer`.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Full> {
        let counted = self.places.take(peer.ip())?;
        let mut connections = self.lock();
        let connection = Arc::new(ConnectionView {
            id: connections.next_id,
            peer,
            ending: self.stop.child_token(),
        });
        connections.next_id += 1;
        connections
            .by_id
            .insert(connection.id, Arc::clone(&connection));
        self.open.send_replace(connections.by_id.len());
        drop(connections);
        Ok(Place {
            connection,
            admission: Arc::clone(self),
            _counted: counted,
        })
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
        self.admission.open.send_replace(connections.by_id.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_found_by_address_until_they_end() {
        let admission = Arc::new(Admission::new(2, 1, CancellationToken::new()));
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let there: SocketAddr = "127.0.0.2:1".parse().unwrap();
        let first = admission.admit(here).unwrap();
        assert_eq!(admission.admit(here).unwrap_err(), Full::Address(1));
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
        let admission = Arc::new(Admission::new(2, 2, CancellationToken::new()));
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
