//! Who is connected.
//!
//! Owns: how many clients there may be, in all and of one address, and what operators see of each. Never: serves one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hh_daemon::{Full, Places};
use hh_ipc::api::template_provider::TemplateClient;
use jiff::Timestamp;
use metrics::gauge;

/// Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    places: Places,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Clients that are set up.
    listed: BTreeMap<u64, TemplateClient>,
}

impl Clients {
    pub(crate) fn new(max_total: usize, max_per_address: usize) -> Self {
        Self {
            places: Places::new(max_total, max_per_address),
            state: Arc::default(),
        }
    }

    /// A place for a connection from `peer`, until it is dropped.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Result<Place, Full> {
        let counted = self.places.take(peer.ip())?;
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        drop(state);
        Ok(Place {
            clients: self.clone(),
            peer,
            id,
            _counted: counted,
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
    _counted: hh_daemon::Place,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 40_000))
    }

    #[test]
    fn a_client_is_listed_from_its_setup_to_its_end() {
        let clients = Clients::new(2, 1);
        let first = clients.admit(peer(1)).unwrap();
        assert_eq!(clients.admit(peer(1)).unwrap_err(), Full::Address(1));
        assert!(clients.list().is_empty(), "nobody is set up");
        first.set_up();
        assert_eq!(clients.list().len(), 1);
        drop(first);
        assert!(clients.list().is_empty());
        clients.admit(peer(1)).unwrap();
    }
}
