use super::*;
use crate::sample;
use crate::work::Work;
use hh_mining::Work as Hashes;
use proptest::prelude::*;

const NOW: u32 = 1_700_000_100;

fn submission(channel: &Channel, work: &Work, nonce: u32) -> Submission {
    Submission {
        sequence_number: nonce,
        job_id: work.job.id,
        nonce,
        ntime: NOW,
        version: 0x2000_0000,
        extranonce: channel.prefix.extranonce([0; 8]),
    }
}

/// A channel with a job, and that work.
fn with_job(target: Target) -> (Channel, Arc<Work>) {
    let work = sample::work();
    let mut channel = sample::channel(1, target);
    channel.announced = channel.wanted_target(&work.tip);
    channel.on_job_sent(Arc::clone(&work.job), &work.tip);
    (channel, work)
}

#[track_caller]
fn check_refused(channel: &mut Channel, submission: &Submission, code: &str) {
    assert_eq!(channel.check(submission, NOW).share.unwrap_err(), code);
}

#[test]
fn a_share_is_taken_once() {
    let (mut channel, work) = with_job(Target::MAX);
    let share = submission(&channel, &work, 1);
    channel.check(&share, NOW).share.unwrap();
    check_refused(&mut channel, &share, "duplicate-share");
}

#[test]
fn the_same_nonce_with_other_version_bits_is_another_share() {
    let (mut channel, work) = with_job(Target::MAX);
    let mut share = submission(&channel, &work, 1);
    channel.check(&share, NOW).share.unwrap();
    share.version |= 0x0000_2000;
    channel.check(&share, NOW).share.unwrap();
    share.version = 0x2000_0001;
    check_refused(&mut channel, &share, "invalid-non-rollable-version-bit");
}

#[test]
fn a_job_that_was_never_sent_is_invalid_and_one_of_an_older_tip_is_stale() {
    let (mut channel, work) = with_job(Target::MAX);
    let old = submission(&channel, &work, 1);
    let unknown = Submission {
        job_id: work.job.id + 1,
        ..old
    };
    check_refused(&mut channel, &unknown, "invalid-job-id");

    let mut board = sample::board(8);
    board
        .on_new_template(0, sample::template(2), true, 0)
        .unwrap();
    board.on_set_new_prev_hash(0, 2, sample::tip(2), 0).unwrap();
    let next = board.subscribe().borrow().clone().unwrap();
    let tip = Arc::new(TipWork {
        number: 2,
        tip: next.tip.tip,
    });
    channel.on_job_sent(Arc::clone(&next.job), &tip);
    check_refused(&mut channel, &old, "stale-share");
    let block = (0..64).find_map(|nonce| channel.check(&Submission { nonce, ..old }, NOW).block);
    let block = block.expect("half of all hashes are blocks, and a stale one may win");
    assert_eq!(block.job.id, work.job.id);
}

#[test]
fn a_block_in_a_job_that_too_many_have_followed_is_found() {
    let (mut channel, work) = with_job(Target::MAX);
    let old = submission(&channel, &work, 1);
    for index in 1..=u32::try_from(2 * MAX_JOBS).unwrap() {
        let is_forgotten = index >= u32::try_from(2 * MAX_JOBS).unwrap();
        let job = work.job.template.variant(index).unwrap().unwrap();
        channel.on_job_sent(job, &work.tip);
        let mut verdicts = (0..64).map(|nonce| channel.check(&Submission { nonce, ..old }, NOW));
        let block = verdicts.find_map(|verdict| verdict.block);
        assert_eq!(block.is_some(), !is_forgotten, "after {index} more");
    }
    check_refused(&mut channel, &old, "stale-share");
}

#[test]
fn a_worker_that_a_share_names_is_of_the_channels_account() {
    let mut channel = sample::channel(1, Target::MAX);
    let mut names = |worker: Option<&str>| {
        let origin = channel.origin_of(worker);
        (origin.account().to_owned(), origin.worker().to_owned())
    };
    let alice = |worker: &str| ("alice".to_owned(), worker.to_owned());
    assert_eq!(names(None), alice("rig1"));
    assert_eq!(names(Some("rig2")), alice("rig2"));
    assert_eq!(names(Some("alice.rig3")), alice("rig3"));
    assert_eq!(names(Some("mallory.rig4")), alice("mallory.rig4"));
    assert_eq!(names(Some("no\nname")), alice("rig1"));
    assert_eq!(names(Some("")), alice("rig1"));
}

#[test]
fn time_is_held_between_the_tip_and_our_clock() {
    let (mut channel, work) = with_job(Target::MAX);
    let share = submission(&channel, &work, 1);
    let early = Submission {
        ntime: 1_699_999_999,
        ..share
    };
    check_refused(&mut channel, &early, "invalid-share");
    let late = Submission {
        ntime: NOW + MAX_NTIME_AHEAD_SECONDS + 1,
        ..share
    };
    check_refused(&mut channel, &late, "invalid-share");
    let rolled = Submission {
        ntime: NOW + MAX_NTIME_AHEAD_SECONDS,
        ..share
    };
    channel.check(&rolled, NOW).share.unwrap();
}

#[test]
fn a_hash_above_the_target_is_refused_but_a_block_in_it_is_seen() {
    let (mut channel, work) = with_job(Target::MAX);
    // The job was sent with the easiest target; the next one with a hard one.
    channel.announced = Target::from_difficulty(1.0);
    channel.on_job_sent(Arc::clone(&work.job), &work.tip);
    let mut blocks = 0;
    for nonce in 0..16 {
        let verdict = channel.check(&submission(&channel, &work, nonce), NOW);
        assert_eq!(verdict.share.unwrap_err(), "difficulty-too-low");
        blocks += usize::from(verdict.block.is_some());
    }
    assert!(
        (1..16).contains(&blocks),
        "about half of all hashes are blocks on regtest: {blocks}"
    );
}

#[test]
fn no_job_is_harder_than_the_network() {
    let (channel, work) = with_job(Target::from_difficulty(1e9));
    assert_eq!(channel.wanted_target(&work.tip), work.tip.tip.target);
}

#[test]
fn a_block_carries_the_header_that_was_hashed() {
    let (mut channel, work) = with_job(Target::MAX);
    let candidate = (0..64).find_map(|nonce| {
        let share = submission(&channel, &work, nonce);
        channel.check(&share, NOW).block
    });
    let candidate = candidate.expect("half of all hashes are blocks");
    assert_eq!(candidate.header.hash(), candidate.hash);
    assert!(work.tip.tip.target.is_met_by(&candidate.hash));
    assert_eq!(candidate.extranonce.prefix(), channel.prefix);
}

proptest! {
    /// Whatever is submitted, in whatever order and however often: what is credited was proven.
    #[test]
    fn credited_work_is_never_more_than_proven_work(
        shares in proptest::collection::vec((0_u32..20, 0_u32..3, 0_u32..3, any::<bool>()), 1..100),
    ) {
        let target = Target::from_le_bytes([0xff; 32]);
        let (mut channel, work) = with_job(target);
        let mut proven = std::collections::HashSet::new();
        let mut credited = 0_u128;
        for (nonce, time, bits, retarget) in shares {
            if retarget {
                channel.announced = Target::from_difficulty(1e-9);
                channel.on_job_sent(Arc::clone(&work.job), &work.tip);
            }
            let mut share = submission(&channel, &work, nonce);
            share.ntime += time;
            share.version |= bits << 13;
            let verdict = channel.check(&share, NOW);
            if let Ok(Accepted { share: checked, target: terms }) = verdict.share {
                prop_assert!(terms.target().is_met_by(&checked.hash));
                prop_assert_eq!(checked.work, terms.target().work());
                prop_assert!(proven.insert(checked.hash), "a hash was credited twice");
                let Hashes(hashes) = checked.work;
                credited += hashes;
            }
        }
        let most = proven.len() as u128 * Target::from_difficulty(1e-9).work().0.max(1);
        prop_assert!(credited <= most.max(proven.len() as u128));
    }

    /// Two channels never search the same headers: their extranonces differ whatever they roll.
    #[test]
    fn two_channels_never_share_a_search_space(a: [u8; 8], b: [u8; 8], first: u8, second: u8) {
        prop_assume!(first != second);
        let (one, other) = (sample::channel(first, Target::MAX), sample::channel(second, Target::MAX));
        prop_assert_ne!(one.prefix.extranonce(a), other.prefix.extranonce(b));
    }
}
