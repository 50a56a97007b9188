//! Durations that were measured, and their percentiles.

use std::time::Duration;

/// A set of measured durations.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest sample that `percent` of a hundred of all are not above, in milliseconds; infinite where there is none.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().map_or(f64::INFINITY, as_ms)
    }

    /// In milliseconds; infinite where there is no sample.
    #[must_use]
    pub fn mean_ms(&self) -> f64 {
        let Ok(count @ 1..) = u32::try_from(self.0.len()) else {
            return f64::INFINITY;
        };
        as_ms(self.0.iter().sum::<Duration>() / count)
    }
}

fn as_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The middle one; of an even number the mean of the two in the middle. Not a number where there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_and_never_too_small() {
        let mut samples = Samples::default();
        assert!(samples.percentile_ms(50).is_infinite());
        for ms in (1..=200).rev() {
            samples.push(Duration::from_millis(ms));
        }
        let check = |percent, expected: f64| {
            assert!((samples.percentile_ms(percent) - expected).abs() < 1e-9);
        };
        check(50, 100.0);
        check(99, 198.0);
        check(100, 200.0);
        assert!((samples.mean_ms() - 100.5).abs() < 1e-9);
    }

    #[test]
    fn the_median_of_three_runs_is_the_middle_one() {
        assert!((median(&[9.0, 1.0, 5.0]) - 5.0).abs() < 1e-9);
        assert!((median(&[9.0, 1.0]) - 5.0).abs() < 1e-9);
        assert!(median(&[]).is_nan());
        assert!(median(&[1.0, f64::INFINITY, f64::INFINITY]).is_infinite());
    }
}
