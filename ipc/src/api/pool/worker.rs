//! Workers of accounts, connected or not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which workers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerQuery {
    #[serde(default)]
    pub account: Option<String>,
    /// Skip this many.
    #[serde(default)]
    pub offset: u32,
    /// At most this many; 0 and more than 1,000 mean 1,000.
    #[serde(default)]
    pub limit: u32,
}

/// A part of the list, in the order of account and worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerPage {
    pub workers: Vec<Worker>,
    /// How many match, listed here or not.
    pub total: u32,
}

/// A worker of an account: what the ledger has of it, from every pool, and what is connected to this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub account: String,
    /// Empty for shares that named none.
    pub worker: String,
    /// Those it has come through, by name; `core` for what came straight to a pool.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Those it has come through, by name.
    pub lanes: Vec<String>,
    /// Open now. Workers whom a proxy names share by share, on a channel of its own, have none.
    pub channels: u32,
    /// Of the open channels, over the last 10 minutes.
    pub hashrate_10m_hs: f64,
    /// Of the shares in the ledger, over the last hour and day in whole minutes.
    pub hashrate_1h_hs: f64,
    pub hashrate_24h_hs: f64,
    /// Accepted, since the ledger's beginning.
    pub shares: u64,
    /// Expected hashes of these, a decimal integer (it can pass 2^64).
    pub work: String,
    pub shares_24h: u64,
    pub rejected_24h: u64,
    pub last_share_at: Option<Timestamp>,
}
