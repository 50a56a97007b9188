//! The pool, the translator and the JD client of the Stratum V2 reference implementation, as processes beside ours.

use crate::bitcoin_core::{Chain, anyone_can_spend};
use crate::port::Port;
use crate::process::Process;
use crate::wait::wait_until;
use hh_sv2::AuthorityPublicKey;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// From the start of a peer to its open port, on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// The key pair of the peer's own examples: a secret that is public, for tests only.
const PEER_PUBLIC_KEY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
const PEER_SECRET_KEY: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";

/// How a pool of the peer's takes shares.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    /// What its vardiff aims at.
    pub shares_per_minute: f64,
    /// Shares that one answer settles; the last ones of a burst wait for it.
    pub share_batch_size: u32,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            shares_per_minute: 120.0,
            share_batch_size: 1,
        }
    }
}

/// How a translator of the peer's makes its miners' difficulty.
#[derive(Clone, Copy, Debug)]
pub struct Difficulty {
    /// What it tells the pool of each miner, in hashes a second.
    pub hashrate: f64,
    /// By itself; or as the pool says.
    pub vardiff: bool,
}

/// A peer; killed when it is dropped.
#[derive(Debug)]
pub struct Peer {
    pub process: Process,
    port: Port,
    _dir: tempfile::TempDir,
}

impl Peer {
    /// `pool_sv2` with templates from the template provider at `address`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn pool(chain: Chain, template_provider: &str, key: AuthorityPublicKey) -> Self {
        Self::pool_with(chain, template_provider, key, Intake::default())
    }

    /// The same, taking shares as `intake` says.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn pool_with(
        chain: Chain,
        template_provider: &str,
        key: AuthorityPublicKey,
        intake: Intake,
    ) -> Self {
        let Intake {
            shares_per_minute,
            share_batch_size,
        } = intake;
        Self::start("pool_sv2", |port| {
            format!(
                r#"
authority_public_key = "{PEER_PUBLIC_KEY}"
authority_secret_key = "{PEER_SECRET_KEY}"
cert_validity_sec = 3600
listen_address = "127.0.0.1:{port}"
coinbase_reward_script = "addr({})"
server_id = 1
pool_signature = "peer"
shares_per_minute = {shares_per_minute:.1}
share_batch_size = {share_batch_size}
supported_extensions = []
required_extensions = []

[template_provider_type.Sv2Tp]
address = "{template_provider}"
public_key = "{key}"
"#,
                anyone_can_spend(chain)
            )
        })
    }

    /// `translator_sv2` on the SV2 pool at `upstream`, with a channel of its own for each miner and variable difficulty.
    /// `hashrate` is what it tells the pool of each, in hashes a second.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn translator(upstream: SocketAddr, key: AuthorityPublicKey, hashrate: f64) -> Self {
        let difficulty = Difficulty {
            hashrate,
            vardiff: true,
        };
        Self::translator_with(upstream, key, difficulty)
    }

    /// The same, with difficulty as is said.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn translator_with(
        upstream: SocketAddr,
        key: AuthorityPublicKey,
        difficulty: Difficulty,
    ) -> Self {
        let Difficulty { hashrate, vardiff } = difficulty;
        Self::start("translator_sv2", |port| {
            format!(
                r#"
downstream_address = "127.0.0.1"
downstream_port = {port}
min_supported_version = 2
max_supported_version = 2
downstream_extranonce2_size = 4
verify_payout = false
aggregate_channels = false
supported_extensions = []
required_extensions = []

[downstream_difficulty_config]
min_individual_miner_hashrate = {hashrate:.1}
shares_per_minute = 60.0
enable_vardiff = {vardiff}
job_keepalive_interval_secs = 60

[[upstreams]]
address = "{}"
port = {}
authority_pubkey = "{key}"
user_identity = "peer"
"#,
                upstream.ip(),
                upstream.port()
            )
        })
    }

    /// `jd_client_sv2` with the SV2 pool at `upstream`, which is its JD server too, and with templates from the template
    /// provider at `template_provider`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn jd_client(
        chain: Chain,
        (upstream, upstream_key): (SocketAddr, AuthorityPublicKey),
        (template_provider, template_provider_key): (SocketAddr, AuthorityPublicKey),
    ) -> Self {
        let (host, upstream_port) = (upstream.ip(), upstream.port());
        Self::start("jd_client_sv2", |port| {
            format!(
                r#"
listening_address = "127.0.0.1:{port}"
min_supported_version = 2
max_supported_version = 2
authority_public_key = "{PEER_PUBLIC_KEY}"
authority_secret_key = "{PEER_SECRET_KEY}"
cert_validity_sec = 3600
shares_per_minute = 120.0
share_batch_size = 1
mode = "FULLTEMPLATE"
jdc_signature = "peer"
coinbase_reward_script = "addr({})"
supported_extensions = []
required_extensions = []

[template_provider_type.Sv2Tp]
address = "{template_provider}"
public_key = "{template_provider_key}"

[[upstreams]]
authority_pubkey = "{upstream_key}"
pool_address = "{host}"
pool_port = {upstream_port}
jds_address = "{host}"
jds_port = {upstream_port}
user_identity = "peer"
"#,
                anyone_can_spend(chain)
            )
        })
    }

    fn start(name: &str, config: impl FnOnce(u16) -> String) -> Self {
        let dir = crate::directory("peer");
        let port = Port::take();
        let file = dir.path().join(format!("{name}.toml"));
        std::fs::write(&file, config(port.number)).expect("a test's directory can be written");
        let mut command = Command::new(directory().join(name));
        command.arg("-c").arg(&file).current_dir(dir.path());
        Self {
            process: Process::spawn(name, command, dir.path()),
            port,
            _dir: dir,
        }
    }

    /// Where miners connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number).into()
    }

    /// The key that miners pin, where the peer is a pool.
    ///
    /// # Panics
    /// Never: the key is one of ours.
    #[must_use]
    pub fn authority_public_key() -> AuthorityPublicKey {
        PEER_PUBLIC_KEY.parse().expect("the key is valid")
    }

    /// Waits until it takes connections.
    ///
    /// # Panics
    /// If it ends, or does not listen in half a minute.
    pub async fn wait_until_it_listens(&self) {
        wait_until("the peer listens", START, async || {
            assert!(self.process.is_running(), "the peer has ended");
            tokio::net::TcpStream::connect(self.address()).await.is_ok()
        })
        .await;
    }
}

/// `$HH_PEERS`, or what scripts/peers finds or builds.
fn directory() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var_os("HH_PEERS") {
        Some(path) => path.into(),
        None => crate::printed_by_script("peers"),
    })
}
