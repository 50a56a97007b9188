//! Accepts miners: limits, handshake and setup, and then a [`Session`] each.

use crate::admission::{Admission, Place};
use crate::config::LaneConfig;
use crate::directory::{LaneView, NewLane, unix_ms};
use crate::disconnect::{self, MinerError, TurnedAway};
use crate::session::{Session, Shared};
use hh_daemon::ban::{Target, Times};
use hh_daemon::{Failure, ProxyProtocol, Tasks};
use hh_sv2::message::{Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use hh_sv2::setup::{SETUP_DEADLINE, server_setup};
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

/// What a miner's connection may cost. Most that is queued at once is a new tip for a proxy with 10,000 standard channels:
/// target, job and tip are some 280 bytes for each.
pub(crate) const CONNECTION_LIMITS: Limits = Limits {
    max_queued_bytes: 4 << 20,
    // For who does not read; a share's answer takes some 60 bytes, and proxies are near or patient.
    send_buffer_bytes: Some(256 << 10),
    ..Limits::SERVER
};

/// One lane's listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub socket: TcpListener,
    pub door: Door,
    pub tasks: Tasks,
}

/// What every connection of a lane is let in by, and with. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub lane: Arc<LaneView>,
    pub shared: Arc<Shared>,
    pub authority: Arc<Authority>,
    pub admission: Arc<Admission>,
    pub proxies: Arc<ProxyProtocol>,
    pub limits: Limits,
}

impl Listener {
    /// Accepts until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.tasks.token().clone();
        tracing::info!(
            lane = self.door.lane.name, address = %self.door.lane.listen_address,
            authority_public_key = %self.door.authority.public_key(), "listening for miners"
        );
        loop {
            let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await else {
                return;
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    tracing::warn!(lane = self.door.lane.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let door = self.door.clone();
        if door.proxies.is_expected_from(peer.ip()) {
            let stop = self.tasks.token().clone();
            let serve = move |stream| door.serve_proxied(stream, peer, stop);
            self.tasks.spawn_connection("miner", stream, serve);
        } else if let Some(miner) = door.admit(peer) {
            let serve = move |stream| miner.serve(stream);
            self.tasks.spawn_connection("miner", stream, serve);
        }
    }
}

impl Door {
    fn admit(self, peer: SocketAddr) -> Option<Miner> {
        match self.admission.admit(peer) {
            Ok(place) => Some(Miner { door: self, place }),
            Err(reason) => {
                self.lane.on_disconnect(reason.label());
                tracing::debug!(lane = self.lane.name, %peer, %reason, "connection turned away");
                None
            }
        }
    }

    /// Learns from a proxy for whom a connection is, and goes on as if that one had connected.
    async fn serve_proxied(
        self,
        mut stream: TcpStream,
        proxy: SocketAddr,
        stop: CancellationToken,
    ) {
        let unannounced = match self.admission.await_header(proxy) {
            Ok(place) => place,
            Err(reason) => {
                self.lane.on_disconnect(TurnedAway::from(reason).label());
                tracing::debug!(lane = self.lane.name, %proxy, %reason, "connection turned away");
                return;
            }
        };
        let client = ProxyProtocol::client(&mut stream, proxy);
        let Some(client) = stop.run_until_cancelled(client).await else {
            return;
        };
        match client {
            Ok(client) => {
                if let Some(miner) = self.admit(client) {
                    drop(unannounced);
                    miner.serve(stream).await;
                }
            }
            Err(error) => {
                self.lane.on_disconnect(disconnect::PROXY_HEADER);
                let error = hh_daemon::Chain(&error).to_string();
                tracing::info!(lane = self.lane.name, %proxy, error, "connection of a proxy closed");
            }
        }
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
    door: Door,
    place: Place,
}

impl Miner {
    async fn serve(mut self, stream: TcpStream) {
        let lane = Arc::clone(&self.door.lane);
        let peer = self.place.connection.peer;
        lane.connections.fetch_add(1, Ordering::Relaxed);
        let result = self.session(stream).await;
        lane.connections.fetch_sub(1, Ordering::Relaxed);
        let reason = result.as_ref().map_or_else(MinerError::label, |()| "ended");
        lane.on_disconnect(reason);
        if let Err(error) = &result {
            self.judge(error);
        }
        match result {
            Ok(()) => {}
            Err(MinerError::Connection(ConnectionError::Closed { .. }) | MinerError::Displaced) => {
                tracing::debug!(%peer, lane = lane.name, reason, "miner left");
            }
            Err(error) => {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::info!(%peer, lane = lane.name, reason, error, "connection of a miner ended");
            }
        }
    }

    /// Bans the peer where its conduct was once too often like this.
    fn judge(&self, error: &MinerError) {
        let Some(offence) = error.offence() else {
            return;
        };
        let Shared {
            bans, directory, ..
        } = &*self.door.shared;
        let times = Times {
            since_start_ms: directory.clock().now_ms(),
            unix_ms: unix_ms(),
        };
        let peer = self.place.connection.peer.ip();
        let works = |range| directory.has_shares_from(range);
        let Some(ban) = bans.on_offence(peer, offence, times, works) else {
            return;
        };
        metrics::counter!("hyperhash_miner_automatic_bans_total").increment(1);
        let Target::Address(range) = ban.target else {
            return;
        };
        let (target, reason) = (range.to_string(), ban.reason);
        tracing::warn!(
            target,
            reason,
            until_ms = ban.until_ms,
            "banned by its conduct"
        );
        for connection in self.place.connections_from(|peer| range.contains(peer)) {
            connection.ending.cancel();
        }
    }

    async fn session(&mut self, stream: TcpStream) -> Result<(), MinerError> {
        let connection = Arc::clone(&self.place.connection);
        let displaced = self.place.displaced.clone();
        // All of it together: each step has the same deadline for itself.
        let connecting = tokio::time::timeout(SETUP_DEADLINE, self.connect(stream));
        let connected = displaced.run_until_cancelled(connecting).await;
        match connected {
            Some(Ok(session)) => {
                let session = session?;
                self.place.set_up();
                Ok(session.run().await?)
            }
            Some(Err(_elapsed)) => Err(MinerError::NotSetUp),
            None if connection.ending.is_cancelled() => Ok(()),
            None => Err(MinerError::Displaced),
        }
    }

    async fn connect(&self, stream: TcpStream) -> Result<Session, MinerError> {
        let Door {
            authority, limits, ..
        } = &self.door;
        let peer = self.place.connection.peer;
        let mut connection = Connection::accept_from(peer, stream, authority, limits).await?;
        let protocol = Protocol::MiningProtocol;
        let setup = server_setup(&mut connection, protocol, SUPPORTED_FLAGS, SETUP_DEADLINE).await;
        match setup {
            Ok(setup) => {
                let view = Arc::clone(&self.place.connection);
                let (shared, lane) = (Arc::clone(&self.door.shared), Arc::clone(&self.door.lane));
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

#[cfg(test)]
mod tests;
