//! Accepts miners on one lane, within the limits, and starts a session for each.

use crate::bans::Bans;
use crate::downstream::{Session, SessionEnd, UpstreamHandle};
use crate::miners::{BANNED, Lane, Miners, OVER_LIMIT, PAUSED, PROXY_HEADER, Place};
use crate::proxy::{self, Entrance};
use crate::stream::MinerStream;
use hh_daemon::{Chain, Full, ProxyProtocol, Tasks};
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A miner that acknowledges nothing for this long is gone (power cut, cable); the kernel then ends the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

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
    pub lane: Arc<Lane>,
    pub miners: Miners,
    pub bans: Bans,
    pub upstream: UpstreamHandle,
    pub proxies: Arc<ProxyProtocol>,
    /// For a lane that speaks TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// For a lane that speaks SV2.
    pub entrance: Option<Entrance>,
}

impl Listener {
    /// Accepts until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.tasks.token().clone();
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    let lane = &self.door.lane;
                    tracing::warn!(lane = lane.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let door = self.door.clone();
        let stop = self.tasks.token().clone();
        if door.proxies.is_expected_from(peer.ip()) {
            let serve = move |stream| door.serve_proxied(stream, peer, stop);
            self.tasks.spawn_connection("miner", stream, serve);
        } else if let Some(place) = door.admit(&stream, peer) {
            let serve = async move |stream| door.serve(stream, place, &stop).await;
            self.tasks.spawn_connection("miner", stream, serve);
        }
    }
}

impl Door {
    fn admit(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Place> {
        if let Some(range) = self.bans.of_address(peer.ip()) {
            tracing::debug!(lane = self.lane.name, %peer, %range, "connection of a banned address closed");
            self.lane.on_disconnect(BANNED);
            return None;
        }
        // Closed at once, not left waiting: the miner goes on to the next pool of its list.
        if self.lane.paused_at().is_some() {
            self.lane.on_disconnect(PAUSED);
            return None;
        }
        let place = match self.miners.admit(&self.lane, peer) {
            Ok(place) => place,
            Err(full) => {
                self.turn_away(peer, full);
                return None;
            }
        };
        if let Err(error) = prepare(stream) {
            tracing::debug!(lane = self.lane.name, %peer, %error, "connection unusable");
            return None;
        }
        Some(place)
    }

    fn turn_away(&self, peer: SocketAddr, full: Full) {
        tracing::debug!(lane = self.lane.name, %peer, %full, "connection closed");
        self.lane.on_disconnect(OVER_LIMIT);
    }

    /// Learns from a proxy for whom a connection is, and goes on as if that one had connected.
    async fn serve_proxied(
        self,
        mut stream: TcpStream,
        proxy: SocketAddr,
        stop: CancellationToken,
    ) {
        let unannounced = match self.miners.await_header(proxy) {
            Ok(place) => place,
            Err(full) => return self.turn_away(proxy, full),
        };
        let client = ProxyProtocol::client(&mut stream, proxy);
        let Some(client) = stop.run_until_cancelled(client).await else {
            return;
        };
        match client {
            Ok(client) => {
                if let Some(place) = self.admit(&stream, client) {
                    drop(unannounced);
                    self.serve(stream, place, &stop).await;
                }
            }
            Err(error) => {
                self.lane.on_disconnect(PROXY_HEADER);
                let error = Chain(&error).to_string();
                tracing::info!(lane = self.lane.name, %proxy, error, "connection of a proxy closed");
            }
        }
    }

    async fn serve(self, stream: TcpStream, place: Place, stop: &CancellationToken) {
        match &self.entrance {
            None => self.serve_sv1(stream, place, stop).await,
            Some(entrance) => {
                let (lane, peer) = (self.lane, place.miner.peer);
                let end = proxy::serve(stream, place, self.upstream, entrance, stop).await;
                lane.on_disconnect(end.label());
                if let Some(offence) = end.offence() {
                    self.bans.judge(&self.miners, peer.ip(), offence);
                }
                tracing::info!(%peer, lane = lane.name, reason = %Chain(&end), "SV2 connection ended");
            }
        }
    }

    async fn serve_sv1(self, stream: TcpStream, place: Place, stop: &CancellationToken) {
        let miner = Arc::clone(&place.miner);
        let stream = match self.tls {
            None => Ok(MinerStream::Plain(stream)),
            Some(tls) => MinerStream::tls(stream, tls),
        };
        let end = match stream {
            Ok(stream) => Session::new(stream, place, self.upstream).run(stop).await,
            Err(error) => SessionEnd::Tls(error),
        };
        miner.lane.on_disconnect(end.label());
        if let Some(offence) = end.offence() {
            self.bans.judge(&self.miners, miner.peer.ip(), offence);
        }
        let state = miner.state();
        tracing::info!(
            session = miner.id, peer = %miner.peer, lane = miner.lane.name, user_name = state.user_name,
            accepted = state.shares.accepted, reason = %Chain(&end), "miner left"
        );
    }
}

/// No Nagle (a notify would come 40 ms late), and an end for peers that vanish.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, UNACKNOWLEDGED_MAX)?;
    let unacknowledged_ms = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, unacknowledged_ms)?;
    Ok(())
}
