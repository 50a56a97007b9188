use super::*;
use hh_trust::audit::{Frontier, LeafHash, Tree};
use hh_trust::control_key::{CheckpointKey, NetworkKey};
use hh_trust::key_set::{KeySet, TimedKey};
use hh_trust::pki::TrustDomain;
use tempfile::TempDir;

/// A network, and a node of it.
struct Site {
    enrolled: Enrolled,
    key: CheckpointKey,
    dir: TempDir,
}

fn domain() -> TrustDomain {
    "hyperhash.test".parse().unwrap()
}

impl Site {
    fn start() -> Self {
        let key = CheckpointKey::generate().unwrap();
        let enrolled = enrolled(&key, i64::MAX);
        let dir = tempfile::tempdir().unwrap();
        Self { enrolled, key, dir }
    }

    fn witness(&self) -> LogWitness {
        LogWitness::open(self.dir.path()).unwrap()
    }

    /// As core shows a log of these lines to who has seen so many.
    fn shown(&self, lines: &[&str], from: u64) -> AuditCheckpoint {
        let (mut frontier, mut tree) = (Frontier::default(), Tree::default());
        for line in lines {
            assert!(frontier.push(LeafHash::of(line)));
            tree.push(LeafHash::of(line));
        }
        let proof = tree.consistency_proof(from, frontier.size());
        AuditCheckpoint {
            note: Checkpoint::of(&frontier).sign(&domain(), &self.key),
            from_size: from,
            proof: proof.iter().map(|part| part.0.to_vec()).collect(),
        }
    }
}

/// Of a network of its own, whose list of keys has this one for so long.
fn enrolled(key: &CheckpointKey, exp: i64) -> Enrolled {
    let network = NetworkKey::generate().unwrap();
    let keys = KeySet {
        version: 1,
        domain: domain(),
        commands: Vec::new(),
        checkpoints: vec![TimedKey {
            key: key.public_key(),
            nbf: 0,
            exp,
        }],
    };
    let key_set = keys.sign(&network).unwrap();
    let node = "berlin".parse().unwrap();
    Enrolled::of_test(node, domain(), 1, network.public_key(), key_set)
}

#[test]
fn the_newest_checkpoint_is_kept_over_a_restart() {
    let site = Site::start();
    let mut witness = site.witness();
    let seen = witness.seen();
    let first = site.shown(&["a", "b", "c"], 0);
    witness.hear(&site.enrolled, &first).unwrap();
    assert_eq!(seen.borrow().lines, 3);
    drop(witness);
    let mut witness = site.witness();
    let seen = witness.seen();
    assert_eq!(seen.borrow().lines, 3);
    let longer = ["a", "b", "c", "d", "e"];
    // A proof from somewhere else is left aside, and no alarm.
    let stale = site.shown(&longer, 2);
    witness.hear(&site.enrolled, &stale).unwrap();
    assert_eq!(
        (seen.borrow().lines, seen.borrow().fault.clone()),
        (3, None)
    );
    let next = site.shown(&longer, 3);
    witness.hear(&site.enrolled, &next).unwrap();
    assert_eq!(
        (seen.borrow().lines, seen.borrow().fault.clone()),
        (5, None)
    );
    assert!(seen.borrow().at.is_some() && seen.borrow().root.is_some());
}

#[test]
fn a_log_that_was_cut_or_written_anew_is_refused_and_stays_refused() {
    for forged in [
        &["a", "b"][..],
        &["a", "x", "c"],
        &["a", "x", "c", "d", "e"],
    ] {
        let site = Site::start();
        let mut witness = site.witness();
        let seen = witness.seen();
        let first = site.shown(&["a", "b", "c"], 0);
        witness.hear(&site.enrolled, &first).unwrap();
        let root = seen.borrow().root;
        let refused = site.shown(forged, 3);
        witness.hear(&site.enrolled, &refused).unwrap();
        assert!(seen.borrow().fault.is_some(), "{forged:?}");
        assert_eq!((seen.borrow().lines, seen.borrow().root), (3, root));
        // What goes on from what was seen is seen, and what was refused is not forgotten, over a restart as well.
        drop(witness);
        let mut witness = site.witness();
        let seen = witness.seen();
        let next = site.shown(&["a", "b", "c", "d"], 3);
        witness.hear(&site.enrolled, &next).unwrap();
        assert_eq!(seen.borrow().lines, 4);
        assert!(seen.borrow().fault.is_some(), "{forged:?}");
        let file = std::fs::read_to_string(site.dir.path().join(FILE)).unwrap();
        assert!(file.contains(refused.note.lines().nth(2).unwrap()));
    }
}

#[test]
fn what_core_has_not_signed_is_left_aside() {
    let site = Site::start();
    let mut witness = site.witness();
    let seen = witness.seen();
    let shown = site.shown(&["a"], 0);
    let stranger = enrolled(&CheckpointKey::generate().unwrap(), i64::MAX);
    let expired = enrolled(&site.key, 1);
    for other in [&stranger, &expired] {
        witness.hear(other, &shown).unwrap();
        assert_eq!(
            (seen.borrow().lines, seen.borrow().fault.clone()),
            (0, None)
        );
    }
    witness.hear(&site.enrolled, &shown).unwrap();
    assert_eq!(seen.borrow().lines, 1);
    // Of another network it has seen nothing yet.
    let elsewhere = enrolled(&site.key, i64::MAX);
    let asked_before = site.shown(&["x", "y"], 1);
    witness.hear(&elsewhere, &asked_before).unwrap();
    assert_eq!(seen.borrow().lines, 0);
    let begun = site.shown(&["x"], 0);
    witness.hear(&elsewhere, &begun).unwrap();
    assert_eq!(
        (seen.borrow().lines, seen.borrow().fault.clone()),
        (1, None)
    );
}
