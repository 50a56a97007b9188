use super::*;
use crate::{BlockHash, EntryOrigin, Oldest, PartMinute, ShareId, WholeMinute, Work};
use proptest::prelude::*;

const NEWEST_MINUTE: i64 = 1_000;

fn origin(number: usize) -> EntryOrigin<'static> {
    let (account, node) = [("alice", "core"), ("alice", "edge-1"), ("bob", "core")][number % 3];
    EntryOrigin {
        account: account.into(),
        worker: "rig1".into(),
        node: node.into(),
        lane: "main".into(),
    }
}

fn part(minute: i64, who: usize, score: u128) -> WindowEntry<'static> {
    WindowEntry::Part(PartMinute {
        minute,
        origin: origin(who),
        shares: 1,
        work: Work(score * 3),
        score: Score(score),
    })
}

fn whole(minute: i64, who: usize, score: u128) -> WindowEntry<'static> {
    WindowEntry::Minute(WholeMinute {
        minute,
        pool: "pool-1".into(),
        epoch: [7; 16],
        origin: origin(who),
        shares: 1,
        work: Work(score * 3),
        score: Score(score),
        chain: [1; 32],
    })
}

fn share(at_ms: i64, who: usize, score: u128, counted: u128) -> WindowEntry<'static> {
    WindowEntry::Share(EdgeShare {
        at_ms,
        pool: "pool-1".into(),
        epoch: [7; 16],
        seq: u64::try_from(at_ms).unwrap(),
        origin: origin(who),
        score: Score(score),
        counted: Score(counted),
    })
}

fn pplns(score: u128) -> WindowSize {
    WindowSize::Pplns {
        score: Score(score),
    }
}

fn newest() -> SharePosition {
    SharePosition {
        at_ms: NEWEST_MINUTE * 60_000 + 500,
        share: Some(ShareId {
            pool: "pool-1".to_owned(),
            epoch: [7; 16],
            seq: 60_000_500,
        }),
    }
}

fn recounted(
    size: WindowSize,
    entries: &[WindowEntry<'static>],
) -> Result<WindowTotals, RecountError> {
    let mut recount = Recount::new(size, newest());
    for entry in entries {
        recount.add(entry.clone())?;
    }
    recount.finish()
}

#[track_caller]
fn check_refused(size: WindowSize, entries: &[WindowEntry<'static>], expected: &RecountError) {
    assert_eq!(recounted(size, entries).as_ref(), Err(expected));
}

#[test]
fn a_window_is_added_up_from_its_entries() {
    let entries = [
        part(1_000, 0, 5),
        part(1_000, 2, 2),
        whole(999, 1, 4),
        whole(990, 2, 1),
        share(980 * 60_000 + 9, 0, 2, 2),
        share(980 * 60_000 + 3, 2, 7, 1),
    ];
    let totals = recounted(pplns(15), &entries).unwrap();
    let accounts: Vec<_> = totals.credits.accounts().collect();
    assert_eq!(accounts, [("alice", Score(11)), ("bob", Score(4))]);
    assert_eq!(totals.credits.no_node(), Score(11));
    assert!(totals.is_full);
    assert_eq!(totals.edge.len(), 2);
    assert!(matches!(
        totals.oldest,
        Oldest::Share {
            at_ms: 58_800_003,
            counted: Score(1),
            ..
        }
    ));
    // A minute that fits exactly ends it without shares.
    let totals = recounted(pplns(12), &entries[..4]).unwrap();
    assert_eq!(totals.oldest, Oldest::Minute { minute: 990 });
    let totals = recounted(pplns(13), &entries[..4]).unwrap();
    assert_eq!((totals.oldest, totals.is_full), (Oldest::All, false));
}

#[test]
fn a_round_ends_with_the_part_of_its_first_minute() {
    let previous = BlockHash::from_byte_array([1; 32]);
    let round = WindowSize::Round {
        previous: Some(previous),
    };
    let entries = [part(1_000, 0, 5), whole(999, 1, 4), part(990, 2, 1)];
    let totals = recounted(round, &entries).unwrap();
    assert_eq!(totals.oldest, Oldest::Block { block: previous });
    assert_eq!(totals.credits.total(), Score(10));
    let behind = [&entries[..], &[whole(980, 0, 1)]].concat();
    let minute = 980;
    check_refused(round, &behind, &RecountError::Kind { number: 3, minute });
    let shares = [part(1_000, 0, 5), share(999 * 60_000, 0, 1, 1)];
    let minute = 999;
    check_refused(round, &shares, &RecountError::Kind { number: 1, minute });
    // Without a block before there is no such part.
    let first = WindowSize::Round { previous: None };
    let minute = 990;
    check_refused(first, &entries, &RecountError::Kind { number: 2, minute });
    assert_eq!(recounted(first, &entries[..2]).unwrap().oldest, Oldest::All);
}

#[test]
fn entries_out_of_their_place_are_refused() {
    let order = |number| RecountError::Order { number };
    let size = pplns(100);
    check_refused(size, &[part(1_000, 2, 1), part(1_000, 0, 1)], &order(1));
    check_refused(size, &[part(1_000, 0, 1), part(1_000, 0, 1)], &order(1));
    check_refused(size, &[whole(990, 0, 1), whole(991, 0, 1)], &order(1));
    check_refused(size, &[whole(990, 0, 1), whole(990, 0, 1)], &order(1));
    check_refused(size, &[part(1_000, 0, 1), whole(1_000, 1, 1)], &order(1));
    let late = [part(1_001, 0, 1)];
    check_refused(size, &late, &RecountError::TooNew { number: 0 });
    let later = [share(60_000_501, 0, 200, 100)];
    check_refused(size, &later, &RecountError::TooNew { number: 0 });
    let minute = 1_000;
    let kind = RecountError::Kind { number: 0, minute };
    check_refused(size, &[whole(1_000, 0, 1)], &kind);
    let minute = 999;
    let kind = RecountError::Kind { number: 0, minute };
    check_refused(size, &[part(999, 0, 1)], &kind);
}

#[test]
fn entries_that_are_too_many_or_too_few_are_refused() {
    let minute = 990;
    let large = [part(1_000, 0, 5), whole(990, 0, 6)];
    check_refused(pplns(10), &large, &RecountError::TooLarge { minute });
    let behind = [part(1_000, 0, 10), whole(990, 0, 6)];
    check_refused(pplns(10), &behind, &RecountError::Full { number: 1 });
    let at_ms = 990 * 60_000;
    let counted = |says| {
        let (number, says, counts) = (1, Score(says), Score(5));
        RecountError::Counted {
            number,
            counts,
            says,
        }
    };
    for says in [4, 6] {
        let wrong = [part(1_000, 0, 5), share(at_ms, 0, 6, says)];
        check_refused(pplns(10), &wrong, &counted(says));
    }
    let few = [part(1_000, 0, 5), share(at_ms, 0, 3, 3)];
    check_refused(pplns(10), &few, &RecountError::NotFull);
    let full = [
        part(1_000, 0, 7),
        share(at_ms + 1, 0, 3, 3),
        share(at_ms, 0, 1, 0),
    ];
    check_refused(pplns(10), &full, &RecountError::Full { number: 2 });
    // Nor do they go on in another minute, or turn into sums.
    let far = [
        part(1_000, 0, 5),
        share(at_ms, 0, 3, 3),
        share(at_ms - 1, 0, 3, 2),
    ];
    check_refused(pplns(10), &far, &RecountError::Order { number: 2 });
    let back = [part(1_000, 0, 5), share(at_ms, 0, 3, 3), whole(980, 0, 2)];
    check_refused(pplns(10), &back, &RecountError::Order { number: 2 });
}

proptest! {
    #[test]
    fn what_a_tally_took_in_is_recounted_to_the_same(
        minutes in prop::collection::vec((1..5_i64, prop::collection::vec(0..9_u128, 3)), 0..12),
        size in 1..120_u128,
    ) {
        let (mut tally, mut entries, mut minute) = (Tally::new(pplns(size)), Vec::new(), NEWEST_MINUTE);
        for (older, scores) in minutes {
            let sums: Vec<_> = scores.iter().enumerate().map(|(who, score)| {
                if minute == NEWEST_MINUTE { part(minute, who, *score) } else { whole(minute, who, *score) }
            }).collect();
            if tally.is_full() {
                break;
            }
            if !tally.take_minute(&sums) {
                for (who, score) in scores.iter().enumerate().filter(|_| minute < NEWEST_MINUTE) {
                    if let WindowEntry::Share(share) = share(minute * 60_000 + 9 - i64::try_from(who).unwrap(), who, *score, 0)
                        && !tally.is_full()
                    {
                        tally.take_share(share);
                    }
                }
                break;
            }
            entries.extend(sums);
            minute -= older;
        }
        let totals = tally.finish();
        entries.extend(totals.edge.iter().cloned().map(WindowEntry::Share));
        prop_assert_eq!(recounted(pplns(size), &entries), Ok(totals));
    }
}
