//! hh-treasury's configuration.

mod channels;
mod hyper_node;
mod hyperhash_core;
mod payouts;
mod stores;

use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::{Network, ScriptBuf};
pub(crate) use channels::ChannelsConfig;
use hh_bitcoin::NodeConfig;
use hh_daemon::{Mistakes, SecretRef};
use hh_lightning::config::LightningConfig;
use hh_mining::Score;
use hh_trust::directory_feed::{DirectoryConfig, TrustConfig};
use hh_trust::operator_key::OperatorList;
use hh_trust::pki::TrustDomain;
pub(crate) use hyper_node::HyperNodeConfig;
pub(crate) use hyperhash_core::CoreConfig;
pub(crate) use payouts::PayoutsConfig;
use serde::Deserialize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
pub(crate) use stores::{BooksConfig, PoolLedgerConfig};

/// In blocks: a smaller window pays by luck; of a larger one the pool's ledger keeps no rows of shares (`Score::WINDOW`).
const PPLNS_BLOCKS: RangeInclusive<f64> = 1.0..=4.0;

/// The file `hh-treasury.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreasuryConfig {
    /// `main`, `testnet4`, `signet` or `regtest`.
    #[serde(with = "bitcoin::network::as_core_arg")]
    pub chain: Network,
    /// Where the books, the wallet and the journal of changes are.
    pub data_dir: PathBuf,
    /// Where coinbases are paid: the pool's `coinbase_reward_address`. One of the wallet's where it is not given.
    pub coinbase_reward_address: Option<Address<NetworkUnchecked>>,
    /// Addresses that it was before; what blocks paid there counts.
    #[serde(default)]
    pub earlier_reward_addresses: Vec<Address<NetworkUnchecked>>,
    /// The Ed25519 key that signs reports: 32 bytes in hex.
    pub report_key: SecretRef,
    /// What the salts that hide accounts in reports are made from: 32 bytes in hex.
    pub salt_secret: SecretRef,
    #[serde(default)]
    pub window: WindowConfig,
    /// In the order of preference.
    pub nodes: Vec<NodeConfig>,
    /// The pool's ledger, which is read only.
    pub pool_ledger: PoolLedgerConfig,
    #[serde(default)]
    pub books: BooksConfig,
    #[serde(default)]
    pub lightning: LightningConfig,
    #[serde(default)]
    pub payouts: PayoutsConfig,
    #[serde(default)]
    pub channels: ChannelsConfig,
    /// Servers of Lightning addresses that are the operator's own, and so may be in his network.
    #[serde(default)]
    pub lightning_address_servers: Vec<LightningAddressServer>,
    /// Nodes that are paid for the work that came in through them.
    #[serde(default)]
    pub hyper_nodes: Vec<HyperNodeConfig>,
    /// The network, as what operators sign names it.
    pub trust_domain: Option<TrustDomain>,
    /// The operators, by their SSH keys: who approves payouts, and whose records of nodes are believed.
    #[serde(default)]
    pub operators: OperatorList,
    /// Where records of nodes come from.
    pub directory: Option<DirectoryConfig>,
    /// By which they are told what they are owed, and hand in their invoices.
    pub core: Option<CoreConfig>,
}

/// A server of Lightning addresses at an address that is given, instead of that of its name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightningAddressServer {
    /// What stands behind the `@`.
    pub domain: String,
    pub address: SocketAddr,
    /// Certificates in PEM that may have signed its own; those that browsers trust where it is not given.
    pub root_certificates: Option<PathBuf>,
}

/// Over which shares a block is split.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowConfig {
    /// The last so many blocks' worth of score.
    Pplns(f64),
    /// All since our last block: open to pool hopping.
    Round,
}

impl Default for WindowConfig {
    fn default() -> Self {
        // Score::WINDOW.
        Self::Pplns(4.0)
    }
}

impl WindowConfig {
    /// The score that it takes in; none for a round.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked: 2^102 at most, and a thousandth of a block is as fine as anybody sets it"
    )]
    pub(crate) fn score(self) -> Option<Score> {
        match self {
            Self::Pplns(blocks) => {
                let thousandths = (blocks * 1_000.0).round() as u128;
                Some(Score(
                    thousandths * (Score::BLOCK.0 / 1_000)
                        + thousandths * (Score::BLOCK.0 % 1_000) / 1_000,
                ))
            }
            Self::Round => None,
        }
    }
}

impl TreasuryConfig {
    /// The scripts whose outputs are ours, when blocks pay `present` now.
    pub(crate) fn reward_scripts(&self, present: &Address) -> Vec<ScriptBuf> {
        let of_chain = |address: &Address<NetworkUnchecked>| {
            let address = address.clone().require_network(self.chain).ok()?;
            Some(address.script_pubkey())
        };
        let earlier = self.earlier_reward_addresses.iter().filter_map(of_chain);
        std::iter::once(present.script_pubkey())
            .chain(earlier)
            .collect()
    }

    /// The journal of what operators change.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.data_dir.join("changes.jsonl")
    }

    /// What is kept of the directory of nodes and operators.
    pub(crate) fn directory_path(&self) -> PathBuf {
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

    /// What tells that the books were restored from an old copy.
    pub(crate) fn witness_path(&self) -> PathBuf {
        self.data_dir.join("books.witness")
    }
}

impl hh_daemon::Config for TreasuryConfig {
    /// The embedded wallet may take 30 s to write its channels down, and one that is killed meanwhile may lose them.
    const GRACE: Duration = Duration::from_secs(40);

    fn check(&self, mistakes: &mut Mistakes) {
        self.check_addresses(mistakes);
        self.check_window(mistakes);
        self.check_stores(mistakes);
        self.lightning.check("lightning", mistakes);
        self.payouts.check(mistakes);
        self.channels.check(mistakes);
        self.check_hyper_nodes(mistakes);
        self.check_operators(mistakes);
        if let Some(core) = &self.core {
            core.check(self.trust_domain.as_ref(), mistakes);
        }
        if !self.data_dir.is_absolute() {
            mistakes.add("data_dir", "not an absolute path", "start it with a slash");
        }
        if self.nodes.is_empty() {
            let fix = "add a [[nodes]] table with the RPC of a Bitcoin Core node";
            let what = "what a block brought, and when it is mature, is known only from a node";
            mistakes.add("nodes", what, fix);
        }
    }
}

impl TreasuryConfig {
    fn check_operators(&self, mistakes: &mut Mistakes) {
        self.trust().check(mistakes);
        if self.operators.iter().count() == 1 {
            let what = "one operator alone approves nothing";
            let fix =
                "list the SSH key of another one, or none: then two users of this machine approve";
            mistakes.add("operators", what, fix);
        }
    }

    fn check_addresses(&self, mistakes: &mut Mistakes) {
        let chain = self.chain;
        let mut check = |key: String, address: &Address<NetworkUnchecked>| {
            if address.clone().require_network(chain).is_err() {
                let address = address.assume_checked_ref();
                mistakes.add(
                    key,
                    format!("{address} is not an address of the chain {chain}"),
                    format!("write an address of {chain}, or correct `chain`"),
                );
            }
        };
        if let Some(address) = &self.coinbase_reward_address {
            check("coinbase_reward_address".to_owned(), address);
        }
        for (index, address) in self.earlier_reward_addresses.iter().enumerate() {
            check(format!("earlier_reward_addresses.{index}"), address);
        }
    }

    fn check_window(&self, mistakes: &mut Mistakes) {
        let WindowConfig::Pplns(blocks) = self.window else {
            return;
        };
        if !PPLNS_BLOCKS.contains(&blocks) {
            let (min, max) = (PPLNS_BLOCKS.start(), PPLNS_BLOCKS.end());
            let fix = format!("write {{ pplns = N }} with N from {min} to {max}, or \"round\"");
            mistakes.add("window", format!("{blocks} blocks are no window"), fix);
        }
    }
}

#[cfg(test)]
mod tests;
