//! Which rows may go: none that a window of score may still take in.

use std::sync::Arc;

use hh_ledger::{BlockRow, BlockState, Epoch, Ledger, Origin, ShareRow, Shipment};
use hh_mining::BlockHash;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{NOW_MS, Place, Site, origin, share};

on_both_engines!(
    a_ledger_without_enough_score_keeps_every_row,
    a_window_begins_no_earlier_than_it_has_to,
    a_block_of_unknown_outcome_is_found,
    windows_have_all_their_rows_after_pruning_and_the_sums_stay,
);

const MINUTE_MS: i64 = 60_000;

/// The start of a minute.
const START_MS: i64 = NOW_MS - NOW_MS % MINUTE_MS;

/// A pool's log.
struct Log {
    pool: String,
    epoch: Epoch,
    ledger: Ledger,
    shares: Vec<ShareRow>,
}

impl Log {
    fn new(site: &Site, number: u8) -> Self {
        let pool = format!("pool-{number}");
        Self {
            ledger: site.ledger_of(&pool),
            epoch: [number; 16],
            pool,
            shares: Vec::new(),
        }
    }

    fn mine(&mut self, at_ms: i64, origin: &Arc<Origin>, score: u128) {
        let seq = u64::try_from(self.shares.len()).unwrap() + 1;
        let mut hash = [self.epoch[0]; 32];
        hash[..8].copy_from_slice(&seq.to_le_bytes());
        self.shares.push(ShareRow {
            accepted_at_ms: at_ms,
            hash: BlockHash::from_byte_array(hash),
            score,
            work: score * 3,
            ..share(seq, origin)
        });
    }

    async fn ship(&self) {
        let Some(last) = self.shares.last() else {
            return;
        };
        let shipment = Shipment {
            epoch: self.epoch,
            first_seq: 1,
            last_seq: last.seq,
            shares: self.shares.clone(),
            bindings: Vec::new(),
            watermark_ms: None,
        };
        self.ledger.ship(Arc::new(shipment)).await.unwrap();
    }
}

async fn a_ledger_without_enough_score_keeps_every_row(site: Site) {
    let reader = site.reader();
    let mut log = Log::new(&site, 1);
    log.mine(START_MS, &origin("alice", ""), 10);
    log.ship().await;
    let end = START_MS + 1_000 * MINUTE_MS;
    assert_eq!(reader.window_start(end, 11).await.unwrap(), None);
    // What lies in the minute of the end may lie behind it.
    assert_eq!(reader.window_start(START_MS + 9, 10).await.unwrap(), None);
    let whole = reader.window_start(end, 10).await.unwrap();
    assert_eq!(whole, Some(START_MS));
}

async fn a_window_begins_no_earlier_than_it_has_to(site: Site) {
    let mut log = Log::new(&site, 1);
    let (alice, bob) = (origin("alice", ""), origin("bob", ""));
    // Days lie between some of them.
    for minute in [0, 1, 2, 5_000, 5_001, 20_000] {
        log.mine(START_MS + minute * MINUTE_MS, &alice, 5);
        log.mine(START_MS + minute * MINUTE_MS + 7, &bob, 5);
    }
    log.ship().await;
    let reader = site.reader();
    for (end, score, expected) in [
        (20_001, 1, Some(20_000)),
        (20_001, 10, Some(20_000)),
        (20_001, 11, Some(5_001)),
        (20_000, 1, Some(5_001)),
        (5_001, 20, Some(2)),
        (20_001, 60, Some(0)),
        (20_001, 61, None),
        (-1, 1, None),
    ] {
        let end = START_MS + end * MINUTE_MS;
        let found = reader.window_start(end, score).await.unwrap();
        let expected = expected.map(|minute| START_MS + minute * MINUTE_MS);
        assert_eq!(found, expected, "{end} {score}");
    }
}

async fn a_block_of_unknown_outcome_is_found(site: Site) {
    let reader = site.reader();
    // The first call makes it.
    site.ledger.last_seq([1; 16]).await.unwrap();
    assert_eq!(reader.oldest_open_block().await.unwrap(), None);
    let states = [
        BlockState::Rejected,
        BlockState::Accepted,
        BlockState::Submitted,
        BlockState::Found,
    ];
    for (index, state) in (1_u8..).zip(states) {
        let block = BlockRow {
            hash: BlockHash::from_byte_array([index; 32]),
            height: 100 + u32::from(index),
            state,
            reason: None,
            account: "alice".to_owned(),
            worker: String::new(),
            node: "core".to_owned(),
            lane: "main".to_owned(),
            found_at_ms: NOW_MS + i64::from(index),
            value_sat: 5_000_000_000,
            extranonce_prefix: "0007000000000001".to_owned(),
            paths: Vec::new(),
        };
        site.ledger.put_block(block).await.unwrap();
    }
    let oldest = reader.oldest_open_block().await.unwrap();
    assert_eq!(oldest, Some(NOW_MS + 3));
}

/// A share of one of two pools: its pool, how long after the one before in milliseconds, and its score.
type Mined = (usize, i64, u128);

/// For any shares of two pools, any window and any time: once the rows before the window are gone, the rows that are left of
/// every window that ends at that time or later have all its score, and no sum has changed.
async fn windows_have_all_their_rows_after_pruning_and_the_sums_stay(site: Site) {
    let cases = if matches!(site.place, Place::Directory(_)) {
        40
    } else {
        8
    };
    let shares = prop::collection::vec((0..2_usize, 0..90_000_i64, 1..40_u128), 1..60);
    let case = (shares, 1..600_u128, 0..4_000_000_i64);
    let mut runner = TestRunner::deterministic();
    for _ in 0..cases {
        let (shares, score, end) = case.new_tree(&mut runner).unwrap().current();
        check_windows(&site.another(), &shares, score, START_MS + end).await;
    }
}

async fn check_windows(site: &Site, mined: &[Mined], score: u128, end_ms: i64) {
    let mut logs = [Log::new(site, 1), Log::new(site, 2)];
    let (alice, bob) = (origin("alice", "rig1"), origin("bob", ""));
    let mut at_ms = START_MS;
    for (index, (pool, after_ms, score)) in mined.iter().enumerate() {
        at_ms += after_ms;
        let who = if index.is_multiple_of(3) {
            &bob
        } else {
            &alice
        };
        logs[*pool].mine(at_ms, who, *score);
    }
    for log in &logs {
        log.ship().await;
    }
    let reader = site.reader();
    let sums = async || {
        let minutes = reader.minute_sums(0, i64::MAX).await.unwrap();
        let accounts = reader.account_sums(10).await.unwrap();
        (minutes, accounts, reader.rounds(10).await.unwrap())
    };
    let before = sums().await;
    if let Some(start) = reader.window_start(end_ms, score).await.unwrap() {
        site.ledger.prune_before(start).await.unwrap();
    }
    assert_eq!(sums().await, before);

    let mut all: Vec<(i64, &str, &ShareRow)> = Vec::new();
    let mut left: Vec<BlockHash> = Vec::new();
    for log in &logs {
        let rows = log.shares.iter();
        all.extend(rows.map(|row| (row.accepted_at_ms, log.pool.as_str(), row)));
        let rows = reader.shares(log.epoch, 0, usize::MAX).await.unwrap();
        left.extend(rows.iter().map(|row| row.hash));
    }
    all.sort_by_key(|(at_ms, pool, row)| (*at_ms, *pool, row.seq));
    for (index, (at_ms, ..)) in all.iter().enumerate() {
        if *at_ms < end_ms {
            continue;
        }
        // The window that ends with this share, newest first.
        let mut missing = score;
        for (.., row) in all[..=index].iter().rev() {
            if missing == 0 {
                break;
            }
            assert!(left.contains(&row.hash), "{mined:?} {score} {end_ms}");
            missing = missing.saturating_sub(row.score);
        }
    }
}
