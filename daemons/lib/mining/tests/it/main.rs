//! Reports and proofs against a second verifier in Python, which was written from docs/reference/block-report.md alone. The ledger's
//! tests ask it about windows that come out of databases; here it is asked about what only it and we can tell: changed bytes.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output};

use hh_mining::{
    AccountProof, BlockHash, BlockReport, CORE, Division, EdgeShare, EntryOrigin, Network,
    PartMinute, ReportParts, ReportedBlock, Reward, Score, ShareId, SharePosition, SumTree, Tally,
    WindowEntry, WindowSize, Work,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// The verifier's answer; none where there is no Python.
fn verify(directories: &[impl AsRef<Path>]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/verify_block_report.py");
    let mut python = Command::new("python3");
    python.arg(script);
    for directory in directories {
        python.arg(directory.as_ref());
    }
    let output = python.output().ok();
    if output.is_none() {
        let skipped = b"skipped: there is no python3 here for the second verifier\n";
        io::stderr().write_all(skipped).unwrap();
    }
    output
}

fn salt(account: &str) -> [u8; 32] {
    let mut salt = [0x5a; 32];
    salt[..account.len()].copy_from_slice(account.as_bytes());
    salt
}

/// A report over shares of so much score, some of them by a node, of which a window takes some.
fn report(scores: &[u64], size: u128, value_sats: u64) -> ReportParts {
    let size = WindowSize::Pplns { score: Score(size) };
    let mut tally = Tally::new(size);
    let account = |number: usize| format!("account-{number}");
    let origin = |number: usize| EntryOrigin {
        account: account(number).into(),
        worker: "".into(),
        node: if number.is_multiple_of(3) {
            "edge-1"
        } else {
            CORE
        }
        .into(),
        lane: "main".into(),
    };
    let parts = scores.iter().enumerate().map(|(number, score)| {
        WindowEntry::Part(PartMinute {
            minute: 28_333_333,
            origin: origin(number),
            shares: 1,
            work: Work(1),
            score: Score(u128::from(*score)),
        })
    });
    if !tally.take_minute(&parts.collect::<Vec<_>>()) {
        for (number, score) in scores.iter().enumerate() {
            if !tally.is_full() {
                tally.take_share(EdgeShare {
                    at_ms: 1_699_999_980_000 + 9_000 - i64::try_from(number).unwrap(),
                    pool: "pool-1".into(),
                    epoch: [7; 16],
                    seq: 1_000,
                    origin: origin(number),
                    score: Score(u128::from(*score)),
                    counted: Score(0),
                });
            }
        }
    }
    let window = tally.finish();
    let reward = Reward::of(value_sats, 840_000, Network::Bitcoin).unwrap();
    let division = Division::of(reward, &window.credits, account(0));
    let block = ReportedBlock {
        network: Network::Bitcoin,
        hash: BlockHash::from_byte_array([0x11; 32]),
        height: 840_000,
        window: size,
        newest: SharePosition {
            at_ms: 1_700_000_000_000,
            share: Some(ShareId {
                pool: "pool-1".to_owned(),
                epoch: [7; 16],
                seq: 2_000,
            }),
        },
        previous_report: None,
    };
    ReportParts::of(&block, &division, &window, salt).unwrap()
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join(name), bytes).unwrap();
}

fn proofs(parts: &ReportParts) -> Vec<Vec<u8>> {
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
    let tree = SumTree::new(leaves.collect()).unwrap();
    let proof = |(account, _): &(String, _)| {
        AccountProof::of(parts.report.block, account, salt(account), &tree).unwrap()
    };
    parts
        .leaves
        .iter()
        .map(|leaf| proof(leaf).to_json())
        .collect()
}

#[test]
fn reports_of_any_size_and_their_proofs_are_right_for_the_second_verifier() {
    let mut runner = TestRunner::deterministic();
    let reports = (
        prop::collection::vec(1..=u64::MAX, 1..70),
        1..(70_u128 << 64),
        0..=400_000_000_u64,
    );
    let root = tempfile::tempdir().unwrap();
    let mut asked = Vec::new();
    for case in 0..60 {
        let (scores, size, value_sats) = reports.new_tree(&mut runner).unwrap().current();
        let parts = report(&scores, size, value_sats);
        let dir = root.path().join(case.to_string());
        put(&dir, "report.json", &parts.report.to_json());
        for (number, proof) in proofs(&parts).iter().enumerate() {
            put(&dir, &format!("proof-{number}.json"), proof);
        }
        let edge = parts
            .edge
            .iter()
            .flat_map(|row| [row.to_json(), b"\n".to_vec()]);
        put(&dir, "edge.jsonl", &edge.collect::<Vec<_>>().concat());
        asked.push(dir);
    }
    if let Some(output) = verify(&asked) {
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.lines().count(), asked.len());
    }
}

/// Whatever byte is changed, both verifiers say the same: it is refused, or it is one that only the signature vouches for.
#[test]
fn both_verifiers_refuse_the_same_changed_bytes() {
    let parts = report(&[5, 3, 9, 1], 16, 322_500_000);
    let (json, proof) = (parts.report.to_json(), proofs(&parts).remove(1));
    let root = tempfile::tempdir().unwrap();
    let (mut asked, mut refused) = (Vec::new(), Vec::new());
    let mut ask = |name: String, report: &[u8], proof: Option<&[u8]>| {
        let dir = root.path().join(name);
        put(&dir, "report.json", report);
        if let Some(proof) = proof {
            put(&dir, "proof.json", proof);
        }
        let read = BlockReport::parse(report).ok();
        let is_right = read.is_some_and(|report| {
            proof.is_none_or(|proof| {
                AccountProof::parse(proof).is_ok_and(|proof| proof.verify(&report).is_ok())
            })
        });
        asked.push(dir);
        refused.push(!is_right);
    };
    ask("right".to_owned(), &json, Some(&proof));
    // Low bits make another digit or letter of most, so that it is the meaning that is looked at.
    for flip in [0x01, 0x10, 0x40] {
        for place in 0..json.len() {
            let mut other = json.clone();
            other[place] ^= flip;
            ask(format!("report-{flip}-{place}"), &other, None);
        }
        for place in 0..proof.len() {
            let mut other = proof.clone();
            other[place] ^= flip;
            ask(format!("proof-{flip}-{place}"), &json, Some(&other));
        }
    }
    assert_eq!(refused.iter().position(|refused| !refused), Some(0));
    let of_proofs = asked.iter().zip(&refused).filter(|(dir, _)| {
        let name = dir.file_name().unwrap().to_string_lossy();
        name.starts_with("proof")
    });
    assert!(of_proofs.into_iter().all(|(_, refused)| *refused));
    let Some(output) = verify(&asked) else {
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.lines().count(),
        asked.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for ((line, refused), dir) in said.lines().zip(&refused).zip(&asked) {
        let report =
            || String::from_utf8_lossy(&fs::read(dir.join("report.json")).unwrap()).into_owned();
        assert_eq!(line.contains(": WRONG: "), *refused, "{line} {}", report());
    }
}
