//! Nodes and what they report.

use super::FleetRevocation;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A node that has enrolled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetNode {
    pub id: String,
    pub state: NodeState,
    /// It serves miners of others.
    pub public: bool,
    pub enrolled_at: Timestamp,
    /// When it was last heard of; none before its first session.
    pub last_seen_at: Option<Timestamp>,
    pub agent_version: String,
    /// `hhnode1...`: the key that signs its results.
    pub public_key: String,
    /// When its certificate ends. The agent renews it at half of its life.
    pub certificate_until_at: Timestamp,
    pub services: u32,
    /// Of these, that run.
    pub services_running: u32,
    /// Of all lanes, over the last 10 minutes, in hashes a second; none while it has no session.
    #[serde(default)]
    pub hashrate_10m_hs: Option<f64>,
    /// Connections of miners to all lanes; none while it has no session.
    #[serde(default)]
    pub miners: Option<u32>,
}

/// What is known of a node's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Connected,
    Away,
    Revoked,
}

/// The nodes, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetPage {
    /// At most 1,000.
    pub nodes: Vec<FleetNode>,
    /// How many there are, listed here or not.
    pub total: u32,
}

/// A node, and all that it reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetNodeDetail {
    pub node: FleetNode,
    /// Of the session; none while it has none.
    pub peer: Option<String>,
    pub connected_at: Option<Timestamp>,
    /// Its clock less ours, in milliseconds, as of its last heartbeat.
    pub clock_ahead_ms: Option<i64>,
    /// Of its commands: another one at every enrolment.
    pub epoch: u64,
    /// Of the last command that was signed for it.
    pub last_seq: u64,
    pub services: Vec<NodeService>,
    /// The last that came; none before the first.
    pub health: Option<NodeHealth>,
    /// Of its translator, by name.
    #[serde(default)]
    pub lanes: Vec<NodeLane>,
    /// None before the node told it.
    #[serde(default)]
    pub inventory: Option<NodeInventory>,
    /// None while it is let in.
    #[serde(default)]
    pub revocation: Option<FleetRevocation>,
}

/// A service that a node's policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeService {
    pub name: String,
    /// `running`, `starting`, `stopped` or `waiting`.
    pub state: String,
    pub since_at: Timestamp,
    /// After it ended by itself, since the agent started.
    pub restarts: u64,
    pub pid: Option<u32>,
    pub last_error: Option<String>,
    pub memory_bytes: u64,
}

/// A sample of a node's telemetry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeHealth {
    pub at: Timestamp,
    pub uptime_seconds: u64,
    /// Thousandths.
    pub load_1m_milli: u32,
    pub memory_total_bytes: u64,
    pub memory_available_bytes: u64,
    pub disk_total_bytes: u64,
    pub disk_available_bytes: u64,
    /// Samples that the node's spool had no room for.
    pub dropped_total: u64,
}

/// A lane of a node's translator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeLane {
    pub name: String,
    /// Of accepted shares over the last 10 minutes, in hashes a second.
    pub hashrate_10m_hs: f64,
    /// Connections of miners.
    pub miners: u32,
    /// Since the translator started.
    pub shares_accepted: u64,
    /// Since the translator started, for all reasons.
    pub shares_rejected: u64,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeInventory {
    /// When the node told it.
    pub told_at: Timestamp,
    pub os: String,
    pub kernel: String,
    pub architecture: String,
    pub cpus: u32,
    /// By name.
    pub programs: Vec<NodeProgram>,
}

/// A program that answers the node's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeProgram {
    /// `hh-translator`, `hh-tp` or `bitcoin-core`.
    pub name: String,
    pub version: String,
}
