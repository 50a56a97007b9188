//! hh-pool's configuration.

pub(crate) mod hyper_node;

use crate::difficulty::{DIFFICULTIES, DifficultyRange, SHARES_PER_MINUTE};
use crate::share_log::Retention;
use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::{Network, ScriptBuf};
use hh_bitcoin::NodeConfig;
use hh_daemon::ban::AutoBan;
use hh_daemon::{Failure, Mistakes, ProxyProtocol, SecretRef};
use hh_ledger::{Location, PostgresConfig};
use hh_sv2::AuthorityPublicKey;
use hh_trust::NodeId;
use hh_trust::directory_feed::{DirectoryConfig, TrustConfig};
use hh_trust::operator_key::OperatorList;
use hh_trust::pki::TrustDomain;
use hyper_node::HyperNodeConfig;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Longest tag in bytes: with the height, the extranonce and their pushes it leaves the 100 bytes of a scriptSig a wide
/// margin, and SV1 miners a short coinbase.
const MAX_TAG_BYTES: usize = 32;

/// Below, a segment lasts seconds on a busy pool; above, one takes minutes to prepare and to read at a start.
const SEGMENT_MIB: RangeInclusive<u64> = 1..=1_024;

/// Above a month a backup is older than what anybody restores.
const KEEP_SHIPPED_HOURS_MAX: u64 = 720;

/// A tebibyte: more is a mistake of typing.
const KEEP_SHIPPED_MIB_MAX: u64 = 1 << 20;

/// Longest host in bytes that Reconnect carries (STR0_255).
const MAX_HOST_BYTES: usize = 255;

/// A coinbase is mature after 100 blocks, which take 17 hours, or a day when they are slow: a reward is not split again after
/// that. Above ten years nothing is ever pruned in a database's life.
const KEEP_SHARES_DAYS: RangeInclusive<u32> = 2..=3_650;

/// The role in PostgreSQL where none is named.
const POSTGRES_USER: &str = "hh-pool";

/// The file `hh-pool.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// `main`, `testnet4`, `signet` or `regtest`.
    #[serde(with = "bitcoin::network::as_core_arg")]
    pub chain: Network,
    /// Where the share log, the block journal and the ledger are.
    pub data_dir: PathBuf,
    /// This pool's part of the extranonce space; no two pools that share a ledger have the same.
    #[serde(default)]
    pub server_id: u16,
    /// The Noise authority key that miners pin: 32 bytes in hex.
    pub authority_secret_key: SecretRef,
    /// The address that the whole coinbase is paid to.
    pub coinbase_reward_address: Address<NetworkUnchecked>,
    /// Text in the coinbase of every block of ours.
    #[serde(default = "default_tag")]
    pub coinbase_tag: String,
    pub lanes: Vec<LaneConfig>,
    /// In the order of preference.
    pub template_providers: Vec<TemplateProviderConfig>,
    /// How long a preferred provider must have had work before it is gone back to.
    #[serde(default = "default_return_after_seconds")]
    pub template_provider_return_after_seconds: u64,
    /// Bitcoin Core nodes that get our blocks by RPC, beside the template provider.
    pub nodes: Vec<NodeConfig>,
    /// Edges whose credentials are taken.
    #[serde(default)]
    pub hyper_nodes: Vec<HyperNodeConfig>,
    /// Nodes that serve accounts of their own alone, and which. Those that are not here serve everybody.
    #[serde(default)]
    pub private_nodes: BTreeMap<NodeId, BTreeSet<String>>,
    /// The network, as records that operators sign name it.
    pub trust_domain: Option<TrustDomain>,
    /// The operators whose records are believed: their SSH keys.
    #[serde(default)]
    pub operators: OperatorList,
    /// Where these records come from.
    pub directory: Option<DirectoryConfig>,
    #[serde(default)]
    pub share_log: ShareLogConfig,
    #[serde(default)]
    pub ledger: LedgerConfig,
    #[serde(default)]
    pub vardiff: VardiffConfig,
    #[serde(default)]
    pub limits: LimitsConfig,
    #[serde(default)]
    pub auto_ban: AutoBan,
    /// Load balancers in front of the lanes.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Where miners are told to connect when the pool stops; they are told nothing where it is not given.
    pub reconnect_on_stop: Option<ReconnectConfig>,
}

/// A listener for SV2 miners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneConfig {
    /// Goes with every share to the ledger.
    pub name: String,
    pub listen_address: SocketAddr,
    /// No job of this lane is easier than this difficulty; as `vardiff.min_difficulty` where it is not given.
    pub min_difficulty: Option<f64>,
    /// No job of this lane is harder than this difficulty; as `vardiff.max_difficulty` where it is not given.
    pub max_difficulty: Option<f64>,
}

impl LaneConfig {
    pub(crate) fn difficulty(&self) -> DifficultyRange {
        DifficultyRange {
            min: self.min_difficulty,
            max: self.max_difficulty,
        }
    }
}

/// An SV2 template provider, such as hh-tp.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateProviderConfig {
    /// `HOST:PORT`.
    pub address: String,
    /// Base58check, as the template provider logs it at its start.
    pub authority_public_key: AuthorityPublicKey,
}

/// How the share log uses its disk.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShareLogConfig {
    /// Size of a segment in MiB.
    pub segment_mib: u64,
    /// How long segments stay after the ledger has their records, for a ledger that is restored from a backup.
    pub keep_shipped_hours: u64,
    /// Most MiB that these take; then the oldest go before their time.
    pub keep_shipped_mib: u64,
}

/// Where the ledger is: `pool.db` in the data directory, unless this says otherwise; and what it keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// Shares stay rows while they lie in the window of a block that was found within so many days, or after it.
    pub keep_shares_days: u32,
    pub postgres: Option<PostgresConfig>,
}

/// How often a miner is to send shares.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VardiffConfig {
    pub shares_per_minute: f64,
    /// No job is easier than this difficulty (1 = 2^32 hashes).
    pub min_difficulty: f64,
    /// No job is harder than this difficulty, however fast the miner.
    pub max_difficulty: Option<f64>,
}

impl VardiffConfig {
    pub(crate) fn range(&self) -> DifficultyRange {
        DifficultyRange {
            min: Some(self.min_difficulty),
            max: self.max_difficulty,
        }
    }
}

/// What one pool process takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_channels_per_connection: usize,
    /// Connections that are not set up yet; where there are more, the oldest has to go.
    pub max_half_open: usize,
    pub max_half_open_per_address: usize,
    pub max_connects_per_minute: u32,
    pub max_connects_per_minute_per_address: u32,
}

/// Another address of a pool.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconnectConfig {
    /// Empty for the host that they are connected to.
    pub host: String,
    /// 0 for the port that they are connected to.
    pub port: u16,
}

impl Default for ShareLogConfig {
    fn default() -> Self {
        Self {
            // Three minutes at 2,000 shares/s.
            segment_mib: 64,
            // A backup a day.
            keep_shipped_hours: 24,
            // What 1,000 miners send in a day, with 18 shares a minute.
            keep_shipped_mib: 4_096,
        }
    }
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            // Time enough for the longest dispute over a reward; some 120 bytes a share.
            keep_shares_days: 90,
            postgres: None,
        }
    }
}

impl Default for VardiffConfig {
    fn default() -> Self {
        Self {
            // One share in 3.3 s: a minute's estimate of the hashrate is good to 24%, and traffic stays small.
            shares_per_minute: 18.0,
            // Some 4,000 hashes: a microcontroller finds one in a second, and vardiff takes it up from there.
            min_difficulty: 1e-6,
            max_difficulty: None,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // Some 20 kB each.
            max_connections: 20_000,
            // A farm behind one address.
            max_connections_per_address: 5_000,
            // A proxy with a channel for each of its miners.
            max_channels_per_connection: 10_000,
            // All miners that come back at once, before the first are through; some 10 kB each.
            max_half_open: 8_000,
            // A farm that comes back at once: the kernel hands over connections faster than handshakes are done.
            max_half_open_per_address: 2_000,
            // A handshake takes a core some 0.4 ms: a flood of them costs 40% of one, and 20,000 miners are back in a minute.
            max_connects_per_minute: 60_000,
            // A farm's 5,000 miners come back at once, and once more; one that floods costs 8% of a core.
            max_connects_per_minute_per_address: 12_000,
        }
    }
}

/// Longer than a provider that is restarted again and again lives, short beside what a worse one costs.
fn default_return_after_seconds() -> u64 {
    30
}

fn default_tag() -> String {
    "/Hyper Hash/".to_owned()
}

impl PoolConfig {
    /// The script that the coinbase pays.
    ///
    /// # Errors
    /// In words, where the address belongs to another chain.
    pub fn reward_script(&self) -> Result<ScriptBuf, String> {
        let address = self.coinbase_reward_address.clone();
        match address.require_network(self.chain) {
            Ok(address) => Ok(address.script_pubkey()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The share log's directory.
    pub fn share_log_dir(&self) -> PathBuf {
        self.data_dir.join("shares")
    }

    /// How the share log behaves.
    pub fn share_log_options(&self) -> crate::share_log::Options {
        crate::share_log::Options {
            segment_bytes: self.share_log.segment_mib << 20,
            ..Default::default()
        }
    }

    /// What the share log keeps though the ledger has it.
    pub(crate) fn retention(&self) -> Retention {
        let log = &self.share_log;
        Retention {
            age: Duration::from_secs(log.keep_shipped_hours.saturating_mul(3_600)),
            segments_max: log.keep_shipped_mib / log.segment_mib.max(1),
        }
    }

    /// The directory that found blocks are written to before they are submitted.
    pub fn block_journal_dir(&self) -> PathBuf {
        self.data_dir.join("blocks")
    }

    /// The file with the difficulties that operators have set.
    pub fn vardiff_path(&self) -> PathBuf {
        self.data_dir.join("vardiff.json")
    }

    /// The file with the bans that operators have made.
    pub fn bans_path(&self) -> PathBuf {
        self.data_dir.join("bans.json")
    }

    /// The file with the nodes that operators have revoked.
    pub fn nodes_path(&self) -> PathBuf {
        self.data_dir.join("nodes.json")
    }

    /// Name of this pool in the ledger's keys.
    pub fn pool_name(&self) -> String {
        format!("pool-{}", self.server_id)
    }

    /// Where this pool notes which server id its share log has claimed.
    pub fn claim_path(&self) -> PathBuf {
        self.data_dir.join("claim")
    }

    /// Where this pool notes up to where the ledger has its share log.
    pub fn shipped_path(&self) -> PathBuf {
        self.data_dir.join("shipped")
    }

    /// What is kept of the directory of nodes and operators.
    pub fn directory_path(&self) -> PathBuf {
        self.data_dir.join("directory.json")
    }

    /// Whom the configuration has us believe.
    pub(crate) fn trust(&self) -> TrustConfig<'_> {
        TrustConfig {
            domain: self.trust_domain.as_ref(),
            operators: &self.operators,
            directory: self.directory.as_ref(),
        }
    }

    /// The journal of what operators change.
    pub fn journal_path(&self) -> PathBuf {
        self.data_dir.join("changes.jsonl")
    }

    /// Where the ledger is.
    ///
    /// # Errors
    /// The password or the root certificates can't be read.
    pub fn ledger_location(&self) -> Result<Location, Failure> {
        match &self.ledger.postgres {
            Some(postgres) => postgres.location(POSTGRES_USER),
            None => Ok(Location::Sqlite(self.data_dir.join("pool.db"))),
        }
    }
}

impl hh_daemon::Config for PoolConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        self.check_coinbase(mistakes);
        self.check_lists(mistakes);
        self.check_difficulty(mistakes);
        self.check_ledger(mistakes);
        self.check_share_log(mistakes);
        self.check_limits(mistakes);
        self.check_hyper_nodes(mistakes);
        self.check_private_nodes(mistakes);
        self.trust().check(mistakes);
        if !self.data_dir.is_absolute() {
            mistakes.add("data_dir", "not an absolute path", "start it with a slash");
        }
    }
}

impl PoolConfig {
    fn check_coinbase(&self, mistakes: &mut Mistakes) {
        if self.reward_script().is_err() {
            let chain = self.chain;
            let address = self.coinbase_reward_address.assume_checked_ref();
            mistakes.add(
                "coinbase_reward_address",
                format!("{address} is not an address of the chain {chain}"),
                format!("write an address of {chain}, or correct `chain`"),
            );
        }
        let tag = &self.coinbase_tag;
        if tag.len() > MAX_TAG_BYTES || !tag.is_ascii() {
            let fix = format!("write at most {MAX_TAG_BYTES} ASCII characters");
            mistakes.add("coinbase_tag", "too long or not ASCII", fix);
        }
    }

    fn check_share_log(&self, mistakes: &mut Mistakes) {
        let log = &self.share_log;
        if !SEGMENT_MIB.contains(&log.segment_mib) {
            let what = format!("{} MiB are no segment", log.segment_mib);
            let fix = format!("write {} to {}", SEGMENT_MIB.start(), SEGMENT_MIB.end());
            mistakes.add("share_log.segment_mib", what, fix);
        }
        let limits = [
            (
                "keep_shipped_hours",
                log.keep_shipped_hours,
                KEEP_SHIPPED_HOURS_MAX,
            ),
            (
                "keep_shipped_mib",
                log.keep_shipped_mib,
                KEEP_SHIPPED_MIB_MAX,
            ),
        ];
        for (key, value, max) in limits {
            if value > max {
                let fix = format!("write 0 to {max}");
                mistakes.add(
                    format!("share_log.{key}"),
                    format!("{value} is too much"),
                    fix,
                );
            }
        }
    }

    fn check_difficulty(&self, mistakes: &mut Mistakes) {
        let spm = self.vardiff.shares_per_minute;
        if !SHARES_PER_MINUTE.contains(&spm) {
            let (min, max) = (SHARES_PER_MINUTE.start(), SHARES_PER_MINUTE.end());
            let fix = format!("write a number from {min} to {max:e}, such as 18.0");
            mistakes.add(
                "vardiff.shares_per_minute",
                format!("{spm} is no rate"),
                fix,
            );
        }
        let mut check = |table: String, range: DifficultyRange, key: &str| {
            if let Err(error) = range.check() {
                let (min, max) = (DIFFICULTIES.start(), DIFFICULTIES.end());
                let fix = format!("write numbers from {min:e} to {max:e}, the smallest first");
                mistakes.add(format!("{table}.{key}"), error.to_string(), fix);
            }
        };
        check("vardiff".to_owned(), self.vardiff.range(), "min_difficulty");
        for (index, lane) in self.lanes.iter().enumerate() {
            // With what it inherits: a lane's smallest may be above everybody's largest.
            let range = lane.difficulty().or(self.vardiff.range());
            check(format!("lanes.{index}"), range, "min_difficulty");
        }
    }

    fn check_limits(&self, mistakes: &mut Mistakes) {
        let limits = &self.limits;
        let none = [
            ("max_connections", limits.max_connections == 0),
            (
                "max_connections_per_address",
                limits.max_connections_per_address == 0,
            ),
            (
                "max_channels_per_connection",
                limits.max_channels_per_connection == 0,
            ),
            ("max_half_open", limits.max_half_open == 0),
            (
                "max_half_open_per_address",
                limits.max_half_open_per_address == 0,
            ),
            (
                "max_connects_per_minute",
                limits.max_connects_per_minute == 0,
            ),
            (
                "max_connects_per_minute_per_address",
                limits.max_connects_per_minute_per_address == 0,
            ),
        ];
        for (key, _) in none.iter().filter(|(_, none)| *none) {
            mistakes.add(
                format!("limits.{key}"),
                "0 lets no miner in",
                "write at least 1",
            );
        }
        let to = self.reconnect_on_stop.as_ref();
        if to.is_some_and(|to| to.host.len() > MAX_HOST_BYTES) {
            let fix = format!("write a host of at most {MAX_HOST_BYTES} bytes");
            mistakes.add("reconnect_on_stop.host", "longer than a message takes", fix);
        }
        self.auto_ban.check("auto_ban", mistakes);
    }

    fn check_ledger(&self, mistakes: &mut Mistakes) {
        let days = self.ledger.keep_shares_days;
        if !KEEP_SHARES_DAYS.contains(&days) {
            let (min, max) = (KEEP_SHARES_DAYS.start(), KEEP_SHARES_DAYS.end());
            let what = format!("{days} days are too few or too many to keep shares");
            let fix = format!("write {min} to {max}, such as 90");
            mistakes.add("ledger.keep_shares_days", what, fix);
        }
        if let Some(postgres) = &self.ledger.postgres {
            postgres.check("ledger.postgres", mistakes);
        }
    }

    fn check_lists(&self, mistakes: &mut Mistakes) {
        if self.lanes.is_empty() {
            let fix = "add a [[lanes]] table with `name` and `listen_address`";
            mistakes.add("lanes", "no miner can connect without a lane", fix);
        }
        if self.template_providers.is_empty() {
            let fix =
                "add a [[template_providers]] table with `address` and `authority_public_key`";
            mistakes.add("template_providers", "there is no work without one", fix);
        }
        if self.nodes.is_empty() {
            let fix = "add a [[nodes]] table with the RPC of a Bitcoin Core node";
            let what = "blocks need a second way to Bitcoin Core, and their outcome is known only from a node";
            mistakes.add("nodes", what, fix);
        }
        let mut names = HashSet::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.name.is_empty() || !names.insert(&lane.name) {
                let fix = "give each lane a name of its own";
                let what = format!("the name {:?} is empty or taken", lane.name);
                mistakes.add(format!("lanes.{index}.name"), what, fix);
            }
        }
    }
}

#[cfg(test)]
mod tests;
