//! Where a window begins and ends in the order of shares, (accepted_at_ms, pool, epoch, seq), and how large it may be.

use serde::{Deserialize, Serialize};

use crate::canonical::{decimal, hex_text};
use crate::{BlockHash, Score};

/// Length of the minutes of which the ledger keeps sums.
pub const MINUTE_MS: i64 = 60_000;

/// The minute in which a time lies: minutes since 1970.
#[must_use]
pub fn minute_of(at_ms: i64) -> i64 {
    at_ms.div_euclid(MINUTE_MS)
}

/// Which shares a block is split over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", deny_unknown_fields)]
pub enum WindowSize {
    /// The last ones of so much score, the winning share included, the oldest counted in part.
    Pplns {
        /// [`Score::WINDOW`], if nobody says otherwise.
        score: Score,
    },
    /// All after the winning share of another block of ours, or all there are.
    Round {
        /// That block.
        previous: Option<BlockHash>,
    },
}

/// A share's name: what the ledger knows it by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareId {
    /// The pool that logged it.
    pub pool: String,
    /// The random id of its log.
    #[serde(with = "hex_text")]
    pub epoch: [u8; 16],
    /// Its place in that log.
    #[serde(with = "decimal")]
    pub seq: u64,
}

/// A place in the order of shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharePosition {
    /// When the share there was accepted, milliseconds since 1970.
    pub at_ms: i64,
    /// The share; none for the end of that millisecond, or where its row is gone.
    pub share: Option<ShareId>,
}

/// Where a window ends on its old side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Oldest {
    /// With this share.
    Share {
        /// When it was accepted, milliseconds since 1970.
        at_ms: i64,
        /// The pool that logged it.
        pool: String,
        /// The random id of its log.
        #[serde(with = "hex_text")]
        epoch: [u8; 16],
        /// Its place in that log.
        #[serde(with = "decimal")]
        seq: u64,
        /// What it is worth.
        score: Score,
        /// How much of that counts.
        counted: Score,
    },
    /// With the first share of this minute, which counts as a whole.
    Minute {
        /// Minutes since 1970.
        minute: i64,
    },
    /// After the winning share of this block.
    Block {
        /// Its hash.
        block: BlockHash,
    },
    /// With the first share there is.
    All,
}

/// A window's place among all shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowBounds {
    /// The winning share's place.
    pub newest: SharePosition,
    /// Where it ends on the old side.
    pub oldest: Oldest,
    /// Whether it has all the score that it may have.
    pub is_full: bool,
}

impl SharePosition {
    /// Whether the share at `at_ms` of this name lies here or before.
    #[must_use]
    pub fn includes(&self, at_ms: i64, share: &ShareId) -> bool {
        match &self.share {
            Some(last) => (at_ms, share) <= (self.at_ms, last),
            None => at_ms <= self.at_ms,
        }
    }

    /// The minute in which it lies.
    #[must_use]
    pub fn minute(&self) -> i64 {
        minute_of(self.at_ms)
    }
}
