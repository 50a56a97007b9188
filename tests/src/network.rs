//! A whole network in a temporary directory: Bitcoin Core, hh-tp, hh-pool and, where it is asked for, hh-translator.
//!
//! Ports are the kernel's choice and are asked for on the control sockets, so that a daemon that starts again is given the
//! port that its clients know.

use crate::bitcoin_core::{BitcoinCore, Chain, anyone_can_spend};
use crate::daemon::Daemon;
use crate::wait::wait_until;
use hh_ipc::client::within;
use hh_ledger::{LedgerReader, Location};
use hh_sv2::{AuthorityPublicKey, AuthoritySecretKey};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// For any call on a control socket, on a loaded machine.
pub const CALL: Duration = Duration::from_secs(10);

/// The shipper is a moment behind the log; a loaded machine adds to that.
pub const SHIPPED: Duration = Duration::from_secs(60);

/// Difficulty that hh-pool starts a channel without hashrate at: some 400 hashes, so that tests don't wait for shares.
const MIN_DIFFICULTY: f64 = 1e-7;

/// Bitcoin Core, hh-tp and hh-pool; all killed when it is dropped. Whoever wants to break something has each part at hand.
#[derive(Debug)]
pub struct Network {
    // In the order in which they end: nobody is left to complain about another's end.
    pub pool: Daemon,
    pub tp: Daemon,
    pub node: BitcoinCore,
    pub tp_address: SocketAddr,
    pub tp_key: AuthorityPublicKey,
    pub pool_address: SocketAddr,
    pub pool_key: AuthorityPublicKey,
    dir: tempfile::TempDir,
}

impl Network {
    /// Starts all of it and waits until miners can mine.
    ///
    /// # Panics
    /// If a part does not become ready.
    pub async fn start(chain: Chain) -> Self {
        Self::start_on(BitcoinCore::start(chain)).await
    }

    /// As [`Self::start`], on a node that runs.
    ///
    /// # Panics
    /// If a part does not become ready.
    pub async fn start_on(node: BitcoinCore) -> Self {
        let dir = crate::directory("net");
        let tp_key = authority_key(dir.path(), "hh-tp");
        let pool_key = authority_key(dir.path(), "hh-pool");

        let tp = start_tp(dir.path(), &node, ANY_PORT);
        tp.wait_until_ready().await;
        let tp_address = tp_address(&tp).await;
        // From here on hh-tp keeps its port over a restart.
        let config = tp_config(dir.path(), &node, tp_address);
        tp.write_config(&config);

        let config = pool_config(dir.path(), &node, tp_address, &tp_key, ANY_PORT);
        let pool = Daemon::start("hh-pool", dir.path(), &config);
        pool.wait_until_ready().await;
        let pool_address = pool_address(&pool).await;
        pool.write_config(&pool_config(
            dir.path(),
            &node,
            tp_address,
            &tp_key,
            pool_address,
        ));
        Self {
            node,
            tp,
            pool,
            tp_address,
            tp_key,
            pool_address,
            pool_key,
            dir,
        }
    }

    /// hh-pool's own part of its configuration.
    #[must_use]
    pub fn pool_config(&self) -> String {
        pool_config(
            self.dir.path(),
            &self.node,
            self.tp_address,
            &self.tp_key,
            self.pool_address,
        )
    }

    /// hh-tp's own part of its configuration.
    #[must_use]
    pub fn tp_config(&self) -> String {
        tp_config(self.dir.path(), &self.node, self.tp_address)
    }

    /// hh-translator's own part of its configuration, with an upstream whose key is `key`.
    #[must_use]
    pub fn translator_config(&self, key: &AuthorityPublicKey) -> String {
        translator_config(ANY_PORT, (self.pool_address, key))
    }

    /// Starts hh-translator on hh-pool and tells where its SV1 miners connect, over a restart as well.
    pub async fn start_translator(&self) -> (Daemon, SocketAddr) {
        let config = self.translator_config(&self.pool_key);
        let translator = Daemon::start("hh-translator", self.dir.path(), &config);
        translator.wait_until_ready().await;
        let address = translator_address(&translator).await;
        let upstream = (self.pool_address, &self.pool_key);
        translator.write_config(&translator_config(address, upstream));
        (translator, address)
    }

    /// Waits until the ledger has what hh-pool's share log has.
    ///
    /// # Panics
    /// If it has not in a minute.
    pub async fn wait_until_shipped(&self) {
        let client = self.pool.pool().await;
        let shipped = async || {
            let status = client.status(within(CALL)).await;
            let log = status.expect("hh-pool answers").share_log;
            log.shipped_seq == log.durable_seq
        };
        wait_until("the ledger has what the log has", SHIPPED, shipped).await;
    }

    /// Reads hh-pool's ledger.
    #[must_use]
    pub fn ledger(&self) -> LedgerReader {
        LedgerReader::new(&Location::Sqlite(self.dir.path().join("pool/pool.db")))
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// The kernel's choice.
pub const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// hh-tp on a node, with a key that [`authority_key`] has made.
#[must_use]
pub fn start_tp(dir: &Path, node: &BitcoinCore, listen: SocketAddr) -> Daemon {
    Daemon::start("hh-tp", dir, &tp_config(dir, node, listen))
}

/// Where a hh-tp that is ready listens.
///
/// # Panics
/// If it does not answer.
pub async fn tp_address(tp: &Daemon) -> SocketAddr {
    let client = tp.template_provider().await;
    let status = client.status(within(CALL)).await.expect("hh-tp answers");
    parsed(&status.listen_address)
}

/// Where the first lane of a hh-pool that is ready listens.
///
/// # Panics
/// If it does not answer.
pub async fn pool_address(pool: &Daemon) -> SocketAddr {
    let status = pool.pool().await.status(within(CALL)).await;
    parsed(&status.expect("hh-pool answers").lanes[0].listen_address)
}

/// Where the first lane of a hh-translator that is ready listens.
///
/// # Panics
/// If it does not answer.
pub async fn translator_address(translator: &Daemon) -> SocketAddr {
    let status = translator.translator().await.status(within(CALL)).await;
    parsed(&status.expect("hh-translator answers").lanes[0].listen_address)
}

/// Makes a daemon's authority key in `DIR/NAME.key`, and returns what its clients pin.
///
/// # Panics
/// If the directory can't be written.
#[must_use]
pub fn authority_key(dir: &Path, name: &str) -> AuthorityPublicKey {
    use std::io::Write;
    let secret = AuthoritySecretKey::generate();
    let mut file = std::fs::File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(dir.join(format!("{name}.key")))
        .expect("a test's directory can be written");
    writeln!(file, "{}", secret.to_secret_hex()).expect("a test's directory can be written");
    secret.public_key()
}

/// hh-tp's own part of its configuration.
#[must_use]
pub fn tp_config(dir: &Path, node: &BitcoinCore, listen: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        r#"
chain = "{}"
listen_address = "{listen}"
data_dir = "{dir}/tp"
authority_secret_key = "file:{dir}/hh-tp.key"
return_after_seconds = 1
{}"#,
        node.chain.name(),
        tp_node_config(node),
    )
}

/// A node at the end of hh-tp's configuration, less preferred than those before it.
#[must_use]
pub fn tp_node_config(node: &BitcoinCore) -> String {
    format!(
        r#"
[[nodes]]
rpc_url = "{}"
rpc_cookie_file = "{}"
ipc_socket = "{}"
"#,
        node.rpc_url(),
        node.cookie_file().display(),
        node.ipc_socket().display(),
    )
}

/// hh-translator's own part of its configuration, with one lane and one upstream.
#[must_use]
pub fn translator_config(
    listen: SocketAddr,
    (upstream, key): (SocketAddr, &AuthorityPublicKey),
) -> String {
    format!(
        r#"
[[lanes]]
name = "sv1"
listen_address = "{listen}"
nominal_hashrate_hs = 1e4

[[upstreams]]
address = "{upstream}"
authority_public_key = "{key}"
"#
    )
}

fn pool_config(
    dir: &Path,
    node: &BitcoinCore,
    tp: SocketAddr,
    tp_key: &AuthorityPublicKey,
    listen: SocketAddr,
) -> String {
    let dir = dir.display();
    format!(
        r#"
chain = "{}"
data_dir = "{dir}/pool"
authority_secret_key = "file:{dir}/hh-pool.key"
coinbase_reward_address = "{}"

[[lanes]]
name = "main"
listen_address = "{listen}"

[[template_providers]]
address = "{tp}"
authority_public_key = "{tp_key}"

[[nodes]]
rpc_url = "{}"
rpc_cookie_file = "{}"

[vardiff]
min_difficulty = {MIN_DIFFICULTY:e}
"#,
        node.chain.name(),
        anyone_can_spend(node.chain),
        node.rpc_url(),
        node.cookie_file().display(),
    )
}

fn parsed(address: &str) -> SocketAddr {
    address.parse().expect("a daemon tells a socket address")
}
