//! Which Lightning node is the wallet.

use hh_daemon::{Mistakes, SecretRef};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

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

/// The node inside hh-treasury.
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

impl LightningConfig {
    /// The name of the backend.
    pub(crate) fn backend(&self) -> &'static str {
        if self.lnd.is_some() {
            "lnd"
        } else if self.cln.is_some() {
            "cln"
        } else {
            "ldk-node"
        }
    }

    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        let given = [
            self.ldk_node.is_some(),
            self.lnd.is_some(),
            self.cln.is_some(),
        ];
        if given.into_iter().filter(|given| *given).count() != 1 {
            let what = "there has to be one Lightning node";
            let fix = "keep one of [lightning.ldk_node], [lightning.lnd] and [lightning.cln]";
            mistakes.add("lightning", what, fix);
        }
        let Some(ldk_node) = &self.ldk_node else {
            return;
        };
        let alias = ldk_node.alias.as_deref().unwrap_or_default();
        if alias.len() > MAX_ALIAS_BYTES {
            let what = format!("{} bytes are too long", alias.len());
            let fix = format!("write at most {MAX_ALIAS_BYTES} bytes");
            mistakes.add("lightning.ldk_node.alias", what, fix);
        }
    }
}
