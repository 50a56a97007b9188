//! What a node may have others do: so many headers and so many bytes a minute. A pure rule: it is told the time.

use hh_ipc::agent::MAX_BLOCK_BYTES;
use std::time::{Duration, Instant};

/// Headers of a minute. Bitcoin has one in ten minutes; a private signet, and a node that catches up, some more.
const HEADERS: u64 = 30;

/// Headers of an hour whose parent is not known here: a node has one when it comes, and one more where it was cut off for long.
const ANCHORS: u64 = 6;

/// Words of a minute about blocks that core has told of: two for each that any node may have announced, and a margin.
const WORDS: u64 = 300;

/// Bytes of blocks of a minute that are taken from a node: four of the largest blocks.
const BYTES_IN: u64 = 4 * MAX_BLOCK_BYTES as u64;

/// And that it is sent. It is sent what it asks for, each block once; after a cut it asks for more than it ever brings.
const BYTES_OUT: u64 = 8 * MAX_BLOCK_BYTES as u64;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// The node has used up what it has; more is there after so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {what}")]
pub(super) struct Over {
    pub(super) what: &'static str,
    pub(super) retry: Duration,
}

/// One node's. It outlives its connections.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    headers: Bucket,
    anchors: Bucket,
    words: Bucket,
    bytes_in: Bucket,
    bytes_out: Bucket,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            headers: Bucket::new(HEADERS, MINUTE, now),
            anchors: Bucket::new(ANCHORS, HOUR, now),
            words: Bucket::new(WORDS, MINUTE, now),
            bytes_in: Bucket::new(BYTES_IN, MINUTE, now),
            bytes_out: Bucket::new(BYTES_OUT, MINUTE, now),
        }
    }

    pub(super) fn headers(&mut self, count: usize, now: Instant) -> Result<(), Over> {
        self.headers
            .take(count, now)
            .map_err(over("30 headers in a minute"))
    }

    pub(super) fn anchor(&mut self, now: Instant) -> Result<(), Over> {
        self.anchors.take(1, now).map_err(over(
            "6 headers in an hour of which the parent is not known",
        ))
    }

    pub(super) fn word(&mut self, now: Instant) -> Result<(), Over> {
        self.words
            .take(1, now)
            .map_err(over("300 words about blocks in a minute"))
    }

    pub(super) fn bytes_in(&mut self, count: usize, now: Instant) -> Result<(), Over> {
        self.bytes_in
            .take(count, now)
            .map_err(over("16 MB of blocks in a minute"))
    }

    pub(super) fn bytes_out(&mut self, count: usize, now: Instant) -> Result<(), Over> {
        self.bytes_out
            .take(count, now)
            .map_err(over("32 MB of blocks asked for in a minute"))
    }

    /// Whether it is as that of a node which was never here: it need not be kept.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        let buckets = [
            &mut self.headers,
            &mut self.anchors,
            &mut self.words,
            &mut self.bytes_in,
            &mut self.bytes_out,
        ];
        buckets.into_iter().all(|bucket| bucket.is_full(now))
    }
}

fn over(what: &'static str) -> impl FnOnce(Duration) -> Over {
    move |retry| Over { what, retry }
}

/// So much at once, and as much again in a period.
#[derive(Clone, Debug)]
struct Bucket {
    most: u64,
    period: Duration,
    /// In parts of which a whole one has as many as its period has milliseconds, so that nothing is lost by rounding.
    left: u128,
    at: Instant,
}

impl Bucket {
    fn new(most: u64, period: Duration, now: Instant) -> Self {
        Self {
            most,
            period,
            left: u128::from(most) * period.as_millis(),
            at: now,
        }
    }

    fn take(&mut self, count: usize, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let wanted = u128::try_from(count)
            .unwrap_or(u128::MAX)
            .saturating_mul(self.period.as_millis());
        match self.left.checked_sub(wanted) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let missing = wanted - self.left;
                let wait_ms = missing.div_ceil(u128::from(self.most));
                let wait_ms = u64::try_from(wait_ms).unwrap_or(u64::MAX);
                Err(Duration::from_millis(wait_ms).min(self.period))
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_millis();
        let elapsed_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let more = u128::from(elapsed_ms).saturating_mul(self.most.into());
        self.left = self.left.saturating_add(more).min(self.full());
        // What is less than a millisecond comes with the next ones.
        self.at = self
            .at
            .checked_add(Duration::from_millis(elapsed_ms))
            .unwrap_or(now);
    }

    fn full(&self) -> u128 {
        u128::from(self.most) * self.period.as_millis()
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left == self.full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_that_is_over_its_budget_is_told_when_it_may_go_on() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert!(budget.is_full(start));
        budget.headers(30, start).unwrap();
        assert!(!budget.is_full(start));
        let over = budget.headers(1, start).unwrap_err();
        assert_eq!(over.retry, Duration::from_secs(2));
        let later = start + over.retry;
        budget.headers(1, later).unwrap();
        budget.headers(1, later).unwrap_err();
        budget.bytes_in(16_000_000, start).unwrap();
        budget.bytes_in(1, start).unwrap_err();
        budget.bytes_out(32_000_000, start).unwrap();
        budget.bytes_out(1, start).unwrap_err();
        for _ in 0..6 {
            budget.anchor(start).unwrap();
        }
        assert_eq!(budget.anchor(start).unwrap_err().retry, HOUR / 6);
        assert!(budget.is_full(start + HOUR));
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_twice_the_budget_and_whoever_waits_as_told_goes_on(
            steps in prop::collection::vec((0_u64..10_000, 1_usize..40), 1..200),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(30, MINUTE, start);
            let mut now = start;
            let mut taken: Vec<(Instant, usize)> = Vec::new();
            for (pause_ms, count) in steps {
                now += Duration::from_millis(pause_ms);
                match bucket.take(count, now) {
                    Ok(()) => taken.push((now, count)),
                    Err(wait) if count <= 30 => {
                        now += wait;
                        prop_assert!(bucket.take(count, now).is_ok());
                        taken.push((now, count));
                    }
                    Err(_) => prop_assert!(count > 30),
                }
                let recent = taken.iter().filter(|(at, _)| now - *at < MINUTE);
                prop_assert!(recent.map(|(_, count)| count).sum::<usize>() <= 60);
            }
        }
    }
}
