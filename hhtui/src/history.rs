//! The pool's hash rate over the last hour as this program saw it; what it did not see is a gap.

use jiff::Timestamp;
use std::collections::VecDeque;

/// What is kept and shown.
pub(crate) const HISTORY_SECONDS: i64 = 3600;

/// A sample stands for this long: finer than a column of a wide screen.
const SAMPLE_SECONDS: i64 = 10;

/// Samples in the order of time, at most one per [`SAMPLE_SECONDS`].
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<Sample>);

#[derive(Debug)]
struct Sample {
    /// Unix time in units of [`SAMPLE_SECONDS`].
    slot: i64,
    hashrate_hs: f64,
}

impl History {
    /// Notes a value seen at `at`; the last one of a slot counts. A clock that was set back drops what lies ahead of it.
    pub(crate) fn push(&mut self, hashrate_hs: f64, at: Timestamp) {
        let slot = at.as_second().div_euclid(SAMPLE_SECONDS);
        while self.0.back().is_some_and(|last| last.slot >= slot) {
            self.0.pop_back();
        }
        self.0.push_back(Sample { slot, hashrate_hs });
        let oldest = slot - HISTORY_SECONDS / SAMPLE_SECONDS;
        while self.0.front().is_some_and(|first| first.slot < oldest) {
            self.0.pop_front();
        }
    }

    /// The last hour in `columns` means, oldest first; none where nothing was seen.
    ///
    /// Columns begin at multiples of their own length, so that a column keeps its value as time goes by.
    pub(crate) fn columns(&self, columns: usize, now: Timestamp) -> Vec<Option<f64>> {
        let Some(count) = i64::try_from(columns).ok().filter(|count| *count > 0) else {
            return Vec::new();
        };
        let length = (HISTORY_SECONDS / SAMPLE_SECONDS / count).max(1);
        let newest = now
            .as_second()
            .div_euclid(SAMPLE_SECONDS)
            .div_euclid(length);
        let mut sums = vec![(0.0, 0_u32); columns];
        for sample in &self.0 {
            let from_end = newest - sample.slot.div_euclid(length);
            let index = usize::try_from(count - 1 - from_end).ok();
            if let Some(sum) = index.and_then(|index| sums.get_mut(index)) {
                *sum = (sum.0 + sample.hashrate_hs, sum.1 + 1);
            }
        }
        sums.into_iter()
            .map(|(sum, seen)| (seen > 0).then(|| sum / f64::from(seen)))
            .collect()
    }

    /// The largest value of the last hour; 0 where nothing was seen.
    pub(crate) fn peak(&self) -> f64 {
        let values = self.0.iter().map(|sample| sample.hashrate_hs);
        values.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_not_seen_is_a_gap() {
        let mut history = History::default();
        history.push(1.0, at(3600));
        history.push(3.0, at(3640));
        let columns = history.columns(360, at(3645));
        assert_eq!(columns.len(), 360);
        assert_eq!(columns[355..], [Some(1.0), None, None, None, Some(3.0)]);
        assert!(columns[..355].iter().all(Option::is_none));
        assert_eq!(history.peak(), 3.0);
    }

    #[test]
    fn a_column_is_the_mean_of_what_was_seen_in_it() {
        let mut history = History::default();
        for second in 0..3600 {
            history.push(f64::from(u8::from(second >= 1800)), at(second.into()));
        }
        let columns = history.columns(60, at(3599));
        assert_eq!(columns[..30], [Some(0.0); 30]);
        assert_eq!(columns[30..], [Some(1.0); 30]);
    }

    #[test]
    fn a_column_keeps_its_value_while_it_moves() {
        let mut history = History::default();
        history.push(7.0, at(6000));
        let first = history.columns(30, at(6000));
        assert_eq!(history.columns(30, at(6119)), first);
        let mut moved = first;
        moved.rotate_left(1);
        assert_eq!(history.columns(30, at(6120)), moved);
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        for second in 0..10_000 {
            history.push(1.0, at(second));
        }
        assert_eq!(history.0.len(), 361);
        assert_eq!(history.columns(1, at(9999)), [Some(1.0)]);
        assert_eq!(history.columns(0, at(9999)), []);
    }

    #[test]
    fn a_clock_set_back_does_not_break_the_order() {
        let mut history = History::default();
        history.push(1.0, at(5000));
        history.push(2.0, at(4000));
        assert_eq!(history.0.len(), 1);
        assert_eq!(history.peak(), 2.0);
    }
}
