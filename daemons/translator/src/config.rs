//! hh-translator's configuration.

mod lane;

pub use lane::{LaneChannels, LaneConfig, LaneProtocol};

use hh_daemon::ban::AutoBan;
use hh_daemon::{Mistakes, ProxyProtocol, SecretRef};
use hh_sv2::AuthorityPublicKey;
use serde::Deserialize;
use std::collections::HashSet;
use std::path::PathBuf;

/// The file `hh-translator.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TranslatorConfig {
    /// Where the journal of what operators change is kept. It is made by hand or by the service manager.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    pub lanes: Vec<LaneConfig>,
    /// The Noise authority key that SV2 miners pin: 32 bytes in hex. Needed for a lane with protocol `sv2`.
    #[serde(default)]
    pub authority_secret_key: Option<SecretRef>,
    /// In the order of preference. Each lane has its own connection to the first that answers.
    pub upstreams: Vec<UpstreamConfig>,
    /// How long one that is preferred to the one in use must be healthy before miners are moved back to it.
    #[serde(default = "default_return_after_seconds")]
    pub return_after_seconds: u64,
    /// By which pools know through which node work comes; without one it is credited to `core`.
    pub credential: Option<CredentialConfig>,
    #[serde(default)]
    pub limits: LimitsConfig,
    /// When an address is banned by itself.
    #[serde(default)]
    pub auto_ban: AutoBan,
    /// Load balancers in front of the lanes.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
}

/// Where the node's credential is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// As `hhctl node credential issue` writes it; read again when it changes.
    pub file: PathBuf,
}

/// A pool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// Base58check, as the pool logs it at its start.
    pub authority_public_key: AuthorityPublicKey,
}

/// What one process takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Of one SV2 connection.
    pub max_channels_per_connection: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // Some 20 kB each.
            max_connections: 10_000,
            // A farm behind one address, or a rental market.
            max_connections_per_address: 5_000,
            // A proxy with a channel for each of its miners; one that has more opens several connections.
            max_channels_per_connection: 1_000,
        }
    }
}

/// Longer than a pool that restarts in a loop lives, and short enough that an operator sees it come back.
fn default_return_after_seconds() -> u64 {
    60
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hyperhash/hh-translator")
}

impl TranslatorConfig {
    /// The journal of what operators change.
    pub fn journal_path(&self) -> PathBuf {
        self.data_dir.join("changes.jsonl")
    }
}

impl UpstreamConfig {
    /// The parts of `address`; port 0 if it has none, which the check of the configuration refuses.
    pub fn host_and_port(&self) -> (&str, u16) {
        let parts = self.address.rsplit_once(':');
        let (host, port) = parts.unwrap_or((&self.address, ""));
        (host, port.parse().unwrap_or(0))
    }
}

impl hh_daemon::Config for TranslatorConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        if !self.data_dir.is_absolute() {
            mistakes.add("data_dir", "not an absolute path", "start it with a slash");
        }
        self.check_lanes(mistakes);
        self.auto_ban.check("auto_ban", mistakes);
        if self.upstreams.is_empty() {
            let fix = "add an [[upstreams]] table with `address` and `authority_public_key`";
            mistakes.add("upstreams", "there is no work without a pool", fix);
        }
        for (index, upstream) in self.upstreams.iter().enumerate() {
            let (host, port) = upstream.host_and_port();
            if host.is_empty() || port == 0 {
                let what = format!("{:?} is not HOST:PORT", upstream.address);
                let fix = "write the pool's host and port, such as pool.example:34254";
                mistakes.add(format!("upstreams.{index}.address"), what, fix);
            }
        }
        if self.limits.max_connections == 0 {
            let fix = "write how many miners may connect";
            mistakes.add("limits.max_connections", "no miner can connect", fix);
        }
        if self.limits.max_channels_per_connection == 0 {
            let key = "limits.max_channels_per_connection";
            let fix = "write how many channels an SV2 miner may open, such as 1000";
            mistakes.add(key, "no SV2 miner can open a channel", fix);
        }
    }
}

impl TranslatorConfig {
    fn check_lanes(&self, mistakes: &mut Mistakes) {
        if self.lanes.is_empty() {
            let fix = "add a [[lanes]] table with `name` and `listen_address`";
            mistakes.add("lanes", "no miner can connect without a lane", fix);
        }
        let has_sv2 = self
            .lanes
            .iter()
            .any(|lane| lane.protocol == LaneProtocol::Sv2);
        if has_sv2 && self.authority_secret_key.is_none() {
            let what = "a lane for SV2 miners needs the key that they pin";
            let fix = "write 32 random bytes in hex to a file (openssl rand -hex 32), and name it as file:/PATH";
            mistakes.add("authority_secret_key", what, fix);
        }
        let mut names = HashSet::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.name.is_empty() || !names.insert(&lane.name) {
                let what = format!("the name {:?} is empty or taken", lane.name);
                let fix = "give each lane a name of its own";
                mistakes.add(format!("lanes.{index}.name"), what, fix);
            }
            lane.check(index, mistakes);
            if lane.channels == LaneChannels::Aggregated && self.credential.is_none() {
                let what = "a pool leaves the difficulty to a node with a credential only";
                let fix = "add [credential] with `file`, or write \"separate\"";
                mistakes.add(format!("lanes.{index}.channels"), what, fix);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_daemon::ConfigError;
    use std::path::Path;

    #[test]
    fn the_example_is_a_valid_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        let (_, config) = hh_daemon::load::<TranslatorConfig>(&path).unwrap();
        assert_eq!(config.lanes[0].listen_address.port(), 3333);
        assert_eq!(
            config.upstreams[0].host_and_port(),
            ("pool.example.net", 34254)
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hh-translator.toml");
        let text = "upstreams = []\ndata_dir = \"here\"\n\
            [[lanes]]\nname = \"a\"\nlisten_address = \"127.0.0.1:0\"\nnominal_hashrate_hs = -1\nchannels = \"aggregated\"\n\
            [[lanes]]\nname = \"a\"\nlisten_address = \"127.0.0.1:0\"\nprotocol = \"sv2\"\nmin_difficulty = 0\ncertificate_file = \"/crt\"\n\
            [[lanes]]\nname = \"b\"\nlisten_address = \"127.0.0.1:0\"\nprotocol = \"sv1-tls\"\ncertificate_file = \"/crt\"\nmin_difficulty = 4\nmax_difficulty = 2\n\
            [limits]\nmax_connections = 0\nmax_channels_per_connection = 0\n";
        std::fs::write(&path, text).unwrap();
        let error = hh_daemon::load::<TranslatorConfig>(&path).unwrap_err();
        let ConfigError::Mistakes(mistakes) = error else {
            panic!("{error}");
        };
        let text = mistakes.to_string();
        for expected in [
            "upstreams: there is no work without a pool",
            "data_dir: not an absolute path",
            "lanes.0.nominal_hashrate_hs: -1 is no hashrate",
            "lanes.0.channels: a pool leaves the difficulty to a node with a credential only",
            "lanes.1.name: the name \"a\" is empty or taken",
            "authority_secret_key: a lane for SV2 miners needs the key that they pin",
            "lanes.2.private_key_file: TLS needs a certificate and its private key",
            "lanes.1.certificate_file: only TLS has a use for it",
            "lanes.1.min_difficulty: 0 is no difficulty",
            "lanes.2.max_difficulty: the largest difficulty 2 is below the smallest, 4",
            "limits.max_connections: no miner can connect",
            "limits.max_channels_per_connection: no SV2 miner can open a channel",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
