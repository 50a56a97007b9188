//! The upstreams of the lanes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An upstream of the configuration, as it is for one lane: each lane has its own connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub lane: String,
    /// 1 for the one that is preferred: the order of the configuration, after one that was switched to.
    pub priority: u32,
    /// `HOST:PORT`.
    pub address: String,
    pub state: UpstreamState,
    /// When `state` was entered.
    pub since_at: Timestamp,
    /// An operator has put it before all others.
    pub switched_to: bool,
    /// Bytes of the extranonce that its last channel left to the miner; none before the first.
    pub room: Option<u32>,
    /// Why it is down, in words; the last reason while it is up again.
    pub last_error: Option<String>,
}

/// What an upstream is to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamState {
    /// Not connected, because one that is preferred to it is in use.
    Standby,
    Connecting,
    /// Connected beside the one in use; miners are moved to it if it stays healthy.
    Returning,
    /// In use.
    Up,
    Down,
}

/// Put an upstream before all others on every lane, until the next switch or a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchUpstream {
    /// As in the configuration.
    pub address: String,
    /// Only say what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of a switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchedUpstream {
    pub address: String,
    pub lanes: Vec<SwitchedLane>,
    /// Miners on the lanes that are moved.
    pub connections: u32,
}

/// A switch on one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchedLane {
    pub lane: String,
    /// What was in use before.
    pub from: Option<String>,
    /// Why the lane stays where it is; none if it was switched.
    pub error: Option<String>,
}

/// A connection that was made for the test alone. A time is that of its step; none where it was not reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamTest {
    /// `HOST:PORT`.
    pub address: String,
    /// TCP, name resolution included.
    pub connect_ms: Option<f64>,
    /// Noise, with the pool's certificate checked against the configured key.
    pub handshake_ms: Option<f64>,
    /// SetupConnection and its answer.
    pub setup_ms: Option<f64>,
    /// Why it failed.
    pub error: Option<String>,
}
