//! The audit log.

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
