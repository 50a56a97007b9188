//! `Work` and `Score`: what a share is worth, in exact integers.

use ethnum::U256;

use crate::{CompactError, Target};

/// Expected hashes: floor(2^256 / (target + 1)) of the target a share was asked to meet. See [`Target::work`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(pub u128);

/// A share's part of the work of a block: 2^96 is the work that one block of that difficulty takes on average.
///
/// Rewards are split by score, so that a change of the network's difficulty inside a window favours nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(pub u128);

impl Score {
    /// The score of a whole block.
    pub const BLOCK: Self = Self(1 << 96);

    /// What rewards are split over: the last shares of so much score, the winning one included, the oldest counted in part.
    /// Four blocks' worth smooths out luck, and none of it is older than four average rounds.
    pub const WINDOW: Self = Self(4 << 96);

    /// floor(work x 2^96 / network work of `nbits`), with a 256-bit product; saturates at `u128::MAX`, which takes the work of
    /// 2^32 blocks in one share.
    ///
    /// # Errors
    /// If `nbits` is no target.
    pub fn of(work: Work, nbits: u32) -> Result<Self, CompactError> {
        let network = Target::from_compact(nbits)?.work();
        let score = (U256::from(work.0) << 96) / U256::from(network.0);
        Ok(Self(u128::try_from(score).unwrap_or(u128::MAX)))
    }
}

#[cfg(test)]
mod tests;
