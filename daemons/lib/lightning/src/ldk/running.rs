//! An ldk-node that runs: from its parts to its end.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ldk_node::config::{AnchorChannelsConfig, Config};
use ldk_node::{BuildError, Builder, Node, NodeError};

use super::bitcoind::Login;
use super::log::Log;
use super::{LdkConfig, StartError};

/// It asks Bitcoin Core for a new tip every 2 s; after this long it does not know where the chain is.
const SYNC_AGE_MAX: Duration = Duration::from_secs(30);

/// The lock of the directory: beside ldk-node's own files, which are `ldk_node_data.sqlite` and what SQLite adds to it.
const LOCK_FILE: &str = "lock";

/// One life of the node. A process has several, one after the other, where Bitcoin Core's cookie changes.
pub(super) struct Running {
    pub(super) node: Arc<Node>,
    /// Which life it is.
    pub(super) generation: u64,
    pub(super) login: Login,
    /// Set when it takes no more connections from peers.
    pub(super) is_deaf: Arc<AtomicBool>,
    since: Instant,
    since_s: u64,
}

/// Makes the directory, and keeps every other process out of it while the file lives.
pub(super) fn lock(dir: &Path) -> Result<File, StartError> {
    let failed = |action| {
        let path = dir.to_owned();
        move |source| StartError::Directory {
            action,
            path,
            source,
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed("make the directory"))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK_FILE))
        .map_err(failed("open the lock in"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse {
            path: dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}

impl Running {
    /// Builds and starts it, on the runtime that it is called in. Blocks: seconds where Bitcoin Core is slow.
    pub(super) fn start(
        config: &LdkConfig,
        generation: u64,
        is_deaf: Arc<AtomicBool>,
    ) -> Result<Self, StartError> {
        let login = config.bitcoind.login()?;
        config.bitcoind.check(&login, config.network)?;
        // Before it asks the chain for the first time.
        let (since, since_s) = (Instant::now(), unix_seconds(SystemTime::now()));
        let node = builder(config, &login)?
            .build()
            .map_err(|error| build_error(config, error))?;
        node.start().map_err(|error| start_error(config, error))?;
        Ok(Self {
            node: Arc::new(node),
            generation,
            login,
            is_deaf,
            since,
            since_s,
        })
    }

    /// For how long it has run.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether it has asked Bitcoin Core, since its start and a moment ago, and has every block that is there.
    pub(super) fn is_synced(&self) -> bool {
        let status = self.node.status();
        // Kept by the node over its lives: a time before this one says nothing.
        let Some(synced_s) = status.latest_lightning_wallet_sync_timestamp else {
            return false;
        };
        let now_s = unix_seconds(SystemTime::now());
        status.is_running
            && synced_s >= self.since_s
            && now_s.saturating_sub(synced_s) <= SYNC_AGE_MAX.as_secs()
    }
}

fn builder(config: &LdkConfig, login: &Login) -> Result<Builder, StartError> {
    if config.alias.is_some() && config.listen.is_empty() {
        return Err(StartError::AliasWithoutListen);
    }
    let (host, port) = config.bitcoind.host_and_port()?;
    let settings = Config {
        // These two have defaults that are worse than none: mainnet, and /tmp.
        network: config.network,
        storage_dir_path: config.dir.display().to_string(),
        anchor_channels_config: Some(AnchorChannelsConfig {
            per_channel_reserve_sats: config.anchor_reserve_sats,
            trusted_peers_no_reserve: Vec::new(),
        }),
        ..Config::default()
    };
    let mut builder = Builder::from_config(settings);
    builder.set_runtime(tokio::runtime::Handle::current());
    builder.set_custom_logger(Arc::new(Log::default()));
    builder.set_entropy_seed_bytes(config.seed.bytes());
    builder.set_chain_source_bitcoind_rpc(
        host,
        port,
        login.user.clone(),
        login.password.expose().clone(),
    );
    builder.set_gossip_source_p2p();
    if !config.listen.is_empty() {
        builder
            .set_listening_addresses(config.listen.clone())
            .map_err(StartError::Addresses)?;
    }
    if !config.announce.is_empty() {
        builder
            .set_announcement_addresses(config.announce.clone())
            .map_err(StartError::Addresses)?;
    }
    if let Some(alias) = &config.alias {
        builder
            .set_node_alias(alias.clone())
            .map_err(|source| StartError::Alias {
                alias: alias.clone(),
                source,
            })?;
    }
    Ok(builder)
}

fn build_error(config: &LdkConfig, error: BuildError) -> StartError {
    let path = config.dir.clone();
    match error {
        BuildError::NetworkMismatch => StartError::OtherNetwork { path },
        other => StartError::Build {
            path,
            reason: other.to_string(),
        },
    }
}

fn start_error(config: &LdkConfig, error: NodeError) -> StartError {
    match error {
        // What it says too where the address is taken.
        NodeError::InvalidSocketAddress => {
            StartError::Listen(config.listen.iter().map(ToString::to_string).collect())
        }
        other => StartError::Node(other.to_string()),
    }
}

pub(super) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wallets_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let wallet = dir.path().join("wallet");
        let held = lock(&wallet).unwrap();
        let refused = lock(&wallet).unwrap_err();
        assert!(matches!(refused, StartError::InUse { .. }), "{refused}");
        drop(held);
        lock(&wallet).unwrap();
        let mode = std::os::unix::fs::MetadataExt::mode(&wallet.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o700);
    }
}
