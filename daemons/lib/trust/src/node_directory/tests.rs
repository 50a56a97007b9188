use super::*;
use crate::NodeSecretKey;
use crate::operator_key::tests::Signer;
use crate::statement::Approval;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;
const LIGHTNING: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER_LIGHTNING: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn place() -> Place {
    Place {
        domain: "hyperhash.example".parse().unwrap(),
        chain: "signet".to_owned(),
    }
}

/// alice and bob; carol, of the number 3, is none of them.
fn listed() -> OperatorList {
    let keys = [("alice", 1), ("bob", 2)];
    let keys = keys.map(|(name, seed)| (name.parse().unwrap(), Signer::new(seed).key()));
    OperatorList::new(keys.into()).unwrap()
}

fn record(number: u64) -> NodeRecord {
    let key: NodeSecretKey = "01".repeat(32).parse().unwrap();
    NodeRecord {
        place: place(),
        node: "berlin-1".parse().unwrap(),
        number,
        key: key.public_key(),
        lightning: LIGHTNING.parse().unwrap(),
        lanes: ["asics".parse().unwrap()].into(),
        visibility: crate::enrolment::Visibility::Public,
        at: NOW,
    }
}

fn signed<S: Statement>(statement: &S, signers: &[u8]) -> Signed {
    let mut signed = Signed::draft(statement);
    let sign = |seed: &u8| Signer::new(*seed).sign(S::NAMESPACE, signed.text.as_bytes());
    signed.signatures = signers.iter().map(sign).collect();
    signed
}

fn take(
    directory: &mut Directory,
    record: &NodeRecord,
    signers: &[u8],
) -> Result<Taken, DirectoryError> {
    directory.take_node(&signed(record, signers), &listed(), &place())
}

/// With the node berlin-1 in it.
fn directory() -> Directory {
    let mut directory = Directory::default();
    assert_eq!(take(&mut directory, &record(1), &[1]), Ok(Taken::New));
    directory
}

#[track_caller]
fn too_few(taken: Result<Taken, DirectoryError>, of: usize, must: usize) {
    let Err(DirectoryError::Statement(StatementError::Threshold { found, needed, .. })) = taken
    else {
        panic!("{taken:?}");
    };
    assert_eq!((found, needed), (of, must));
}

#[test]
fn an_operator_admits_a_node_and_nobody_else_does() {
    let mut directory = Directory::default();
    too_few(take(&mut directory, &record(1), &[]), 0, 1);
    too_few(take(&mut directory, &record(1), &[3]), 0, 1);
    assert_eq!(directory.nodes().count(), 0);
    assert_eq!(take(&mut directory, &record(1), &[3, 2]), Ok(Taken::New));
    assert_eq!(take(&mut directory, &record(1), &[2]), Ok(Taken::Known));
    assert_eq!(directory.node(&record(1).node), Some(&record(1)));
    assert_eq!(directory.node_of(&record(1).key), Some(&record(1)));
}

#[test]
fn another_payee_takes_two_operators() {
    let mut directory = directory();
    let lanes = NodeRecord {
        lanes: ["gpus".parse().unwrap()].into(),
        ..record(2)
    };
    assert_eq!(take(&mut directory, &lanes, &[2]), Ok(Taken::Changed));
    let moved = NodeRecord {
        lightning: OTHER_LIGHTNING.parse().unwrap(),
        ..record(3)
    };
    too_few(take(&mut directory, &moved, &[1]), 1, 2);
    too_few(take(&mut directory, &moved, &[1, 1]), 1, 2);
    too_few(take(&mut directory, &moved, &[1, 3]), 1, 2);
    assert_eq!(directory.node(&moved.node), Some(&lanes));
    assert_eq!(take(&mut directory, &moved, &[1, 2]), Ok(Taken::Changed));
    // A daemon that knows nothing yet is shown the later record only: what was before can't be said.
    let mut fresh = Directory::default();
    too_few(take(&mut fresh, &record(2), &[1]), 1, 2);
    assert_eq!(take(&mut fresh, &record(2), &[1, 2]), Ok(Taken::New));
}

#[test]
fn an_old_record_does_not_come_back() {
    let mut directory = directory();
    take(&mut directory, &record(5), &[1]).unwrap();
    let old = take(&mut directory, &record(4), &[1, 2]);
    assert!(
        matches!(
            old,
            Err(DirectoryError::Older {
                number: 4,
                known: 5,
                ..
            })
        ),
        "{old:?}"
    );
    // Another text under the same number.
    let same = NodeRecord {
        at: NOW + 1,
        ..record(5)
    };
    let same = take(&mut directory, &same, &[1, 2]);
    assert!(
        matches!(same, Err(DirectoryError::Older { .. })),
        "{same:?}"
    );
}

#[test]
fn a_revocation_needs_no_signature_and_is_taken_back_by_a_later_record_only() {
    let mut directory = directory();
    let node = record(1).node;
    directory.revoke_node(&node, NOW + 10);
    assert_eq!(directory.node(&node), None);
    assert_eq!(directory.node_of(&record(1).key), None);
    assert_eq!(directory.nodes().count(), 0);
    // A record that was signed before and kept back.
    let before = NodeRecord {
        at: NOW + 10,
        ..record(2)
    };
    let refused = take(&mut directory, &before, &[1, 2]);
    assert!(
        matches!(refused, Err(DirectoryError::Revoked { .. })),
        "{refused:?}"
    );
    let after = NodeRecord {
        at: NOW + 11,
        ..record(2)
    };
    assert_eq!(take(&mut directory, &after, &[1]), Ok(Taken::Changed));
    assert_eq!(directory.node(&node), Some(&after));
    // Who passes the same revocation on again says nothing new.
    directory.revoke_node(&node, NOW + 10);
    assert!(!directory.is_node_revoked(&node));
    assert_eq!(directory.node(&node), Some(&after));
    // Unknown nodes can be revoked as well: the record comes later.
    let paris: NodeId = "paris".parse().unwrap();
    directory.revoke_node(&paris, NOW + 10);
    let other: NodeSecretKey = "02".repeat(32).parse().unwrap();
    let late = NodeRecord {
        node: paris,
        key: other.public_key(),
        ..record(1)
    };
    assert!(take(&mut directory, &late, &[1]).is_err());
}

#[test]
fn who_makes_up_names_keeps_no_revocation_out() {
    let mut directory = directory();
    for number in 0..STRANGERS_MAX + 10 {
        let name = format!("stranger-{number}");
        directory.revoke_node(&name.parse().unwrap(), NOW + 10);
    }
    assert_eq!(directory.revoked_nodes.len(), STRANGERS_MAX);
    let node = record(1).node;
    directory.revoke_node(&node, NOW + 10);
    assert!(directory.is_node_revoked(&node));
}

#[test]
fn what_is_about_another_network_chain_or_thing_is_not_taken() {
    let mut directory = Directory::default();
    for wrong in [
        Place {
            chain: "main".to_owned(),
            ..place()
        },
        Place {
            domain: "another.example".parse().unwrap(),
            ..place()
        },
    ] {
        let record = NodeRecord {
            place: wrong,
            ..record(1)
        };
        let taken = take(&mut directory, &record, &[1, 2]);
        let expected = matches!(
            taken,
            Err(DirectoryError::Statement(
                StatementError::AnotherNetwork { .. }
            ))
        );
        assert!(expected, "{taken:?}");
    }
    // Signed for another purpose.
    let mut crossed = Signed::draft(&record(1));
    crossed.signatures = vec![Signer::new(1).sign("hh-approval", crossed.text.as_bytes())];
    assert!(directory.take_node(&crossed, &listed(), &place()).is_err());
    // Another text than was signed, a key more, and the key of another node.
    let mut changed = signed(&record(1), &[1, 2]);
    changed.text = changed.text.replace(LIGHTNING, OTHER_LIGHTNING);
    assert!(directory.take_node(&changed, &listed(), &place()).is_err());
    let mut more = Signed::draft(&record(1));
    more.text = more.text.replacen('{', "{\"admin\":true,", 1);
    more.signatures = vec![Signer::new(1).sign("hh-node-record", more.text.as_bytes())];
    assert!(directory.take_node(&more, &listed(), &place()).is_err());
    take(&mut directory, &record(1), &[1]).unwrap();
    let twin = NodeRecord {
        node: "paris".parse().unwrap(),
        ..record(1)
    };
    let twice = take(&mut directory, &twin, &[1, 2]);
    assert!(
        matches!(twice, Err(DirectoryError::KeyTwice { .. })),
        "{twice:?}"
    );
}

fn carol(number: u64) -> OperatorRecord {
    OperatorRecord {
        place: place(),
        operator: "carol".parse().unwrap(),
        number,
        key: Signer::new(3).key(),
        at: NOW,
    }
}

#[test]
fn two_operators_admit_a_third_one_who_admits_nobody() {
    let mut directory = Directory::default();
    let admit = |directory: &mut Directory, record: &OperatorRecord, signers: &[u8]| {
        directory.take_operator(&signed(record, signers), &listed(), &place())
    };
    too_few(admit(&mut directory, &carol(1), &[1]), 1, 2);
    too_few(admit(&mut directory, &carol(1), &[1, 3]), 1, 2);
    assert_eq!(admit(&mut directory, &carol(1), &[1, 2]), Ok(Taken::New));
    let all = directory.operators(&listed());
    assert_eq!(all.iter().count(), 3);
    assert!(all.name_of(&Signer::new(3).key()).is_some());
    // She is not in the configuration: nodes and operators are not hers to admit.
    too_few(take(&mut directory, &record(1), &[3]), 0, 1);
    let dave = OperatorRecord {
        operator: "dave".parse().unwrap(),
        key: Signer::new(4).key(),
        ..carol(1)
    };
    too_few(admit(&mut directory, &dave, &[1, 3]), 1, 2);
    // A second name for a key that is known.
    for key in [1, 3] {
        let twin = OperatorRecord {
            key: Signer::new(key).key(),
            ..dave.clone()
        };
        let twice = admit(&mut directory, &twin, &[1, 2]);
        assert!(
            matches!(twice, Err(DirectoryError::KeyTwice { .. })),
            "{twice:?}"
        );
    }
    directory.revoke_operator(&carol(1).operator, NOW);
    assert_eq!(directory.operators(&listed()), listed());
    assert!(admit(&mut directory, &carol(2), &[1, 2]).is_err());
}

#[test]
fn what_was_kept_is_checked_again_against_the_configuration() {
    let mut directory = directory();
    directory
        .take_operator(&signed(&carol(1), &[1, 2]), &listed(), &place())
        .unwrap();
    let kept = serde_json::to_string(&directory).unwrap();
    let mut again: Directory = serde_json::from_str(&kept).unwrap();
    assert_eq!(again, directory);
    assert_eq!(again.recheck(&listed(), &place()), Vec::<String>::new());
    // alice, who signed for berlin-1, is gone.
    let bob = [("bob".parse().unwrap(), Signer::new(2).key())];
    let bob = OperatorList::new(bob.into()).unwrap();
    assert_eq!(again.recheck(&bob, &place()), ["berlin-1", "carol"]);
    assert_eq!(again.nodes().count(), 0);
    // Who edits the file without a key gets nothing in.
    let forged = kept.replacen(LIGHTNING, OTHER_LIGHTNING, 1);
    let mut forged: Directory = serde_json::from_str(&forged).unwrap();
    assert_eq!(forged.recheck(&listed(), &place()), ["berlin-1"]);
}

/// Of the configuration after somebody has left it.
fn only(name: &str, seed: u8) -> OperatorList {
    let one = [(name.parse().unwrap(), Signer::new(seed).key())];
    OperatorList::new(one.into()).unwrap()
}

#[test]
fn who_leaves_takes_no_record_along_that_another_has_signed_too() {
    let mut directory = directory();
    assert_eq!(take(&mut directory, &record(1), &[1, 2]), Ok(Taken::Known));
    // Fewer are no reason to forget who has.
    assert_eq!(take(&mut directory, &record(1), &[1]), Ok(Taken::Known));
    let bob = only("bob", 2);
    assert_eq!(directory.recheck(&bob, &place()), Vec::<String>::new());
    assert_eq!(directory.node(&record(1).node), Some(&record(1)));
}

#[test]
fn what_was_superseded_does_not_come_back_when_operators_leave() {
    let mut directory = Directory::default();
    take(&mut directory, &record(1), &[2]).unwrap();
    let moved = NodeRecord {
        lightning: OTHER_LIGHTNING.parse().unwrap(),
        ..record(2)
    };
    // carol and alice have agreed to it, and both are gone: bob alone has signed the first.
    let keys = [("alice", 1), ("bob", 2), ("carol", 3)];
    let keys = keys.map(|(name, seed)| (name.parse().unwrap(), Signer::new(seed).key()));
    let three = OperatorList::new(keys.into()).unwrap();
    let taken = directory.take_node(&signed(&moved, &[1, 3]), &three, &place());
    assert_eq!(taken, Ok(Taken::Changed));
    let bob = only("bob", 2);
    assert_eq!(directory.recheck(&bob, &place()), ["berlin-1"]);
    let kept = serde_json::to_string(&directory).unwrap();
    let mut directory: Directory = serde_json::from_str(&kept).unwrap();
    let old = directory.take_node(&signed(&record(1), &[2]), &bob, &place());
    too_few(old, 1, 2);
    let older = NodeRecord {
        number: 1,
        ..moved.clone()
    };
    let older = directory.take_node(&signed(&older, &[2]), &bob, &place());
    assert!(
        matches!(older, Err(DirectoryError::Older { .. })),
        "{older:?}"
    );
    // He moves no payee, and stands for the last record if he signs that.
    let back = NodeRecord {
        number: 3,
        ..record(1)
    };
    let back = directory.take_node(&signed(&back, &[2]), &bob, &place());
    too_few(back, 1, 2);
    let again = directory.take_node(&signed(&moved, &[1, 2, 3]), &bob, &place());
    assert_eq!(again, Ok(Taken::New));
    assert_eq!(directory.node(&moved.node), Some(&moved));
    // A file of before has none of it.
    let old: Directory = serde_json::from_str(
        r#"{"nodes":{},"operators":{},"revoked_nodes":{},"revoked_operators":{}}"#,
    )
    .unwrap();
    assert_eq!(old, Directory::default());
}

#[test]
fn the_superseded_key_of_an_operator_does_not_come_back() {
    let mut directory = Directory::default();
    let keys = [("alice", 1), ("bob", 2), ("dave", 4)];
    let keys = keys.map(|(name, seed)| (name.parse().unwrap(), Signer::new(seed).key()));
    let three = OperatorList::new(keys.into()).unwrap();
    let first = signed(&carol(1), &[1, 2]);
    directory.take_operator(&first, &three, &place()).unwrap();
    let newer = OperatorRecord {
        key: Signer::new(5).key(),
        ..carol(2)
    };
    let newer = signed(&newer, &[1, 4]);
    let taken = directory.take_operator(&newer, &three, &place());
    assert_eq!(taken, Ok(Taken::Changed));
    assert_eq!(directory.recheck(&listed(), &place()), ["carol"]);
    let old = directory.take_operator(&first, &listed(), &place());
    assert!(matches!(old, Err(DirectoryError::Older { .. })), "{old:?}");
}

#[test]
fn an_approval_is_for_one_payout_and_a_day() {
    let approval = |until| Approval {
        place: place(),
        payout: "41".to_owned(),
        amount_msat: 1_000,
        destination: "lnbc1".to_owned(),
        until,
    };
    let wanted = approval(0);
    let given = signed(&approval(NOW + 60), &[1, 2, 3]);
    let approvers = |wanted: &Approval, given: &Signed, now| {
        let approvers = wanted.approvers(given, &listed(), now);
        approvers.map(|names| names.len())
    };
    assert_eq!(approvers(&wanted, &given, NOW), Ok(2));
    assert_eq!(
        approvers(&wanted, &given, NOW + 60),
        Err(StatementError::Expired(0))
    );
    let long = signed(&approval(NOW + 86_401), &[1]);
    assert!(matches!(
        approvers(&wanted, &long, NOW),
        Err(StatementError::Expired(_))
    ));
    for other in [
        Approval {
            payout: "42".to_owned(),
            ..wanted.clone()
        },
        Approval {
            amount_msat: 1_001,
            ..wanted.clone()
        },
        Approval {
            destination: "lnbc2".to_owned(),
            ..wanted.clone()
        },
    ] {
        assert_eq!(
            approvers(&other, &given, NOW),
            Err(StatementError::AnotherPayout)
        );
    }
    let elsewhere = Approval {
        place: Place {
            chain: "main".to_owned(),
            ..place()
        },
        ..wanted
    };
    assert!(approvers(&elsewhere, &given, NOW).is_err());
}

proptest! {
    #[test]
    fn one_operator_alone_never_moves_a_payee(
        steps in prop::collection::vec((1..6_u64, any::<bool>(), 1..=3_u8, 0..6_u8), 1..30),
    ) {
        let mut directory = directory();
        for (number, other, signer, left) in steps {
            let lightning = if other { OTHER_LIGHTNING } else { LIGHTNING };
            let record = NodeRecord { lightning: lightning.parse().unwrap(), ..record(number) };
            // Now and then it starts anew, and the configuration lists one of them only.
            let listed = match left {
                1 => only("alice", 1),
                2 => only("bob", 2),
                _ => listed(),
            };
            let last = directory.node(&record.node).map(|known| known.number);
            directory.recheck(&listed, &place());
            directory.take_node(&signed(&record, &[signer]), &listed, &place()).ok();
            let Some(known) = directory.node(&record.node) else {
                continue;
            };
            prop_assert_eq!(known.lightning.to_string(), LIGHTNING);
            prop_assert!(Some(known.number) >= last);
        }
    }
}
