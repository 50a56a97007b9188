//! How long to wait before the next attempt.

use rand::Rng;
use std::time::Duration;

/// Pause after the first failure; it doubles with every further one.
const BACKOFF_MIN: Duration = Duration::from_millis(250);

/// Longest pause: a pool that comes back has its miners within half a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The pause after so many failures in a row: twice as long each time, and not the same as every other translator's.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = BACKOFF_MIN
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(BACKOFF_MAX);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        for (failures, longest) in [
            (0, 250),
            (1, 250),
            (2, 500),
            (7, 16_000),
            (8, 30_000),
            (u32::MAX, 30_000),
        ] {
            let pauses: Vec<u128> = (0..64).map(|_| pause(failures).as_millis()).collect();
            assert!(
                pauses
                    .iter()
                    .all(|&pause| (longest / 2..=longest).contains(&pause)),
                "{failures}: {pauses:?}"
            );
            assert!(
                pauses.iter().any(|&pause| pause != pauses[0]),
                "{failures}: {pauses:?}"
            );
        }
    }
}
