//! Which Lightning node is the wallet, as configurations of daemons have it, and how it is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use bitcoin::Network;
use hh_daemon::{Failure, Mistakes, SecretRef, Tasks};
use serde::Deserialize;

use crate::cln::{self, ClnWallet};
use crate::ldk::{Bitcoind, LdkConfig, LdkWallet, Seed};
use crate::lnd::{self, LndWallet};
use crate::{SocketAddress, Wallet, WalletError};

/// Longest alias in bytes (BOLT 7, `node_announcement`).
const MAX_ALIAS_BYTES: usize = 32;

/// The `[lightning]` table: one of the three.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LightningConfig {
    pub ldk_node: Option<LdkNodeConfig>,
    pub lnd: Option<LndConfig>,
    pub cln: Option<ClnConfig>,
}

/// The node inside the daemon.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdkNodeConfig {
    /// Its key: 64 bytes in hex, or a BIP 39 mnemonic.
    pub seed: SecretRef,
    /// Where peers connect.
    #[serde(default)]
    pub listen_addresses: Vec<SocketAddr>,
    /// How the network names it; needed for announced channels, with a listen address.
    pub alias: Option<String>,
    /// Kept on the chain for each channel, for the fees of a close by force.
    #[serde(default = "default_anchor_reserve_sat")]
    pub anchor_reserve_sat: u64,
}

fn default_anchor_reserve_sat() -> u64 {
    // ldk-node's own.
    25_000
}

/// An lnd on this machine or another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LndConfig {
    /// `HOST:PORT` of its gRPC.
    pub address: String,
    /// Its `tls.cert`.
    pub certificate: PathBuf,
    /// In hex, with the rights that docs/runbooks/lightning.md names.
    pub macaroon: SecretRef,
}

/// A Core Lightning on this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClnConfig {
    /// Its `lightning-rpc`.
    pub socket: PathBuf,
}

/// A wallet that can be started, again and again, with its secrets read.
#[derive(Clone, Debug)]
pub enum Opening {
    /// Inside this process.
    Ldk(Box<LdkConfig>),
    Lnd(lnd::LndConfig),
    Cln(cln::ClnConfig),
}

impl LightningConfig {
    /// The name of the backend.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        if self.lnd.is_some() {
            "lnd"
        } else if self.cln.is_some() {
            "cln"
        } else {
            "ldk-node"
        }
    }

    /// Adds what is wrong in the table `table`.
    pub fn check(&self, table: &str, mistakes: &mut Mistakes) {
        let given = [
            self.ldk_node.is_some(),
            self.lnd.is_some(),
            self.cln.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let what = "there has to be one Lightning node";
            let fix = format!("keep one of [{table}.ldk_node], [{table}.lnd] and [{table}.cln]");
            mistakes.add(table, what, fix);
        }
        let Some(ldk_node) = &self.ldk_node else {
            return;
        };
        let alias = ldk_node.alias.as_deref().unwrap_or_default();
        if alias.len() > MAX_ALIAS_BYTES {
            let what = format!("{} bytes are too long", alias.len());
            let fix = format!("write at most {MAX_ALIAS_BYTES} bytes");
            mistakes.add(format!("{table}.ldk_node.alias"), what, fix);
        }
    }

    /// Reads the secrets. An embedded node has its state in `dir`, and asks `bitcoind`.
    ///
    /// # Errors
    /// A secret that can't be read, or no Lightning node.
    pub fn opening(
        &self,
        network: Network,
        dir: PathBuf,
        bitcoind: impl FnOnce() -> Result<Bitcoind, Failure>,
    ) -> Result<Opening, Failure> {
        if let Some(ldk_node) = &self.ldk_node {
            let ldk_config = ldk_node.read(network, dir, bitcoind()?)?;
            return Ok(Opening::Ldk(Box::new(ldk_config)));
        }
        if let Some(lnd) = &self.lnd {
            return Ok(Opening::Lnd(lnd::LndConfig {
                address: lnd.address.clone(),
                certificate: lnd.certificate.clone(),
                macaroon: lnd.macaroon.read().map_err(Failure::secret)?,
                network,
            }));
        }
        let cln = self.cln.as_ref();
        let cln = cln.ok_or_else(|| Failure::config("there is no Lightning node"))?;
        Ok(Opening::Cln(cln::ClnConfig {
            socket: cln.socket.clone(),
            network,
        }))
    }
}

impl LdkNodeConfig {
    fn read(
        &self,
        network: Network,
        dir: PathBuf,
        bitcoind: Bitcoind,
    ) -> Result<LdkConfig, Failure> {
        let seed = self.seed.read().map_err(Failure::secret)?;
        let listen = self.listen_addresses.iter();
        Ok(LdkConfig {
            dir,
            network,
            seed: Seed::parse(&seed).map_err(Failure::config)?,
            bitcoind,
            listen: listen
                .map(|address| SocketAddress::from(*address))
                .collect(),
            announce: Vec::new(),
            alias: self.alias.clone(),
            anchor_reserve_sats: self.anchor_reserve_sat,
        })
    }
}

impl Opening {
    /// Starts the wallet, or connects to it.
    ///
    /// # Errors
    /// It does not start, or is not there.
    pub async fn start(&self, tasks: &Tasks) -> Result<Wallet, WalletError> {
        Ok(match self {
            Self::Ldk(config) => {
                Wallet::Ldk(LdkWallet::start(LdkConfig::clone(config), tasks).await?)
            }
            Self::Lnd(config) => Wallet::Lnd(LndWallet::start(config.clone(), tasks).await?),
            Self::Cln(config) => Wallet::Cln(ClnWallet::start(config.clone(), tasks).await?),
        })
    }
}
