//! `AccountProof`: what an account's holder is given, so that he can see for himself what he has of a block: his salt, his leaf,
//! and the path from it to the root that the report has.

use serde::{Deserialize, Serialize};

use crate::canonical::{CanonicalError, from_json, hex_text, to_json};
use crate::sum_tree::{Step, pseudonym};
use crate::{BlockHash, BlockReport, Leaf, Msat, Score, SumNode, SumTree, SumTreeError};

/// Longest proof in JSON: as many steps as the highest tree has, and the longest name.
const PROOF_BYTES_MAX: usize = 64 * 1024;

/// What stands first in a proof, and changes when the meaning of anything in it does.
pub const PROOF_FORMAT: &str = "hyperhash-account-proof/1";

/// Why a proof is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not a proof's JSON.
    #[error("it is not a proof of an account")]
    Json(#[from] CanonicalError),
    /// Another program's, or a later version's.
    #[error("its format is not {PROOF_FORMAT:?}: use the program of its time")]
    Format,
    /// It is for another report.
    #[error("it is for the block {found}, and the report is of {expected}")]
    AnotherBlock {
        /// The proof's.
        found: BlockHash,
        /// The report's.
        expected: BlockHash,
    },
    /// The path leads nowhere.
    #[error("the account does not lie under the root of the report by this path")]
    Path(#[from] SumTreeError),
    /// The path is longer than a tree with so many leaves is high.
    #[error("its path has {steps} steps, more than a tree with {leaves} leaves is high")]
    TooHigh {
        /// The path's.
        steps: usize,
        /// The report's.
        leaves: u32,
    },
    /// The account is in the tree, with another amount than the rules give it.
    #[error("the account is given {} msat, where the rules make {} of its score", says.0, makes.0)]
    Amount {
        /// What the leaf says.
        says: Msat,
        /// What follows from the report.
        makes: Msat,
    },
}

/// On which side of the way to the root a sibling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left,
    Right,
}

/// A sibling on the way to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofStep {
    side: Side,
    #[serde(with = "hex_text")]
    hash: [u8; 32],
    score: Score,
    amount_msat: Msat,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountProof {
    format: String,
    block: BlockHash,
    account: String,
    #[serde(with = "hex_text")]
    salt: [u8; 32],
    score: Score,
    amount_msat: Msat,
    #[serde(with = "hex_text")]
    minutes: [u8; 32],
    path: Vec<ProofStep>,
}

/// What a proof proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenPart {
    /// The account.
    pub account: String,
    /// Its leaf: its entries of the window can be checked against it ([`crate::EntriesHash`]).
    pub leaf: Leaf,
    /// Whether it found the block, and so has the fees and the residue in its amount.
    pub is_finder: bool,
}

impl AccountProof {
    /// The proof for an account in the tree of a block's report; none if it has no leaf there.
    #[must_use]
    pub fn of(block: BlockHash, account: &str, salt: [u8; 32], tree: &SumTree) -> Option<Self> {
        let (leaf, path) = tree.proof(&pseudonym(&salt, block, account))?;
        let path = path.into_iter().map(|step| ProofStep {
            side: if step.is_left {
                Side::Left
            } else {
                Side::Right
            },
            hash: step.sibling.hash,
            score: step.sibling.score,
            amount_msat: step.sibling.amount,
        });
        Some(Self {
            format: PROOF_FORMAT.to_owned(),
            block,
            account: account.to_owned(),
            salt,
            score: leaf.score,
            amount_msat: leaf.amount,
            minutes: leaf.minutes,
            path: path.collect(),
        })
    }

    /// Reads a proof. What it says is not to be believed before [`Self::verify`].
    ///
    /// # Errors
    /// It is none, or is not written in the one way.
    pub fn parse(json: &[u8]) -> Result<Self, ProofError> {
        let proof: Self = from_json(json, PROOF_BYTES_MAX)?;
        if proof.format == PROOF_FORMAT {
            Ok(proof)
        } else {
            Err(ProofError::Format)
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }

    /// The account that it says it is for.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Checks it against a report: that the account has this leaf in its tree, and is given what the rules give for its score.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn verify(&self, report: &BlockReport) -> Result<ProvenPart, ProofError> {
        let (found, expected) = (self.block, report.block);
        if found != expected {
            return Err(ProofError::AnotherBlock { found, expected });
        }
        let (steps, leaves) = (self.path.len(), report.tree.leaves);
        if steps > height(leaves) {
            return Err(ProofError::TooHigh { steps, leaves });
        }
        let leaf = Leaf {
            pseudonym: pseudonym(&self.salt, self.block, &self.account),
            score: self.score,
            amount: self.amount_msat,
            minutes: self.minutes,
        };
        let path = self.path.iter().map(|step| Step {
            sibling: SumNode {
                hash: step.hash,
                score: step.score,
                amount: step.amount_msat,
            },
            is_left: step.side == Side::Left,
        });
        leaf.verify(&path.collect::<Vec<_>>(), &report.root())?;
        let is_finder = leaf.pseudonym == report.finder;
        let makes = report.amount_for(leaf.score, is_finder);
        let (says, makes) = (leaf.amount, makes.unwrap_or_default());
        if says != makes {
            return Err(ProofError::Amount { says, makes });
        }
        Ok(ProvenPart {
            account: self.account.clone(),
            leaf,
            is_finder,
        })
    }
}

/// How many levels a tree with so many leaves has above them: the logarithm to base 2, rounded up.
fn height(leaves: u32) -> usize {
    let levels = u32::BITS - leaves.saturating_sub(1).leading_zeros();
    usize::try_from(levels).unwrap_or(0)
}

#[cfg(test)]
mod tests;
