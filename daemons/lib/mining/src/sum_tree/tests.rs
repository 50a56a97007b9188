use super::*;
use proptest::prelude::*;

fn leaf(number: u8, score: u128, amount: u64) -> Leaf {
    Leaf {
        pseudonym: [number; 32],
        score: Score(score),
        amount: Msat(amount),
        minutes: [0x77; 32],
    }
}

fn tree(count: u8) -> SumTree {
    SumTree::new((0..count).map(|number| leaf(number, 10, 7)).collect()).unwrap()
}

/// The same hash, written down a second time.
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    sha256::Hash::hash(&parts.concat()).to_byte_array()
}

#[test]
fn the_root_of_three_leaves_is_that_of_the_specification() {
    let three = SumTree::new(vec![leaf(3, 30, 3), leaf(1, 10, 1), leaf(2, 20, 2)]).unwrap();
    let of_leaf = |number: u8, score: u128, amount: u64| {
        let (score, amount) = (score.to_be_bytes(), amount.to_be_bytes());
        sha256(&[&[0], &[number; 32], &score, &amount, &[0x77; 32]])
    };
    let join = |left: ([u8; 32], u128, u64), right: ([u8; 32], u128, u64)| {
        let (l, r) = (left.1.to_be_bytes(), right.1.to_be_bytes());
        let (m, n) = (left.2.to_be_bytes(), right.2.to_be_bytes());
        sha256(&[&[1], &left.0, &l, &m, &right.0, &r, &n])
    };
    let pair = join((of_leaf(1, 10, 1), 10, 1), (of_leaf(2, 20, 2), 20, 2));
    // The third has no sibling and moves up as it is.
    let hash = join((pair, 30, 3), (of_leaf(3, 30, 3), 30, 3));
    assert_eq!(
        three.root(),
        SumNode {
            hash,
            score: Score(60),
            amount: Msat(6)
        }
    );
}

#[test]
fn a_pseudonym_needs_the_salt_and_the_block() {
    let block = BlockHash::from_byte_array([1; 32]);
    let first = pseudonym(&[0; 32], block, "alice");
    assert_ne!(first, pseudonym(&[1; 32], block, "alice"));
    assert_ne!(
        first,
        pseudonym(&[0; 32], BlockHash::from_byte_array([2; 32]), "alice")
    );
    assert_ne!(first, pseudonym(&[0; 32], block, "bob"));
}

#[test]
fn there_is_no_tree_of_nothing_of_one_account_twice_or_of_too_much() {
    assert_eq!(SumTree::new(Vec::new()).unwrap_err(), SumTreeError::Empty);
    let twice = vec![leaf(1, 1, 1), leaf(2, 1, 1), leaf(1, 2, 2)];
    assert_eq!(SumTree::new(twice).unwrap_err(), SumTreeError::Twice);
    let much = vec![leaf(1, u128::MAX, 1), leaf(2, 1, 1)];
    assert_eq!(SumTree::new(much).unwrap_err(), SumTreeError::Overflow);
    let much = vec![leaf(1, 1, u64::MAX), leaf(2, 1, 1)];
    assert_eq!(SumTree::new(much).unwrap_err(), SumTreeError::Overflow);
}

#[test]
fn a_path_longer_than_a_tree_is_high_is_refused() {
    let root = tree(2).root();
    let (one, path) = tree(2).proof(&[0; 32]).unwrap();
    let long = path.repeat(41);
    assert_eq!(
        one.verify(&long, &root),
        Err(SumTreeError::TooLong { levels: 41 })
    );
}

#[test]
fn who_is_not_in_the_tree_has_no_proof() {
    assert!(tree(5).proof(&[9; 32]).is_none());
}

proptest! {
    #[test]
    fn every_leaf_has_a_path_to_the_root(amounts in prop::collection::vec((0..1_u128 << 100, 0..1_u64 << 50), 1..70)) {
        let numbered = amounts.iter().enumerate();
        let leaves: Vec<Leaf> = numbered
            .map(|(number, (score, amount))| leaf(u8::try_from(number).unwrap(), *score, *amount))
            .collect();
        let tree = SumTree::new(leaves.clone()).unwrap();
        prop_assert_eq!(tree.root().score.0, amounts.iter().map(|(score, _)| score).sum::<u128>());
        prop_assert_eq!(tree.root().amount.0, amounts.iter().map(|(_, amount)| amount).sum::<u64>());
        for leaf in leaves {
            let (found, path) = tree.proof(&leaf.pseudonym).unwrap();
            prop_assert_eq!(found, leaf);
            prop_assert_eq!(leaf.verify(&path, &tree.root()), Ok(()));
        }
    }

    #[test]
    fn a_leaf_that_says_more_than_it_has_lies_under_no_root(
        count in 1..40_u8,
        pick in any::<prop::sample::Index>(),
        more in 1..1_000_u64,
    ) {
        let tree = tree(count);
        let number = u8::try_from(pick.index(usize::from(count))).unwrap();
        let (leaf, path) = tree.proof(&[number; 32]).unwrap();
        let richer = Leaf { amount: Msat(leaf.amount.0 + more), ..leaf };
        let busier = Leaf { score: Score(leaf.score.0 + u128::from(more)), ..leaf };
        let other = Leaf { minutes: [0x78; 32], ..leaf };
        for forged in [richer, busier, other] {
            prop_assert_eq!(forged.verify(&path, &tree.root()), Err(SumTreeError::AnotherRoot));
        }
        // Nor does it where a sibling says less, so that the sums are right again.
        if !path.is_empty() {
            let mut path = path;
            path[0].sibling.amount = Msat(path[0].sibling.amount.0.saturating_sub(more));
            prop_assert_eq!(richer.verify(&path, &tree.root()), Err(SumTreeError::AnotherRoot));
        }
    }

    #[test]
    fn a_node_never_passes_for_a_leaf(count in 2..20_u8) {
        let tree = tree(count);
        let (leaf, path) = tree.proof(&[0; 32]).unwrap();
        prop_assert!(leaf.verify(&path[1..], &tree.root()).is_err());
    }
}
