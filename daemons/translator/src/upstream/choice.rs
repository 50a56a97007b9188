//! Which of the configured upstreams is tried next, and which are better than the one in use: a pure rule, without a socket or
//! a clock.
//!
//! All of them are tried once, at once, in the order of preference, before anybody waits: a miner loses less by another pool
//! than by a pause. An operator's switch puts one of them before all others, until the next switch or a restart.

use std::cmp::Ordering;

/// What to do after a loss or a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Connect to this one now.
    Now(usize),
    /// All have failed since one was good: `rounds` times by now. Wait, then connect to this one.
    AfterPause { index: usize, rounds: u32 },
}

/// See the module. Upstreams are named by their place in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    tried: Vec<bool>,
    switched_to: Option<usize>,
    failed_rounds: u32,
}

impl Choice {
    /// Among `count` upstreams, at least one.
    pub(super) fn new(count: usize) -> Self {
        Self {
            tried: vec![false; count],
            switched_to: None,
            failed_rounds: 0,
        }
    }

    /// The one that is preferred to all others.
    pub(super) fn best(&self) -> usize {
        self.switched_to.unwrap_or(0)
    }

    /// Puts one before all others.
    pub(super) fn switch_to(&mut self, index: usize) {
        self.switched_to = Some(index);
    }

    /// The connection to `index` is gone; `was_good` if it had lived for long enough to be trusted again.
    pub(super) fn on_lost(&mut self, index: usize, was_good: bool) -> Next {
        if was_good {
            self.tried.fill(false);
            self.failed_rounds = 0;
        }
        self.on_failed(index)
    }

    /// No connection to `index` came about.
    pub(super) fn on_failed(&mut self, index: usize) -> Next {
        self.tried[index] = true;
        if let Some(next) = self.order().into_iter().find(|&next| !self.tried[next]) {
            return Next::Now(next);
        }
        self.tried.fill(false);
        self.failed_rounds = self.failed_rounds.saturating_add(1);
        Next::AfterPause {
            index: self.best(),
            rounds: self.failed_rounds,
        }
    }

    /// Those that are preferred to `index`, the best first.
    pub(super) fn better_than(&self, index: usize) -> Vec<usize> {
        let mut better = self.order();
        better.retain(|&other| self.prefer(other, index) == Ordering::Less);
        better
    }

    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.tried.len()).collect();
        order.sort_by(|&one, &other| self.prefer(one, other));
        order
    }

    fn prefer(&self, one: usize, other: usize) -> Ordering {
        let rank = |index: usize| (Some(index) != self.switched_to, index);
        rank(one).cmp(&rank(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_others_are_tried_at_once_and_the_lost_one_after_a_pause() {
        let mut choice = Choice::new(3);
        assert_eq!(choice.on_lost(0, true), Next::Now(1));
        assert_eq!(choice.on_failed(1), Next::Now(2));
        let pause = |rounds| Next::AfterPause { index: 0, rounds };
        assert_eq!(choice.on_failed(2), pause(1));
        assert_eq!(choice.on_failed(0), Next::Now(1));
        assert_eq!(choice.on_failed(1), Next::Now(2));
        assert_eq!(choice.on_failed(2), pause(2));
    }

    #[test]
    fn the_only_one_is_tried_again_after_a_pause_that_a_good_connection_makes_short() {
        let mut choice = Choice::new(1);
        let pause = |rounds| Next::AfterPause { index: 0, rounds };
        assert_eq!(choice.on_failed(0), pause(1));
        assert_eq!(choice.on_lost(0, false), pause(2));
        assert_eq!(choice.on_lost(0, true), pause(1));
    }

    #[test]
    fn connections_that_end_soon_are_no_way_around_the_pause() {
        let mut choice = Choice::new(2);
        assert_eq!(choice.on_lost(0, false), Next::Now(1));
        let pause = Next::AfterPause {
            index: 0,
            rounds: 1,
        };
        assert_eq!(choice.on_lost(1, false), pause);
    }

    #[test]
    fn a_switch_puts_one_before_all_others() {
        let mut choice = Choice::new(3);
        assert_eq!(choice.better_than(2), [0, 1]);
        assert!(choice.better_than(0).is_empty());
        choice.switch_to(2);
        assert_eq!((choice.best(), choice.better_than(2)), (2, vec![]));
        assert_eq!(choice.better_than(1), [2, 0]);
        assert_eq!(choice.on_lost(2, true), Next::Now(0));
        assert_eq!(choice.on_failed(0), Next::Now(1));
        let pause = Next::AfterPause {
            index: 2,
            rounds: 1,
        };
        assert_eq!(choice.on_failed(1), pause);
    }

    proptest! {
        /// Between two pauses each upstream is tried once and no more, whatever lives how long.
        #[test]
        fn no_round_is_longer_than_the_list(count in 1..6_usize, good in proptest::collection::vec(any::<bool>(), 40)) {
            let mut choice = Choice::new(count);
            let (mut index, mut since_pause) = (choice.best(), 0);
            for was_good in good {
                since_pause = if was_good { 1 } else { since_pause + 1 };
                index = match choice.on_lost(index, was_good) {
                    Next::Now(next) => {
                        prop_assert_ne!(next, index);
                        next
                    }
                    Next::AfterPause { index, .. } => {
                        since_pause = 0;
                        index
                    }
                };
                prop_assert!(since_pause <= count);
            }
        }
    }
}
