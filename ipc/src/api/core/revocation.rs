//! Letting a node in no more.

use super::FleetNode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which node to let in no more, until it has enrolled anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeFleetNode {
    pub node: String,
    /// For those who read the list, and for the audit log; the node is not told.
    #[serde(default)]
    pub reason: Option<String>,
    /// Only say what would end.
    #[serde(default)]
    pub dry_run: bool,
}

/// A node that was revoked, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokedFleetNode {
    pub node: FleetNode,
    pub revocation: FleetRevocation,
    /// It had a session, which ends by this.
    pub was_connected: bool,
    /// Commands of which nothing more will be known.
    pub operations_given_up: u32,
    /// Tokens with which it could have enrolled anew, and which are of no use any more.
    pub tokens_revoked: u32,
}

/// That a node is let in no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FleetRevocation {
    pub reason: String,
    pub since_at: Timestamp,
}
