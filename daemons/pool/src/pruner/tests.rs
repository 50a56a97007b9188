use super::*;
use hh_ledger::{BlockRow, BlockState, Location, Origin, ShareRow, Shipment};
use hh_mining::BlockHash;
use std::sync::Arc;
use tempfile::TempDir;

/// The start of a day.
const START_MS: i64 = 20_000 * DAY_MS;

/// A ledger with a share each hour of `days` days, of which each day's have the score of `blocks_a_day` blocks.
async fn pruner(days: u64, blocks_a_day: u128) -> (Pruner, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(dir.path().join("pool.db"));
    let ledger = Ledger::open(&location, "pool-0").unwrap();
    let origin = Arc::new(Origin::new("alice", "", "core", "sv2").unwrap());
    let share = |seq: u64| ShareRow {
        seq,
        accepted_at_ms: START_MS + i64::try_from(seq - 1).unwrap() * DAY_MS / 24,
        origin: Arc::clone(&origin),
        hash: hash(seq),
        extranonce_prefix: [0; 8],
        channel_id: 2,
        job_id: 1,
        nbits: 0x1d00_ffff,
        ntime: 0,
        nonce: 0,
        version: 0,
        work: 1,
        score: (Score::BLOCK.0 * blocks_a_day).div_ceil(24),
        is_block: false,
    };
    let shipment = Shipment {
        epoch: [7; 16],
        first_seq: 1,
        last_seq: days * 24,
        shares: (1..=days * 24).map(share).collect(),
        bindings: Vec::new(),
        watermark_ms: None,
    };
    ledger.ship(Arc::new(shipment)).await.unwrap();
    let keep_days = 10;
    (Pruner { ledger, keep_days }, dir)
}

fn hash(number: u64) -> BlockHash {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_le_bytes());
    BlockHash::from_byte_array(hash)
}

/// The first row that is left, in days after the start.
async fn first_day(pruner: &Pruner) -> i64 {
    let rows = pruner.ledger.reader().shares([7; 16], 0, 1).await.unwrap();
    (rows[0].accepted_at_ms - START_MS) / DAY_MS
}

#[tokio::test]
async fn rows_go_that_lie_before_the_windows_of_all_blocks_that_may_be_split() {
    let (pruner, _dir) = pruner(30, 2).await;
    let now_ms = START_MS + 30 * DAY_MS;
    // Blocks are kept for ten days, and the window of the oldest takes two more.
    assert_eq!(pruner.prune(now_ms).await.unwrap(), 18 * 24);
    assert_eq!(first_day(&pruner).await, 18);
    assert_eq!(pruner.prune(now_ms).await.unwrap(), 0);
    assert_eq!(pruner.prune(now_ms + 2 * DAY_MS).await.unwrap(), 2 * 24);
    let sums = pruner.ledger.account_sums(1).await.unwrap();
    assert_eq!(sums[0].shares, 30 * 24);
}

#[tokio::test]
async fn a_window_of_years_keeps_its_rows_however_few_days_are_asked_for() {
    let (mut pruner, _dir) = pruner(3, 1).await;
    pruner.keep_days = 2;
    let later_ms = START_MS + 1_000 * DAY_MS;
    assert_eq!(pruner.prune(later_ms).await.unwrap(), 0);
}

#[tokio::test]
async fn a_block_of_unknown_outcome_keeps_its_window() {
    let (pruner, _dir) = pruner(30, 2).await;
    let block = |state| BlockRow {
        hash: hash(1),
        height: 100,
        state,
        reason: None,
        account: "alice".to_owned(),
        worker: String::new(),
        node: "core".to_owned(),
        lane: "sv2".to_owned(),
        found_at_ms: START_MS + 5 * DAY_MS,
        value_sat: 5_000_000_000,
        extranonce_prefix: String::new(),
        paths: Vec::new(),
    };
    let put = async |state| pruner.ledger.put_block(block(state)).await.unwrap();
    put(BlockState::Submitted).await;
    pruner.ledger.cut_blocks().await.unwrap();
    let now_ms = START_MS + 30 * DAY_MS;
    assert_eq!(pruner.prune(now_ms).await.unwrap(), 3 * 24);
    put(BlockState::Accepted).await;
    assert_eq!(pruner.prune(now_ms).await.unwrap(), 15 * 24);
    assert_eq!(first_day(&pruner).await, 18);
}
