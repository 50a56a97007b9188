//! The second verifier, in Python: it makes each report again from the shares alone, and from the entries, and checks the proofs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bitcoin::hashes::{Hash, sha256};
use hh_mining::{AccountProof, ReportParts, SumTree, WindowEntry, WindowSize};
use tempfile::TempDir;

use super::world::World;
use crate::say;

/// Windows that it is asked about; each takes it some milliseconds.
const WINDOWS_MAX: usize = 400;

pub(crate) fn salt(account: &str) -> [u8; 32] {
    sha256::Hash::hash(account.as_bytes()).to_byte_array()
}

pub(crate) struct SecondOpinion {
    dir: TempDir,
    asked: Vec<PathBuf>,
}

impl SecondOpinion {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            asked: Vec::new(),
        }
    }

    pub(crate) fn ask(
        &mut self,
        world: &World,
        parts: &ReportParts,
        entries: &[WindowEntry<'static>],
    ) {
        if self.asked.len() == WINDOWS_MAX {
            return;
        }
        let dir = self.dir.path().join(self.asked.len().to_string());
        fs::create_dir(&dir).unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
        put("report.json", &parts.report.to_json());
        put(
            "entries.jsonl",
            &lines(entries.iter().map(WindowEntry::to_json)),
        );
        put(
            "edge.jsonl",
            &lines(parts.edge.iter().map(|row| row.to_json())),
        );
        let ends_with_a_share = match parts.report.window {
            WindowSize::Round {
                previous: Some(hash),
            } => world.has_share(&hash),
            _ => true,
        };
        if ends_with_a_share {
            put("shares.jsonl", shares(world).as_bytes());
        }
        put("known.json", known(world).as_bytes());
        let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf);
        let tree = SumTree::new(leaves.collect()).unwrap();
        for (number, (account, _)) in parts.leaves.iter().enumerate() {
            let proof = AccountProof::of(parts.report.block, account, salt(account), &tree);
            let proof = proof.unwrap();
            proof.verify(&parts.report).unwrap();
            put(&format!("proof-{number}.json"), &proof.to_json());
            let own = entries
                .iter()
                .filter(|entry| entry.origin().account == **account);
            let own = lines(own.map(WindowEntry::to_json));
            put(&format!("own-{number}.jsonl"), &own);
        }
        self.asked.push(dir);
    }

    /// What it says of all of them.
    pub(crate) fn check(self) {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../mining/tests/it/verify_block_report.py");
        let Ok(output) = Command::new("python3")
            .arg(script)
            .args(&self.asked)
            .output()
        else {
            say("skipped: there is no python3 here for the second verifier");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong: Vec<_> = said
            .lines()
            .filter(|line| !line.contains(": right: "))
            .collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{wrong:#?} {errors}");
        assert_eq!(said.lines().count(), self.asked.len());
    }
}

fn lines(rows: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    rows.flat_map(|row| [row, b"\n".to_vec()].concat())
        .collect()
}

/// All shares there are, in no order that helps.
fn shares(world: &World) -> String {
    let mut text = String::new();
    for row in world.in_order().iter().rev() {
        let [account, worker, node, lane] = row.share.origin.names();
        let epoch = row.epoch.map(|byte| format!("{byte:02x}")).concat();
        let share = row.share;
        writeln!(
            text,
            concat!(
                r#"{{"at_ms":{},"pool":"{}","epoch":"{}","seq":"{}","#,
                r#""origin":{{"account":"{}","worker":"{}","node":"{}","lane":"{}"}},"hash":"{}","work":"{}","score":"{}"}}"#,
            ),
            share.accepted_at_ms, row.pool, epoch, share.seq, account, worker, node, lane, share.hash, share.work, share.score
        )
        .unwrap();
    }
    text
}

fn known(world: &World) -> String {
    let mut accounts = world.accounts();
    accounts.push("alice");
    accounts.sort_unstable();
    accounts.dedup();
    let salts = accounts.into_iter().map(|account| {
        let salt = salt(account).map(|byte| format!("{byte:02x}")).concat();
        format!(r#""{account}":"{salt}""#)
    });
    let salts: Vec<_> = salts.collect();
    format!(r#"{{"finder":"alice","salts":{{{}}}}}"#, salts.join(","))
}
