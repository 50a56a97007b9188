use bitcoin::hashes::{Hash, sha256};
use ethnum::U256;
use proptest::prelude::*;

use super::*;

const VERSION: u32 = 0x2000_0000;
const NBITS: u32 = 0x207f_ffff;
const NTIME: u32 = 1_700_000_000;
const ROOT: [u8; 32] = [7; 32];

/// Terms that any hash keeps.
fn terms(target: Target) -> ShareTerms {
    ShareTerms {
        target: ShareTarget::new(target, NBITS).unwrap(),
        job_version: VERSION,
        version_rolling_allowed: true,
        min_ntime: NTIME,
        max_ntime: NTIME + 10,
        prev_hash: [3; 32],
        network_target: Target::from_be_bytes([0; 32]),
    }
}

#[track_caller]
fn check_code(terms: &ShareTerms, version: u32, ntime: u32, expected: Option<&str>) {
    let code = check(terms, ROOT, version, ntime, 0)
        .err()
        .map(|rejected| rejected.reason.code());
    assert_eq!(code, expected);
}

#[test]
fn a_share_is_credited_the_work_of_its_target() {
    let target = Target::from_be_bytes([0xff; 32]);
    let share = check(&terms(target), ROOT, VERSION, NTIME, 0).unwrap();
    assert_eq!(share.work, target.work());
    assert_eq!(share.score, Score::of(target.work(), NBITS).unwrap());
    assert!(!share.meets_network);
}

#[test]
fn the_time_is_within_its_limits_both_included() {
    let terms = terms(Target::MAX);
    check_code(&terms, VERSION, NTIME - 1, Some("invalid-share"));
    check_code(&terms, VERSION, NTIME, None);
    check_code(&terms, VERSION, NTIME + 10, None);
    check_code(&terms, VERSION, NTIME + 11, Some("invalid-share"));
}

#[test]
fn only_the_bits_of_bip323_are_rolled_and_only_where_allowed() {
    let mut terms = terms(Target::MAX);
    check_code(&terms, VERSION ^ ROLLABLE_VERSION_BITS, NTIME, None);
    check_code(&terms, VERSION ^ 0x1000_0000, NTIME, None);
    check_code(&terms, VERSION ^ 0x0000_0020, NTIME, None);
    for bit in [0, 1, 2, 3, 4, 29, 30, 31] {
        let version = VERSION ^ (1 << bit);
        check_code(
            &terms,
            version,
            NTIME,
            Some("invalid-non-rollable-version-bit"),
        );
    }
    terms.version_rolling_allowed = false;
    check_code(&terms, VERSION, NTIME, None);
    check_code(
        &terms,
        VERSION ^ 0x20,
        NTIME,
        Some("version-rolling-not-allowed"),
    );
    check_code(
        &terms,
        VERSION ^ 1,
        NTIME,
        Some("version-rolling-not-allowed"),
    );
}

#[test]
fn a_hash_above_the_target_is_too_easy() {
    let hash = check(&terms(Target::MAX), ROOT, VERSION, NTIME, 5)
        .unwrap()
        .hash;
    let exact = Target::from_hash_le(&hash);
    assert!(check(&terms(exact), ROOT, VERSION, NTIME, 5).is_ok());
    let harder = U256::from_be_bytes(exact.to_be_bytes()) - U256::ONE;
    let harder = Target::from_be_bytes(harder.to_be_bytes());
    let rejected = check(&terms(harder), ROOT, VERSION, NTIME, 5).unwrap_err();
    assert_eq!(
        rejected.reason,
        ShareError::DifficultyTooLow { target: harder }
    );
    assert_eq!(rejected.hash, hash);
}

#[test]
fn a_refused_share_tells_that_its_hash_is_a_block() {
    let terms = ShareTerms {
        network_target: Target::MAX,
        ..terms(Target::from_be_bytes([0; 32]))
    };
    let rejected = check(&terms, ROOT, VERSION, NTIME, 0).unwrap_err();
    assert!(rejected.meets_network);
    assert_eq!(rejected.reason.code(), "difficulty-too-low");
    assert!(
        check(&terms, ROOT, VERSION, NTIME - 1, 0)
            .unwrap_err()
            .meets_network
    );
}

#[test]
fn nbits_that_are_no_target_give_no_share_target() {
    assert_eq!(ShareTarget::new(Target::MAX, 0), Err(CompactError::Zero(0)));
}

/// The rules once more, as bluntly as they can be written.
fn is_good(terms: &ShareTerms, version: u32, ntime: u32, nonce: u32) -> (bool, bool) {
    let mut header = Vec::new();
    header.extend(version.to_le_bytes());
    header.extend(terms.prev_hash);
    header.extend(ROOT);
    header.extend(ntime.to_le_bytes());
    header.extend(terms.target.nbits().to_le_bytes());
    header.extend(nonce.to_le_bytes());
    let once = sha256::Hash::hash(&header);
    let twice = sha256::Hash::hash(once.as_byte_array()).to_byte_array();
    let number = U256::from_le_bytes(twice);
    let meets = |target: Target| number <= U256::from_be_bytes(target.to_be_bytes());

    let mut good = meets(terms.target.target());
    good &= ntime >= terms.min_ntime && ntime <= terms.max_ntime;
    for bit in 0..32 {
        let rollable = terms.version_rolling_allowed && (5..=28).contains(&bit);
        good &= rollable || version >> bit & 1 == terms.job_version >> bit & 1;
    }
    (good, meets(terms.network_target))
}

prop_compose! {
    /// Targets around which random hashes fall on both sides.
    fn easy_target()(bytes in any::<[u8; 32]>()) -> Target { Target::from_be_bytes(bytes) }
}

proptest! {
    #[test]
    fn check_agrees_with_a_naive_one(
        (target, network_target) in (easy_target(), easy_target()),
        (rolling, version_bits) in (any::<bool>(), prop_oneof![Just(0), any::<u32>(), Just(0x20), 0_u32..64]),
        rollable_only in any::<bool>(),
        (after, nonce) in (-3_i32..14, any::<u32>()),
    ) {
        let terms = ShareTerms { network_target, version_rolling_allowed: rolling, ..terms(target) };
        let mask = if rollable_only { ROLLABLE_VERSION_BITS } else { u32::MAX };
        let version = VERSION ^ (version_bits & mask);
        let ntime = NTIME.checked_add_signed(after).unwrap();
        let (good, block) = is_good(&terms, version, ntime, nonce);
        match check(&terms, ROOT, version, ntime, nonce) {
            Ok(share) => {
                prop_assert!(good);
                prop_assert_eq!(share.meets_network, block);
                prop_assert_eq!(share.work, target.work());
                // Credited work is never more than the hash proves.
                prop_assert!(share.work <= Target::from_hash_le(&share.hash).work());
            }
            Err(rejected) => {
                prop_assert!(!good);
                prop_assert_eq!(rejected.meets_network, block);
            }
        }
    }
}
