//! What is measured, each time anew: a translator of ours or of the reference implementation, in front of a hh-pool.

use crate::bench::server::{Server, ServerKind, Stage};
use crate::daemon::Daemon;
use crate::network::translator_address;
use crate::peers::{Difficulty, Peer};
use hh_ipc::api::pool::PoolClient;
use std::net::SocketAddr;

/// In hashes a second: so few that hh-pool gives the easiest target that it has.
const NOMINAL_HASHRATE: f64 = 1.0;

/// A hh-pool and a translator that have just been started; killed when it is dropped.
#[derive(Debug)]
pub struct Translator {
    /// Where SV1 miners connect.
    pub address: SocketAddr,
    pub pid: u32,
    _running: Running,
    pool: Server,
}

#[derive(Debug)]
enum Running {
    #[expect(dead_code, reason = "they run for as long as they are held")]
    Ours(Daemon, tempfile::TempDir),
    #[expect(dead_code, reason = "it runs for as long as it is held")]
    Peer(Peer),
}

impl Translator {
    /// Starts both and waits until miners can connect.
    pub async fn start(kind: ServerKind, stage: &Stage) -> Self {
        let pool = Server::start(ServerKind::Ours, stage).await;
        match kind {
            ServerKind::Ours => Self::ours(pool).await,
            ServerKind::Peer | ServerKind::PeerTens => Self::peer(pool).await,
        }
    }

    async fn ours(pool: Server) -> Self {
        let dir = crate::directory("bench");
        let daemon = Daemon::start("hh-translator", dir.path(), &config(&pool));
        daemon.wait_until_ready().await;
        Self {
            address: translator_address(&daemon).await,
            pid: daemon.process().id(),
            _running: Running::Ours(daemon, dir),
            pool,
        }
    }

    async fn peer(pool: Server) -> Self {
        // Left to the pool, as ours does.
        let difficulty = Difficulty {
            hashrate: NOMINAL_HASHRATE,
            vardiff: false,
        };
        let peer = Peer::translator_with(pool.address, pool.key, difficulty);
        peer.wait_until_it_listens().await;
        Self {
            address: peer.address(),
            pid: peer.process.id(),
            _running: Running::Peer(peer),
            pool,
        }
    }

    /// Process ids of what is part of the experiment without being measured.
    #[must_use]
    pub fn bystanders(&self, stage: &Stage) -> Vec<u32> {
        let [tp, node] = stage.bystanders();
        vec![tp, node, self.pool.pid]
    }

    /// Calls over the pool's control socket.
    ///
    /// # Panics
    /// If nobody listens on it.
    pub async fn pool(&self) -> PoolClient {
        self.pool.control().await
    }
}

fn config(pool: &Server) -> String {
    format!(
        r#"
[[lanes]]
name = "sv1"
listen_address = "127.0.0.1:0"
nominal_hashrate_hs = {NOMINAL_HASHRATE:.1}

[[upstreams]]
address = "{}"
authority_public_key = "{}"
"#,
        pool.address, pool.key
    )
}
