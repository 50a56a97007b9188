//! How long to wait before a daemon is dialled again: 1 s, doubled up to 30 s, a quarter of it left to chance.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);

/// A daemon that was away for an hour is on the screen half a minute after it came back.
const LONGEST: Duration = Duration::from_secs(30);

/// The wait that grows with every failure in a row.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The daemon answered: begin again at the shortest wait.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The wait after one more failure; `chance` from 0 to 1 shortens it by up to a quarter, never below a second.
    pub(crate) fn next_delay(&mut self, chance: f64) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LONGEST);
        full.mul_f64(1.0 - chance / 4.0).max(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_again_after_an_answer() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.next_delay(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        backoff.reset();
        assert_eq!(backoff.next_delay(0.0), FIRST);
    }

    #[test]
    fn chance_keeps_within_a_second_and_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.next_delay(1.0)).collect();
        assert_eq!(waits[0], FIRST);
        assert_eq!(waits[6], Duration::from_millis(22_500));
    }
}
