//! The audit log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which lines to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// Those after this one; 0 for all.
    #[serde(default)]
    pub after_seq: u64,
    /// At most this many; 0 and more than 200 mean 200.
    #[serde(default)]
    pub limit: u32,
}

/// A part of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// As they were written: each has the SHA-256 of the one before, to the byte.
    pub lines: Vec<String>,
    /// The last line of the log, in this part or not; 0 if there is none.
    pub last_seq: u64,
}

/// How far the log goes, signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheckpoint {
    /// Whose log it is.
    pub trust_domain: String,
    /// The note of C2SP, as nodes are sent it.
    pub note: String,
    /// `hhaudit1...`: by which it is signed.
    pub key: String,
}

/// What a node has seen of the log, as it has said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditWitness {
    pub node: String,
    /// Lines; 0 if it has seen none.
    pub lines: u64,
    /// The Merkle root over them, in hex; none if it has seen none.
    pub root: Option<String>,
    /// Why it has refused what it was shown.
    pub fault: Option<String>,
    /// When it has said so.
    pub said_at: Timestamp,
}

/// The nodes that have seen something of the log, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditWitnessPage {
    /// At most 1,000.
    pub witnesses: Vec<AuditWitness>,
}
