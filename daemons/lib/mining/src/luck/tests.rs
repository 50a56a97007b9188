use proptest::prelude::*;

use super::*;

/// SplitMix64: a seed gives the same run on every machine.
struct Random(u64);

impl Random {
    fn exponential(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / 2_f64.powi(53);
        -(1.0 - unit).ln()
    }
}

#[track_caller]
fn check_spread(rounds: u32, low: f64, median: f64, high: f64) {
    let spread = Spread::of_rounds(rounds).unwrap();
    for (found, expected) in [
        (spread.low, low),
        (spread.median, median),
        (spread.high, high),
    ] {
        assert!(
            (found - expected).abs() < 5e-5,
            "{rounds} rounds: {spread:?}"
        );
    }
}

/// From tables of the chi-squared distribution with 2n degrees of freedom, divided by 2n.
#[test]
fn the_spread_is_that_of_the_tables() {
    check_spread(1, 0.05129, std::f64::consts::LN_2, 2.99573);
    check_spread(2, 0.17768, 0.83917, 2.37193);
    check_spread(10, 0.54254, 0.96687, 1.57052);
    check_spread(50, 0.77929, 0.99334, 1.24342);
    check_spread(100, 0.84139, 0.99667, 1.16997);
}

#[test]
fn no_round_has_no_spread_and_any_number_of_them_has_one() {
    assert_eq!(Spread::of_rounds(0), None);
    // 1.645 standard deviations of 1 / sqrt(n).
    let spread = Spread::of_rounds(u32::MAX).unwrap();
    let deviation = 1.645 / f64::from(u32::MAX).sqrt();
    assert!((spread.low - (1.0 - deviation)).abs() < 1e-8, "{spread:?}");
    assert!((spread.high - (1.0 + deviation)).abs() < 1e-8, "{spread:?}");
}

#[test]
fn nine_of_ten_simulated_pools_lie_within_the_spread() {
    const POOLS: u32 = 20_000;
    let mut random = Random(4);
    for rounds in [1, 3, 20] {
        let spread = Spread::of_rounds(rounds).unwrap();
        let (mut below, mut above) = (0, 0);
        for _ in 0..POOLS {
            let sum: f64 = (0..rounds).map(|_| random.exponential()).sum();
            let average = sum / f64::from(rounds);
            below += u32::from(average < spread.low);
            above += u32::from(average > spread.high);
        }
        for tail in [below, above] {
            let tail = f64::from(tail) / f64::from(POOLS);
            assert!((tail - 0.05).abs() < 0.006, "{rounds} rounds: {tail}");
        }
    }
}

#[test]
fn effort_counts_blocks() {
    assert_eq!(Effort::of(Score::BLOCK).blocks(), 1.0);
    assert_eq!(Effort::of(Score(Score::BLOCK.0 * 5 / 2)).blocks(), 2.5);
    assert_eq!(Effort::of(Score(0)), Effort::default());
    assert_eq!(Effort::of(Score(u128::MAX)).blocks(), 4_294_967_296.0);
}

#[test]
fn luck_is_what_came_for_what_was_due() {
    let effort = Effort::of(Score(Score::BLOCK.0 * 4));
    assert_eq!(effort.luck(1), Some(0.25));
    assert_eq!(effort.luck(8), Some(2.0));
    assert_eq!(effort.luck(0), Some(0.0));
    assert_eq!(Effort::default().luck(1), None);
    assert_eq!(Effort::default().chance_of_more(), 1.0);
    assert!((Effort(3.0).chance_of_more() - 0.0498).abs() < 1e-4);
}

proptest! {
    #[test]
    fn no_score_gives_a_surprise(score: u128, blocks: u32) {
        let effort = Effort::of(Score(score));
        prop_assert!(effort.blocks().is_finite() && effort.blocks() >= 0.0);
        prop_assert!((0.0..=1.0).contains(&effort.chance_of_more()));
        prop_assert_eq!(effort.luck(blocks).is_none(), score == 0);
        prop_assert!(effort.luck(blocks).is_none_or(f64::is_finite));
        let more = Effort::of(Score(score.saturating_add(score / 1_000_000 + 1)));
        prop_assert!(more >= effort && more.chance_of_more() <= effort.chance_of_more());
    }

    #[test]
    fn more_rounds_spread_less(rounds in 1..20_000_u32) {
        let (some, more) = (Spread::of_rounds(rounds).unwrap(), Spread::of_rounds(rounds + 1).unwrap());
        prop_assert!(0.0 < some.low && some.low < some.median && some.median < 1.0 && 1.0 < some.high);
        prop_assert!(some.low < more.low && some.median < more.median && more.high < some.high);
    }
}
