//! Which node this is: its address in a config file, and the check that it is the one we want.
//!
//! Owns: the chain and version check, and the table of mining IPC schemas. Never: remembers an answer, a node may be
//! replaced by another at any restart.

use std::path::PathBuf;

use bitcoin::{BlockHash, Network, Work};
use hh_daemon::SecretRef;
use serde::Deserialize;

use crate::rpc::{Rpc, RpcAuth, RpcError};

/// A node's JSON-RPC in a config file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// How logs and outcomes name the node; the URL where absent.
    pub name: Option<String>,
    /// `http://HOST:PORT`.
    pub rpc_url: String,
    /// `DATADIR/[CHAIN/].cookie`; either this, or user and password.
    pub rpc_cookie_file: Option<PathBuf>,
    pub rpc_user: Option<String>,
    pub rpc_password: Option<SecretRef>,
}

impl NodeConfig {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.rpc_url)
    }

    /// The client for this node. Fails where the configuration can't be used; nothing is connected.
    pub fn rpc(&self) -> Result<Rpc, NodeError> {
        let auth = match (&self.rpc_cookie_file, &self.rpc_user, &self.rpc_password) {
            (Some(path), None, None) => RpcAuth::CookieFile(path.clone()),
            (None, Some(user), Some(password)) => RpcAuth::Password {
                user: user.clone(),
                password: password.clone(),
            },
            _ => {
                return Err(NodeError::Credentials {
                    url: self.rpc_url.clone(),
                });
            }
        };
        Ok(Rpc::new(&self.rpc_url, auth)?)
    }
}

/// Why a node can't be used.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("node {url}: give either rpc_cookie_file, or rpc_user and rpc_password")]
    Credentials { url: String },
    #[error(
        "Bitcoin Core at {url} is on chain {found}, this daemon is configured for {expected}; correct chain or rpc_url"
    )]
    WrongChain {
        url: String,
        expected: Network,
        found: String,
    },
    #[error(
        "Bitcoin Core at {url} is version {version} ({subversion}); its mining IPC is supported in the releases 30, 31 and 32: run such a node, or take templates by getblocktemplate"
    )]
    UnsupportedVersion {
        url: String,
        version: String,
        subversion: String,
    },
}

impl NodeError {
    /// Whether only a change of the configuration (or of the node behind it) can help.
    pub fn is_config(&self) -> bool {
        match self {
            Self::Rpc(source) => source.is_config(),
            Self::Credentials { .. }
            | Self::WrongChain { .. }
            | Self::UnsupportedVersion { .. } => true,
        }
    }
}

/// What a node said when it was checked.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// 310000 is 31.0.
    pub version: u32,
    pub subversion: String,
    pub chain: Network,
    pub blocks: u32,
    pub headers: u32,
    pub best_block_hash: BlockHash,
    /// Expected hashes of the whole chain up to the tip: of two nodes, the one that is behind has less.
    pub chain_work: Work,
    /// In the header of the tip, seconds since 1970.
    pub tip_time: u32,
    pub initial_block_download: bool,
    pub peers: u32,
}

/// Asks the node who it is, and refuses one that is on another chain than `chain`.
pub async fn check_node(rpc: &Rpc, chain: Network) -> Result<NodeInfo, NodeError> {
    let network = rpc.network_info().await?;
    let blockchain = rpc.blockchain_info().await?;
    if Network::from_core_arg(&blockchain.chain).ok() != Some(chain) {
        return Err(NodeError::WrongChain {
            url: rpc.url().to_owned(),
            expected: chain,
            found: blockchain.chain,
        });
    }
    Ok(NodeInfo {
        version: network.version,
        subversion: network.subversion,
        chain,
        blocks: blockchain.blocks,
        headers: blockchain.headers,
        best_block_hash: blockchain.bestblockhash,
        chain_work: blockchain.chainwork,
        tip_time: blockchain.time,
        initial_block_download: blockchain.initialblockdownload,
        peers: network.connections,
    })
}

/// The mining IPC schemas we speak. They differ in method numbers: a wrong one loses blocks without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpcSchema {
    /// No cooldown, the coinbase is a whole transaction, `submitSolution` is @9 and returns a bool.
    V30,
    /// `createNewBlock` takes a cooldown, `submitSolution` is @7 and returns a bool.
    V31,
    /// `submitSolution` is @10 and returns the reason too; @7 is an error.
    V32,
}

impl IpcSchema {
    /// The schema of a node. The development builds between 31 and 32 have that of 31, or that of 32 where `submitSolution`
    /// says so; what comes after 32, its development builds included, is not known.
    pub fn of(node: &NodeInfo, url: &str) -> Result<Self, NodeError> {
        const DEVELOPMENT: u32 = 99;
        match (node.version / 10_000, node.version / 100 % 100) {
            (30, minor) if minor != DEVELOPMENT => Ok(Self::V30),
            (31, _) => Ok(Self::V31),
            (32, minor) if minor != DEVELOPMENT => Ok(Self::V32),
            (major, minor) => Err(NodeError::UnsupportedVersion {
                url: url.to_owned(),
                version: format!("{major}.{minor}.{}", node.version % 100),
                subversion: node.subversion.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::hashes::Hash;

    fn node(version: u32) -> NodeInfo {
        NodeInfo {
            version,
            subversion: "/Satoshi:test/".to_owned(),
            chain: Network::Regtest,
            blocks: 0,
            headers: 0,
            best_block_hash: BlockHash::all_zeros(),
            chain_work: Work::from_be_bytes([0; 32]),
            tip_time: 0,
            initial_block_download: false,
            peers: 0,
        }
    }

    #[test]
    fn every_release_from_30_to_32_has_its_schema_and_what_is_unknown_is_refused() {
        let schema = |version| IpcSchema::of(&node(version), "http://node");
        for (versions, expected) in [
            ([300_000, 300_200], IpcSchema::V30),
            ([310_000, 319_900], IpcSchema::V31),
            ([320_000, 320_100], IpcSchema::V32),
        ] {
            for version in versions {
                assert_eq!(schema(version).unwrap(), expected, "{version}");
            }
        }
        for version in [290_000, 299_900, 309_900, 329_900, 330_000] {
            let error = schema(version).unwrap_err();
            assert!(error.is_config());
            assert!(error.to_string().contains("30, 31 and 32"), "{error}");
        }
    }

    #[test]
    fn credentials_are_a_cookie_or_a_user_with_a_password_never_both_or_half() {
        let config = |cookie: bool, user: bool, password: bool| NodeConfig {
            name: None,
            rpc_url: "http://127.0.0.1:38332".to_owned(),
            rpc_cookie_file: cookie.then(|| "/c".into()),
            rpc_user: user.then(|| "u".to_owned()),
            rpc_password: password.then(|| SecretRef::File("/p".into())),
        };
        assert!(config(true, false, false).rpc().is_ok());
        assert!(config(false, true, true).rpc().is_ok());
        for (cookie, user, password) in [
            (false, false, false),
            (true, true, false),
            (true, true, true),
            (false, true, false),
        ] {
            let error = config(cookie, user, password).rpc().unwrap_err();
            assert!(matches!(error, NodeError::Credentials { .. }));
        }
    }
}
