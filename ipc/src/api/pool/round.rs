//! Rounds: the shares between two blocks of ours that Bitcoin Core has accepted.

use super::Block;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last rounds, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundPage {
    /// The one that goes on, and before it those that have ended.
    pub rounds: Vec<Round>,
    /// Of those that have ended and whose shares are all known; none without one.
    pub summary: Option<RoundSummary>,
    /// Pools that hold a server id and whose shares of the last seconds are not in the ledger: a round can't be summed up
    /// before they are.
    pub lagging_pools: Vec<LaggingPool>,
}

/// The shares after one accepted block of ours and up to the next. A block that is rejected or orphaned ends no round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The block that ended it, without its paths; none for the round that goes on.
    pub block: Option<Block>,
    /// When the block before was found; for the first round, when the first miner came.
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// None, as all figures below, while shares of a pool are not in the ledger.
    pub shares: Option<u64>,
    /// Expected hashes, a decimal integer (it can pass 2^64).
    pub work: Option<String>,
    /// Work over the network's work at the time, times 2^96: a decimal integer.
    pub score: Option<String>,
    /// Score in blocks: 1 is what a block takes on average.
    pub effort_ratio: Option<f64>,
    /// 1 / effort: above 1 is good luck. None for the round that goes on.
    pub luck_ratio: Option<f64>,
    /// How likely a round is to take more than this one: exp(-effort).
    pub longer_ratio: Option<f64>,
    /// Found in it, and rejected, orphaned, or of unknown outcome; without their paths.
    pub other_blocks: Vec<Block>,
}

/// Rounds that have ended, together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundSummary {
    pub rounds: u32,
    /// Average effort.
    pub effort_ratio: f64,
    /// Blocks for each that was to be expected.
    pub luck_ratio: Option<f64>,
    /// By chance alone, the average effort of so many rounds is below `low` in one of twenty cases, above `high` in another,
    /// and below `median` in one of two.
    pub effort_low_ratio: f64,
    pub effort_median_ratio: f64,
    pub effort_high_ratio: f64,
}

/// A pool that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaggingPool {
    pub pool: String,
    pub server_id: u16,
    /// All its shares from before this time are in the ledger; none if nothing came yet.
    pub shipped_through_at: Option<Timestamp>,
}

/// Which round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundSelector {
    /// The one that goes on.
    Open,
    /// The one that ended with the block of ours at this height.
    Height(u32),
    /// The one that ended with this block, as Bitcoin Core prints its hash.
    Hash(String),
}

/// A round and who worked in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundDetail {
    pub round: Round,
    /// Most work first; at most 1,000.
    pub accounts: Vec<RoundAccount>,
    pub lagging_pools: Vec<LaggingPool>,
}

/// What an account brought in in a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundAccount {
    pub account: String,
    pub shares: u64,
    /// Expected hashes, a decimal integer.
    pub work: String,
    /// Work over the network's work at the time, times 2^96: a decimal integer.
    pub score: String,
    /// Its part of the round's score.
    pub score_ratio: f64,
}
