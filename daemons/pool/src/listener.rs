//! Accepts miners: limits, handshake and setup, and then a [`Session`] each.

use crate::config::LaneConfig;
use crate::directory::LaneView;
use crate::session::{Session, SessionError, Shared};
use hh_daemon::{Failure, Tasks};
use hh_sv2::message::{Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use hh_sv2::setup::{SETUP_DEADLINE, SetupError, server_setup};
use hh_sv2::{Authority, Connection, ConnectionError, Limits};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What a client may require: version rolling is always allowed, work selection comes with job declaration.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Counts the connections of a process, in all and by address.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<Connections>);

#[derive(Debug, Default)]
struct Connections {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place for one connection, given back when it is dropped.
#[derive(Debug)]
struct Place {
    admission: Arc<Admission>,
    address: IpAddr,
}

/// One lane's listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub socket: TcpListener,
    pub lane: Arc<LaneView>,
    pub shared: Arc<Shared>,
    pub authority: Arc<Authority>,
    pub admission: Arc<Admission>,
    pub tasks: Tasks,
}

/// Why a connection ended before or in its session.
#[derive(Debug, thiserror::Error)]
enum MinerError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Listener {
    /// Accepts until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.tasks.token().clone();
        tracing::info!(
            lane = self.lane.name, address = %self.lane.listen_address,
            authority_public_key = %self.authority.public_key(), "listening for miners"
        );
        loop {
            let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await else {
                return;
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer.ip()),
                Err(error) => {
                    tracing::warn!(lane = self.lane.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: IpAddr) {
        let limits = &self.shared.limits;
        let Some(place) = self.admission.admit(
            address,
            limits.max_connections,
            limits.max_connections_per_address,
        ) else {
            tracing::debug!(lane = self.lane.name, %address, "connection over the limit closed");
            return;
        };
        let miner = Miner {
            lane: Arc::clone(&self.lane),
            shared: Arc::clone(&self.shared),
            authority: Arc::clone(&self.authority),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn_session("miner", async move {
            let _place = place;
            miner.serve(stream).await;
        });
    }
}

/// Binds every lane's address.
///
/// # Errors
/// An address that can't be listened on, with what to do.
pub(crate) async fn bind(lanes: &[LaneConfig]) -> Result<Vec<TcpListener>, Failure> {
    let mut sockets = Vec::new();
    for (index, lane) in lanes.iter().enumerate() {
        let key = format!("lanes.{index}.listen_address");
        sockets.push(hh_daemon::listen(&key, lane.listen_address).await?);
    }
    Ok(sockets)
}

/// The lanes' names with the addresses that they are bound to.
///
/// # Errors
/// A socket that has no address.
pub(crate) fn bound(
    lanes: &[LaneConfig],
    sockets: &[TcpListener],
) -> std::io::Result<Vec<(String, SocketAddr)>> {
    let lanes = lanes.iter().zip(sockets);
    let named = lanes.map(|(lane, socket)| Ok((lane.name.clone(), socket.local_addr()?)));
    named.collect()
}

/// Keeps handshakes prepared until `stop` is cancelled.
pub(crate) async fn keep_stocked(authority: Arc<Authority>, stop: CancellationToken) {
    stop.run_until_cancelled(authority.keep_stocked()).await;
}

/// One connection from its accept to its end.
struct Miner {
    lane: Arc<LaneView>,
    shared: Arc<Shared>,
    authority: Arc<Authority>,
    tasks: Tasks,
}

impl Miner {
    async fn serve(self, stream: TcpStream) {
        let lane = Arc::clone(&self.lane);
        lane.connections.fetch_add(1, Ordering::Relaxed);
        let result = self.session(stream).await;
        lane.connections.fetch_sub(1, Ordering::Relaxed);
        match result {
            Ok(()) => {}
            Err(MinerError::Connection(ConnectionError::Closed { peer })) => {
                tracing::debug!(%peer, lane = lane.name, "miner left");
            }
            Err(error) => {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::info!(lane = lane.name, error, "connection of a miner ended");
            }
        }
    }

    async fn session(self, stream: TcpStream) -> Result<(), MinerError> {
        let stop = self.tasks.token().clone();
        let connecting = self.connect(stream);
        let Some(session) = stop.run_until_cancelled(connecting).await else {
            return Ok(());
        };
        Ok(session?.run(&stop).await?)
    }

    async fn connect(&self, stream: TcpStream) -> Result<Session, MinerError> {
        let mut connection = Connection::accept(stream, &self.authority, &Limits::SERVER).await?;
        let protocol = Protocol::MiningProtocol;
        let setup = server_setup(&mut connection, protocol, SUPPORTED_FLAGS, SETUP_DEADLINE).await;
        match setup {
            Ok(setup) => {
                let (shared, lane) = (Arc::clone(&self.shared), Arc::clone(&self.lane));
                Ok(Session::new(connection, &setup, shared, lane))
            }
            Err(error) => {
                // So that a refusal is read before the socket closes.
                connection.close().await.ok();
                Err(error.into())
            }
        }
    }
}

impl Admission {
    fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        max_total: usize,
        max_per_address: usize,
    ) -> Option<Place> {
        let mut connections = self.lock();
        let of_address = connections.by_address.get(&address).copied().unwrap_or(0);
        if connections.total >= max_total || of_address >= max_per_address {
            return None;
        }
        connections.total += 1;
        connections.by_address.insert(address, of_address + 1);
        Some(Place {
            admission: Arc::clone(self),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Counts are whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.admission.lock();
        connections.total -= 1;
        if let Some(count) = connections.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let admission = Arc::new(Admission::default());
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let there: IpAddr = "127.0.0.2".parse().unwrap();
        let first = admission.admit(here, 3, 2).unwrap();
        let _second = admission.admit(here, 3, 2).unwrap();
        assert!(
            admission.admit(here, 3, 2).is_none(),
            "two are the limit of an address"
        );
        let _third = admission.admit(there, 3, 2).unwrap();
        assert!(
            admission.admit(there, 3, 2).is_none(),
            "three are the limit of all"
        );
        drop(first);
        assert!(admission.admit(here, 3, 2).is_some());
    }
}
