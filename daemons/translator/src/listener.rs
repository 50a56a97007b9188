//! Accepts miners on one lane, within the limits, and starts a session for each.

use crate::downstream::{Session, UpstreamHandle};
use crate::miners::{Lane, Miners, OVER_LIMIT, Place};
use hh_daemon::{Chain, Tasks};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A miner that acknowledges nothing for this long is gone (power cut, cable); the kernel then ends the connection.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// One lane's listener.
#[derive(Debug)]
pub(crate) struct Listener {
    pub socket: TcpListener,
    pub lane: Arc<Lane>,
    pub miners: Miners,
    pub upstream: UpstreamHandle,
    pub tasks: Tasks,
}

impl Listener {
    /// Accepts until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.tasks.token().clone();
        while let Some(accepted) = stop.run_until_cancelled(self.socket.accept()).await {
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
        let place = match self.miners.admit(&self.lane, peer) {
            Ok(place) => place,
            Err(full) => {
                tracing::debug!(lane = self.lane.name, %peer, %full, "connection closed");
                self.lane.on_disconnect(OVER_LIMIT);
                return;
            }
        };
        if let Err(error) = prepare(&stream) {
            tracing::debug!(lane = self.lane.name, %peer, %error, "connection unusable");
            return;
        }
        let upstream = self.upstream.clone();
        let stop = self.tasks.token().clone();
        self.tasks.spawn_session("miner", async move {
            serve(stream, place, upstream, &stop).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    place: Place,
    upstream: UpstreamHandle,
    stop: &tokio_util::sync::CancellationToken,
) {
    let miner = Arc::clone(&place.miner);
    let end = Session::new(stream, place, upstream).run(stop).await;
    miner.lane.on_disconnect(end.label());
    let state = miner.state();
    tracing::info!(
        session = miner.id, peer = %miner.peer, lane = miner.lane.name, user_name = state.user_name,
        accepted = state.shares.accepted, reason = %Chain(&end), "miner left"
    );
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
