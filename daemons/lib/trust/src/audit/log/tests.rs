use super::*;
use crate::audit::{Actor, AuditOutcome, Detail};
use crate::command::Digest;
use crate::control_key::CheckpointKey;
use proptest::prelude::*;

fn op(number: u64) -> OperationId {
    format!("{number:032x}").parse().unwrap()
}

fn intent(number: u64) -> AuditEvent {
    AuditEvent::Intent {
        op: op(number),
        actor: Actor::Operator {
            name: "alice".to_owned(),
            credential: "SHA256:abc".to_owned(),
        },
        via: "rest".to_owned(),
        source: Some("192.0.2.7".to_owned()),
        action: "node.revoke".to_owned(),
        target: Some("node:berlin-1".to_owned()),
        request: Digest::of(b"request"),
        detail: Detail::default().with("reason", "stolen\n\u{1b}[2J"),
    }
}

fn outcome(number: u64) -> AuditEvent {
    AuditEvent::Outcome {
        op: op(number),
        outcome: AuditOutcome::Done,
        code: None,
        result: None,
        detail: Detail::default(),
    }
}

/// A log of intents and outcomes in turn, with the chain after each line.
fn log(lines: u64) -> (Vec<String>, Vec<AuditChain>) {
    let mut chain = AuditChain::default();
    let core: PeerName = "core-a".parse().unwrap();
    (0..lines)
        .map(|at| {
            let event = match at % 2 {
                0 => intent(at / 2),
                _ => outcome(at / 2),
            };
            let (line, next) = chain.append(Timestamp::UNIX_EPOCH, &core, event).unwrap();
            chain = next;
            (line, chain.clone())
        })
        .unzip()
}

fn verify(lines: &[String], kept: &[Checkpoint]) -> AuditReport {
    let mut verifier = AuditVerifier::new(kept);
    for line in lines {
        verifier.line(line);
    }
    verifier.finish()
}

fn checkpoint(chains: &[AuditChain], size: usize) -> Checkpoint {
    Checkpoint::of(chains[size - 1].frontier())
}

#[test]
fn a_line_as_it_is_written() {
    let (lines, _) = log(1);
    assert_eq!(
        lines[0],
        concat!(
            r#"{"seq":1,"at":"1970-01-01T00:00:00Z","core":"core-a","event":"intent","#,
            r#""op":"00000000000000000000000000000000","#,
            r#""actor":{"kind":"operator","name":"alice","credential":"SHA256:abc"},"via":"rest","#,
            r#""source":"192.0.2.7","action":"node.revoke","target":"node:berlin-1","#,
            r#""request":"REQUEST","#,
            r#""detail":{"reason":"stolen [2J"},"#,
            r#""previous":"0000000000000000000000000000000000000000000000000000000000000000"}"#
        )
        .replace("REQUEST", &Digest::of(b"request").to_string())
    );
}

#[test]
fn a_whole_log_has_no_fault_and_tells_what_is_open() {
    let (lines, chains) = log(9);
    let kept = [checkpoint(&chains, 4), checkpoint(&chains, 9)];
    let report = verify(&lines, &kept);
    assert_eq!(report.faults, []);
    assert_eq!((report.lines, report.checkpoints), (9, 2));
    assert_eq!(report.open, [op(4)].into());
    assert_eq!(verify(&[], &[]), AuditReport::default());
}

#[test]
fn a_log_goes_on_from_what_was_kept_of_it() {
    let (_, chains) = log(6);
    let kept = serde_json::to_string(&chains[5]).unwrap();
    let chain: AuditChain = serde_json::from_str(&kept).unwrap();
    assert_eq!(chain, chains[5]);
    let damaged = kept.replace("\"size\":6", "\"size\":7");
    let chain: AuditChain = serde_json::from_str(&damaged).unwrap();
    let core: PeerName = "core-a".parse().unwrap();
    assert!(
        chain
            .append(Timestamp::UNIX_EPOCH, &core, outcome(1))
            .is_err()
    );
}

#[test]
fn an_end_that_was_cut_off_or_written_anew_shows_beside_a_checkpoint_only() {
    let (lines, chains) = log(20);
    let kept = [checkpoint(&chains, 20)];
    assert_eq!(verify(&lines[..18], &[]).faults, []);
    let truncated = AuditFault::Truncated {
        lines: 18,
        size: 20,
    };
    assert_eq!(verify(&lines[..18], &kept).faults, [truncated]);
    // The same number of lines, all of them right, and other ones.
    let mut chain = AuditChain::default();
    let core: PeerName = "core-b".parse().unwrap();
    let forged: Vec<String> = (0..20)
        .map(|at| {
            let event = if at % 2 == 0 {
                intent(at)
            } else {
                outcome(at - 1)
            };
            let (line, next) = chain.append(Timestamp::UNIX_EPOCH, &core, event).unwrap();
            chain = next;
            line
        })
        .collect();
    assert_eq!(verify(&forged, &[]).faults, []);
    assert_eq!(
        verify(&forged, &kept).faults,
        [AuditFault::Checkpoint { size: 20 }]
    );
}

#[test]
fn an_outcome_is_of_an_intent_and_the_only_one() {
    let core: PeerName = "core-a".parse().unwrap();
    let mut lines = Vec::new();
    let mut chain = AuditChain::default();
    for event in [outcome(1), intent(2), outcome(2), outcome(2)] {
        let (line, next) = chain.append(Timestamp::UNIX_EPOCH, &core, event).unwrap();
        chain = next;
        lines.push(line);
    }
    let faults = verify(&lines, &[]).faults;
    let expected = [
        AuditFault::Outcome { seq: 1, op: op(1) },
        AuditFault::Outcome { seq: 4, op: op(2) },
    ];
    assert_eq!(faults, expected);
}

/// Ed25519 as it is in the second verifier of reports: none of our code.
#[test]
fn the_second_verifier_finds_the_same() {
    let (lines, chains) = log(1_000);
    let key: CheckpointKey = "05".repeat(32).parse().unwrap();
    let domain: crate::pki::TrustDomain = "hyperhash.example".parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let all = |lines: &[String]| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    write("key.txt", &hex::encode(key.public_key().as_bytes()));
    write("note.txt", &checkpoint(&chains, 1_000).sign(&domain, &key));
    write("right.jsonl", &all(&lines));
    let mut changed = lines.clone();
    changed[499] = changed[499].replace("core-a", "core-b");
    write("changed.jsonl", &all(&changed));
    let mut last = lines.clone();
    last[999] = last[999].replace("core-a", "core-b");
    write("last.jsonl", &all(&last));
    write("cut.jsonl", &all(&lines[..999]));
    let other: CheckpointKey = "06".repeat(32).parse().unwrap();
    write("other.txt", &hex::encode(other.public_key().as_bytes()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify_audit_log.py");
    let says = |log: &str, key: &str| {
        let mut python = std::process::Command::new("python3");
        python
            .args([script, log, "note.txt", key])
            .current_dir(&dir);
        let output = python.output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(right) = says("right.jsonl", "key.txt") else {
        eprintln!("skipped: there is no python3 here for the second verifier");
        return;
    };
    assert_eq!(right, "right: 1000 lines\n");
    let wrong = |log: &str, key: &str| says(log, key).unwrap();
    assert_eq!(
        wrong("changed.jsonl", "key.txt"),
        "wrong: line 501 names another line before it\n"
    );
    assert_eq!(
        wrong("last.jsonl", "key.txt"),
        "wrong: the root is another\n"
    );
    assert_eq!(
        wrong("cut.jsonl", "key.txt"),
        "wrong: 999 lines in place of 1000\n"
    );
    assert_eq!(
        wrong("right.jsonl", "other.txt"),
        "wrong: the checkpoint is not signed by the key\n"
    );
}

#[test]
fn a_witness_sees_a_log_that_was_written_anew() {
    use crate::audit::{Witness, WitnessError, consistency_proof};
    let (lines, chains) = log(30);
    let leaves: Vec<LeafHash> = lines.iter().map(|line| LeafHash::of(line)).collect();
    let mut witness = Witness::default();
    witness.see(&checkpoint(&chains, 7), &[]).unwrap();
    witness.see(&checkpoint(&chains, 7), &[]).unwrap();
    let proof = consistency_proof(&leaves[..20], 7);
    let mut without = witness;
    let fork = Err(WitnessError::Fork { seen: 7 });
    assert_eq!(without.see(&checkpoint(&chains, 20), &[]), fork);
    assert_eq!(without.size(), 7);
    witness.see(&checkpoint(&chains, 20), &proof).unwrap();
    let (size, seen) = (7, 20);
    let shorter = Err(WitnessError::Shorter { size, seen });
    assert_eq!(witness.see(&checkpoint(&chains, 7), &[]), shorter);
    let mut forged = leaves.clone();
    forged[3] = LeafHash::of("another");
    let mut frontier = Frontier::default();
    assert!(forged.iter().all(|leaf| frontier.push(*leaf)));
    let proof = consistency_proof(&forged, 20);
    let fork = Err(WitnessError::Fork { seen: 20 });
    assert_eq!(witness.see(&Checkpoint::of(&frontier), &proof), fork);
}

proptest! {
    #[test]
    fn lines_changed_removed_inserted_or_moved_show(from in 0..40_usize, to in 0..40_usize, what in 0..4_u8) {
        let (lines, chains) = log(40);
        let kept = [checkpoint(&chains, 40)];
        let mut tampered = lines.clone();
        match what {
            0 => { tampered.remove(from); }
            1 => tampered.insert(to, lines[from].clone()),
            2 => { prop_assume!(from != to); tampered.swap(from, to); }
            _ => tampered[from] = tampered[from].replace("core-a", "core-b"),
        }
        prop_assert!(!verify(&tampered, &kept).faults.is_empty());
        // Without a checkpoint only what is done to the end does not show.
        let is_at_the_end = from == 39 && [0, 3].contains(&what);
        prop_assert_eq!(verify(&tampered, &[]).faults.is_empty(), is_at_the_end);
    }
}
