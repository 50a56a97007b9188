//! What a line of the audit log says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LeafHash;
use crate::NodeId;
use crate::command::{CommandId, Digest};
use crate::pki::PeerName;

/// Longest value in a detail, in bytes: a sentence, not a body.
const VALUE_BYTES_MAX: usize = 512;

/// Most values in a detail.
const VALUES_MAX: usize = 24;

/// What an operation is called by; the same in its intent, its outcome and what a node is told.
pub type OperationId = CommandId;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Counted from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The replica of the core that wrote it.
    pub core: PeerName,
    /// What happened.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The hash of the line before; zeros in the first one.
    pub previous: LeafHash,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditEvent {
    /// Somebody asked for something; written before it is tried, and also where it is refused.
    Intent {
        /// Its name.
        op: OperationId,
        /// Who.
        actor: Actor,
        /// How he came: `rest`, `grpc`, `control` or another short word.
        via: String,
        /// From which address, where there is one.
        source: Option<String>,
        /// What, as `noun.verb`.
        action: String,
        /// To whom or what, as `kind:name`.
        target: Option<String>,
        /// SHA-256 of the request: the request itself may hold a secret.
        request: Digest,
        /// What else is worth knowing.
        detail: Detail,
    },
    /// What came of an intent.
    Outcome {
        /// Of which operation.
        op: OperationId,
        /// How it ended.
        outcome: AuditOutcome,
        /// One word for a machine where it was not done.
        code: Option<String>,
        /// SHA-256 of the result that a node signed, where there is one.
        result: Option<Digest>,
        /// What else is worth knowing.
        detail: Detail,
    },
    /// A line of a daemon's own journal, as it is in the file.
    Journal {
        /// Whose.
        source: JournalSource,
        /// The line.
        line: String,
    },
    /// Something is wrong with a daemon's own journal.
    JournalFault {
        /// Whose.
        source: JournalSource,
        /// What.
        fault: String,
    },
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// An operator, by a token or a key of his.
    Operator {
        /// His name.
        name: String,
        /// Which of his credentials.
        credential: String,
    },
    /// A Hyper Node, by its certificate.
    Node {
        /// Which one.
        node: NodeId,
        /// Its certificate's serial number.
        serial: String,
    },
    /// A daemon at the core's site, by its certificate.
    Service {
        /// Which one.
        name: PeerName,
        /// Its certificate's serial number.
        serial: String,
    },
    /// A user of the core's machine, over its control socket.
    Local {
        /// His number.
        uid: u32,
        /// His name, where he has one.
        user: Option<String>,
    },
    /// The core itself, such as when it gives something up.
    Core,
    /// Nobody knows: he showed nothing, or nothing that counts.
    Unknown,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not tried.
    Refused,
    /// It was tried and failed.
    Failed,
    /// Nobody knows, because the replica stopped in between. It does not say that it was not done.
    Unknown,
}

/// Whose journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JournalSource {
    /// The node that the daemon runs on; none at the core's site.
    pub node: Option<NodeId>,
    /// The daemon.
    pub daemon: String,
}

/// Names and short values. They are made by who writes the line, never copied from a request: a log that is read by many must not
/// hold a token (CVE-2025-1296).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Detail(BTreeMap<String, String>);

impl Detail {
    /// With a value more, shortened, and without what would move a terminal or turn a line around. More than 24 are not kept.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if self.0.len() < VALUES_MAX {
            self.0.insert(name.to_owned(), plain(&value.to_string()));
        }
        self
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A text in one line that moves no terminal.
pub(super) fn plain(text: &str) -> String {
    let text = crate::command_result::plain_output(text);
    let end = text.floor_char_boundary(VALUE_BYTES_MAX);
    text[..end].replace(['\n', '\t'], " ")
}
