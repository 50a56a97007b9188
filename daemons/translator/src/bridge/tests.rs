use super::*;
use bitcoin::hashes::{Hash, sha256d};
use hh_mining::Header;
use hh_sv2::message::{Seq0255, Sv2Option};
use proptest::prelude::*;
use serde_json::Value;

/// Block 100,000 of Bitcoin: what a pool would have sent for it, and the share that became it.
mod block_100000 {
    pub(super) const PREV_HASH: &str =
        "000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250";
    pub(super) const HASH: &str =
        "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506";
    pub(super) const VERSION: u32 = 1;
    pub(super) const NTIME: u32 = 0x4d1b_2237;
    pub(super) const NBITS: u32 = 0x1b04_864c;
    pub(super) const NONCE: u32 = 0x1057_2b0f;
    /// The coinbase up to its scriptSig of 8 bytes, of which we make 2 the pool's prefix, 1 ours and 5 the miner's.
    pub(super) const COINBASE_PREFIX: &str = "0100000001000000000000000000000000000000000000000000000000\
        0000000000000000ffffffff08";
    pub(super) const EXTRANONCE_PREFIX: [u8; 2] = [0x04, 0x4c];
    pub(super) const EXTRANONCE1: [u8; 1] = [0x86];
    pub(super) const EXTRANONCE2: [u8; 5] = [0x04, 0x1b, 0x02, 0x06, 0x02];
    pub(super) const COINBASE_SUFFIX: &str = "ffffffff0100f2052a010000004341041b0e8c2567c12536aa13357b79\
        a073dc4444acb83c4ec7a0e2f99dd7457516c5817242da796924ca4e99947d087fedf9ce467cb9f7c6287078f801df276fdf84\
        ac00000000";
    /// The second transaction, and the hash of the third and fourth.
    pub(super) const MERKLE_PATH: [&str; 2] = [
        "c40297f730dd7b5a99567eb8d27b78758f607507c52292d02d4031895b52f2ff",
        "49aef42d78e3e9999c9e6ec9e1dddd6cb880bf3b076a03be1318ca789089308e",
    ];
}

fn array(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn job_message() -> NewExtendedMiningJob {
    let path = block_100000::MERKLE_PATH.map(|hash| array(hash).into());
    NewExtendedMiningJob {
        channel_id: 3,
        job_id: 77,
        min_ntime: Sv2Option::new(None),
        version: block_100000::VERSION,
        version_rolling_allowed: false,
        merkle_path: Seq0255::new(path.to_vec()).unwrap(),
        coinbase_tx_prefix: hex::decode(block_100000::COINBASE_PREFIX)
            .unwrap()
            .try_into()
            .unwrap(),
        coinbase_tx_suffix: hex::decode(block_100000::COINBASE_SUFFIX)
            .unwrap()
            .try_into()
            .unwrap(),
    }
}

fn tip_message() -> SetNewPrevHash {
    let prev_hash: BlockHash = block_100000::PREV_HASH.parse().unwrap();
    SetNewPrevHash {
        channel_id: 3,
        job_id: 77,
        prev_hash: prev_hash.to_byte_array().into(),
        min_ntime: block_100000::NTIME,
        nbits: block_100000::NBITS,
    }
}

fn split() -> ExtranonceSplit {
    ExtranonceSplit {
        extranonce1: block_100000::EXTRANONCE1.to_vec(),
        extranonce2_size: block_100000::EXTRANONCE2.len(),
    }
}

fn miner_job(job: NewExtendedMiningJob, target: Target) -> MinerJob {
    let fixed =
        ExtranonceFixed::new(&block_100000::EXTRANONCE_PREFIX, 6, &[], split().size()).unwrap();
    let tip = Tip::try_from(tip_message()).unwrap();
    MinerJob::new(0x1f, Arc::new(job.into()), Arc::new(tip), fixed, target).unwrap()
}

fn submit() -> Submit {
    Submit {
        user_name: "alice".to_owned(),
        job_id: Some(0x1f),
        extranonce2: block_100000::EXTRANONCE2.to_vec(),
        ntime: block_100000::NTIME,
        nonce: block_100000::NONCE,
        version_bits: None,
    }
}

fn block_target() -> Target {
    Target::from_compact(block_100000::NBITS).unwrap()
}

#[test]
fn block_100000_is_found_by_its_share() {
    let share = miner_job(job_message(), block_target())
        .share(&split(), 0, &submit())
        .unwrap();
    assert_eq!(share.hash.to_string(), block_100000::HASH);
    assert_eq!((share.job_id, share.version), (77, block_100000::VERSION));
    assert_eq!(
        (share.ntime, share.nonce),
        (block_100000::NTIME, block_100000::NONCE)
    );
    assert_eq!(
        hex::encode(&share.extranonce),
        "86041b020602",
        "without the prefix"
    );
    assert_eq!(share.hashes, block_target().work().0);
}

#[test]
fn notify_has_the_words_of_prevhash_swapped_and_the_rest_as_it_is() {
    let line = miner_job(job_message(), block_target()).notify(true);
    assert!(line.ends_with('\n'));
    let json: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(json["id"], Value::Null);
    assert_eq!(json["method"], "mining.notify");
    assert_eq!(
        json["params"],
        serde_json::json!([
            "1f",
            "1901125004612a1701c3a621d930d31d36b607df1fccc2160002d01c00000000",
            format!("{}044c", block_100000::COINBASE_PREFIX),
            block_100000::COINBASE_SUFFIX,
            block_100000::MERKLE_PATH,
            "00000001",
            "1b04864c",
            "4d1b2237",
            true
        ])
    );
}

#[track_caller]
fn check_rejected(change: impl FnOnce(&mut Submit), expected: Rejection) {
    let mut submit = submit();
    change(&mut submit);
    let job = miner_job(job_message(), block_target());
    assert_eq!(job.share(&split(), 0, &submit), Err(expected));
}

#[test]
fn a_share_that_breaks_a_rule_is_rejected_with_that_rule() {
    check_rejected(|submit| submit.nonce += 1, Rejection::LowDifficulty);
    check_rejected(|submit| submit.ntime -= 1, Rejection::Invalid);
    check_rejected(
        |submit| submit.extranonce2.push(0),
        Rejection::BadExtranonceSize,
    );
    check_rejected(
        |submit| submit.extranonce2.clear(),
        Rejection::BadExtranonceSize,
    );
    check_rejected(
        |submit| submit.version_bits = Some(0x2000),
        Rejection::NonRollableVersionBit,
    );
}

#[test]
fn version_bits_replace_the_jobs_inside_the_mask_only() {
    let mask = BIP320_VERSION_BITS;
    for (job_version, bits, expected) in [
        (0x2000_0000, None, Some(0x2000_0000)),
        (0x2000_0000, Some(0), Some(0x2000_0000)),
        (0x2000_0000, Some(0x0040_2000), Some(0x2040_2000)),
        (0x2000_e000, Some(0x0040_0000), Some(0x2040_0000)),
        // The whole version instead of the bits.
        (0x2000_0000, Some(0x2040_2000), Some(0x2040_2000)),
        (0x2000_0000, Some(0x8040_2000), None),
        (0x2000_0000, Some(0x0000_0020), None),
    ] {
        assert_eq!(
            rolled_version(job_version, mask, bits),
            expected,
            "{job_version:08x} {bits:x?}"
        );
    }
    assert_eq!(rolled_version(0x2000_0000, 0, Some(0)), Some(0x2000_0000));
    assert_eq!(
        rolled_version(0x2000_0000, 0, Some(0x2000)),
        None,
        "nothing was granted"
    );
}

#[test]
fn rolling_on_a_job_that_forbids_it_is_rejected_as_that() {
    let job = miner_job(job_message(), Target::MAX);
    let rolled = Submit {
        version_bits: Some(0x2000),
        ..submit()
    };
    let share = job.share(&split(), BIP320_VERSION_BITS, &rolled);
    assert_eq!(share, Err(Rejection::VersionRolling));
}

#[test]
fn the_mask_is_what_was_asked_within_bip323_or_else_within_bip320() {
    for (asked, granted) in [
        (0x1fff_e000, 0x1fff_e000),
        (0x1fff_ffe0, 0x1fff_ffe0),
        (0x0000_6000, 0x0000_6000),
        (0xffff_ffff, 0x1fff_e000),
        (0x3fff_e000, 0x1fff_e000),
        (0x0000_001f, 0),
        (0, 0),
    ] {
        assert_eq!(granted_version_mask(asked), granted, "{asked:08x}");
    }
}

#[test]
fn the_split_uses_the_room_there_is() {
    for (room, sizes) in [
        (None, (1, 7)),
        (Some(2), (1, 7)),
        (Some(8), (1, 7)),
        (Some(9), (1, 8)),
        (Some(10), (2, 8)),
        (Some(12), (4, 8)),
        (Some(16), (4, 8)),
    ] {
        let split = ExtranonceSplit::new(room, 0, 0x0102_0304_0506);
        assert_eq!(
            (split.extranonce1.len(), split.extranonce2_size),
            sizes,
            "{room:?}"
        );
        assert!(split.size() <= room.unwrap_or(8).max(8));
    }
    assert_eq!(
        ExtranonceSplit::new(Some(16), 0, 0x0102_0304_0506).extranonce1,
        [3, 4, 5, 6]
    );
}

#[test]
fn a_channel_with_too_little_room_is_told_from_one_with_more() {
    let split = ExtranonceSplit::new(Some(8), 0, 1);
    assert_eq!(ExtranonceFixed::new(&[7; 8], 7, &[], split.size()), None);
    let exact = ExtranonceFixed::new(&[7; 8], 8, &[], split.size()).unwrap();
    assert_eq!(&exact.bytes[..], &[7; 8]);
    let wider = ExtranonceFixed::new(&[7; 4], 10, &[], split.size()).unwrap();
    assert_eq!(&wider.bytes[..], &[7, 7, 7, 7, 0, 0]);
    assert_eq!(&wider.with_prefix(&[9; 3]).bytes[..], &[9, 9, 9, 0, 0]);
}

#[test]
fn the_difficulty_sent_is_an_integer_where_that_costs_nothing_and_never_too_easy() {
    assert!((sv1_difficulty(Target::from_difficulty(1024.0)) - 1024.0).abs() < f64::EPSILON);
    assert!((sv1_difficulty(Target::from_difficulty(1_000_000.5)) - 1_000_001.0).abs() < 1e-9);
    for difficulty in [0.000_244_140_625, 0.001, 1.5, 3.3, 77.7, 4999.01] {
        let target = Target::from_difficulty(difficulty);
        let sent = sv1_difficulty(target);
        assert!(Target::from_difficulty(sent) <= target, "{difficulty}");
        assert!(sent <= difficulty * (1.0 + 1e-9), "{sent} for {difficulty}");
    }
}

/// What a miner does with our lines, by the rules of SV1: builds the coinbase, its merkle root and the header.
fn sv1_header(notify: &str, split: &ExtranonceSplit, submit: &Submit, mask: u32) -> Header {
    let json: Value = serde_json::from_str(notify).unwrap();
    let text = |index: usize| json["params"][index].as_str().unwrap().to_owned();
    let bytes = |index: usize| hex::decode(text(index)).unwrap();
    let number = |index: usize| u32::from_str_radix(&text(index), 16).unwrap();
    let coinbase = [
        bytes(2),
        split.extranonce1.clone(),
        submit.extranonce2.clone(),
        bytes(3),
    ]
    .concat();
    let mut merkle_root = sha256d::Hash::hash(&coinbase).to_byte_array();
    for branch in json["params"][4].as_array().unwrap() {
        let branch = hex::decode(branch.as_str().unwrap()).unwrap();
        let pair = [merkle_root.to_vec(), branch].concat();
        merkle_root = sha256d::Hash::hash(&pair).to_byte_array();
    }
    let mut prev_hash = [0; 32];
    for (index, word) in bytes(1).chunks(4).enumerate() {
        let word = u32::from_be_bytes(word.try_into().unwrap());
        prev_hash[index * 4..index * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    let version = match submit.version_bits {
        Some(bits) => (number(5) & !mask) | (bits & mask),
        None => number(5),
    };
    Header {
        version,
        prev_hash,
        merkle_root,
        ntime: submit.ntime,
        nbits: number(6),
        nonce: submit.nonce,
    }
}

prop_compose! {
    fn any_job()(
        version in any::<u32>(),
        min_ntime in proptest::option::of(1_u32..2_000_000_000),
        path in proptest::collection::vec(any::<[u8; 32]>(), 0..13),
        prefix in proptest::collection::vec(any::<u8>(), 40..120),
        suffix in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> NewExtendedMiningJob {
        NewExtendedMiningJob {
            channel_id: 1,
            job_id: 1,
            min_ntime: Sv2Option::new(min_ntime),
            version,
            version_rolling_allowed: true,
            merkle_path: Seq0255::new(path.into_iter().map(Into::into).collect()).unwrap(),
            coinbase_tx_prefix: prefix.try_into().unwrap(),
            coinbase_tx_suffix: suffix.try_into().unwrap(),
        }
    }
}

proptest! {
    /// The header a miner hashes after our notify is the one the pool computes from its job and our SubmitSharesExtended.
    #[test]
    fn the_miner_and_the_pool_hash_the_same_header(
        message in any_job(),
        prev_hash in any::<[u8; 32]>(),
        prefix in proptest::collection::vec(any::<u8>(), 0..16),
        rollable_size in 8_usize..16,
        session in any::<u64>(),
        know_room in any::<bool>(),
        extranonce2 in any::<[u8; 8]>(),
        (ntime, nonce) in (2_000_000_000_u32.., any::<u32>()),
        version_bits in proptest::option::of(any::<u32>().prop_map(|bits| bits & BIP320_VERSION_BITS)),
    ) {
        let split = ExtranonceSplit::new(know_room.then_some(rollable_size), 0, session);
        let tip = Tip::try_from(SetNewPrevHash {
            channel_id: 1,
            job_id: 1,
            prev_hash: prev_hash.into(),
            min_ntime: 1_999_999_999,
            nbits: 0x207f_ffff,
        }).unwrap();
        let submit = Submit {
            extranonce2: extranonce2[..split.extranonce2_size].to_vec(),
            ntime,
            nonce,
            version_bits,
            ..submit()
        };
        let fixed = ExtranonceFixed::new(&prefix, rollable_size, &[], split.size()).unwrap();
        let job = Arc::new(UpstreamJob::from(message.clone()));
        let job = MinerJob::new(1, job, Arc::new(tip), fixed, Target::MAX).unwrap();

        let mined = sv1_header(&job.notify(false), &split, &submit, BIP320_VERSION_BITS);
        let share = job.share(&split, BIP320_VERSION_BITS, &submit).unwrap();
        prop_assert_eq!(share.extranonce.len(), rollable_size);

        let path: Vec<[u8; 32]> = message.merkle_path.iter().map(|hash| hash.to_array()).collect();
        let pool = Header {
            version: share.version,
            prev_hash,
            merkle_root: merkle_root_of(
                message.coinbase_tx_prefix.as_bytes(),
                &[&prefix[..], &share.extranonce].concat(),
                message.coinbase_tx_suffix.as_bytes(),
                &path,
            ),
            ntime: share.ntime,
            nbits: 0x207f_ffff,
            nonce: share.nonce,
        };
        prop_assert_eq!(mined, pool);
        prop_assert_eq!(share.hash, pool.hash());
    }

    #[test]
    fn no_difficulty_sent_is_easier_than_the_target(bytes in any::<[u8; 32]>(), shift in 0_usize..24) {
        let mut target = [0; 32];
        target[shift..].copy_from_slice(&bytes[..32 - shift]);
        let target = Target::from_be_bytes(target);
        prop_assume!(target.difficulty().is_finite());
        let sent = sv1_difficulty(target);
        prop_assert!(Target::from_difficulty(sent) <= target);
    }
}
