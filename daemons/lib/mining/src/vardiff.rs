//! `Vardiff`: the target of one channel, so that its miner finds so many shares a minute whatever its hashrate.
//!
//! Shares are a Poisson process. With target t_i in force for T_i seconds, k shares found and w_i = work(t_i), the likelihood
//! of a hashrate H is H^k exp(-H sum(T_i / w_i)): k and the exposure sum(T_i / w_i) say all there is to know, across changes
//! of the target, and the estimate is H = k / exposure. The exposure is kept in units of the shares that were wanted at the
//! present target (`expected`), so that `found / expected` is the factor by which the target is off.
//!
//! - *When to change.* The log-likelihood ratio of the estimate against the present target,
//!   found ln(found / expected) - (found - expected), is about z^2 / 2. It must exceed a threshold that is low while little
//!   is known (a wrong step is soon corrected) and high later (a right target is left alone).
//! - *Forgetting.* Evidence fades with a time constant of ten minutes, which bounds the noise of a settled target to 5%.
//! - *A miner that changes.* Two CUSUM tests (Page 1954) watch for a hashrate of three times and of a third of the present
//!   one, silence included. On alarm only the evidence since the change began is kept.
//!
//! Holds no clock: the caller brings milliseconds that never go back.

use crate::Target;

/// The specification's rate of shares.
pub const DEFAULT_SHARES_PER_MINUTE: f32 = 18.0;

/// What the target at the start, or at a shift, is worth as evidence. Little: claims are wrong by factors of 100. Found is
/// not zero, because silence would then mean a hashrate of zero; expected is less, because it would hold a fast miner back.
const PRIOR: Evidence = Evidence {
    found: 0.2,
    expected: 0.05,
};
/// The time constant of forgetting.
const MEMORY_SECONDS: f32 = 600.0;
/// A tick that comes later than this is our own stall: what lies beyond is not held against the miner.
const MAX_TICK_SECONDS: f32 = 5.0;
/// The log-likelihood ratio that justifies a change: with no evidence, more with each share, and its limit (2.6 sigma).
const THRESHOLD_START: f32 = 0.4;
const THRESHOLD_PER_SHARE: f32 = 0.04;
const THRESHOLD_LIMIT: f32 = 3.5;
/// Smaller changes are not worth a message.
const MIN_STEP: f32 = 1.1;
/// The most that one change makes a target easier: it rests on silence, and the next step is only seconds away.
const MAX_EASIER_STEP: f32 = 5.0;
/// One or two early shares are no reason to make a target harder.
const MIN_FOUND_FOR_HARDER: f32 = 3.0;
/// The CUSUM tests look for a hashrate this many times higher or lower.
const SHIFT: f32 = 3.0;
/// The CUSUM alarm as a log-likelihood ratio: silence is noticed after 13 missing shares, and a settled channel has one
/// false alarm in about an hour at 18 shares a minute.
const ALARM: f32 = 8.5;
/// From this difficulty on targets are those of whole difficulties: the rounding is below 2%, and SV1 firmware that reads
/// only integers gets exactly the target it is credited for.
const WHOLE_DIFFICULTY_FROM: f64 = 32.0;

/// Of targets that are those of powers of two, a step is taken for a hashrate that is off by more than this: half way from one
/// to the next is 1.41, and what lies between is left alone, so that no noise sends a miner to and fro.
const MIN_DOUBLING_STEP: f32 = 1.5;

/// Which targets may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grid {
    /// Any; of whole difficulties where that makes no difference.
    Any,
    /// Those whose difficulty is a power of two.
    PowersOfTwo,
}

/// Between which targets a channel's may move, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    easiest: Target,
    hardest: Target,
}

impl Bounds {
    /// If `hardest` is easier than `easiest`, both are `easiest`: nothing is ever easier than that.
    #[must_use]
    pub fn new(easiest: Target, hardest: Target) -> Self {
        Self {
            easiest,
            hardest: hardest.min(easiest),
        }
    }

    /// These bounds under a client's `max_target`, which is kept even where it is harder than `hardest`.
    #[must_use]
    pub fn with_max_target(self, max_target: Target) -> Self {
        Self::new(self.easiest.min(max_target), self.hardest)
    }

    #[must_use]
    pub const fn easiest(&self) -> Target {
        self.easiest
    }

    #[must_use]
    pub const fn hardest(&self) -> Target {
        self.hardest
    }

    /// `target`, or the bound that it is beyond.
    #[must_use]
    pub fn clamp(&self, target: Target) -> Target {
        target.clamp(self.hardest, self.easiest)
    }
}

/// Shares that were found, and that were wanted, over some stretch of time.
#[derive(Clone, Copy, Debug, Default)]
struct Evidence {
    found: f32,
    expected: f32,
}

impl Evidence {
    /// The factor by which the hashrate is above what the target is made for.
    fn ratio(self) -> f32 {
        self.found / self.expected
    }

    /// How much better the best estimate explains this than the present target does.
    fn log_likelihood_ratio(self) -> f32 {
        self.found * self.ratio().ln() - (self.found - self.expected)
    }

    /// How much better a hashrate `shift` times the present one explains this.
    fn log_likelihood_of(self, shift: f32) -> f32 {
        self.found * shift.ln() - self.expected * (shift - 1.0)
    }
}

/// The state of one channel.
#[derive(Clone, Debug)]
pub struct Vardiff {
    bounds: Bounds,
    grid: Grid,
    target: Target,
    last_tick_ms: u64,
    shares_per_second: f32,
    evidence: Evidence,
    /// Since the CUSUM of a higher, and of a lower hashrate was last zero.
    higher: Evidence,
    lower: Evidence,
}

impl Vardiff {
    /// Starts with `start` within `bounds`, when the channel gets its first job.
    ///
    /// # Panics
    /// If `shares_per_minute` is not above 0; it comes from a checked configuration.
    #[must_use]
    pub fn new(bounds: Bounds, shares_per_minute: f32, start: Target, now_ms: u64) -> Self {
        assert!(
            shares_per_minute > 0.0,
            "shares_per_minute is {shares_per_minute}, must be above 0"
        );
        Self {
            bounds,
            grid: Grid::Any,
            target: bounds.clamp(start),
            last_tick_ms: now_ms,
            shares_per_second: shares_per_minute / 60.0,
            evidence: PRIOR,
            higher: Evidence::default(),
            lower: Evidence::default(),
        }
    }

    /// As [`Self::new`], for targets whose difficulty is a power of two: `start` and both bounds are such, and so are all that
    /// follow. The rate of shares is then between two thirds and one and a half of what is wanted.
    ///
    /// # Panics
    /// If `shares_per_minute` is not above 0.
    #[must_use]
    pub fn in_powers_of_two(
        bounds: Bounds,
        shares_per_minute: f32,
        start: Target,
        now_ms: u64,
    ) -> Self {
        Self {
            grid: Grid::PowersOfTwo,
            ..Self::new(bounds, shares_per_minute, start, now_ms)
        }
    }

    /// The target for the channel's next jobs.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Takes an accepted share and the target of its job, which may be an earlier one of this channel.
    pub fn on_share(&mut self, job_target: Target) {
        // A share on an easier job than the present one stands for as much less. One on a harder job counts once: the time
        // it took was counted under its own target.
        let found = if job_target > self.target {
            self.target.expected_hashes_ratio(job_target)
        } else {
            1.0
        };
        for evidence in [&mut self.evidence, &mut self.higher, &mut self.lower] {
            evidence.found += found;
        }
    }

    /// Lets time pass; to be called about once a second.
    ///
    /// Gives a new target if it is time for one: send it with a new job at once, because the miner goes on under the old
    /// target until then.
    pub fn tick(&mut self, now_ms: u64) -> Option<Target> {
        self.advance(now_ms);
        if let Some(since_shift) = self.watch_for_shift() {
            self.higher = Evidence::default();
            self.lower = Evidence::default();
            self.evidence = Evidence {
                found: PRIOR.found + since_shift.found,
                expected: PRIOR.expected + since_shift.expected,
            };
        }
        let ratio = self.evidence.ratio();
        let is_step = ratio < MIN_STEP.recip()
            || (ratio > MIN_STEP && self.evidence.found >= MIN_FOUND_FOR_HARDER);
        if !is_step || self.evidence.log_likelihood_ratio() < self.threshold() {
            return None;
        }
        self.retarget(ratio.max(MAX_EASIER_STEP.recip()))
    }

    /// Replaces the bounds (an UpdateChannel, an operator). Gives the new target if the present one is beyond them, and then
    /// learns anew: evidence from far beyond the bounds would weigh too much.
    pub fn set_bounds(&mut self, bounds: Bounds) -> Option<Target> {
        self.bounds = bounds;
        let forced = self.change_to(bounds.clamp(self.target))?;
        self.evidence = PRIOR;
        Some(forced)
    }

    /// Asks for another rate of shares from now on: the next ticks find the target for it. What was learned of the hashrate
    /// holds.
    ///
    /// # Panics
    /// If `shares_per_minute` is not above 0; it comes from a checked configuration.
    pub fn set_shares_per_minute(&mut self, shares_per_minute: f32) {
        assert!(
            shares_per_minute > 0.0,
            "shares_per_minute is {shares_per_minute}, must be above 0"
        );
        let shares_per_second = shares_per_minute / 60.0;
        // In units of the shares that are wanted, so that found / expected is the factor to the new target.
        self.evidence.expected *= shares_per_second / self.shares_per_second;
        self.higher = Evidence::default();
        self.lower = Evidence::default();
        self.shares_per_second = shares_per_second;
    }

    fn advance(&mut self, now_ms: u64) {
        let elapsed_ms =
            u16::try_from(now_ms.saturating_sub(self.last_tick_ms)).unwrap_or(u16::MAX);
        self.last_tick_ms = self.last_tick_ms.max(now_ms);
        let seconds = (f32::from(elapsed_ms) / 1000.0).min(MAX_TICK_SECONDS);
        let expected = seconds * self.shares_per_second;
        let keep = 1.0 - seconds / MEMORY_SECONDS;
        self.evidence.found *= keep;
        self.evidence.expected *= keep;
        for evidence in [&mut self.evidence, &mut self.higher, &mut self.lower] {
            evidence.expected += expected;
        }
    }

    fn threshold(&self) -> f32 {
        let shares = self.evidence.found.max(self.evidence.expected);
        (THRESHOLD_START + THRESHOLD_PER_SHARE * shares).min(THRESHOLD_LIMIT)
    }

    /// Page's test: the sums start again where they would become negative; an alarm gives the evidence since then.
    fn watch_for_shift(&mut self) -> Option<Evidence> {
        for (evidence, shift) in [(&mut self.higher, SHIFT), (&mut self.lower, SHIFT.recip())] {
            let sum = evidence.log_likelihood_of(shift);
            if sum > ALARM {
                return Some(*evidence);
            }
            if sum < 0.0 {
                *evidence = Evidence::default();
            }
        }
        None
    }

    fn retarget(&mut self, ratio: f32) -> Option<Target> {
        let wanted = match self.grid {
            Grid::Any => {
                let hashes = self.target.expected_hashes() * f64::from(ratio);
                whole_difficulty(Target::from_expected_hashes(hashes))
            }
            Grid::PowersOfTwo if ratio.max(ratio.recip()) < MIN_DOUBLING_STEP => return None,
            Grid::PowersOfTwo => {
                let step = f64::from(ratio.log2().round()).exp2();
                Target::from_difficulty(self.target.difficulty() * step)
            }
        };
        self.change_to(self.bounds.clamp(wanted))
    }

    fn change_to(&mut self, target: Target) -> Option<Target> {
        if target == self.target {
            return None;
        }
        self.evidence.expected *= self.target.expected_hashes_ratio(target);
        self.higher = Evidence::default();
        self.lower = Evidence::default();
        self.target = target;
        Some(target)
    }
}

fn whole_difficulty(target: Target) -> Target {
    let difficulty = target.difficulty();
    if difficulty < WHOLE_DIFFICULTY_FROM {
        return target;
    }
    Target::from_difficulty(difficulty.round())
}

#[cfg(test)]
mod tests;
