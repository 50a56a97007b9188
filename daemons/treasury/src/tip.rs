//! The tip of the best chain, as the follower saw it last.

use hh_mining::BlockHash;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub height: u32,
    pub hash: BlockHash,
}
