//! Who is connected.
//!
//! Owns: how many clients there may be, in all and of one address, and what operators see of each. Never: serves one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hh_ipc::api::template_provider::TemplateClient;
use jiff::Timestamp;
use metrics::gauge;

/// There is no place for one more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("all {max} places are taken (max_clients)")]
    Total { max: usize },
    #[error("its address has all of its {max} places (max_clients_per_address)")]
    Address { max: usize },
}

/// Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    max_total: usize,
    max_per_address: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Connections, also those that are not set up yet.
    by_address: BTreeMap<IpAddr, usize>,
    /// Clients that are set up.
    listed: BTreeMap<u64, TemplateClient>,
}

impl Clients {
    pub(crate) fn new(max_total: usize, max_per_address: usize) -> Self {
        Self {
            max_total,
            max_per_address,
            state: Arc::default(),
        }
    }

    /// A place for a connection from `peer`, until it is dropped.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Result<Place, Full> {
        let mut state = self.lock();
        let total: usize = state.by_address.values().sum();
        if total >= self.max_total {
            return Err(Full::Total {
                max: self.max_total,
            });
        }
        let of_address = state.by_address.entry(peer.ip()).or_default();
        if *of_address >= self.max_per_address {
            return Err(Full::Address {
                max: self.max_per_address,
            });
        }
        *of_address += 1;
        let id = state.next;
        state.next += 1;
        Ok(Place {
            clients: self.clone(),
            peer,
            id,
        })
    }

    /// Those that are set up.
    pub(crate) fn list(&self) -> Vec<TemplateClient> {
        self.lock().listed.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can leave the lists half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn count(&self) {
        gauge!("hyperhash_template_clients")
            .set(u32::try_from(self.listed.len()).unwrap_or(u32::MAX));
    }
}

/// What a connection has while it lives.
#[derive(Debug)]
pub(crate) struct Place {
    clients: Clients,
    peer: SocketAddr,
    id: u64,
}

impl Place {
    /// It is a client from now on.
    pub(crate) fn set_up(&self) {
        let client = TemplateClient {
            peer: self.peer.to_string(),
            connected_at: Timestamp::now(),
            coinbase_output_max_additional_size_bytes: None,
            coinbase_output_max_additional_sigops: None,
        };
        let mut state = self.clients.lock();
        state.listed.insert(self.id, client);
        state.count();
    }

    /// What it wants of its coinbase.
    pub(crate) fn set_constraints(&self, size: u32, sigops: u16) {
        if let Some(client) = self.clients.lock().listed.get_mut(&self.id) {
            client.coinbase_output_max_additional_size_bytes = Some(size);
            client.coinbase_output_max_additional_sigops = Some(sigops);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.clients.lock();
        state.listed.remove(&self.id);
        state.count();
        let address = self.peer.ip();
        if let Some(of_address) = state.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                state.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 40_000))
    }

    #[test]
    fn one_address_does_not_take_all_places_and_a_place_comes_back() {
        let clients = Clients::new(3, 2);
        let first = clients.admit(peer(1)).unwrap();
        let second = clients.admit(peer(1)).unwrap();
        let full = clients.admit(peer(1)).unwrap_err();
        assert_eq!(full, Full::Address { max: 2 });
        let other = clients.admit(peer(2)).unwrap();
        assert_eq!(clients.admit(peer(3)).unwrap_err(), Full::Total { max: 3 });
        drop((second, other));
        let _third = clients.admit(peer(1)).unwrap();
        assert!(clients.list().is_empty(), "nobody is set up");
        first.set_up();
        assert_eq!(clients.list().len(), 1);
        drop(first);
        assert!(clients.list().is_empty());
    }
}
