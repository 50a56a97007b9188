//! Difficulty classes: the powers of two, at which the channels of an aggregated lane are opened.
//!
//! Few enough that thousands of miners share a dozen channels, close enough that none sends much more or fewer shares than are
//! wanted: from two thirds to one and a half.

use hh_mining::{Bounds, Target};

/// The easiest class: a share for every hash or two.
const EASIEST: i16 = -32;

/// The hardest: far beyond what one machine can do, or a farm.
const HARDEST: i16 = 80;

/// A power of two of difficulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class(i16);

/// The classes that a miner may be in, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassRange {
    easiest: Class,
    hardest: Class,
}

impl Class {
    /// The one whose difficulty is nearest, by ratio.
    pub(crate) fn nearest(target: Target) -> Self {
        Self::new(target.difficulty().log2().round())
    }

    /// The easiest one that is not easier than `target`.
    pub(crate) fn not_easier_than(target: Target) -> Self {
        let mut class = Self::new(target.difficulty().log2().ceil());
        while class.0 < HARDEST && class.target() > target {
            class.0 += 1;
        }
        class
    }

    /// The hardest one that is not harder than `target`.
    pub(crate) fn not_harder_than(target: Target) -> Self {
        let mut class = Self::new(target.difficulty().log2().floor());
        while class.0 > EASIEST && class.target() < target {
            class.0 -= 1;
        }
        class
    }

    /// Exact: no power of two is rounded.
    pub(crate) fn target(self) -> Target {
        Target::from_difficulty(self.difficulty())
    }

    pub(crate) fn difficulty(self) -> f64 {
        f64::from(self.0).exp2()
    }

    fn new(log2: f64) -> Self {
        let clamped = log2.clamp(EASIEST.into(), HARDEST.into());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number between the two"
        )]
        Self(clamped as i16)
    }
}

impl ClassRange {
    /// Those within a lane's bounds of difficulty. Where no power of two is, it is the next one above the smallest: nothing is
    /// ever easier than that.
    pub(crate) fn new(min_difficulty: Option<f64>, max_difficulty: Option<f64>) -> Self {
        let easiest = min_difficulty.map_or(Class(EASIEST), |difficulty| {
            Class::not_easier_than(Target::from_difficulty(difficulty))
        });
        let hardest = max_difficulty.map_or(Class(HARDEST), |difficulty| {
            Class::not_harder_than(Target::from_difficulty(difficulty))
        });
        Self {
            easiest,
            hardest: hardest.max(easiest),
        }
    }

    /// Those of them that are not easier than `max_target`, which is kept even where it is harder than the hardest.
    pub(crate) fn with_max_target(self, max_target: Target) -> Self {
        let easiest = self.easiest.max(Class::not_easier_than(max_target));
        Self {
            easiest,
            hardest: self.hardest.max(easiest),
        }
    }

    /// Those of them that are not harder than `target`, or the easiest.
    pub(crate) fn with_min_target(self, target: Target) -> Self {
        let hardest = self.hardest.min(Class::not_harder_than(target));
        Self {
            easiest: self.easiest,
            hardest: hardest.max(self.easiest),
        }
    }

    pub(crate) fn clamp(self, class: Class) -> Class {
        class.clamp(self.easiest, self.hardest)
    }

    pub(crate) fn bounds(self) -> Bounds {
        Bounds::new(self.easiest.target(), self.hardest.target())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(difficulty: f64) -> Target {
        Target::from_difficulty(difficulty)
    }

    #[test]
    fn bounds_of_a_lane_are_kept() {
        for (min, max, easiest, hardest) in [
            (None, None, 2f64.powi(-32), 2f64.powi(80)),
            (Some(1000.0), Some(1e6), 1024.0, 524_288.0),
            (Some(1024.0), Some(1024.0), 1024.0, 1024.0),
            (Some(1025.0), Some(2000.0), 2048.0, 2048.0),
            (Some(0.3), None, 0.5, 2f64.powi(80)),
        ] {
            let range = ClassRange::new(min, max);
            let found = (range.easiest.difficulty(), range.hardest.difficulty());
            assert_eq!(found, (easiest, hardest), "{min:?} to {max:?}");
        }
    }

    #[test]
    fn what_a_miner_asks_for_goes_beyond_the_lanes_hardest() {
        let range = ClassRange::new(Some(16.0), Some(64.0));
        let asked = range.with_max_target(of(100.0));
        assert_eq!(asked.clamp(Class(0)), Class(7));
        assert_eq!(asked.clamp(Class(20)), Class(7));
        assert_eq!(range.with_min_target(of(40.0)).clamp(Class(20)), Class(5));
        assert_eq!(range.with_min_target(of(1.0)).clamp(Class(20)), Class(4));
    }

    proptest! {
        #[test]
        fn a_class_is_named_by_its_own_target(log2 in EASIEST..=HARDEST) {
            let class = Class(log2);
            prop_assert_eq!(Class::nearest(class.target()), class);
            prop_assert_eq!(Class::not_easier_than(class.target()), class);
            prop_assert_eq!(Class::not_harder_than(class.target()), class);
        }

        #[test]
        fn every_target_lies_between_its_neighbours(log2 in -31.0..79.0_f64) {
            let target = of(log2.exp2());
            let (easier, harder) = (Class::not_harder_than(target), Class::not_easier_than(target));
            prop_assert!(easier.target() >= target && target >= harder.target());
            prop_assert!(harder.0 - easier.0 <= 1);
            let nearest = Class::nearest(target);
            prop_assert!(nearest == easier || nearest == harder);
        }
    }
}
