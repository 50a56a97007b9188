use proptest::prelude::*;

use super::*;
use crate::report::tests::{parts, salt};
use crate::{ReportParts, Reward};

fn proof(account: &str) -> (AccountProof, ReportParts) {
    let parts = parts();
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
    let tree = SumTree::new(leaves.collect()).unwrap();
    let proof = AccountProof::of(parts.report.block, account, salt(account), &tree).unwrap();
    (proof, parts)
}

#[test]
fn a_proof_has_the_json_of_the_page_and_proves_a_part() {
    let (proof, parts) = proof("bob");
    let json = String::from_utf8(proof.to_json()).unwrap();
    let begin = format!(
        r#"{{"format":"hyperhash-account-proof/1","block":"{}","account":"bob","salt":"{}","score":"1","amount_msat":"44375000001","minutes":"{}","path":[{{"side":""#,
        "11".repeat(32),
        hex::encode(salt("bob")),
        hex::encode(parts.leaves[1].1.minutes),
    );
    assert!(json.starts_with(&begin), "{json}");
    let read = AccountProof::parse(json.as_bytes()).unwrap();
    let proven = read.verify(&parts.report).unwrap();
    assert_eq!(proven.leaf, parts.leaves[1].1);
    assert!(proven.is_finder);
    let (alice, parts) = self::proof("alice");
    assert!(!alice.verify(&parts.report).unwrap().is_finder);
}

#[test]
fn who_has_nothing_has_no_proof() {
    let parts = parts();
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
    let tree = SumTree::new(leaves.collect()).unwrap();
    assert!(AccountProof::of(parts.report.block, "dave", salt("dave"), &tree).is_none());
    // Nor with another's salt.
    assert!(AccountProof::of(parts.report.block, "bob", salt("alice"), &tree).is_none());
}

#[test]
fn a_proof_is_for_one_report() {
    let (proof, mut parts) = proof("bob");
    parts.report.block = BlockHash::from_byte_array([3; 32]);
    let error = proof.verify(&parts.report).unwrap_err();
    assert!(matches!(error, ProofError::AnotherBlock { .. }), "{error}");
}

#[test]
fn an_account_that_was_given_another_amount_is_told() {
    // A tree that gives carol one msat of bob's, the sums being right.
    let mut parts = parts();
    parts.leaves[1].1.amount.0 -= 1;
    parts.leaves[2].1.amount.0 += 1;
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
    let tree = SumTree::new(leaves.collect()).unwrap();
    parts.report.tree.hash = tree.root().hash;
    let report = BlockReport::parse(&parts.report.to_json()).unwrap();
    for (account, more) in [("bob", -1), ("carol", 1)] {
        let proof = AccountProof::of(report.block, account, salt(account), &tree).unwrap();
        let ProofError::Amount { says, makes } = proof.verify(&report).unwrap_err() else {
            panic!("{account}")
        };
        assert_eq!(makes.0.checked_add_signed(more), Some(says.0));
    }
    let alice = AccountProof::of(report.block, "alice", salt("alice"), &tree).unwrap();
    assert!(alice.verify(&report).is_ok());
}

#[test]
fn a_path_longer_than_the_tree_is_high_is_refused() {
    for (leaves, levels) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 2),
        (5, 3),
        (u32::MAX, 32),
    ] {
        assert_eq!(height(leaves), levels, "{leaves}");
    }
    let (proof, mut parts) = proof("alice");
    parts.report.tree.leaves = 1;
    let error = proof.verify(&parts.report).unwrap_err();
    assert!(
        matches!(error, ProofError::TooHigh { leaves: 1, .. }),
        "{error}"
    );
}

#[test]
fn a_division_by_another_rule_leads_to_no_report() {
    let parts = parts();
    let reward = Reward::of(322_500_000, 840_000, bitcoin::Network::Bitcoin).unwrap();
    let due = parts.report.amount_for(Score(7), false).unwrap();
    assert_eq!(due, reward.miners_part().part(7, 9).unwrap());
    assert_eq!(parts.report.amount_for(Score(10), false), None);
}

proptest! {
    #[test]
    fn a_changed_byte_anywhere_in_a_proof_is_refused(
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
        who in prop::sample::select(vec!["alice", "bob", "carol"]),
    ) {
        let (proof, parts) = proof(who);
        let mut json = proof.to_json();
        let place = at.index(json.len());
        json[place] ^= flip;
        if let Ok(other) = AccountProof::parse(&json) {
            prop_assert!(other.verify(&parts.report).is_err(), "{}", String::from_utf8_lossy(&json));
        }
    }
}
