//! Ending connections and channels.

use serde::{Deserialize, Serialize};

/// Whom a command is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinerSelector {
    /// The open channel with this id.
    Channel(u32),
    /// All open channels of an account.
    Account(String),
    /// All connections from an address, or from a range such as `192.0.2.0/24`.
    Address(String),
}

/// What to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KickRequest {
    pub miners: MinerSelector,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// What has ended, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// Connections that are closed whole.
    pub connections: u32,
    /// Channels that are closed, with their connection or alone.
    pub channels: u32,
    /// Those channels, by account and worker; at most 1,000.
    pub miners: Vec<KickedMiner>,
}

/// A channel that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KickedMiner {
    /// Channel id.
    pub id: u32,
    pub account: String,
    pub worker: String,
    pub peer: String,
    /// The connection carries other channels, and stays.
    pub connection_stays: bool,
}
