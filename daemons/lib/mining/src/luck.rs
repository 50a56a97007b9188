//! `Effort` and `Spread`: how much work a block of ours took beside what it takes on average, and what chance alone makes of
//! that.
//!
//! Blocks are found at random: the score between two of ours is exponentially distributed with a mean of one block, and
//! the sum of n such rounds is Gamma distributed with shape n. So a round of three times the average is one in twenty, and
//! only many rounds together tell of a fault. Floating point and for people: who is paid what is counted in scores.

use crate::Score;

/// The work of a round in blocks: 1 is what a block takes on average, whatever the network's difficulty was meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Effort(f64);

/// Between what the average effort of some rounds lies, if it is chance alone: in one of twenty cases below `low`, in one of
/// twenty above `high`, and as often below `median` as above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Effort {
    /// The effort of work with this score: from 0 to 2^32.
    #[must_use]
    pub fn of(score: Score) -> Self {
        Self(score.0 as f64 / Score::BLOCK.0 as f64)
    }

    /// Work in blocks.
    #[must_use]
    pub const fn blocks(self) -> f64 {
        self.0
    }

    /// How many blocks came for each that was to be expected after this effort for `blocks` of them: above 1 is good luck.
    /// None if no work was done, of which nothing was to be expected.
    #[must_use]
    pub fn luck(self, blocks: u32) -> Option<f64> {
        (self.0 > 0.0).then(|| f64::from(blocks) / self.0)
    }

    /// How likely it is that a round takes more than this: from 1 for no effort to 0.
    #[must_use]
    pub fn chance_of_more(self) -> f64 {
        (-self.0).exp()
    }
}

impl Spread {
    /// The spread of the average effort of this many rounds that have ended; none for no round.
    #[must_use]
    pub fn of_rounds(rounds: u32) -> Option<Self> {
        let average = |probability| gamma_quantile(rounds, probability) / f64::from(rounds);
        (rounds > 0).then(|| Self {
            low: average(0.05),
            median: average(0.5),
            high: average(0.95),
        })
    }
}

/// What the sum of `shape` exponential variables of mean 1 stays below with this probability, to ten digits.
fn gamma_quantile(shape: u32, probability: f64) -> f64 {
    let mean = f64::from(shape);
    // Ten standard deviations, and ten for the long tail of few rounds: far beyond both ends.
    let (mut low, mut high) = (0.0, mean + 10.0 * mean.sqrt() + 10.0);
    while high - low > 1e-10 * high {
        let middle = f64::midpoint(low, high);
        if fewer_events(shape, middle) > 1.0 - probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// How likely a Poisson variable of this mean (above 0) is to be less than `limit`: the sum of so many exponential
/// variables is larger than `mean` exactly then. Counted in units of the most likely term, so that nothing overflows.
fn fewer_events(limit: u32, mean: f64) -> f64 {
    const NEGLIGIBLE: f64 = 1e-18;
    let (limit, mode) = (f64::from(limit), mean.floor());
    let (mut below, mut all) = (0.0, 0.0);
    let mut add = |events: f64, term: f64| {
        all += term;
        if events < limit {
            below += term;
        }
    };
    let (mut events, mut term) = (mode, 1.0);
    while term > NEGLIGIBLE {
        add(events, term);
        events += 1.0;
        term *= mean / events;
    }
    let (mut events, mut term) = (mode, 1.0);
    while events > 0.0 && term > NEGLIGIBLE {
        term *= events / mean;
        events -= 1.0;
        add(events, term);
    }
    below / all
}

#[cfg(test)]
mod tests;
