//! When a payout that failed is tried again: later each time, up to a limit, and not for ever.

use std::time::Duration;

/// How long to wait, and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer.
    pub longest: Duration,
    /// After so many failures a person has to look.
    pub tries_max: u32,
}

impl Backoff {
    /// How long to wait after `failures` of them, at least one; none once a person has to look.
    pub(crate) fn after(&self, failures: u32) -> Option<Duration> {
        if failures >= self.tries_max {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let wait = self.first.saturating_mul(1 << doublings);
        Some(wait.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(60),
        longest: Duration::from_secs(86_400),
        tries_max: 20,
    };

    #[test]
    fn waits_double_up_to_the_longest_and_end_with_a_person() {
        assert_eq!(BACKOFF.after(1), Some(Duration::from_secs(60)));
        assert_eq!(BACKOFF.after(2), Some(Duration::from_secs(120)));
        assert_eq!(BACKOFF.after(12), Some(Duration::from_secs(86_400)));
        assert_eq!(BACKOFF.after(19), Some(Duration::from_secs(86_400)));
        assert_eq!(BACKOFF.after(20), None);
    }

    proptest! {
        #[test]
        fn a_later_failure_never_waits_less(
            first in 0..1_000_000_u64, longest in 0..1_000_000_u64, failures in 1..u32::MAX,
        ) {
            let (first, longest) = (Duration::from_secs(first), Duration::from_secs(longest));
            let backoff = Backoff { first, longest, tries_max: u32::MAX };
            let (wait, next) = (backoff.after(failures), backoff.after(failures + 1));
            if let (Some(wait), Some(next)) = (wait, next) {
                prop_assert!(wait <= next && next <= longest);
            }
        }
    }
}
