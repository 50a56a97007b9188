//! Hashrate from shares, as an exponential average over ten minutes.

use std::time::Duration;
use tokio::time::Instant;

/// Time constant: at 18 shares a minute the noise is 7%.
const WINDOW: Duration = Duration::from_secs(600);

/// Adds up expected hashes and forgets them slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashrate {
    since: Instant,
    updated_at: Instant,
    /// The average as of `updated_at`, in hashes a second, as if there had been none before `since`.
    average_hs: f64,
}

impl Hashrate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            updated_at: now,
            average_hs: 0.0,
        }
    }

    /// An accepted share of so many expected hashes.
    pub(crate) fn add(&mut self, hashes: f64, now: Instant) {
        self.average_hs = self.faded(now) + hashes / WINDOW.as_secs_f64();
        self.updated_at = now;
    }

    /// Hashes a second, over the window or since the start if that is less.
    pub(crate) fn hashes_per_second(&self, now: Instant) -> f64 {
        // At least a second: the first share says nothing about a rate.
        let age = now.duration_since(self.since).max(Duration::from_secs(1));
        let seen = 1.0 - (-age.div_duration_f64(WINDOW)).exp();
        self.faded(now) / seen
    }

    fn faded(&self, now: Instant) -> f64 {
        let elapsed = now.duration_since(self.updated_at);
        self.average_hs * (-elapsed.div_duration_f64(WINDOW)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_miner_is_seen_at_its_rate_soon_and_later() {
        let start = Instant::now();
        let mut hashrate = Hashrate::new(start);
        for second in 1..=3600_u32 {
            let now = start + Duration::from_secs(second.into());
            hashrate.add(1000.0, now);
            let seen = hashrate.hashes_per_second(now);
            assert!(
                second < 60 || (seen - 1000.0).abs() < 20.0,
                "{seen} after {second} s"
            );
        }
    }

    #[test]
    fn a_silent_miner_fades() {
        let start = Instant::now();
        let mut hashrate = Hashrate::new(start);
        hashrate.add(600_000.0, start + Duration::from_secs(600));
        let later = start + Duration::from_secs(4200);
        assert!(hashrate.hashes_per_second(later) < 10.0);
    }
}
