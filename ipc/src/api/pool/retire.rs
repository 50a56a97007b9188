//! Freeing the server id of a pool that will not come back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which server id to free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetireRequest {
    pub server_id: u16,
    /// Give up shares that the pool did not ship.
    #[serde(default)]
    pub lost: bool,
    /// Only say what would be freed.
    #[serde(default)]
    pub dry_run: bool,
}

/// Whose server id is free, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// The pool that held it.
    pub pool: String,
    pub server_id: u16,
    /// Hex of the random id of its share log, which is closed for good.
    pub epoch: String,
    pub claimed_at: Timestamp,
    /// The last record of that log in the ledger; 0 if there is none.
    pub last_seq: u64,
    /// All its shares from before this time are in the ledger; none if nothing came.
    pub shipped_through_at: Option<Timestamp>,
    /// When it last shipped, or claimed its server id.
    pub heard_at: Timestamp,
    /// It stopped cleanly, and the ledger has all of its records.
    pub complete: bool,
}
