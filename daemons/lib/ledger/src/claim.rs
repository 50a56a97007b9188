//! Whose a server id is: a part of the extranonce space that one share log hands out.

use crate::Epoch;

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The server id is this log's, since now or earlier.
    Ours,
    /// It is another log's, which has not been retired.
    Taken(Holder),
}

/// The log that holds a server id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The pool that writes the log.
    pub pool: String,
    /// The log's id.
    pub epoch: Epoch,
    /// When it claimed the server id, milliseconds since 1970.
    pub since_ms: i64,
}

impl Claim {
    /// What the claim of the log `epoch` of `pool` comes to where `holder` has the server id.
    pub(crate) fn of(holder: Holder, pool: &str, epoch: &Epoch) -> Self {
        if holder.pool == pool && holder.epoch == *epoch {
            Self::Ours
        } else {
            Self::Taken(holder)
        }
    }
}
