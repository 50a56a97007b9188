//! Hashrate of the last minutes from the work of accepted shares, in constant memory.

/// Seconds in a bucket: a minute is six of them, so that its edge blurs by a sixth at most.
const BUCKET_SECONDS: u64 = 10;

/// Buckets kept: the longest window is 10 minutes, and the bucket that is being filled is one more.
const BUCKETS: usize = 61;

/// Windows that are asked for, in seconds.
pub(crate) const ONE_MINUTE: u64 = 60;
/// See [`ONE_MINUTE`].
pub(crate) const TEN_MINUTES: u64 = 600;

/// Work by time of arrival. Times are milliseconds since any fixed moment and may not go back by more than a window.
#[derive(Clone, Debug)]
pub(crate) struct RateWindow {
    started_at_ms: u64,
    /// Number of the newest bucket since that moment.
    newest: u64,
    /// Hashes in bucket `n` at index `n % BUCKETS`. Single precision is a few parts in 10^7: this is for display.
    hashes: [f32; BUCKETS],
}

impl RateWindow {
    /// Empty, measuring from `now_ms` on.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            started_at_ms: now_ms,
            newest: bucket_of(now_ms),
            hashes: [0.0; BUCKETS],
        }
    }

    /// Adds `hashes` expected hashes of one accepted share.
    pub(crate) fn add(&mut self, now_ms: u64, hashes: f64) {
        self.advance(now_ms);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "single precision is enough for display"
        )]
        let hashes = hashes as f32;
        self.hashes[index(self.newest)] += hashes;
    }

    /// Hashes a second over the last `window_seconds` (at most [`TEN_MINUTES`]), or since the start if that is less.
    pub(crate) fn rate(&self, now_ms: u64, window_seconds: u64) -> f64 {
        let now = bucket_of(now_ms).max(self.newest);
        let first = now.saturating_sub(window_seconds / BUCKET_SECONDS);
        let sum: f64 = (first..=now)
            .filter(|n| *n <= self.newest && self.newest - n < BUCKETS as u64)
            .map(|n| f64::from(self.hashes[index(n)]))
            .sum();
        let from_ms = self.started_at_ms.max(first * BUCKET_SECONDS * 1000);
        let elapsed_ms = now_ms.saturating_sub(from_ms).max(1000);
        #[expect(clippy::cast_precision_loss, reason = "a span of minutes")]
        let seconds = elapsed_ms as f64 / 1000.0;
        sum / seconds
    }

    fn advance(&mut self, now_ms: u64) {
        let now = bucket_of(now_ms);
        if now > self.newest {
            for n in (self.newest + 1..=now).take(BUCKETS) {
                self.hashes[index(n)] = 0.0;
            }
            self.newest = now;
        }
    }
}

fn bucket_of(now_ms: u64) -> u64 {
    now_ms / (BUCKET_SECONDS * 1000)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below BUCKETS"
)]
fn index(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_close(actual: f64, expected: f64) {
        assert!(
            (actual - expected).abs() <= expected * 0.2,
            "{actual} is not near {expected}"
        );
    }

    #[test]
    fn a_steady_stream_shows_its_rate_in_every_window() {
        let mut window = RateWindow::new(5_000_000);
        for second in 0..3600 {
            window.add(5_000_000 + second * 1000, 1e6);
        }
        let now = 5_000_000 + 3_600_000;
        check_close(window.rate(now, ONE_MINUTE), 1e6);
        check_close(window.rate(now, TEN_MINUTES), 1e6);
    }

    #[test]
    fn silence_brings_the_rate_to_zero() {
        let mut window = RateWindow::new(0);
        window.add(1000, 1e9);
        assert!(window.rate(30_000, ONE_MINUTE) > 0.0);
        assert!(window.rate(120_000, ONE_MINUTE).abs() < 1e-9);
        assert!(window.rate(1_200_000, TEN_MINUTES).abs() < 1e-9);
        window.add(10_000_000, 1e9);
        check_close(window.rate(10_000_000, TEN_MINUTES), 1e9 / 600.0);
    }

    #[test]
    fn a_young_window_divides_by_its_age() {
        let mut window = RateWindow::new(1_000_000);
        window.add(1_005_000, 1e6);
        check_close(window.rate(1_010_000, TEN_MINUTES), 1e5);
    }
}
