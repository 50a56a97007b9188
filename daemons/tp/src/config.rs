//! hh-tp's configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bitcoin::Network;
use std::collections::HashSet;

use hh_bitcoin::{NodeConfig, NodeError, Rpc};
use hh_daemon::{Config, Mistakes, SecretRef};
use serde::Deserialize;

/// Each client holds a task and a socket, and may make the node build templates of another class.
const CLIENTS_MAX: usize = 1_000;
/// Each is followed all the time, and asked every two seconds.
const NODES_MAX: usize = 8;
/// A day: then the order of preference means nothing.
const RETURN_AFTER_SECONDS_MAX: u64 = 86_400;
/// Longer, and miners work on a template without the hour's fees.
const INTERVAL_SECONDS_MAX: u64 = 3_600;

/// The file `hh-tp.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpConfig {
    /// `main`, `testnet4`, `signet` or `regtest`; a node on another chain is refused.
    #[serde(with = "bitcoin::network::as_core_arg")]
    pub chain: Network,
    /// Where SV2 Template Distribution is served.
    #[serde(default = "default_listen_address")]
    pub listen_address: SocketAddr,
    /// The Noise authority key that clients pin: 32 bytes in hex.
    pub authority_secret_key: SecretRef,
    /// Where found blocks are journalled.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// On an unchanged tip, a new template is given out when its fees are higher by at least this.
    #[serde(default = "default_fee_delta_sats")]
    pub fee_delta_sats: u64,
    /// And when at least this time has passed since the one before.
    #[serde(default = "default_template_interval_seconds")]
    pub template_interval_seconds: u64,
    /// Clients served at a time; further ones are turned away.
    #[serde(default = "default_max_clients")]
    pub max_clients: usize,
    /// Of these, from one address.
    #[serde(default = "default_max_clients_per_address")]
    pub max_clients_per_address: usize,
    /// How long a node further up the list has to be healthy before its templates are preferred again.
    #[serde(default = "default_return_after_seconds")]
    pub return_after_seconds: u64,
    /// In the order of preference.
    pub nodes: Vec<CoreConfig>,
}

/// A Bitcoin Core node that templates may come from. Its version, the state of its chain and a second path for blocks come by
/// JSON-RPC, templates by mining IPC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreConfig {
    /// How logs, metrics and outcomes name the node; the URL where absent.
    pub name: Option<String>,
    /// `DATADIR/[CHAIN/]node.sock` of a bitcoin-node started with `-ipcbind=unix`; without it, templates come by
    /// `getblocktemplate`.
    pub ipc_socket: Option<PathBuf>,
    /// `http://HOST:PORT`.
    pub rpc_url: String,
    /// `DATADIR/[CHAIN/].cookie`; either this, or user and password.
    pub rpc_cookie_file: Option<PathBuf>,
    pub rpc_user: Option<String>,
    pub rpc_password: Option<SecretRef>,
}

impl CoreConfig {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.rpc_url)
    }

    /// The client for the node's JSON-RPC.
    pub fn rpc(&self) -> Result<Rpc, NodeError> {
        let node = NodeConfig {
            name: self.name.clone(),
            rpc_url: self.rpc_url.clone(),
            rpc_cookie_file: self.rpc_cookie_file.clone(),
            rpc_user: self.rpc_user.clone(),
            rpc_password: self.rpc_password.clone(),
        };
        node.rpc()
    }
}

impl Config for TpConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        self.check_nodes(mistakes);
        if !self.data_dir.is_absolute() {
            mistakes.add("data_dir", "not an absolute path", "start it with a slash");
        }
        if self.template_interval_seconds > INTERVAL_SECONDS_MAX {
            let fix = format!("write 0 to {INTERVAL_SECONDS_MAX}");
            mistakes.add("template_interval_seconds", "out of range", fix);
        }
        if self.return_after_seconds > RETURN_AFTER_SECONDS_MAX {
            let fix = format!("write 0 to {RETURN_AFTER_SECONDS_MAX}");
            mistakes.add("return_after_seconds", "out of range", fix);
        }
        if self.fee_delta_sats == 0 {
            let fix = "write at least 1: at 0 each look at the fees is a new template";
            mistakes.add("fee_delta_sats", "out of range", fix);
        }
        let limits = [
            ("max_clients", self.max_clients),
            ("max_clients_per_address", self.max_clients_per_address),
        ];
        for (key, limit) in limits {
            if !(1..=CLIENTS_MAX).contains(&limit) {
                mistakes.add(key, "out of range", format!("write 1 to {CLIENTS_MAX}"));
            }
        }
    }
}

impl TpConfig {
    fn check_nodes(&self, mistakes: &mut Mistakes) {
        if !(1..=NODES_MAX).contains(&self.nodes.len()) {
            let fix = format!("write 1 to {NODES_MAX} parts [[nodes]], the preferred one first");
            mistakes.add("nodes", "out of range", fix);
        }
        let mut names = HashSet::new();
        for node in &self.nodes {
            let name = node.name();
            if !names.insert(name) {
                let fix = "give each of [[nodes]] a name or a URL of its own";
                mistakes.add("nodes", format!("{name} is there twice"), fix);
            }
            if node.rpc().is_err() {
                let fix = "write rpc_url = \"http://HOST:PORT\" without credentials, and either rpc_cookie_file, or rpc_user \
                           and rpc_password";
                let what = format!("the JSON-RPC of {name} can't be used as written");
                mistakes.add("nodes.rpc_url", what, fix);
            }
            let socket = node.ipc_socket.as_ref();
            if socket.is_some_and(|socket| !socket.is_absolute()) {
                let what = format!("that of {name} is not an absolute path");
                mistakes.add("nodes.ipc_socket", what, "start it with a slash");
            }
        }
    }
}

fn default_listen_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 34250).into()
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hyperhash/hh-tp")
}

/// A fraction of a cent at any price so far; what matters is that nothing is sent when nothing changed.
fn default_fee_delta_sats() -> u64 {
    1_000
}

/// A new job for every miner each time: twice a minute gains nearly all of the fees.
fn default_template_interval_seconds() -> u64 {
    30
}

/// A node that has just been started again, or whose peers come and go, fails once more within a minute if it does at all; and
/// who is away for ten minutes is missed no more after eleven.
fn default_return_after_seconds() -> u64 {
    60
}

fn default_max_clients() -> usize {
    64
}

/// Some pools on one machine, and a few of their old connections that nobody has noticed to be dead.
fn default_max_clients_per_address() -> usize {
    16
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_daemon::{ConfigError, Settings, load};
    use std::path::Path;

    fn parse(text: &str) -> Result<(Settings, TpConfig), ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(file.path())
    }

    fn example() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_example_is_valid_and_shows_the_defaults() {
        let example = example();
        let (_, config) = parse(&example).unwrap();
        assert_eq!(config.chain, Network::Signet);
        let shown = example.replace("# rpc_", "#rpc_");
        let shown: Vec<_> = shown
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.contains(" = ") || key.starts_with('[') => key,
                _ => line,
            })
            .collect();
        let (settings, shown) = parse(&shown.join("\n")).unwrap();
        assert_eq!(format!("{shown:?}"), format!("{config:?}"));
        assert_eq!(
            settings.start_timeout_seconds,
            Settings::default().start_timeout_seconds
        );
    }

    #[test]
    fn every_mistake_is_told() {
        let text = example()
            .replace(
                "# fee_delta_sats = 1000",
                "fee_delta_sats = 0\nmax_clients = 0\nmax_clients_per_address = 1001",
            )
            .replace(
                "# template_interval_seconds = 30",
                "template_interval_seconds = 4000",
            )
            .replace("/var/lib/bitcoind/signet/node.sock", "node.sock")
            .replace("http://127.0.0.1:38332", "127.0.0.1:38332")
            .replace("name = \"far\"", "name = \"near\"");
        let Err(ConfigError::Mistakes(mistakes)) = parse(&text) else {
            panic!("no mistakes");
        };
        let told = mistakes.to_string();
        for key in [
            "fee_delta_sats",
            "max_clients",
            "max_clients_per_address",
            "template_interval_seconds",
            "nodes.ipc_socket",
            "nodes.rpc_url",
            "is there twice",
        ] {
            assert!(told.contains(key), "{key} is not in\n{told}");
        }
    }
}
