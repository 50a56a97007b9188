//! The chain of the log: how a line is added, and how all of it is checked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AuditEntry, AuditEvent, Checkpoint, Frontier, LeafHash, OperationId};
use crate::pki::PeerName;

/// Where a log ends: what must be kept beside its lines to go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChain {
    last: LeafHash,
    frontier: Frontier,
}

/// What is wrong with a line of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// It is no entry.
    #[error("line {seq} of the audit log is no entry: {reason}")]
    Malformed {
        /// Which line, by counting.
        seq: u64,
        /// What the parser says.
        reason: String,
    },
    /// Its number is not the next one.
    #[error(
        "line {seq} of the audit log has the number {found}: lines were removed, inserted or moved"
    )]
    Number {
        /// Which line, by counting.
        seq: u64,
        /// The number in it.
        found: u64,
    },
    /// It does not name the line before.
    #[error(
        "line {seq} of the audit log names another line before it: that one was changed, or this one"
    )]
    Broken {
        /// Which line, by counting.
        seq: u64,
    },
    /// A checkpoint says otherwise.
    #[error(
        "the first {size} lines of the audit log are not those of the checkpoint: one of them was changed"
    )]
    Checkpoint {
        /// How far the checkpoint goes.
        size: u64,
    },
    /// A checkpoint goes further.
    #[error(
        "the audit log ends at line {lines}, and a checkpoint is over {size}: its end was cut off"
    )]
    Truncated {
        /// Lines that are there.
        lines: u64,
        /// How far the checkpoint goes.
        size: u64,
    },
    /// An outcome of nothing.
    #[error(
        "line {seq} of the audit log is the outcome of {op}, which nobody asked for or which has one"
    )]
    Outcome {
        /// Which line.
        seq: u64,
        /// Of which operation.
        op: OperationId,
    },
}

impl Default for AuditChain {
    fn default() -> Self {
        Self {
            last: LeafHash::NONE,
            frontier: Frontier::default(),
        }
    }
}

impl AuditChain {
    /// Lines so far.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The hash of the last line.
    #[must_use]
    pub const fn last(&self) -> LeafHash {
        self.last
    }

    /// The Merkle tree over the lines so far.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The next line, without its end, and the chain after it. Both are written in the transaction of what the line tells.
    ///
    /// # Errors
    /// The chain can't be one: what was kept of it was damaged.
    ///
    /// # Panics
    /// Never: texts and numbers have a JSON.
    pub fn append(
        &self,
        at: Timestamp,
        core: &PeerName,
        event: AuditEvent,
    ) -> Result<(String, Self), AuditFault> {
        let entry = AuditEntry {
            seq: self.size() + 1,
            at,
            core: core.clone(),
            event,
            previous: self.last,
        };
        let line = serde_json::to_string(&entry).expect("texts and numbers have a JSON");
        let mut next = self.clone();
        next.take(&line)?;
        Ok((line, next))
    }

    fn take(&mut self, line: &str) -> Result<(), AuditFault> {
        let leaf = LeafHash::of(line);
        self.last = leaf;
        let seq = self.size() + 1;
        match self.frontier.push(leaf) {
            true => Ok(()),
            false => Err(AuditFault::Malformed {
                seq,
                reason: "the tree that was kept beside the log is none".to_owned(),
            }),
        }
    }
}

/// What a check of the whole log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Lines that were read.
    pub lines: u64,
    /// What is wrong, in the order of the lines.
    pub faults: Vec<AuditFault>,
    /// Operations of which no outcome is known: under way, or the core stopped in between.
    pub open: BTreeSet<OperationId>,
    /// Checkpoints that agreed.
    pub checkpoints: u64,
}

/// Reads a log from its first line.
#[derive(Debug, Default)]
pub struct AuditVerifier {
    chain: AuditChain,
    report: AuditReport,
    /// What must be the root after so many lines; their signatures are checked.
    expected: BTreeMap<u64, BTreeSet<crate::command::Digest>>,
}

impl AuditVerifier {
    /// A check against checkpoints that somebody has kept; there may be none.
    #[must_use]
    pub fn new<'a>(kept: impl IntoIterator<Item = &'a Checkpoint>) -> Self {
        let mut verifier = Self::default();
        for checkpoint in kept {
            let roots = verifier.expected.entry(checkpoint.size).or_default();
            roots.insert(checkpoint.root);
        }
        verifier.compare_root();
        verifier
    }

    /// Takes the next line, without its end. After a fault it goes on from that line, so that one is told once.
    pub fn line(&mut self, line: &str) {
        let previous = self.chain.last();
        let seq = self.chain.size() + 1;
        if let Err(fault) = self.chain.take(line) {
            self.report.faults.push(fault);
        }
        self.report.lines = seq;
        match serde_json::from_str::<AuditEntry>(line) {
            Err(error) => self.report.faults.push(AuditFault::Malformed {
                seq,
                reason: error.to_string(),
            }),
            Ok(entry) if entry.seq != seq => {
                let found = entry.seq;
                self.report.faults.push(AuditFault::Number { seq, found });
            }
            Ok(entry) if entry.previous != previous => {
                self.report.faults.push(AuditFault::Broken { seq });
            }
            Ok(entry) => self.pair(seq, &entry.event),
        }
        self.compare_root();
    }

    /// An intent has one outcome, after it.
    fn pair(&mut self, seq: u64, event: &AuditEvent) {
        match event {
            AuditEvent::Intent { op, .. } => {
                self.report.open.insert(*op);
            }
            AuditEvent::Outcome { op, .. } if !self.report.open.remove(op) => {
                let op = *op;
                self.report.faults.push(AuditFault::Outcome { seq, op });
            }
            AuditEvent::Outcome { .. }
            | AuditEvent::Journal { .. }
            | AuditEvent::JournalFault { .. } => {}
        }
    }

    fn compare_root(&mut self) {
        let size = self.chain.size();
        let Some(roots) = self.expected.remove(&size) else {
            return;
        };
        let root = self.chain.frontier().root();
        if roots.iter().all(|expected| *expected == root) {
            self.report.checkpoints += 1;
        } else {
            self.report.faults.push(AuditFault::Checkpoint { size });
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        let lines = self.report.lines;
        let beyond = self.expected.into_keys();
        let truncated = beyond.map(|size| AuditFault::Truncated { lines, size });
        self.report.faults.extend(truncated);
        self.report
    }
}

#[cfg(test)]
mod tests;
