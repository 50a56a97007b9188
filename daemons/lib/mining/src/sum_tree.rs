//! `SumTree`: a Merkle tree whose nodes also carry sums, so that one path proves what an account has of a block and that the
//! whole is no more than it says.
//!
//! Every node commits to the score and the amount below it; whoever checks a path adds them up again. A path shows two sums for
//! each level and no account but its own. Leaves are in the order of their pseudonyms, and every account has one: a second leaf
//! for an account would be paid from the same sums.
//!
//! Hashes are SHA-256 over one byte that tells leaves (0) from nodes (1), so that neither passes for the other; integers are
//! big-endian. A node without a sibling moves up as it is: pairing it with itself would give two trees one root.

use bitcoin::hashes::{Hash, HashEngine, sha256};

use crate::{BlockHash, Msat, Score};

/// A tree has no more levels: a proof that says it has is refused before it is hashed.
const LEVELS_MAX: usize = 40;

/// What tells the hash of a leaf from that of a node.
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// What an account is called in a report: SHA-256(salt || block hash || account). Without the salt, which only its holder is
/// shown, nobody can tell whose it is, nor that two blocks paid the same.
pub type Pseudonym = [u8; 32];

/// Makes an account's pseudonym in the report of a block.
#[must_use]
pub fn pseudonym(salt: &[u8; 32], block: BlockHash, account: &str) -> Pseudonym {
    let mut engine = sha256::Hash::engine();
    engine.input(salt);
    engine.input(block.as_byte_array());
    engine.input(account.as_bytes());
    sha256::Hash::from_engine(engine).to_byte_array()
}

/// What an account has of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whose it is.
    pub pseudonym: Pseudonym,
    /// What it brought in of the window.
    pub score: Score,
    /// All it gets.
    pub amount: Msat,
    /// The hash over its sums of minutes in the window, with which it can check its score.
    pub minutes: [u8; 32],
}

/// A node of the tree: at its root the whole of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SumNode {
    /// Over all that is below.
    pub hash: [u8; 32],
    /// The sum of the scores below.
    pub score: Score,
    /// The sum of the amounts below.
    pub amount: Msat,
}

/// A sibling on the way to the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The sibling.
    pub sibling: SumNode,
    /// Whether it is the left one.
    pub is_left: bool,
}

/// Why there is no tree, or a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SumTreeError {
    /// No leaf.
    #[error("a block that nobody is paid for has no tree")]
    Empty,
    /// Two leaves of one account.
    #[error("two leaves have the same pseudonym")]
    Twice,
    /// The sums don't fit: amounts have 64 bits, scores 128.
    #[error("the sums of the tree do not fit")]
    Overflow,
    /// The path is longer than a tree is high.
    #[error("the path has {levels} levels, more than {LEVELS_MAX}")]
    TooLong {
        /// Its length.
        levels: usize,
    },
    /// The path ends at another root.
    #[error("the path does not lead to the root of the report")]
    AnotherRoot,
}

impl Leaf {
    fn node(&self) -> SumNode {
        let mut engine = sha256::Hash::engine();
        engine.input(&[LEAF]);
        engine.input(&self.pseudonym);
        engine.input(&self.score.0.to_be_bytes());
        engine.input(&self.amount.0.to_be_bytes());
        engine.input(&self.minutes);
        SumNode {
            hash: sha256::Hash::from_engine(engine).to_byte_array(),
            score: self.score,
            amount: self.amount,
        }
    }

    /// Checks that this leaf lies under `root` by the path of a report.
    ///
    /// # Errors
    /// If it does not.
    pub fn verify(&self, path: &[Step], root: &SumNode) -> Result<(), SumTreeError> {
        if path.len() > LEVELS_MAX {
            return Err(SumTreeError::TooLong { levels: path.len() });
        }
        let top = path.iter().try_fold(self.node(), |node, step| {
            if step.is_left {
                step.sibling.joined(&node)
            } else {
                node.joined(&step.sibling)
            }
        })?;
        if top == *root {
            Ok(())
        } else {
            Err(SumTreeError::AnotherRoot)
        }
    }
}

impl SumNode {
    fn joined(&self, right: &Self) -> Result<Self, SumTreeError> {
        let mut engine = sha256::Hash::engine();
        engine.input(&[NODE]);
        for node in [self, right] {
            engine.input(&node.hash);
            engine.input(&node.score.0.to_be_bytes());
            engine.input(&node.amount.0.to_be_bytes());
        }
        let score = self.score.0.checked_add(right.score.0);
        Ok(Self {
            hash: sha256::Hash::from_engine(engine).to_byte_array(),
            score: Score(score.ok_or(SumTreeError::Overflow)?),
            amount: self
                .amount
                .checked_add(right.amount)
                .ok_or(SumTreeError::Overflow)?,
        })
    }
}

/// All levels of a tree. See the module.
#[derive(Clone, Debug)]
pub struct SumTree {
    leaves: Vec<Leaf>,
    /// From the leaves' nodes up to the root alone.
    levels: Vec<Vec<SumNode>>,
}

impl SumTree {
    /// The tree over these leaves, in whatever order they come.
    ///
    /// # Errors
    /// If there is none, two have one pseudonym, or the sums don't fit.
    pub fn new(mut leaves: Vec<Leaf>) -> Result<Self, SumTreeError> {
        leaves.sort_unstable_by_key(|leaf| leaf.pseudonym);
        let is_twice = |pair: &[Leaf]| pair[0].pseudonym == pair[1].pseudonym;
        if leaves.windows(2).any(is_twice) {
            return Err(SumTreeError::Twice);
        }
        let mut level: Vec<SumNode> = leaves.iter().map(Leaf::node).collect();
        let mut levels = Vec::new();
        while level.len() > 1 {
            let joined = level.chunks(2).map(|pair| match pair {
                [left, right] => left.joined(right),
                _ => Ok(pair[0]),
            });
            let above = joined.collect::<Result<_, _>>()?;
            levels.push(std::mem::replace(&mut level, above));
        }
        if level.is_empty() {
            return Err(SumTreeError::Empty);
        }
        levels.push(level);
        Ok(Self { leaves, levels })
    }

    /// What the whole tree has.
    #[must_use]
    pub fn root(&self) -> SumNode {
        self.levels[self.levels.len() - 1][0]
    }

    /// The leaf of an account and its path to the root; none if it has none.
    #[must_use]
    pub fn proof(&self, pseudonym: &Pseudonym) -> Option<(Leaf, Vec<Step>)> {
        let found = self
            .leaves
            .binary_search_by_key(pseudonym, |leaf| leaf.pseudonym);
        let index = found.ok()?;
        let mut path = Vec::new();
        for (height, level) in self.levels.iter().enumerate() {
            let position = index >> height;
            if let Some(sibling) = level.get(position ^ 1) {
                path.push(Step {
                    sibling: *sibling,
                    is_left: position & 1 == 1,
                });
            }
        }
        Some((self.leaves[index], path))
    }
}

#[cfg(test)]
mod tests;
