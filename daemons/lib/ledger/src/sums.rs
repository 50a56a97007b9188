//! The sums that shares go into: by minute and origin, with a chain of hashes, and over all time. The same arithmetic
//! for both engines, which only fetch and keep the numbers.

use std::collections::BTreeMap;

use bitcoin::hashes::{Hash, HashEngine, sha256};
use hh_mining::window_bounds::{MINUTE_MS, minute_of};

use crate::{Epoch, LedgerError, ShareRow};

/// The minute in which a time lies.
pub(crate) fn minute(at_ms: i64) -> i64 {
    minute_of(at_ms)
}

/// The first millisecond of a minute.
pub(crate) fn minute_start_ms(minute: i64) -> i64 {
    minute.saturating_mul(MINUTE_MS)
}

/// A sum of shares. Sums are checked: one that overflows fails the call rather than wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many shares.
    pub shares: u64,
    /// Their work: expected hashes.
    pub work: u128,
    /// Their score: 2^96 is the work of a block on average.
    pub score: u128,
}

/// The sum of an origin's shares in a minute, of one log, and the chain over them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Minute {
    pub sum: Sum,
    pub chain: [u8; 32],
}

/// The sum of an origin's shares over all time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Total {
    pub sum: Sum,
    pub last_share_at_ms: Option<i64>,
}

/// The sums that some shares of one log change.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    /// By minute and the id of the origin.
    pub minutes: BTreeMap<(i64, i64), Minute>,
    /// By the id of the origin.
    pub totals: BTreeMap<i64, Total>,
}

impl Sums {
    /// The sums that these shares change, all zero: to be filled with what the ledger has before [`Sums::add`].
    pub(crate) fn touched_by(shares: &[(i64, &ShareRow)]) -> Self {
        let mut sums = Self::default();
        let mut last = None;
        for (origin, share) in shares {
            let key = (minute(share.accepted_at_ms), *origin);
            if last.replace(key) != Some(key) {
                sums.minutes.entry(key).or_default();
                sums.totals.entry(*origin).or_default();
            }
        }
        sums
    }

    /// Adds shares of the log `epoch`, each with the id of its origin, in the order of the log.
    pub(crate) fn add(
        &mut self,
        epoch: &Epoch,
        shares: &[(i64, &ShareRow)],
    ) -> Result<(), LedgerError> {
        for (origin, share) in shares {
            let key = (minute(share.accepted_at_ms), *origin);
            let minute = self.minutes.entry(key).or_default();
            minute.sum.add(share)?;
            minute.chain = chained(&minute.chain, epoch, share);
            let total = self.totals.entry(*origin).or_default();
            total.sum.add(share)?;
            total.last_share_at_ms = total.last_share_at_ms.max(Some(share.accepted_at_ms));
        }
        Ok(())
    }
}

impl Sum {
    fn add(&mut self, share: &ShareRow) -> Result<(), LedgerError> {
        *self = self.plus(Self {
            shares: 1,
            work: share.work,
            score: share.score,
        })?;
        Ok(())
    }

    /// Both together.
    pub(crate) fn plus(self, more: Self) -> Result<Self, LedgerError> {
        let sum = || {
            Some(Self {
                shares: self.shares.checked_add(more.shares)?,
                work: self.work.checked_add(more.work)?,
                score: self.score.checked_add(more.score)?,
            })
        };
        sum().ok_or(OUT_OF_RANGE)
    }

    /// Without a part of it.
    pub(crate) fn minus(self, part: Self) -> Result<Self, LedgerError> {
        let rest = || {
            Some(Self {
                shares: self.shares.checked_sub(part.shares)?,
                work: self.work.checked_sub(part.work)?,
                score: self.score.checked_sub(part.score)?,
            })
        };
        rest().ok_or(OUT_OF_RANGE)
    }
}

const OUT_OF_RANGE: LedgerError = LedgerError::OutOfRange {
    what: "a sum of shares",
};

/// The chain after `share` has been added to it: SHA-256(chain || epoch || seq u64 || accepted_at_ms i64 || hash ||
/// work || score), integers big-endian, from 32 zero bytes on.
fn chained(chain: &[u8; 32], epoch: &Epoch, share: &ShareRow) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    engine.input(chain);
    engine.input(epoch);
    engine.input(&share.seq.to_be_bytes());
    engine.input(&share.accepted_at_ms.to_be_bytes());
    engine.input(share.hash.as_byte_array());
    engine.input(&share.work.to_be_bytes());
    engine.input(&share.score.to_be_bytes());
    sha256::Hash::from_engine(engine).to_byte_array()
}
