//! The Hyper Nodes whose credentials the pool takes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A node of the pool's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HyperNode {
    pub id: String,
    /// `hhnode1...`.
    pub public_key: String,
    /// Through which of its lanes shares may come.
    pub lanes: Vec<String>,
    /// Connections that have presented a credential of it that holds.
    pub connections: u32,
    /// None while its credentials are taken.
    pub revoked: Option<NodeRevocation>,
}

/// Why a node is not let in any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRevocation {
    pub reason: String,
    /// None where the configuration says it.
    pub since_at: Option<Timestamp>,
}

/// The nodes of the configuration, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HyperNodePage {
    /// At most 1,000.
    pub nodes: Vec<HyperNode>,
    /// How many there are, listed here or not.
    pub total: u32,
}

/// Which node not to let in any more, until it has another key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeNodeRequest {
    pub node: String,
    /// For those who read the list.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// A node that was revoked, or would be; its connections are those that end by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedNode {
    pub node: HyperNode,
}
