//! Connections that have not said yet what they are: so many in all and of one address (an IPv6 address counts with its
//! /64).
//!
//! Where there are too many the oldest has to go, not the newest: who means it is through in a round trip, and who holds
//! places by saying nothing is always the oldest.

use crate::AddressRange;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// The half-open connections of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct HalfOpen(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_total: usize,
    max_per_address: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with time: the lowest id is the oldest.
    next_id: u64,
    by_id: BTreeMap<u64, (AddressRange, CancellationToken)>,
    by_address: HashMap<AddressRange, BTreeSet<u64>>,
    displaced: u64,
}

/// A connection that is half-open until this is dropped.
#[derive(Debug)]
pub struct Entered {
    half_open: HalfOpen,
    id: u64,
}

impl HalfOpen {
    /// At most `max_total` at a time, of which one address has `max_per_address`; at least one of each.
    #[must_use]
    pub fn new(max_total: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Inner {
            max_total: max_total.max(1),
            max_per_address: max_per_address.max(1),
            state: Mutex::default(),
        }))
    }

    /// A connection from `address` begins; `ending` is cancelled where it has to go for a newer one.
    #[must_use]
    pub fn enter(&self, address: IpAddr, ending: CancellationToken) -> Entered {
        let address = AddressRange::of_peer(address);
        let mut state = self.lock();
        let of_address = state.by_address.get(&address);
        let oldest = match of_address {
            Some(ids) if ids.len() >= self.0.max_per_address => ids.first().copied(),
            _ if state.by_id.len() >= self.0.max_total => state.by_id.keys().next().copied(),
            _ => None,
        };
        if let Some(oldest) = oldest.and_then(|id| state.remove(id)) {
            oldest.cancel();
            state.displaced += 1;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.by_id.insert(id, (address, ending));
        state.by_address.entry(address).or_default().insert(id);
        drop(state);
        Entered {
            half_open: self.clone(),
            id,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().by_id.len()
    }

    /// How many had to go for newer ones since the start.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.lock().displaced
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in between can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, id: u64) -> Option<CancellationToken> {
        let (address, ending) = self.by_id.remove(&id)?;
        if let Some(ids) = self.by_address.get_mut(&address) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_address.remove(&address);
            }
        }
        Some(ending)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Who had to go is out already.
        let mut state = self.half_open.lock();
        state.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Connection {
        ending: CancellationToken,
        entered: Entered,
    }

    fn enter(half_open: &HalfOpen, address: &str) -> Connection {
        let ending = CancellationToken::new();
        Connection {
            entered: half_open.enter(address.parse().unwrap(), ending.clone()),
            ending,
        }
    }

    #[track_caller]
    fn check(connections: &[Connection], ended: &[bool]) {
        let tokens = connections.iter();
        let cancelled: Vec<bool> = tokens.map(|c| c.ending.is_cancelled()).collect();
        assert_eq!(cancelled, ended);
    }

    #[test]
    fn the_oldest_of_an_address_goes_for_its_newest() {
        let half_open = HalfOpen::new(9, 2);
        let other = enter(&half_open, "192.0.2.9");
        let mut of_one: Vec<_> = (0..3).map(|_| enter(&half_open, "192.0.2.1")).collect();
        check(&of_one, &[true, false, false]);
        assert!(!other.ending.is_cancelled());
        assert_eq!((half_open.count(), half_open.displaced()), (3, 1));
        // One that is through makes room.
        drop(of_one.remove(1));
        of_one.push(enter(&half_open, "192.0.2.1"));
        check(&of_one, &[true, false, false]);
        drop((of_one, other));
        assert_eq!(half_open.count(), 0);
        assert!(half_open.lock().by_address.is_empty());
    }

    #[test]
    fn the_oldest_of_all_goes_where_all_are_too_many() {
        let half_open = HalfOpen::new(3, 2);
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
        let connections = addresses.map(|address| enter(&half_open, address));
        check(&connections, &[true, false, false, false]);
        let same_network = enter(&half_open, "2001:db8::3");
        check(&connections, &[true, false, true, false]);
        drop((connections, same_network.entered));
        assert_eq!((half_open.count(), half_open.displaced()), (0, 2));
    }
}
