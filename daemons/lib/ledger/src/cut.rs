//! Cuts: where a block of ours lies in the order of shares, (accepted_at_ms, pool, epoch, seq), and the sum of all shares up
//! to it. What both engines have in common of it.
//!
//! A cut is made once, when the ledger has every share up to the block's, and never changes: the sum of a round is the
//! difference of two, whatever rows are pruned and whichever blocks are orphaned later.

use std::cmp::Ordering;

use hh_mining::{ShareId, SharePosition};

use crate::sums::{minute, minute_start_ms};
use crate::{Epoch, Sum};

/// How much later than its block a winning share may be in the log. Its time is the block's, unless the log had a later one
/// by then: the log's times never go back, and some milliseconds lie between the clock and the log. A share that comes later
/// was kept from the log by a full disk; the block's time stands for it then.
pub(crate) const SETTLE_MS: i64 = 2_000;

/// The cut of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The time of the winning share, milliseconds since 1970.
    pub at_ms: i64,
    /// All shares up to the winning one, which is included.
    pub sum: Sum,
}

/// A log that has shares as rows.
#[derive(Debug, Clone)]
pub(crate) struct LogSpan<Id> {
    pub id: Id,
    pub pool: String,
    pub epoch: Epoch,
    /// The first and the last of its rows.
    pub first_seq: u64,
    pub last_seq: u64,
}

/// A place in the order of shares.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub at_ms: i64,
    /// The share there: pool, epoch and sequence number; none for the end of that millisecond.
    pub share: Option<(String, Epoch, u64)>,
}

/// Up to where the shares of one log lie before a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Those with a lower sequence number.
    Seq(u64),
    /// Those with an earlier time.
    Time(i64),
}

impl Position {
    /// The end of a minute.
    pub(crate) fn end_of(minute: i64) -> Self {
        Self {
            at_ms: minute_start_ms(minute.saturating_add(1)).saturating_sub(1),
            share: None,
        }
    }

    /// The minute in which it lies.
    pub(crate) fn minute(&self) -> i64 {
        minute(self.at_ms)
    }

    /// Which shares of this log lie at the position or before.
    pub(crate) fn limit_in<Id>(&self, log: &LogSpan<Id>) -> Limit {
        let through = Limit::Time(self.at_ms.saturating_add(1));
        let Some((pool, epoch, seq)) = &self.share else {
            return through;
        };
        match (&log.pool, &log.epoch).cmp(&(pool, epoch)) {
            Ordering::Less => through,
            Ordering::Equal => Limit::Seq(seq.saturating_add(1)),
            Ordering::Greater => Limit::Time(self.at_ms),
        }
    }
}

impl From<Position> for SharePosition {
    fn from(position: Position) -> Self {
        let share = |(pool, epoch, seq)| ShareId { pool, epoch, seq };
        Self {
            at_ms: position.at_ms,
            share: position.share.map(share),
        }
    }
}

/// Finds the first row of a log at or after a time by halving: in a log the order of the sequence numbers is that of the
/// times, and the table of shares has no index by time.
#[derive(Debug)]
pub(crate) struct Search {
    at_ms: i64,
    low: u64,
    high: u64,
}

impl Search {
    pub(crate) fn new<Id>(log: &LogSpan<Id>, at_ms: i64) -> Self {
        Self {
            at_ms,
            low: log.first_seq,
            high: log.last_seq.saturating_add(1),
        }
    }

    /// The first row at or after which sequence number is to be looked at next; none once it is found.
    pub(crate) fn probe(&self) -> Option<u64> {
        (self.low < self.high).then(|| self.low.midpoint(self.high))
    }

    /// The row that was found at or after the probe.
    pub(crate) fn saw(&mut self, probe: u64, (seq, at_ms): (u64, i64)) {
        if at_ms < self.at_ms {
            self.low = seq.saturating_add(1);
        } else {
            self.high = probe;
        }
    }

    /// All rows with lower sequence numbers are earlier, and none of the others is.
    pub(crate) fn found(&self) -> u64 {
        self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(rows: &[(u64, i64)]) -> LogSpan<()> {
        LogSpan {
            id: (),
            pool: "pool-1".to_owned(),
            epoch: [7; 16],
            first_seq: rows.first().map_or(1, |row| row.0),
            last_seq: rows.last().map_or(0, |row| row.0),
        }
    }

    proptest! {
        #[test]
        fn a_search_finds_the_first_row_at_a_time(steps in prop::collection::vec((1..9_u64, 0..4_i64), 0..80), at in -2..90_i64) {
            let mut rows = Vec::new();
            for (seq, ms) in steps {
                let (last_seq, last_ms) = rows.last().copied().unwrap_or((0, 0));
                rows.push((last_seq + seq, last_ms + ms));
            }
            let mut search = Search::new(&span(&rows), at);
            let mut probes = 0;
            while let Some(probe) = search.probe() {
                let row = rows.iter().find(|(seq, _)| *seq >= probe).copied();
                search.saw(probe, row.expect("a probe lies before the last row"));
                probes += 1;
            }
            for (seq, ms) in &rows {
                prop_assert_eq!(*seq < search.found(), *ms < at);
            }
            prop_assert!(probes <= 11, "{} probes", probes);
        }
    }

    #[test]
    fn logs_of_one_millisecond_are_in_the_order_of_their_names() {
        let log = span(&[]);
        let at = |pool: &str, epoch, seq| Position {
            at_ms: 50,
            share: Some((pool.to_owned(), epoch, seq)),
        };
        assert_eq!(at("pool-1", [7; 16], 9).limit_in(&log), Limit::Seq(10));
        assert_eq!(at("pool-2", [0; 16], 9).limit_in(&log), Limit::Time(51));
        assert_eq!(at("pool-1", [8; 16], 9).limit_in(&log), Limit::Time(51));
        assert_eq!(at("pool-1", [6; 16], 9).limit_in(&log), Limit::Time(50));
        assert_eq!(at("pool-0", [9; 16], 9).limit_in(&log), Limit::Time(50));
        let end = Position {
            at_ms: 50,
            share: None,
        };
        assert_eq!(end.limit_in(&log), Limit::Time(51));
    }
}
