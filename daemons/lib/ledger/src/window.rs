//! Where a window of the last so much score begins: what tells which rows of shares may go. What both engines have in common of
//! it.
//!
//! It is read from the sums of minutes, which stay for ever, and errs to the older side by up to a minute at each end. Later
//! windows never begin before earlier ones, so one answer stands for all blocks found after it.

/// Minutes that are asked for at once: a day, some millions of rows on a large pool.
const MINUTES_AT_ONCE: i64 = 1_440;

/// Goes back in time until it has seen enough score.
#[derive(Debug)]
pub(crate) struct WindowSearch {
    /// What is still to be seen.
    missing: u128,
    /// The first minute that was not looked at, going back.
    next: i64,
    /// The first minute of which there are sums.
    first: i64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look at the sums of these minutes, both included.
    Look(i64, i64),
    /// The window begins in this minute or later.
    BeginsIn(i64),
    /// There is not as much score.
    TakesAll,
}

impl WindowSearch {
    /// For a window of `score` that ends in the minute `end` or later; there are sums from the minute `first` on.
    pub(crate) fn new(score: u128, end: i64, first: i64) -> Self {
        Self {
            missing: score,
            // Of the minute in which it ends, who knows how much lies before its end?
            next: end.saturating_sub(1),
            first,
        }
    }

    pub(crate) fn step(&self) -> Step {
        if self.missing == 0 {
            Step::BeginsIn(self.next.saturating_add(1))
        } else if self.next < self.first {
            Step::TakesAll
        } else {
            let from = self.next.saturating_sub(MINUTES_AT_ONCE - 1);
            Step::Look(from.max(self.first), self.next)
        }
    }

    /// Takes in what a look at the minutes from `from` on found: minutes and their score, the last minute first, each once.
    pub(crate) fn saw(&mut self, from: i64, minutes: impl IntoIterator<Item = (i64, u128)>) {
        for (minute, score) in minutes {
            self.missing = self.missing.saturating_sub(score);
            if self.missing == 0 {
                self.next = minute.saturating_sub(1);
                return;
            }
        }
        self.next = from.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The search as the engines run it.
    fn search(score: u128, end: i64, sums: &[(i64, u128)]) -> Option<i64> {
        let first = sums.iter().map(|(minute, _)| *minute).min()?;
        let mut search = WindowSearch::new(score, end, first);
        loop {
            match search.step() {
                Step::BeginsIn(minute) => return Some(minute),
                Step::TakesAll => return None,
                Step::Look(from, to) => {
                    let mut seen = BTreeMap::<i64, u128>::new();
                    for (minute, score) in sums {
                        if (from..=to).contains(minute) {
                            *seen.entry(*minute).or_default() += score;
                        }
                    }
                    search.saw(from, seen.into_iter().rev());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_window_begins_in_the_last_minute_that_leaves_enough_score_behind_it(
            sums in prop::collection::vec((0..5_000_i64, 0..50_u128), 0..60),
            score in 1..400_u128,
            end in -10..5_100_i64,
        ) {
            let from = |minute| sums.iter().filter(|(m, _)| (minute..end).contains(m)).map(|(_, score)| score).sum::<u128>();
            match search(score, end, &sums) {
                Some(minute) => {
                    prop_assert!(from(minute) >= score);
                    prop_assert!(from(minute + 1) < score);
                }
                None => prop_assert!(from(i64::MIN) < score),
            }
        }
    }
}
