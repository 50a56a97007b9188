//! The Merkle tree over the lines of the log (RFC 6962, 2.1): its root from a few hashes, and proofs about one line or an older root.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Digest};

/// The hash of a line: SHA-256 of a zero byte and the line's bytes without its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LeafHash(pub [u8; 32]);

impl LeafHash {
    /// What the first line names.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a line.
    #[must_use]
    pub fn of(line: &str) -> Self {
        Self(hash(&[&[0], line.as_bytes()]))
    }
}

/// What must be kept to go on with a tree: the roots of its full parts, largest first. A million lines have at most 20.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    parts: Vec<Digest>,
}

impl Frontier {
    /// Lines so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next line. It is false for a frontier that can't be one, such as from a damaged file.
    #[must_use]
    pub fn push(&mut self, leaf: LeafHash) -> bool {
        if self.parts.len() != self.size.count_ones() as usize || self.size == u64::MAX {
            return false;
        }
        let mut part = leaf.0;
        let mut size = self.size;
        while size & 1 == 1
            && let Some(left) = self.parts.pop()
        {
            part = node(&left.0, &part);
            size >>= 1;
        }
        self.parts.push(Digest(part));
        self.size += 1;
        true
    }

    /// The root over all lines so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut parts = self.parts.iter().rev();
        let Some(last) = parts.next() else {
            return Digest(hash(&[]));
        };
        Digest(parts.fold(last.0, |right, left| node(&left.0, &right)))
    }
}

/// Proof that the line with index `at`, counted from 0, is under the root over all `leaves` (RFC 6962, 2.1.1). Empty if there is no
/// such line.
#[must_use]
pub fn inclusion_proof(leaves: &[LeafHash], at: usize) -> Vec<Digest> {
    if at >= leaves.len() || leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if at < left.len() {
        let mut proof = inclusion_proof(left, at);
        proof.push(root_of(right));
        return proof;
    }
    let mut proof = inclusion_proof(right, at - left.len());
    proof.push(root_of(left));
    proof
}

/// Proof that the root over the first `size` of `leaves` became that over all of them by lines that were added at the end
/// (RFC 6962, 2.1.2). Empty if `size` is none of an older root.
#[must_use]
pub fn consistency_proof(leaves: &[LeafHash], size: usize) -> Vec<Digest> {
    if size == 0 || size >= leaves.len() {
        return Vec::new();
    }
    part_proof(leaves, size, true)
}

fn part_proof(leaves: &[LeafHash], size: usize, is_whole: bool) -> Vec<Digest> {
    if size == leaves.len() {
        return if is_whole {
            Vec::new()
        } else {
            vec![root_of(leaves)]
        };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    if size <= left.len() {
        let mut proof = part_proof(left, size, is_whole);
        proof.push(root_of(right));
        return proof;
    }
    let mut proof = part_proof(right, size - left.len(), false);
    proof.push(root_of(left));
    proof
}

/// Whether `proof` shows that the line with index `at` is under the root over `size` lines (RFC 9162, 2.1.3.2).
#[must_use]
pub fn includes(leaf: LeafHash, at: u64, size: u64, root: Digest, proof: &[Digest]) -> bool {
    if at >= size {
        return false;
    }
    let (mut index, mut last) = (at, size - 1);
    let mut hash = leaf.0;
    for Digest(sibling) in proof {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            hash = node(sibling, &hash);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root.0
}

/// Whether `proof` shows that `old` over `old_size` lines became `new` over `new_size` by lines added at the end (RFC 9162, 2.1.4.2).
#[must_use]
pub fn extends(old_size: u64, old: Digest, new_size: u64, new: Digest, proof: &[Digest]) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old == new;
    }
    let mut path = proof.iter().map(|digest| digest.0);
    let first = match old_size.is_power_of_two() {
        true => Some(old.0),
        false => path.next(),
    };
    let Some(first) = first else {
        return false;
    };
    let (mut index, mut last) = (old_size - 1, new_size - 1);
    while index & 1 == 1 {
        index >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            old_hash = node(&sibling, &old_hash);
            new_hash = node(&sibling, &new_hash);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node(&new_hash, &sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == old.0 && new_hash == new.0
}

/// All full parts of a tree, level by level, so that a root or a proof costs a few look-ups: 64 bytes a line.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The roots of the parts over 1, 2, 4 and so on lines.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// Lines so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves() as u64
    }

    /// Takes the next line.
    pub fn push(&mut self, leaf: LeafHash) {
        let (mut level, mut part) = (0, leaf.0);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let parts = &mut self.levels[level];
            parts.push(part);
            match parts.as_slice() {
                [.., left, right] if parts.len().is_multiple_of(2) => part = node(left, right),
                _ => return,
            }
            level += 1;
        }
    }

    /// The root over the first so many lines; none if there are fewer.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Digest> {
        let size = usize::try_from(size).ok()?;
        (size <= self.leaves()).then(|| self.root_of(0, size))
    }

    /// [`consistency_proof`] from the first `old` lines to the first `new`. Empty if there are no such two.
    #[must_use]
    pub fn consistency_proof(&self, old: u64, new: u64) -> Vec<Digest> {
        let (Ok(old), Ok(new)) = (usize::try_from(old), usize::try_from(new)) else {
            return Vec::new();
        };
        if old == 0 || old >= new || new > self.leaves() {
            return Vec::new();
        }
        let mut proof = Vec::new();
        let (mut from, mut count, mut old, mut is_whole) = (0, new, old, true);
        // From the root down to where the old one ends; what lies beside the way is the proof.
        while old != count {
            let left = split(count);
            if old <= left {
                proof.push(self.root_of(from + left, count - left));
                count = left;
            } else {
                proof.push(self.root_of(from, left));
                (from, count, old, is_whole) = (from + left, count - left, old - left, false);
            }
        }
        if !is_whole {
            proof.push(self.root_of(from, count));
        }
        proof.reverse();
        proof
    }

    fn leaves(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// Over `count` lines from a place on where a part of that size may begin.
    fn root_of(&self, from: usize, count: usize) -> Digest {
        if count == 0 {
            return Digest(hash(&[]));
        }
        if count.is_power_of_two() {
            let level = count.ilog2() as usize;
            return Digest(self.levels[level][from >> level]);
        }
        let left = split(count);
        let (Digest(first), Digest(rest)) = (
            self.root_of(from, left),
            self.root_of(from + left, count - left),
        );
        Digest(node(&first, &rest))
    }
}

/// The largest power of two below `count`, which is two at least.
const fn split(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

fn root_of(leaves: &[LeafHash]) -> Digest {
    match leaves {
        [leaf] => Digest(leaf.0),
        [] => Digest(hash(&[])),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Digest(node(&root_of(left).0, &root_of(right).0))
        }
    }
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash(&[&[1], left, right])
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    for part in parts {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

impl fmt::Display for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LeafHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LeafHash {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        text.parse::<Digest>().map(|digest| Self(digest.0))
    }
}

impl From<LeafHash> for String {
    fn from(hash: LeafHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for LeafHash {
    type Error = CommandError;

    fn try_from(text: String) -> Result<Self, CommandError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<LeafHash> {
        (0..count).map(|n| LeafHash::of(&n.to_string())).collect()
    }

    fn frontier(leaves: &[LeafHash]) -> Frontier {
        let mut frontier = Frontier::default();
        for leaf in leaves {
            assert!(frontier.push(*leaf));
        }
        frontier
    }

    /// The test vectors that Certificate Transparency's implementations share: leaves of these bytes, and the roots over the first
    /// one, two and so on.
    #[test]
    fn the_roots_are_those_of_certificate_transparency() {
        let inputs = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        for (input, root) in inputs.iter().zip(roots) {
            let bytes = hex::decode(input).unwrap();
            assert!(frontier.push(LeafHash(hash(&[&[0], &bytes]))));
            assert_eq!(frontier.root().to_string(), root);
        }
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Frontier::default().root().to_string(), nothing);
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_for_nothing_else() {
        for size in 1..=20_usize {
            let all = leaves(size);
            let root = root_of(&all);
            assert_eq!(frontier(&all).root(), root);
            let count = size as u64;
            for at in 0..size {
                let proof = inclusion_proof(&all, at);
                let index = at as u64;
                assert!(
                    includes(all[at], index, count, root, &proof),
                    "{at} of {size}"
                );
                for wrong in 0..size + 2 {
                    let holds = includes(all[at], wrong as u64, count, root, &proof);
                    assert_eq!(holds, wrong == at, "{at} as {wrong} of {size}");
                }
                assert!(!includes(LeafHash::of("x"), index, count, root, &proof));
            }
            for old in 1..=size {
                let old_root = root_of(&all[..old]);
                let proof = consistency_proof(&all, old);
                let (old, new) = (old as u64, count);
                assert!(extends(old, old_root, new, root, &proof), "{old} to {size}");
                assert!(!extends(old, Digest([0; 32]), new, root, &proof));
                assert!(!extends(old, old_root, new, Digest([0; 32]), &proof));
                let mut longer = proof.clone();
                longer.push(Digest([0; 32]));
                assert!(!extends(old, old_root, new, root, &longer));
                if !proof.is_empty() {
                    assert!(!extends(old, old_root, new, root, &proof[1..]));
                }
            }
        }
    }

    #[test]
    fn a_tree_that_is_kept_gives_the_same_roots_and_proofs() {
        let all = leaves(70);
        let mut tree = Tree::default();
        assert_eq!(tree.root_at(0), Some(root_of(&[])));
        for (count, leaf) in (1_usize..).zip(&all) {
            tree.push(*leaf);
            assert_eq!(tree.size(), count as u64);
            assert_eq!(tree.root_at(count as u64 + 1), None);
        }
        for new in 1..=all.len() {
            assert_eq!(tree.root_at(new as u64), Some(root_of(&all[..new])));
            for old in 0..=new + 1 {
                let proof = tree.consistency_proof(old as u64, new as u64);
                assert_eq!(proof, consistency_proof(&all[..new], old), "{old} to {new}");
            }
        }
        assert!(tree.consistency_proof(3, 71).is_empty());
    }

    #[test]
    fn a_damaged_frontier_takes_nothing() {
        let mut frontier = frontier(&leaves(5));
        frontier.parts.pop();
        assert!(!frontier.push(LeafHash::NONE));
    }

    proptest! {
        #[test]
        fn a_rewritten_line_breaks_the_proof(size in 2..200_usize, old in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>()) {
            let before = leaves(size);
            let old = old.index(size - 1) + 1;
            let changed = changed.index(old);
            let mut after = before.clone();
            after[changed] = LeafHash::of("another");
            let proof = consistency_proof(&after, old);
            let (old_root, root) = (root_of(&before[..old]), root_of(&after));
            prop_assert!(!extends(old as u64, old_root, size as u64, root, &proof));
        }
    }
}
