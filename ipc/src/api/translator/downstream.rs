//! The translator's miners, one by one.

use super::DownstreamMiner;
use serde::{Deserialize, Serialize};

/// Which miners to list; all where nothing is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DownstreamQuery {
    /// Only those on this lane.
    pub lane: Option<String>,
    /// Only those of this account, or with this user name.
    pub user: Option<String>,
    /// Skip so many.
    pub offset: u32,
    /// At most so many; 0 and more than 1,000 mean 1,000.
    pub limit: u32,
}

/// A part of the miners, the one that has been connected for longest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DownstreamPage {
    pub miners: Vec<DownstreamMiner>,
    /// How many match, listed here or not.
    pub total: u32,
}

/// One miner with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DownstreamDetail {
    #[serde(flatten)]
    pub miner: DownstreamMiner,
    /// User names that it may submit for, in the order in which they were authorized.
    pub users: Vec<String>,
    /// Id of its channel at the pool, as `hhctl miner show` takes it; none while there is none.
    pub channel_id: Option<u32>,
    /// Shares that were answered with an error because the upstream went away.
    pub shares_unsettled: u64,
}

/// Whose connections are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DownstreamSelector {
    /// The miner with this id.
    Id(u64),
    /// Those of this account, or with this user name.
    User(String),
    /// Those from an address, or from a range such as `192.0.2.0/24`.
    Address(String),
    /// Those on a lane.
    Lane(String),
}

/// What to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KickDownstreams {
    pub miners: DownstreamSelector,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// What has ended, or would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KickedDownstreams {
    /// Connections, an SV2 one with all of its channels.
    pub connections: u32,
    /// The miners on them that were meant; at most 1,000.
    pub miners: Vec<DownstreamMiner>,
}
