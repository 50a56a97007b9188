use proptest::prelude::*;

use super::*;

const REGTEST: u32 = 0x207f_ffff;
const GENESIS: u32 = 0x1d00_ffff;

#[test]
fn a_share_at_the_network_target_scores_a_block() {
    for nbits in [GENESIS, REGTEST, 0x1703_4219] {
        let work = Target::from_compact(nbits).unwrap().work();
        assert_eq!(Score::of(work, nbits), Ok(Score::BLOCK));
    }
}

#[test]
fn score_is_floored_once() {
    // 2^96 x 7 / 4295032833, the work of difficulty 1
    assert_eq!(
        Score::of(Work(7), GENESIS),
        Ok(Score((7 << 96) / 4_295_032_833))
    );
    assert_eq!(Score::of(Work(0), GENESIS), Ok(Score(0)));
}

#[test]
fn score_saturates() {
    assert_eq!(Score::of(Work(u128::MAX), REGTEST), Ok(Score(u128::MAX)));
    assert_eq!(Score::of(Work(1 << 33), REGTEST), Ok(Score(u128::MAX)));
    assert_eq!(
        Score::of(Work((1 << 33) - 1), REGTEST),
        Ok(Score(((1 << 33) - 1) << 95))
    );
}

#[test]
fn nbits_that_are_no_target_have_no_score() {
    assert_eq!(Score::of(Work(1), 0), Err(CompactError::Zero(0)));
}

/// nBits of a difficulty from far below 1 to far above today's.
fn any_nbits() -> impl Strategy<Value = u32> {
    (0x14_u32..=0x20, 0x8000_u32..=0x7f_ffff)
        .prop_map(|(exponent, mantissa)| exponent << 24 | mantissa)
}

proptest! {
    #[test]
    fn score_is_the_floor_of_the_exact_quotient(work in any::<u128>(), nbits in any_nbits()) {
        let score = U256::from(Score::of(Work(work), nbits).unwrap().0);
        let network = U256::from(Target::from_compact(nbits).unwrap().work().0);
        // score <= work x 2^96 / network < score + 1, without dividing
        let product = U256::from(work) << 96;
        if score < U256::from(u128::MAX) {
            prop_assert!(score * network <= product);
            prop_assert!((score + U256::ONE) * network > product);
        }
    }

    #[test]
    fn the_scores_of_parts_never_exceed_the_score_of_the_whole(
        a in 0..u128::MAX / 2, b in 0..u128::MAX / 2, nbits in any_nbits(),
    ) {
        let score = |work| Score::of(Work(work), nbits).unwrap().0;
        prop_assert!(score(a).saturating_add(score(b)) <= score(a + b));
    }
}
