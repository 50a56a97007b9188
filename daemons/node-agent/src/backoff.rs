//! How long to wait before the next attempt.

use rand::Rng;
use std::time::Duration;

/// Longest pause before core is dialled again, or a service started again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Pause after the first failure; the longest doubles with every further one.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Attempts in a row that failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause before core is dialled again: anything up to the longest, so that nodes that lost it together do not come back
    /// together.
    pub(crate) fn dial_pause(&mut self) -> Duration {
        self.longest().mul_f64(rand::rng().random_range(0.0..=1.0))
    }

    /// The pause before a service is started again: its services do not come back together with anybody else's, so all of it.
    pub(crate) fn start_pause(&mut self) -> Duration {
        self.longest()
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    fn longest(&mut self) -> Duration {
        let doubled = PAUSE_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        doubled.min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_begin_again() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.start_pause().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(backoff.dial_pause() <= PAUSE_MAX);
        backoff.reset();
        assert!(backoff.dial_pause() <= PAUSE_MIN);
    }
}
