//! Accepts miners: limits, handshake and setup, and then a [`Session`] each.

use crate::admission::{Admission, Place};
use crate::config::LaneConfig;
use crate::directory::{LaneView, NewLane};
use crate::session::{Session, SessionError, Shared};
use hh_daemon::{Failure, Tasks};
use hh_sv2::message::{Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use hh_sv2::setup::{SETUP_DEADLINE, SetupError, server_setup};
use hh_sv2::{Authority, Connection, ConnectionError, Limits};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// What a client may require: version rolling is always allowed, work selection comes with job declaration.
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

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
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(lane = self.lane.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let place = match self.admission.admit(peer) {
            Ok(place) => place,
            Err(reason) => {
                tracing::debug!(lane = self.lane.name, %peer, %reason, "connection over the limit closed");
                return;
            }
        };
        let miner = Miner {
            lane: Arc::clone(&self.lane),
            shared: Arc::clone(&self.shared),
            authority: Arc::clone(&self.authority),
            place,
        };
        self.tasks.spawn_session("miner", miner.serve(stream));
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

/// The lanes with the addresses that they are bound to.
///
/// # Errors
/// A socket that has no address.
pub(crate) fn bound(
    lanes: &[LaneConfig],
    sockets: &[TcpListener],
) -> std::io::Result<Vec<NewLane>> {
    let lanes = lanes.iter().zip(sockets);
    let bound = lanes.map(|(lane, socket)| {
        Ok(NewLane {
            name: lane.name.clone(),
            listen_address: socket.local_addr()?,
            difficulty: lane.difficulty(),
        })
    });
    bound.collect()
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
    place: Place,
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
        let ending = self.place.connection.ending.clone();
        let connecting = self.connect(stream);
        let Some(session) = ending.run_until_cancelled(connecting).await else {
            return Ok(());
        };
        Ok(session?.run().await?)
    }

    async fn connect(&self, stream: TcpStream) -> Result<Session, MinerError> {
        let mut connection = Connection::accept(stream, &self.authority, &Limits::SERVER).await?;
        let protocol = Protocol::MiningProtocol;
        let setup = server_setup(&mut connection, protocol, SUPPORTED_FLAGS, SETUP_DEADLINE).await;
        match setup {
            Ok(setup) => {
                let view = Arc::clone(&self.place.connection);
                let (shared, lane) = (Arc::clone(&self.shared), Arc::clone(&self.lane));
                Ok(Session::new(connection, &setup, view, shared, lane))
            }
            Err(error) => {
                // So that a refusal is read before the socket closes.
                connection.close().await.ok();
                Err(error.into())
            }
        }
    }
}
