use super::*;
use crate::NodeSecretKey;
use crate::operator_key::tests::Signer;
use crate::statement::Statement;
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

/// alice and bob, of the numbers 1 and 2. The thief of core is none of them.
fn listed() -> OperatorList {
    let keys = [("alice", 1), ("bob", 2)];
    let keys = keys.map(|(name, seed)| (name.parse().unwrap(), Signer::new(seed).key()));
    OperatorList::new(keys.into()).unwrap()
}

const THIEF: u8 = 66;

fn node() -> NodeId {
    "berlin-1".parse().unwrap()
}

fn record(number: u64, lightning: &str, at: i64) -> NodeRecord {
    let key: NodeSecretKey = "01".repeat(32).parse().unwrap();
    NodeRecord {
        place: place(),
        node: node(),
        number,
        key: key.public_key(),
        lightning: lightning.parse().unwrap(),
        lanes: ["asics".parse().unwrap()].into(),
        visibility: crate::enrolment::Visibility::Public,
        at,
    }
}

fn by(record: &NodeRecord, signers: &[u8]) -> SignedRecord {
    let draft = Signed::draft(record);
    let sign = |seed: &u8| Signer::new(*seed).sign(NodeRecord::NAMESPACE, draft.text.as_bytes());
    SignedRecord {
        kind: RecordKind::Node,
        signatures: signers.iter().map(sign).collect(),
        text: draft.text,
    }
}

fn set(records: &[SignedRecord], revoked_at: Option<i64>) -> RecordSet {
    let revoked = revoked_at.map(|at| Revoked {
        kind: RecordKind::Node,
        name: node().to_string(),
        at,
    });
    RecordSet {
        version: "00".to_owned(),
        is_known: false,
        records: records.to_vec(),
        revocations: revoked.into_iter().collect(),
    }
}

/// Takes what core says at `NOW`; gives how much of it is not believed.
fn hear(directory: &mut Directory, set: &RecordSet) -> usize {
    take_all(directory, set, (&listed(), &place()), NOW)
        .refused
        .len()
}

#[test]
fn what_operators_have_signed_is_taken_in_its_order() {
    let mut directory = Directory::default();
    let first = by(&record(1, LIGHTNING, NOW - 20), &[1]);
    let mut lanes = record(2, LIGHTNING, NOW - 10);
    lanes.lanes = ["gpus".parse().unwrap()].into();
    // Alone, the second needs two signatures: what was before can't be known.
    let second = by(&lanes, &[2]);
    assert_eq!(
        hear(&mut directory, &set(std::slice::from_ref(&second), None)),
        1
    );
    assert_eq!(directory.node(&node()), None);
    assert_eq!(hear(&mut directory, &set(&[first, second], None)), 0);
    assert_eq!(directory.node(&node()), Some(&lanes));
}

#[test]
fn a_core_that_was_stolen_invents_no_node_and_moves_no_payee() {
    let mut directory = Directory::default();
    let invented = by(&record(1, OTHER_LIGHTNING, NOW), &[THIEF]);
    assert_eq!(hear(&mut directory, &set(&[invented], None)), 1);
    assert_eq!(directory.nodes().count(), 0);
    let first = by(&record(1, LIGHTNING, NOW - 10), &[1]);
    let moved = by(&record(2, OTHER_LIGHTNING, NOW), &[1, THIEF]);
    let mut edited = first.clone();
    edited.text = edited.text.replace(LIGHTNING, OTHER_LIGHTNING);
    // Who does not know the node yet takes none of it.
    hear(&mut directory, &set(&[first.clone(), moved.clone()], None));
    assert_eq!(directory.last_record(&node()), None);
    hear(&mut directory, &set(std::slice::from_ref(&first), None));
    for heard in [
        set(&[first.clone(), moved.clone()], None),
        set(&[first.clone(), edited], None),
        // Revoked, so that it looks new.
        set(&[first, moved], Some(NOW - 5)),
    ] {
        hear(&mut directory, &heard);
        let known = directory.last_record(&node()).unwrap();
        assert_eq!(known.lightning.to_string(), LIGHTNING);
    }
}

#[test]
fn a_revocation_holds_until_an_operator_signs_anew_and_is_not_taken_back_by_core() {
    let mut directory = Directory::default();
    let first = by(&record(1, LIGHTNING, NOW - 20), &[1]);
    hear(
        &mut directory,
        &set(std::slice::from_ref(&first), Some(NOW - 10)),
    );
    assert!(directory.is_node_revoked(&node()));
    hear(&mut directory, &set(std::slice::from_ref(&first), None));
    assert!(directory.is_node_revoked(&node()), "core kept it back");
    let again = by(&record(2, LIGHTNING, NOW - 5), &[2]);
    let both = set(&[first, again], Some(NOW - 10));
    for _ in 0..2 {
        assert_eq!(hear(&mut directory, &both), 0);
        assert!(directory.node(&node()).is_some());
    }
    // One from the future is one from the last moment from which a record is taken.
    hear(&mut directory, &set(&[], Some(i64::MAX)));
    assert!(directory.is_node_revoked(&node()));
    let at = NOW + CLOCK_SECONDS_MAX;
    let before = by(&record(3, LIGHTNING, at), &[1]);
    assert_eq!(hear(&mut directory, &set(&[before], None)), 1);
    let later = set(&[by(&record(3, LIGHTNING, at + 1), &[1])], None);
    take_all(&mut directory, &later, (&listed(), &place()), NOW + 1);
    assert!(!directory.is_node_revoked(&node()));
}

#[test]
fn a_clock_that_is_behind_keeps_no_revocation_out() {
    let mut directory = Directory::default();
    // Signed where the clock is five minutes ahead, and revoked after that.
    let first = by(&record(1, LIGHTNING, NOW + 300), &[1]);
    let heard = set(&[first], Some(NOW + 301));
    assert_eq!(hear(&mut directory, &heard), 0);
    assert!(directory.is_node_revoked(&node()));
}

#[test]
fn a_later_record_whose_signers_are_gone_takes_the_one_before_along() {
    let mut directory = Directory::default();
    let first = by(&record(1, LIGHTNING, NOW - 20), &[1]);
    // Of two who are operators no more.
    let moved = by(&record(2, OTHER_LIGHTNING, NOW - 10), &[7, 8]);
    for heard in [
        [first.clone(), moved.clone()],
        [moved.clone(), first.clone()],
    ] {
        hear(&mut directory, &set(&heard, None));
        assert_eq!(directory.last_record(&node()), None);
    }
    // A revocation that it had taken back holds on.
    directory.revoke_node(&node(), NOW - 30);
    let kept = directory.clone();
    hear(&mut directory, &set(&[first.clone(), moved.clone()], None));
    assert_eq!(directory, kept);
    // Who knew the first goes on with it.
    hear(&mut directory, &set(std::slice::from_ref(&first), None));
    hear(&mut directory, &set(&[first, moved], None));
    let known = directory.node(&node()).unwrap();
    assert_eq!(known.lightning.to_string(), LIGHTNING);
}

#[test]
fn a_record_from_the_future_is_not_taken() {
    let mut directory = Directory::default();
    let ahead = by(&record(1, LIGHTNING, NOW + CLOCK_SECONDS_MAX + 1), &[1]);
    let ahead = set(&[ahead], None);
    let unbelieved = take_all(&mut directory, &ahead, (&listed(), &place()), NOW);
    assert_eq!(unbelieved.refused.len(), 1);
    assert!(unbelieved.is_ahead, "it is asked for again");
    assert_eq!(directory.nodes().count(), 0);
    // Its time comes.
    let taken = take_all(&mut directory, &ahead, (&listed(), &place()), NOW + 1);
    assert!(!taken.is_ahead && taken.refused.is_empty(), "{taken:?}");
    assert_eq!(directory.nodes().count(), 1);
}

#[test]
fn what_is_no_record_is_told_and_stops_nothing() {
    let mut directory = Directory::default();
    let nonsense = SignedRecord {
        kind: RecordKind::Operator,
        text: "{}".to_owned(),
        signatures: Vec::new(),
    };
    let good = by(&record(1, LIGHTNING, NOW), &[1]);
    let mut heard = set(&[nonsense, good], None);
    heard.revocations.push(Revoked {
        kind: RecordKind::Node,
        name: "../x".to_owned(),
        at: NOW,
    });
    assert_eq!(hear(&mut directory, &heard), 2);
    assert_eq!(directory.nodes().count(), 1);
}

proptest! {
    /// Whatever core has of operators' signatures, in whatever order it shows it: what one of them alone has signed moves no payee.
    #[test]
    fn no_order_of_what_was_signed_moves_a_payee(
        shown in prop::collection::vec((1..4_u64, any::<bool>(), 0..3_usize, prop::option::of(-30..30_i64)), 1..20),
    ) {
        let mut directory = Directory::default();
        let first = by(&record(1, LIGHTNING, NOW - 40), &[1]);
        hear(&mut directory, &set(&[first], None));
        for (number, is_moved, signer, revoked) in shown {
            let lightning = if is_moved { OTHER_LIGHTNING } else { LIGHTNING };
            let signers = [&[1][..], &[2, THIEF], &[THIEF]];
            let record = by(&record(number, lightning, NOW - 20), signers[signer]);
            hear(&mut directory, &set(&[record], revoked.map(|ago| NOW - ago)));
            let known = directory.last_record(&node()).unwrap();
            prop_assert_eq!(known.lightning.to_string(), LIGHTNING);
        }
    }
}
