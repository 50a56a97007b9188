//! `BlockReport`: what a block of ours brought and how it was divided, so that anyone can check the sums, and everyone his own part.
//!
//! It has what is everybody's business: the block, the amounts, the window, the nodes' parts, and the root of the sum tree over the
//! accounts. Accounts appear under a pseudonym that changes with each block. It is signed by the treasury (hh-trust) over the
//! bytes that [`BlockReport::to_json`] gives; `docs/reference/block-report.md` says the same to those who write a verifier.

mod checks;
mod parts;

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, from_json, hex_text, optional_hex, to_json};
use crate::sum_tree::Pseudonym;
use crate::{BlockHash, Msat, Oldest, Score, SharePosition, SumNode, SumTreeError, WindowSize};

pub use parts::{EdgeRow, ReportParts, ReportedBlock};

/// Longest report in JSON: some ten thousand nodes with the longest names.
pub const REPORT_BYTES_MAX: usize = 4 << 20;

/// What stands first in a report, and changes when the meaning of anything in it does.
pub const REPORT_FORMAT: &str = "hyperhash-block-report/1";

/// Why a report is refused, or none can be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not a report's JSON.
    #[error("it is not a block report")]
    Json(#[from] CanonicalError),
    /// Another program's, or a later version's.
    #[error("its format is {found:?}, and {REPORT_FORMAT:?} is known: use the program of its time")]
    Format {
        /// What it says, shortened.
        found: String,
    },
    /// Its chain is none that Bitcoin Core names.
    #[error("it is of a chain {found:?}, which there is not")]
    Chain {
        /// What it says, shortened.
        found: String,
    },
    /// It contradicts itself.
    #[error("its {what} is {says}, where the rest of it makes {makes}")]
    Sum {
        /// Which figure.
        what: &'static str,
        /// What it says.
        says: String,
        /// What follows from the rest.
        makes: String,
    },
    /// The window's figures don't fit together.
    #[error("its window contradicts itself: {0}")]
    Window(&'static str),
    /// A division by other rules, or over another window.
    #[error("the division is not the one that this window makes")]
    AnotherDivision,
    /// The window's data come to another report.
    #[error("counted again it is another report: the {what} differs")]
    Differs {
        /// The first figure that is another.
        what: &'static str,
    },
    /// Rows of the edge that are not those it was made from.
    #[error("these are not the {expected} shares of the edge that the report was made from")]
    AnotherEdge {
        /// How many there are.
        expected: u32,
    },
    /// No tree over its accounts.
    #[error("no sum tree over its accounts")]
    Tree(#[from] SumTreeError),
    /// More accounts or shares than a report counts.
    #[error("it has more than 2^32 accounts or shares of the edge")]
    TooMany,
}

/// A node's part of the node network's half.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePart {
    /// The node's id.
    pub node: String,
    /// What came in through it.
    pub score: Score,
    /// What it gets for that.
    pub amount_msat: Msat,
}

/// The part of the node network's half for work that came through no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservePart {
    /// What came straight to the pool.
    pub score: Score,
    /// What the reserve gets for that.
    pub amount_msat: Msat,
}

/// The root of the sum tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeRoot {
    /// The hash at the root.
    #[serde(with = "hex_text")]
    pub hash: [u8; 32],
    /// The score of all leaves.
    pub score: Score,
    /// What all accounts get.
    pub amount_msat: Msat,
    /// How many leaves there are.
    pub leaves: u32,
}

/// The shares of the minute in which the window is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeDigest {
    /// How many there are.
    pub rows: u32,
    /// The hash over them.
    #[serde(with = "hex_text")]
    pub hash: [u8; 32],
}

/// See the module. Made by [`ReportParts::of`] and by [`BlockReport::parse`] alone: its sums are right, whatever else it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BlockReport {
    /// [`REPORT_FORMAT`].
    pub format: String,
    /// The chain, as Bitcoin Core names it: `main`, `test`, `testnet4`, `signet`, `regtest`.
    pub chain: String,
    /// The block.
    pub block: BlockHash,
    /// Its height.
    pub height: u32,
    /// V: what its coinbase pays our script.
    pub value_msat: Msat,
    /// S: what it created, or all of V where that is less.
    pub subsidy_msat: Msat,
    /// F = V - S: what its transactions paid.
    pub fees_msat: Msat,
    /// P: one part in a hundred of S.
    pub pool_fee_msat: Msat,
    /// The node network's half of P.
    pub node_half_msat: Msat,
    /// The treasury's half of P.
    pub treasury_msat: Msat,
    /// S - P: what is split by score.
    pub miners_msat: Msat,
    /// What flooring left over; it is the finder's.
    pub residue_msat: Msat,
    /// Which shares it is split over.
    pub window: WindowSize,
    /// The winning share's place.
    pub newest: SharePosition,
    /// Where the window ends on the old side.
    pub oldest: Oldest,
    /// Whether it has all the score that it may have.
    pub is_full: bool,
    /// The window's score.
    pub score: Score,
    /// Whose channel the block was found on.
    #[serde(with = "hex_text")]
    pub finder: Pseudonym,
    /// The nodes' parts, in the order of their ids.
    pub nodes: Vec<NodePart>,
    /// The part of work that came through no node.
    pub node_reserve: ReservePart,
    /// The root of the sum tree over the accounts.
    pub tree: TreeRoot,
    /// The shares of the edge.
    pub edge: EdgeDigest,
    /// SHA-256 of the JSON of the treasury's report before this one.
    #[serde(with = "optional_hex")]
    pub previous_report: Option<[u8; 32]>,
}

impl BlockReport {
    /// Reads a report, and checks all in it that can be checked without anything else. That it is signed by whom one trusts is
    /// another question, and comes first.
    ///
    /// # Errors
    /// It is none, it is not written in the one way, or its sums are wrong.
    pub fn parse(json: &[u8]) -> Result<Self, ReportError> {
        let report: Self = from_json(json, REPORT_BYTES_MAX)?;
        report.check()?;
        Ok(report)
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The root, as paths are checked against it.
    #[must_use]
    pub fn root(&self) -> SumNode {
        SumNode {
            hash: self.tree.hash,
            score: self.tree.score,
            amount: self.tree.amount_msat,
        }
    }

    /// What an account gets for so much score of the window, and as the finder.
    #[must_use]
    pub fn amount_for(&self, score: Score, is_finder: bool) -> Option<Msat> {
        let part = match self.score {
            Score(0) => Msat::ZERO,
            all => self.miners_msat.part(score.0, all.0)?,
        };
        let finders = [self.fees_msat, self.residue_msat];
        let finders = finders.into_iter().filter(|_| is_finder);
        std::iter::once(part).chain(finders).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests;
