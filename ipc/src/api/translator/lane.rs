//! The translator's lanes, one by one.

use super::ShareCounts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A lane with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneDetail {
    pub name: String,
    /// `sv1`, `sv1-tls` or `sv2`.
    pub protocol: String,
    pub listen_address: String,
    /// Since when no new connection is let in; none while all are.
    pub paused_at: Option<Timestamp>,
    pub connections: u32,
    /// No job is easier (1 = 2^32 hashes).
    pub min_difficulty: Option<f64>,
    /// No miner starts above it.
    pub max_difficulty: Option<f64>,
    /// What a miner is taken to do before it is known.
    pub nominal_hashrate_hs: f64,
    /// Of accepted shares over the last 10 minutes.
    pub hashrate_10m_hs: f64,
    pub shares: ShareCounts,
    /// Forwarded and not yet settled by the pool.
    pub shares_in_flight: u64,
    /// Answered with an error because the upstream went away before it settled them.
    pub shares_unsettled: u64,
    /// Connections that ended or were not let in, by reason.
    pub ended: BTreeMap<String, u64>,
}

/// The channels of one difficulty on an aggregated lane: one for each account, and more where there are many miners. Or, while no
/// credential holds, all channels: one for each miner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifficultyClass {
    pub lane: String,
    /// A power of two (1 = 2^32 hashes); none of channels of one's own, whose difficulty is the pool's.
    pub difficulty: Option<f64>,
    /// Whose miners are in it.
    pub accounts: u32,
    /// Those of the pool, open or being opened.
    pub channels: u32,
    /// Miners whose jobs come from these channels.
    pub miners: u32,
    /// Miners on their way there, who work on the jobs of another class or wait for their first.
    pub arriving: u32,
}

/// Whether a lane lets new connections in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseLane {
    pub lane: String,
    /// False to let them in again.
    pub paused: bool,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}
