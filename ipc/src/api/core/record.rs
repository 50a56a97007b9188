//! What operators have signed about nodes and about each other, as core keeps it and passes it on. Core is believed nothing of it:
//! hh-pool and hh-treasury check the signatures.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    Node,
    Operator,
}

impl RecordKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Node, Self::Operator];

    /// In lists and in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A statement, and who has signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedRecord {
    pub kind: RecordKind,
    /// JSON, to the byte as it was signed.
    pub text: String,
    /// Of SSH keys over the text, armored.
    pub signatures: Vec<String>,
}

/// Which records to list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordQuery {
    pub kind: RecordKind,
    /// The one of this name.
    #[serde(default)]
    pub name: Option<String>,
    /// Those after this name.
    #[serde(default)]
    pub after: Option<String>,
}

/// The last record of a node or an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRecord {
    pub record: SignedRecord,
    pub name: String,
    pub number: u64,
    /// Who brought it first, and when.
    pub by: String,
    pub at: Timestamp,
    /// That of the node or the operator, of before this record or since.
    pub revocation: Option<RecordRevocation>,
}

/// That a node or an operator is none any more. It needs no signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRevocation {
    pub reason: String,
    pub by: String,
    pub at: Timestamp,
}

/// Records by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPage {
    /// At most 32, of which each may have 24 kB.
    pub records: Vec<KeptRecord>,
    /// After which the next page begins.
    pub next_after: Option<String>,
}

/// Whose record holds no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRecord {
    pub kind: RecordKind,
    pub name: String,
    pub reason: String,
}

/// All records and revocations that there are, for who checks them himself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordSet {
    /// Of what follows: a hash.
    pub version: String,
    /// It is the version that who asks has: nothing follows.
    pub is_known: bool,
    /// Every number of every node and operator, the oldest first: a later one may be believed only after those before it.
    pub records: Vec<SignedRecord>,
    pub revocations: Vec<Revoked>,
}

/// A revocation, as it is passed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revoked {
    pub kind: RecordKind,
    pub name: String,
    /// In Unix seconds: a record that was signed later holds.
    pub at: i64,
}
