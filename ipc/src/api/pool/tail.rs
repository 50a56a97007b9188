//! Shares as they come.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which shares, and from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareQuery {
    /// Where the last answer ended. None asks for the last `max` that are still at hand, and waits for nothing.
    #[serde(default)]
    pub cursor: Option<ShareCursor>,
    /// At most so many accepted and so many refused ones; more than 500 mean 500. Without a cursor, 0 begins with what comes.
    #[serde(default)]
    pub max: u32,
    /// How long to wait while there is none, in milliseconds; more than 10,000 mean 10,000.
    #[serde(default)]
    pub wait_ms: u32,
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub worker: Option<String>,
    #[serde(default)]
    pub lane: Option<String>,
    /// Leave out what was accepted.
    #[serde(default)]
    pub rejected_only: bool,
}

/// A place among the shares of one run of the pool; to be given back as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareCursor {
    /// The next record of the share log.
    pub accepted: u64,
    /// The next refused share, counted from 0 since the pool's start.
    pub rejected: u64,
}

/// Shares, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharePage {
    pub shares: Vec<ShareEvent>,
    /// Where to go on.
    pub cursor: ShareCursor,
    /// Records of the share log and refused shares, of all miners, that were passed over because the reader was too slow.
    pub missed: u64,
}

/// A share that was accepted and is durable, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareEvent {
    pub at: Timestamp,
    /// `accepted`, or the error code of the SV2 specification that the miner was told.
    pub result: String,
    pub account: String,
    pub worker: String,
    pub node: String,
    pub lane: String,
    /// Channel id; perhaps closed by now.
    pub channel: u32,
    /// What it is credited: the difficulty that its job was sent with. None for one that was refused, as all below.
    pub difficulty: Option<f64>,
    /// The difficulty of its hash.
    pub hash_difficulty: Option<f64>,
    /// Of the header, as Bitcoin Core prints it.
    pub hash: Option<String>,
    /// Its number in the share log.
    pub seq: Option<u64>,
    /// Its hash meets the network's target.
    pub is_block: bool,
}
