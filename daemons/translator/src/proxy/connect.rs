//! From an accepted socket to a session: handshake and setup, and how many connections may be in the middle of them.

use super::{ProxyEnd, ProxySession};
use crate::config::LimitsConfig;
use crate::downstream::UpstreamHandle;
use crate::miners::Place;
use hh_daemon::HalfOpen;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::message::{Protocol, REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING};
use hh_sv2::setup::{SETUP_DEADLINE, server_setup};
use hh_sv2::{Authority, AuthorityPublicKey, AuthoritySecretKey, Connection, Limits};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Connections that are not set up; beyond, the oldest goes for the newest. All miners of a farm that come back at once, before
/// the first are through; some 10 kB each.
const HALF_OPEN_MAX: usize = 4_000;

/// The same for one address: a farm behind one.
const HALF_OPEN_OF_ADDRESS_MAX: usize = 2_000;

/// What a miner's connection may cost. Most that is queued at once is a new tip for a proxy with a thousand channels: target,
/// job and tip are some two kilobytes for each.
const LIMITS: Limits = Limits {
    max_queued_bytes: 4 << 20,
    // For who does not read; a share's answer takes some 60 bytes.
    send_buffer_bytes: Some(256 << 10),
    ..Limits::SERVER
};

/// What all SV2 lanes of a process let miners in with. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    authority: Arc<Authority>,
    half_open: HalfOpen,
    max_channels: usize,
}

impl Entrance {
    /// Under the authority key `secret`, for connections that keep `limits`.
    pub(crate) fn new(secret: AuthoritySecretKey, limits: &LimitsConfig) -> Self {
        let authority = Authority::new(secret, CERTIFICATE_VALIDITY);
        tracing::info!(authority_public_key = %authority.public_key(), "SV2 miners pin this key");
        Self {
            authority: Arc::new(authority),
            half_open: HalfOpen::new(HALF_OPEN_MAX, HALF_OPEN_OF_ADDRESS_MAX),
            max_channels: limits.max_channels_per_connection,
        }
    }

    /// What miners pin.
    pub(crate) fn public_key(&self) -> AuthorityPublicKey {
        self.authority.public_key()
    }

    /// Keeps handshakes prepared until `stop` is cancelled.
    pub(crate) async fn keep_stocked(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.authority.keep_stocked())
            .await;
    }
}

/// Serves one connection from its accept to its end, and says why it ended.
pub(crate) async fn serve(
    stream: TcpStream,
    place: Place,
    upstream: UpstreamHandle,
    entrance: &Entrance,
    stop: &CancellationToken,
) -> ProxyEnd {
    let displaced = stop.child_token();
    let entered = entrance
        .half_open
        .enter(place.miner.peer.ip(), displaced.clone());
    // All of it together: each step has the same deadline for itself.
    let connecting = connect(stream, place, upstream, entrance);
    let connecting = tokio::time::timeout(SETUP_DEADLINE, connecting);
    let session = match displaced.run_until_cancelled(connecting).await {
        Some(Ok(Ok(session))) => session,
        Some(Ok(Err(end))) => return end,
        Some(Err(_elapsed)) => return ProxyEnd::NotSetUp,
        None if stop.is_cancelled() => return ProxyEnd::Stop,
        None => return ProxyEnd::Displaced,
    };
    drop(entered);
    session.run(stop).await
}

async fn connect(
    stream: TcpStream,
    place: Place,
    upstream: UpstreamHandle,
    entrance: &Entrance,
) -> Result<ProxySession, ProxyEnd> {
    let peer = place.miner.peer;
    let mut connection =
        Connection::accept_from(peer, stream, &entrance.authority, &LIMITS).await?;
    // Work selection comes with job declaration.
    let mut flags = REQUIRES_STANDARD_JOBS;
    if upstream.upstreams.version_rolling_allowed() {
        flags |= REQUIRES_VERSION_ROLLING;
    }
    let protocol = Protocol::MiningProtocol;
    match server_setup(&mut connection, protocol, flags, SETUP_DEADLINE).await {
        Ok(setup) => {
            place.list_channels();
            Ok(ProxySession::new(
                connection,
                &setup,
                place,
                upstream,
                entrance.max_channels,
            ))
        }
        Err(error) => {
            // So that a refusal is read before the socket closes.
            connection.close().await.ok();
            Err(error.into())
        }
    }
}
