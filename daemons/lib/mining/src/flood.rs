//! When refused shares are a flood that nobody mines with. A pure rule: it is told the time.
//!
//! Shares that are stale or below their target never count: a miner that lags, or whose link does, is slow and not hostile.

/// What is counted together. A window begins with the end of the one before.
const WINDOW_MS: u64 = 60_000;

/// Invalid shares on one connection in a window that are a flood. A channel sends some 18 a minute, of all kinds.
pub const INVALID_SHARES_MAX: u32 = 3_000;

/// So many invalid ones to each accepted one at least: a proxy with a broken miner among many works.
const RATIO: u64 = 10;

/// The shares of one connection, as far as they tell a flood.
#[derive(Clone, Copy, Debug, Default)]
pub struct FloodWatch {
    started_ms: u64,
    invalid: u32,
    accepted: u64,
}

impl FloodWatch {
    /// Counts accepted shares.
    pub fn on_accepted(&mut self, count: u32) {
        self.accepted += u64::from(count);
    }

    /// Counts a share that was refused with `code`.
    pub fn on_rejected(&mut self, code: &str) {
        // Time and distance make the first two, our disk the third.
        if !matches!(
            code,
            "stale-share" | "difficulty-too-low" | "share-not-stored"
        ) {
            self.invalid = self.invalid.saturating_add(1);
        }
    }

    /// Whether the window that goes on shows a flood; one that is over makes room for the next.
    #[must_use]
    pub fn is_flood(&mut self, now_ms: u64) -> bool {
        let flood = self.invalid >= INVALID_SHARES_MAX
            && u64::from(self.invalid) >= RATIO.saturating_mul(self.accepted);
        if now_ms.saturating_sub(self.started_ms) >= WINDOW_MS {
            *self = Self {
                started_ms: now_ms,
                ..Self::default()
            };
        }
        flood
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_flood(code: &str, rejected: u32, accepted: u32, expected: bool) {
        let mut watch = FloodWatch::default();
        watch.on_accepted(accepted);
        (0..rejected).for_each(|_| watch.on_rejected(code));
        assert_eq!(
            watch.is_flood(1_000),
            expected,
            "{code} {rejected} {accepted}"
        );
    }

    #[test]
    fn only_shares_that_no_slow_miner_sends_are_a_flood() {
        check_flood("duplicate-share", INVALID_SHARES_MAX, 0, true);
        check_flood("invalid-job-id", INVALID_SHARES_MAX, 0, true);
        check_flood("invalid-job-id", INVALID_SHARES_MAX - 1, 0, false);
        check_flood(
            "duplicate-share",
            INVALID_SHARES_MAX,
            INVALID_SHARES_MAX / 10,
            true,
        );
        check_flood(
            "duplicate-share",
            INVALID_SHARES_MAX,
            INVALID_SHARES_MAX / 10 + 1,
            false,
        );
        for slow in ["stale-share", "difficulty-too-low", "share-not-stored"] {
            check_flood(slow, 100 * INVALID_SHARES_MAX, 0, false);
        }
    }

    #[test]
    fn a_flood_is_one_within_a_window() {
        let mut watch = FloodWatch::default();
        for minute in 1..100_u64 {
            (1..INVALID_SHARES_MAX).for_each(|_| watch.on_rejected("duplicate-share"));
            assert!(!watch.is_flood(minute * WINDOW_MS));
        }
    }

    proptest! {
        #[test]
        fn a_miner_whose_shares_are_mostly_good_never_floods(
            ticks in prop::collection::vec((0_u32..2_000, 0_u32..200), 1..200),
        ) {
            // Each second some accepted, and at most nine invalid ones to each.
            let mut watch = FloodWatch::default();
            for (second, (invalid, accepted)) in ticks.into_iter().enumerate() {
                watch.on_accepted(accepted);
                (0..invalid.min(9 * accepted)).for_each(|_| watch.on_rejected("duplicate-share"));
                prop_assert!(!watch.is_flood(second as u64 * 1_000));
            }
        }
    }
}
