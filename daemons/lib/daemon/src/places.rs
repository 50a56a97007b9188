//! Places for connections, so many in all and so many of one address (an IPv6 address counts with its /64).
//!
//! A listener asks for one before anything is read, and the connection keeps it until it ends. It knows nothing of who is
//! connected: daemons keep lists of their own.

use crate::AddressRange;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_total: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<AddressRange, usize>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    address: AddressRange,
}

/// There is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// In all.
    #[error("all {0} places for connections are taken")]
    Total(usize),
    /// For the address.
    #[error("its address has all of its {0} places for connections")]
    Address(usize),
}

impl Places {
    /// `max_total` places, of which one address gets `max_per_address`.
    #[must_use]
    pub fn new(max_total: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Inner {
            max_total,
            max_per_address,
            taken: Mutex::default(),
        }))
    }

    /// A place for a connection from `address`.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn take(&self, address: IpAddr) -> Result<Place, Full> {
        let Inner {
            max_total,
            max_per_address,
            ..
        } = *self.0;
        let address = AddressRange::of_peer(address);
        let mut taken = self.lock();
        if taken.total >= max_total {
            return Err(Full::Total(max_total));
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= max_per_address {
            return Err(Full::Address(max_per_address));
        }
        taken.by_address.insert(address, of_address + 1);
        taken.total += 1;
        let places = self.clone();
        Ok(Place { places, address })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing in between can panic.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_address_and_given_back() {
        let places = Places::new(3, 2);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let there: IpAddr = "192.0.2.2".parse().unwrap();
        let first = places.take(here).unwrap();
        let _second = places.take(mapped).unwrap();
        assert_eq!(places.take(here).unwrap_err(), Full::Address(2));
        let _third = places.take(there).unwrap();
        assert_eq!(places.take(there).unwrap_err(), Full::Total(3));
        drop(first);
        assert!(places.take(here).is_ok());
        assert_eq!(places.lock().by_address.len(), 2);
    }

    #[test]
    fn who_has_a_network_of_ipv6_has_the_places_of_one_address() {
        let places = Places::new(9, 2);
        let _first = places.take("2001:db8::1".parse().unwrap()).unwrap();
        let _second = places.take("2001:db8::ffff:2".parse().unwrap()).unwrap();
        let third = places.take("2001:db8::3".parse().unwrap());
        assert_eq!(third.unwrap_err(), Full::Address(2));
        places.take("2001:db8:0:1::1".parse().unwrap()).unwrap();
    }
}
