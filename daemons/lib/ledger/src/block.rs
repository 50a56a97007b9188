//! Blocks of ours and what has become of them.

use std::str::FromStr;

use hh_mining::BlockHash;

/// How far a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockState {
    /// A miner of ours found it.
    Found,
    /// It is on its way to Bitcoin Core.
    Submitted,
    /// A node has taken it, or the tip is ours.
    Accepted,
    /// Every node that answered refused it.
    Rejected,
    /// It was on the best chain and is no longer.
    Orphaned,
}

impl BlockState {
    /// Whether the outcome of the submission is known.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Accepted | Self::Rejected | Self::Orphaned)
    }

    /// What the databases call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Submitted => "submitted",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        }
    }
}

/// A block's state that this program doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no state of a block")]
pub struct UnknownState(String);

impl FromStr for BlockState {
    type Err = UnknownState;

    fn from_str(name: &str) -> Result<Self, UnknownState> {
        [
            Self::Found,
            Self::Submitted,
            Self::Accepted,
            Self::Rejected,
            Self::Orphaned,
        ]
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| UnknownState(name.to_owned()))
    }
}

/// A block of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Its hash, the key.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// How far it has come.
    pub state: BlockState,
    /// The node's words, where it was refused.
    pub reason: Option<String>,
    /// The finder's account.
    pub account: String,
    /// The finder's worker, or empty.
    pub worker: String,
    /// The node through which it came, or `core`.
    pub node: String,
    /// The lane on which it came.
    pub lane: String,
    /// When it was found, milliseconds since 1970.
    pub found_at_ms: i64,
    /// What its coinbase pays our script, in satoshi.
    pub value_sat: u64,
    /// The extranonce prefix in its coinbase, in hex.
    pub extranonce_prefix: String,
    /// What each way to Bitcoin Core said.
    pub paths: Vec<BlockPath>,
}

/// One of the ways by which a block was given to Bitcoin Core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPath {
    /// Its name; one row each.
    pub path: String,
    /// Its last answer.
    pub outcome: String,
    /// When that came, milliseconds since 1970.
    pub at_ms: i64,
}

impl BlockRow {
    /// Whether this row takes the place of one in the state `known`. A block whose outcome is known is not made open
    /// again by a pool that submits once more what its journal held at a crash.
    pub(crate) fn replaces(&self, known: Option<BlockState>) -> bool {
        known.is_none_or(|known| self.state.is_final() || self.state >= known)
    }
}
