//! Between which difficulties a miner's work is, and where it starts: from what it says, what its kind is known to need, and
//! the bounds of its lane. A pure rule.
//!
//! A smallest difficulty always holds: it goes to the pool as the channel's `max_target`, which SV2 has every pool keep. A
//! largest one bounds where a miner starts; what the pool's vardiff makes of it later is the pool's, SV2 has no word for it.

use crate::config::LaneConfig;
use crate::upstream::ChannelTerms;
use hh_mining::{Bounds, Target};

/// The rate that a difficulty stands for when it is turned into a hashrate: the specification's.
const SHARES_PER_MINUTE: f64 = 18.0;

/// Where rented hashrate starts, and what NiceHash takes for work at all (its published minimum for SHA-256): below it, it
/// drops the pool.
const RENTED_DIFFICULTY: f64 = 524_288.0;

/// What stands in the user agents of rental markets, in lower case: racks behind one connection, which would send hundreds
/// of shares a second where a single machine starts.
const MARKETS: [Market; 2] = [
    Market {
        user_agent: "nicehash",
        refuses_less: true,
    },
    Market {
        user_agent: "miningrigrentals",
        refuses_less: false,
    },
];

struct Market {
    user_agent: &'static str,
    /// It refuses easier work, or only starts here.
    refuses_less: bool,
}

/// What holds for every miner of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneDifficulty {
    /// As configured.
    pub min: Option<f64>,
    /// As configured.
    pub max: Option<f64>,
    pub nominal_hashrate_hs: f32,
    bounds: Bounds,
}

/// What one miner wants and has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MinerDifficulty {
    /// Where it wants to start.
    suggested: Option<f64>,
    /// Below what it wants no work: `d=` in a password, BIP310, a market's own.
    minimum: Option<f64>,
    /// Where its kind starts.
    usual: Option<f64>,
    /// The target of its last channel.
    last: Option<Target>,
}

impl LaneDifficulty {
    /// As configured, which has been checked.
    pub(crate) fn new(config: &LaneConfig) -> Self {
        let easiest = config.min_difficulty.map(Target::from_difficulty);
        let hardest = config.max_difficulty.map(Target::from_difficulty);
        Self {
            min: config.min_difficulty,
            max: config.max_difficulty,
            bounds: Bounds::new(
                easiest.unwrap_or(Target::MAX),
                hardest.unwrap_or_else(|| Target::from_le_bytes([0; 32])),
            ),
            nominal_hashrate_hs: config.nominal_hashrate_hs,
        }
    }

    /// What the pool chooses from for a channel of an SV2 miner that says this of itself; a hashrate of 0 says nothing. `last` is
    /// the target that it had before, if it had one.
    pub(crate) fn channel_terms(
        &self,
        nominal_hashrate_hs: f32,
        max_target: Target,
        last: Option<Target>,
    ) -> ChannelTerms {
        let hashrate = match nominal_hashrate_hs {
            0.0 => self.nominal_hashrate_hs,
            said => said,
        };
        let start =
            last.unwrap_or_else(|| Target::from_hashrate(hashrate.into(), SHARES_PER_MINUTE));
        terms(self.bounds.with_max_target(max_target), start)
    }
}

impl LaneDifficulty {
    /// No work is harder than this where we choose.
    pub(crate) fn hardest(&self) -> Target {
        self.bounds.hardest()
    }
}

impl MinerDifficulty {
    /// The miner suggests where to start.
    pub(crate) fn suggest(&mut self, difficulty: f64) {
        if self.suggested != Some(difficulty) {
            self.suggested = Some(difficulty);
            // What was found before does not count against what it asks for now.
            self.last = None;
        }
    }

    /// The miner wants no easier work than this; of several such wishes the highest holds.
    pub(crate) fn raise_minimum(&mut self, difficulty: Option<f64>) {
        let known = self.minimum.into_iter();
        self.minimum = known.chain(difficulty).reduce(f64::max);
    }

    /// The miner says what it is.
    pub(crate) fn learn_user_agent(&mut self, user_agent: &str) {
        let user_agent = user_agent.to_ascii_lowercase();
        let mut markets = MARKETS.iter();
        let Some(market) = markets.find(|market| user_agent.contains(market.user_agent)) else {
            return;
        };
        self.usual = Some(RENTED_DIFFICULTY);
        if market.refuses_less {
            self.raise_minimum(Some(RENTED_DIFFICULTY));
        }
    }

    /// The pool has set a target: the next channel starts there.
    pub(crate) fn on_target(&mut self, target: Target) {
        self.last = Some(target);
    }

    /// What the pool is told. It starts at what was last seen of the miner, else at what it suggests, its minimum, what its
    /// kind does, or the lane's estimate; within the lane's bounds, but never easier than the miner's minimum.
    pub(crate) fn terms(&self, lane: LaneDifficulty) -> ChannelTerms {
        let minimum = self.minimum.map_or(Target::MAX, Target::from_difficulty);
        let bounds = lane.bounds.with_max_target(minimum);
        let wishes = [self.suggested, self.minimum, self.usual];
        let wished = wishes.into_iter().flatten().next();
        let start = self.last.or_else(|| wished.map(Target::from_difficulty));
        let start = start.unwrap_or_else(|| {
            let estimate = f64::from(lane.nominal_hashrate_hs);
            Target::from_hashrate(estimate, SHARES_PER_MINUTE)
        });
        terms(bounds, start)
    }
}

/// What the pool chooses from for a channel that is to start at `start`.
fn terms(bounds: Bounds, start: Target) -> ChannelTerms {
    let hashrate = bounds.clamp(start).hashrate(SHARES_PER_MINUTE);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an estimate; SV2 carries it as f32"
    )]
    let nominal_hash_rate = hashrate as f32;
    ChannelTerms {
        nominal_hash_rate: nominal_hash_rate.clamp(1.0, f32::MAX),
        max_target: bounds.easiest(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(min_difficulty: Option<f64>, max_difficulty: Option<f64>) -> LaneDifficulty {
        LaneDifficulty::new(&LaneConfig {
            min_difficulty,
            max_difficulty,
            nominal_hashrate_hs: 1e12,
            ..LaneConfig::new("main", "127.0.0.1:0".parse().unwrap())
        })
    }

    /// The difficulty at which the pool starts, and the smallest that it may come to.
    fn told(miner: &MinerDifficulty, lane: LaneDifficulty) -> (f64, f64) {
        let terms = miner.terms(lane);
        let start = Target::from_hashrate(terms.nominal_hash_rate.into(), SHARES_PER_MINUTE);
        (start.difficulty(), terms.max_target.difficulty())
    }

    #[track_caller]
    fn check(miner: &MinerDifficulty, lane: LaneDifficulty, start: f64, least: f64) {
        let told = told(miner, lane);
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-3;
        assert!(near(told.0, start), "starts at {}, not {start}", told.0);
        assert!(near(told.1, least), "least is {}, not {least}", told.1);
    }

    const ANY: f64 = 2.328e-10;

    #[test]
    fn a_miner_starts_at_the_first_that_is_known_of_it() {
        let lane = lane(None, None);
        let mut miner = MinerDifficulty::default();
        check(&miner, lane, 776.1, ANY);
        miner.learn_user_agent("MiningRigRentals/1.0");
        check(&miner, lane, RENTED_DIFFICULTY, ANY);
        miner.raise_minimum(Some(0.25));
        miner.raise_minimum(Some(0.125));
        miner.raise_minimum(None);
        check(&miner, lane, 0.25, 0.25);
        miner.suggest(1024.0);
        check(&miner, lane, 1024.0, 0.25);
        miner.on_target(Target::from_difficulty(4096.0));
        check(&miner, lane, 4096.0, 0.25);
        miner.suggest(1024.0);
        check(&miner, lane, 4096.0, 0.25);
        miner.suggest(2048.0);
        check(&miner, lane, 2048.0, 0.25);
    }

    #[test]
    fn nicehash_gets_no_work_that_it_refuses() {
        let mut miner = MinerDifficulty::default();
        miner.learn_user_agent("NiceHash/1.0.0");
        check(
            &miner,
            lane(None, None),
            RENTED_DIFFICULTY,
            RENTED_DIFFICULTY,
        );
        miner.suggest(1.0);
        check(
            &miner,
            lane(None, Some(1e3)),
            RENTED_DIFFICULTY,
            RENTED_DIFFICULTY,
        );
    }

    #[test]
    fn a_lanes_bounds_hold_but_for_what_the_miner_can_not_do_with_less() {
        let bounded = lane(Some(16.0), Some(64.0));
        let mut miner = MinerDifficulty::default();
        check(&miner, bounded, 64.0, 16.0);
        miner.suggest(0.001);
        check(&miner, bounded, 16.0, 16.0);
        miner.raise_minimum(Some(0.5));
        check(&miner, bounded, 16.0, 16.0);
        miner.raise_minimum(Some(32.0));
        check(&miner, bounded, 32.0, 32.0);
        miner.raise_minimum(Some(1e6));
        check(&miner, bounded, 1e6, 1e6);
    }

    #[test]
    fn a_microcontroller_starts_at_a_fraction() {
        let mut miner = MinerDifficulty::default();
        miner.suggest(0.00015);
        check(&miner, lane(None, None), 0.00015, ANY);
    }

    proptest! {
        #[test]
        fn whatever_a_miner_says_the_pool_is_told_a_hashrate_and_a_target_within_the_lane(
            suggested in prop::option::of(any::<f64>()),
            minimum in prop::option::of(any::<f64>()),
            least in prop::option::of(1e-12..1e9_f64),
        ) {
            let positive = |number: &f64| number.is_finite() && *number > 0.0;
            let mut miner = MinerDifficulty::default();
            if let Some(difficulty) = suggested.filter(positive) {
                miner.suggest(difficulty);
            }
            miner.raise_minimum(minimum.filter(positive));
            let terms = miner.terms(lane(least, None));
            prop_assert!(terms.nominal_hash_rate.is_finite() && terms.nominal_hash_rate >= 1.0);
            let easiest = least.map_or(Target::MAX, Target::from_difficulty);
            prop_assert!(terms.max_target <= easiest);
        }
    }
}
