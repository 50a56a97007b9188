//! Whose a server id is: a part of the extranonce space that one share log hands out, until it is retired.
//!
//! A log that is retired is closed for good: it ships nothing more and claims nothing again, so that sums which were made
//! without it stay right. So an id is freed only where nothing more is to come, or where that is given up knowingly.

use crate::Epoch;

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The server id is this log's, since now or earlier.
    Ours,
    /// It is another log's, which has not been retired.
    Taken(Holder),
    /// This log was retired, and gets no server id again.
    Retired {
        /// When, by the ledger's clock: milliseconds since 1970.
        at_ms: i64,
    },
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

/// A pool that has shipped within this time runs: it ships every second, and tries again every ten seconds after a failure.
const SILENT_MS: i64 = 60_000;

/// What the ledger knows of the log that holds a server id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The log.
    pub holder: Holder,
    /// The last of its records in the ledger, 0 if there is none.
    pub last_seq: u64,
    /// Up to when its shares are in the ledger, milliseconds since 1970.
    pub watermark_ms: Option<i64>,
    /// How long it has shipped nothing, by the ledger's clock.
    pub silent_ms: i64,
    /// Its pool stopped cleanly and has not shipped since: the ledger has all of its records.
    pub is_closed: bool,
}

/// Where a server id is freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetireWhere {
    /// In any case: whoever asks has moved the log away, and writes another in its place.
    Replaced,
    /// Where its pool is silent and the ledger has all of its records.
    Complete,
    /// Where its pool is silent. Records that it did not ship are given up.
    Silent,
}

/// What came of a retirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retirement {
    /// The server id is free and the log closed for good; how it stood before.
    Retired(Standing),
    /// Nothing was changed, for this reason.
    Refused(Standing, Refusal),
    /// It is not that log's. Nothing was changed.
    NotHeld,
}

/// Why a server id is not freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its pool runs.
    Running,
    /// Its pool did not stop cleanly: its log may have records that the ledger has not.
    Incomplete,
}

impl Standing {
    /// Why the server id is not to be freed, if it is not.
    #[must_use]
    pub fn refusal(&self, retire: RetireWhere) -> Option<Refusal> {
        match retire {
            RetireWhere::Replaced => None,
            RetireWhere::Complete | RetireWhere::Silent if self.silent_ms < SILENT_MS => {
                Some(Refusal::Running)
            }
            RetireWhere::Complete if !self.is_closed => Some(Refusal::Incomplete),
            RetireWhere::Complete | RetireWhere::Silent => None,
        }
    }
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
