//! What is measured, each time anew: a server of ours or of the reference implementation, on one node and one template
//! provider that all of them share.

use crate::bitcoin_core::{BitcoinCore, Chain, anyone_can_spend};
use crate::daemon::Daemon;
use crate::network::{authority_key, pool_address, start_tp, tp_address};
use crate::peers::{Intake, Peer};
use hh_ipc::api::pool::PoolClient;
use hh_sv2::AuthorityPublicKey;
use std::net::SocketAddr;

/// Far above what any run sends: vardiff leaves each channel at the easiest target.
const SHARES_PER_MINUTE: f64 = 1e9;

/// Gives a target of 2^256 - 1.
const MIN_DIFFICULTY: f64 = 1e-12;

/// Whose server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum ServerKind {
    /// hh-pool as it is configured by default, vardiff aside; hh-translator in front of it.
    Ours,
    /// `pool_sv2` answering every share; `translator_sv2` in front of hh-pool.
    Peer,
    /// `pool_sv2` answering shares in tens, as its example configuration has it.
    PeerTens,
}

impl ServerKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::PeerTens => "peer, tens",
        }
    }
}

/// The node and the template provider.
#[derive(Debug)]
pub struct Stage {
    // In the order in which they end.
    pub tp: Daemon,
    pub node: BitcoinCore,
    pub tp_address: SocketAddr,
    pub tp_key: AuthorityPublicKey,
    _dir: tempfile::TempDir,
}

impl Stage {
    /// Starts both on regtest.
    pub async fn start() -> Self {
        Self::start_on(Chain::Regtest).await
    }

    /// Starts both.
    pub async fn start_on(chain: Chain) -> Self {
        let node = BitcoinCore::start(chain);
        let dir = crate::directory("stage");
        let tp_key = authority_key(dir.path(), "hh-tp");
        let tp = start_tp(dir.path(), &node, ([127, 0, 0, 1], 0).into());
        tp.wait_until_ready().await;
        let tp_address = tp_address(&tp).await;
        Self {
            tp,
            node,
            tp_address,
            tp_key,
            _dir: dir,
        }
    }

    /// Process ids of what is part of the experiment without being measured.
    #[must_use]
    pub fn bystanders(&self) -> [u32; 2] {
        [self.tp.process().id(), self.node.process().id()]
    }
}

/// A server that has just been started; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    pub kind: ServerKind,
    pub address: SocketAddr,
    pub key: AuthorityPublicKey,
    pub pid: u32,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Ours(
        Daemon,
        #[expect(dead_code, reason = "it is there for as long as it is held")] tempfile::TempDir,
    ),
    #[expect(dead_code, reason = "it runs for as long as it is held")]
    Peer(Peer),
}

impl Server {
    /// Starts one and waits until miners can connect.
    pub async fn start(kind: ServerKind, stage: &Stage) -> Self {
        match kind {
            ServerKind::Ours => Self::ours(stage).await,
            ServerKind::Peer => Self::peer(kind, stage, 1).await,
            ServerKind::PeerTens => Self::peer(kind, stage, 10).await,
        }
    }

    async fn ours(stage: &Stage) -> Self {
        let dir = crate::directory("bench");
        let key = authority_key(dir.path(), "hh-pool");
        let config = pool_config(&dir.path().display().to_string(), stage);
        let daemon = Daemon::start("hh-pool", dir.path(), &config);
        daemon.wait_until_ready().await;
        Self {
            kind: ServerKind::Ours,
            address: pool_address(&daemon).await,
            key,
            pid: daemon.process().id(),
            running: Running::Ours(daemon, dir),
        }
    }

    async fn peer(kind: ServerKind, stage: &Stage, share_batch_size: u32) -> Self {
        let intake = Intake {
            shares_per_minute: SHARES_PER_MINUTE,
            share_batch_size,
        };
        let template_provider = stage.tp_address.to_string();
        let chain = stage.node.chain;
        let peer = Peer::pool_with(chain, &template_provider, stage.tp_key, intake);
        peer.wait_until_it_listens().await;
        Self {
            kind,
            address: peer.address(),
            key: Peer::authority_public_key(),
            pid: peer.process.id(),
            running: Running::Peer(peer),
        }
    }

    /// Calls over the control socket of ours.
    ///
    /// # Panics
    /// If nobody listens on it, or it is the peer's, which has none.
    pub async fn control(&self) -> PoolClient {
        match &self.running {
            Running::Ours(daemon, _) => daemon.pool().await,
            Running::Peer(_) => panic!("the peer has no control socket"),
        }
    }
}

fn pool_config(dir: &str, stage: &Stage) -> String {
    format!(
        r#"
chain = "{}"
data_dir = "{dir}/pool"
authority_secret_key = "file:{dir}/hh-pool.key"
coinbase_reward_address = "{}"

[[lanes]]
name = "main"
listen_address = "127.0.0.1:0"

[[template_providers]]
address = "{}"
authority_public_key = "{}"

[[nodes]]
rpc_url = "{}"
rpc_cookie_file = "{}"

[vardiff]
min_difficulty = {MIN_DIFFICULTY:e}
shares_per_minute = {SHARES_PER_MINUTE:.1}
"#,
        stage.node.chain.name(),
        anyone_can_spend(stage.node.chain),
        stage.tp_address,
        stage.tp_key,
        stage.node.rpc_url(),
        stage.node.cookie_file().display(),
    )
}
