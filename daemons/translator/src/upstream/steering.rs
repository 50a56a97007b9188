//! The difficulty of a channel's miner where the pool leaves it to us: on a connection with a credential it has no vardiff, and a
//! channel's target is the one that we ask for.
//!
//! A rule without I/O or clock: the caller brings the time, sends what it says, and tells what came of it.

use super::ChannelTerms;
use hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE;
use hh_mining::{Bounds, Target, Vardiff};

/// One channel's.
#[derive(Clone, Debug)]
pub(super) struct Steering {
    vardiff: Vardiff,
    bounds: Bounds,
}

impl Steering {
    /// Starts at the hashrate that `terms` claim, or at `start`; no work is harder than `hardest`, nor easier than the miner takes.
    pub(super) fn new(
        terms: &ChannelTerms,
        hardest: Target,
        start: Option<Target>,
        now_ms: u64,
    ) -> Self {
        let bounds = Bounds::new(terms.max_target, hardest);
        let claimed = || {
            let hashrate = f64::from(terms.nominal_hash_rate);
            Target::from_hashrate(hashrate, DEFAULT_SHARES_PER_MINUTE.into())
        };
        let start = start.unwrap_or_else(claimed);
        Self {
            vardiff: Vardiff::new(bounds, DEFAULT_SHARES_PER_MINUTE, start, now_ms),
            bounds,
        }
    }

    /// What to ask the pool for.
    pub(super) fn target(&self) -> Target {
        self.vardiff.target()
    }

    /// The pool has set a target. Where it is another one than was asked for, it is at a bound of its own: from there on.
    pub(super) fn on_target(&mut self, target: Target, now_ms: u64) {
        if target != self.vardiff.target() {
            self.vardiff = Vardiff::new(self.bounds, DEFAULT_SHARES_PER_MINUTE, target, now_ms);
        }
    }

    /// The miner has found a share that takes so many hashes.
    pub(super) fn on_share(&mut self, hashes: u128) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share's weight in an estimate"
        )]
        let hashes = hashes as f64;
        // One share a second at that many hashes a second.
        self.vardiff.on_share(Target::from_hashrate(hashes, 60.0));
    }

    /// Lets time pass; to be called about once a second. Gives a new target to ask for.
    pub(super) fn tick(&mut self, now_ms: u64) -> Option<Target> {
        self.vardiff.tick(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Target = Target::from_be_bytes([0; 32]);

    fn terms(hashrate: f32, easiest: f64) -> ChannelTerms {
        ChannelTerms {
            nominal_hash_rate: hashrate,
            max_target: Target::from_difficulty(easiest),
        }
    }

    /// Lets a miner of `hashrate` mine for `seconds`, and gives its shares of the last minute.
    fn mine(steering: &mut Steering, hashrate: f64, seconds: u64, at: &mut u64) -> u32 {
        let (mut found, mut last_minute) = (0.0, 0);
        for second in 0..seconds {
            let hashes = steering.target().hashrate(60.0);
            found += hashrate / hashes;
            while found >= 1.0 {
                found -= 1.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a test"
                )]
                steering.on_share(hashes as u128);
                last_minute += u32::from(second + 60 >= seconds);
            }
            *at += 1_000;
            steering.tick(*at);
        }
        last_minute
    }

    #[test]
    fn a_miner_that_is_a_thousand_times_faster_or_slower_comes_to_the_wanted_rate() {
        for hashrate in [1e9, 1e12, 1e15] {
            let mut steering = Steering::new(&terms(1e12, 1e-6), NONE, None, 0);
            let mut at = 0;
            mine(&mut steering, hashrate, 900, &mut at);
            let rate = mine(&mut steering, hashrate, 120, &mut at);
            assert!((12..=26).contains(&rate), "{hashrate}: {rate}");
        }
    }

    #[test]
    fn no_work_is_beyond_what_the_miner_takes_and_the_lane_gives() {
        let mut steering =
            Steering::new(&terms(1e12, 16.0), Target::from_difficulty(64.0), None, 0);
        assert_eq!(steering.target(), Target::from_difficulty(64.0));
        let mut at = 0;
        mine(&mut steering, 1e6, 900, &mut at);
        assert_eq!(steering.target(), Target::from_difficulty(16.0));
    }

    #[test]
    fn a_bound_of_the_pool_is_where_it_goes_on_from() {
        let mut steering = Steering::new(&terms(1e9, 1e-6), NONE, None, 0);
        let pools = Target::from_difficulty(1_024.0);
        steering.on_target(pools, 0);
        assert_eq!(steering.target(), pools);
        // A miner that has the rate there is left there.
        let mut at = 0;
        let hashrate = pools.hashrate(18.0);
        mine(&mut steering, hashrate, 600, &mut at);
        let ratio = steering.target().difficulty() / 1_024.0;
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    }
}
