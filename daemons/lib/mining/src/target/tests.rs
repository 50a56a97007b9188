use bitcoin::CompactTarget;
use proptest::prelude::*;

use super::*;

fn target(hex_be: &str) -> Target {
    let mut bytes = [0; 32];
    hex::decode_to_slice(hex_be, &mut bytes).expect("64 hex digits");
    Target::from_be_bytes(bytes)
}

#[track_caller]
fn check_compact(nbits: u32, expected: Result<&str, CompactError>) {
    assert_eq!(Target::from_compact(nbits), expected.map(target));
}

#[test]
fn mainnet_nbits_expand_to_their_targets() {
    check_compact(
        0x1d00_ffff,
        Ok("00000000ffff0000000000000000000000000000000000000000000000000000"),
    );
    check_compact(
        0x1b04_04cb,
        Ok("00000000000404cb000000000000000000000000000000000000000000000000"),
    );
    check_compact(
        0x1703_4219,
        Ok("0000000000000000000342190000000000000000000000000000000000000000"),
    );
    // regtest
    check_compact(
        0x207f_ffff,
        Ok("7fffff0000000000000000000000000000000000000000000000000000000000"),
    );
}

#[test]
fn nbits_that_consensus_refuses_are_refused() {
    check_compact(0, Err(CompactError::Zero(0)));
    check_compact(0x0100_0000, Err(CompactError::Zero(0x0100_0000)));
    check_compact(0x0080_0000, Err(CompactError::Zero(0x0080_0000)));
    check_compact(0xff00_0000, Err(CompactError::Zero(0xff00_0000)));
    check_compact(0x04_923456, Err(CompactError::Negative(0x0492_3456)));
    check_compact(
        0x2100_ffff + 0x0100_0000,
        Err(CompactError::Overflow(0x2200_ffff)),
    );
    check_compact(0xff12_3456, Err(CompactError::Overflow(0xff12_3456)));
}

#[test]
fn the_largest_nbits_that_fit_are_taken() {
    check_compact(
        0x2200_00ff,
        Ok("ff00000000000000000000000000000000000000000000000000000000000000"),
    );
    check_compact(
        0x2100_ffff,
        Ok("ffff000000000000000000000000000000000000000000000000000000000000"),
    );
}

#[test]
fn difficulty_of_known_nbits_is_that_of_bitcoin_core() {
    let difficulty = |nbits| Target::from_compact(nbits).unwrap().difficulty();
    assert_eq!(difficulty(0x1d00_ffff), 1.0);
    // block 100,000 and block 840,000
    assert!((difficulty(0x1b04_864c) - 14_484.162_361_225_4).abs() < 1e-6);
    assert!((difficulty(0x1703_4219) / 86_388_558_925_171.02 - 1.0).abs() < 1e-12);
}

#[test]
fn work_of_the_genesis_target_is_that_of_bitcoin_core() {
    // getblockheader 0: chainwork 0x100010001
    assert_eq!(
        Target::from_compact(0x1d00_ffff).unwrap().work(),
        Work(0x1_0001_0001)
    );
    // regtest: 2 a block
    assert_eq!(Target::from_compact(0x207f_ffff).unwrap().work(), Work(2));
}

#[test]
fn work_ends_at_one_and_saturates() {
    assert_eq!(Target::MAX.work(), Work(1));
    assert_eq!(Target::from_be_bytes([0; 32]).work(), Work(u128::MAX));
    let mut bytes = [0; 32];
    bytes[16..].fill(0xff);
    assert_eq!(Target::from_be_bytes(bytes).work(), Work(u128::MAX));
    bytes[15] = 1;
    assert_eq!(Target::from_be_bytes(bytes).work(), Work(1 << 127));
}

#[test]
fn whole_difficulties_round_trip_exactly() {
    for difficulty in [
        1.0,
        2.0,
        3.0,
        388.0,
        512.0,
        65_537.0,
        524_288.0,
        1e9,
        9_007_199_254_740_991.0,
    ] {
        assert_eq!(Target::from_difficulty(difficulty).difficulty(), difficulty);
    }
}

#[test]
fn claims_that_are_no_numbers_give_the_easiest_target() {
    for claim in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        assert_eq!(Target::from_difficulty(claim), Target::MAX);
        assert_eq!(Target::from_hashrate(claim, 18.0), Target::MAX);
    }
    let hardest = Target::from_difficulty(f64::INFINITY);
    assert_eq!(hardest.to_uint(), Target::HARDEST);
    assert_eq!(Target::from_hashrate(f64::INFINITY, 18.0), hardest);
}

#[test]
fn a_hash_equal_to_the_target_meets_it() {
    let target = target("00000000ffff0000000000000000000000000000000000000000000000000001");
    let hash = |target: Target| BlockHash::from_byte_array(target.to_le_bytes());
    assert!(target.is_met_by(&hash(target)));
    assert!(target.is_met_by(&hash(Target::from_difficulty(1.0))));
    assert!(!Target::from_difficulty(1.0).is_met_by(&hash(target)));
    assert_eq!(Target::from_hash_le(&hash(target)), target);
}

fn any_target() -> impl Strategy<Value = Target> {
    // All magnitudes alike: random bytes alone would nearly always be easy.
    (any::<[u8; 32]>(), 0_u32..256)
        .prop_map(|(bytes, shift)| Target::from_uint(U256::from_be_bytes(bytes) >> shift))
}

proptest! {
    #[test]
    fn bytes_round_trip(bytes in any::<[u8; 32]>()) {
        prop_assert_eq!(Target::from_be_bytes(bytes).to_be_bytes(), bytes);
        prop_assert_eq!(Target::from_le_bytes(bytes).to_le_bytes(), bytes);
        prop_assert_eq!(Target::from_le_bytes(bytes).to_uint(), U256::from_le_bytes(bytes));
    }

    #[test]
    fn nbits_expand_as_in_rust_bitcoin(nbits in any::<u32>()) {
        if let Ok(target) = Target::from_compact(nbits) {
            let theirs = bitcoin::Target::from_compact(CompactTarget::from_consensus(nbits));
            prop_assert_eq!(target.to_be_bytes(), theirs.to_be_bytes());
        }
    }

    #[test]
    fn the_nbits_of_a_target_expand_to_its_leading_bits(target in any_target()) {
        prop_assume!(target.to_uint() > 0xff_ffff_u128);
        let theirs = bitcoin::Target::from_be_bytes(target.to_be_bytes());
        let expanded = Target::from_compact(theirs.to_compact_lossy().to_consensus()).unwrap();
        prop_assert!(expanded <= target);
        prop_assert!(target.to_uint() - expanded.to_uint() <= target.to_uint() >> 14);
    }

    #[test]
    fn order_is_that_of_numbers_and_of_harder_work(a in any_target(), b in any_target()) {
        prop_assert_eq!(a.cmp(&b), a.to_uint().cmp(&b.to_uint()));
        let (harder, easier) = if a < b { (a, b) } else { (b, a) };
        prop_assert!(harder.work() >= easier.work());
        prop_assert!(harder.difficulty() >= easier.difficulty());
    }

    #[test]
    fn work_is_the_quotient_of_2_256(target in any_target()) {
        // w <= 2^256 / (t + 1) < w + 1, in the arithmetic of rust-bitcoin's own work.
        let theirs = bitcoin::Target::from_be_bytes(target.to_be_bytes()).to_work();
        let ours = target.work().0;
        if ours != u128::MAX {
            prop_assert_eq!(U256::from(ours).to_be_bytes(), theirs.to_be_bytes());
        }
    }

    #[test]
    fn is_met_by_compares_numbers(target in any_target(), hash in any_target()) {
        let block_hash = BlockHash::from_byte_array(hash.to_le_bytes());
        prop_assert_eq!(target.is_met_by(&block_hash), hash.to_uint() <= target.to_uint());
    }

    #[test]
    fn difficulty_round_trips_within_the_precision_of_a_float(difficulty in 1e-9_f64..1e15) {
        let back = Target::from_difficulty(difficulty).difficulty();
        prop_assert!((back / difficulty - 1.0).abs() < 1e-12, "{} became {}", difficulty, back);
    }

    #[test]
    fn whole_difficulties_round_trip(difficulty in 1_u32..) {
        let difficulty = f64::from(difficulty);
        prop_assert_eq!(Target::from_difficulty(difficulty).difficulty(), difficulty);
    }

    #[test]
    fn hashrate_round_trips_within_the_precision_of_a_float(hashrate in 1e3_f64..1e21) {
        let back = Target::from_hashrate(hashrate, 18.0).hashrate(18.0);
        prop_assert!((back / hashrate - 1.0).abs() < 1e-12, "{} became {}", hashrate, back);
    }
}
