//! The bar: 10^8 shares, as sums and an edge of rows, are split among ten thousand accounts, reported and posted within a minute and a
//! gigabyte. With `HH_TEST_ALL` only: building the sums takes minutes.
//!
//! Four weeks, which is the window of a pool with a thousandth of the network, at the pool's own rate of 18 shares a minute from each
//! of 138 workers, others in each minute: 40,320 minutes, 5.6 million sums.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hh_ledger::books::{AccountLeaf, BookBlockState, NewBlock, SignedReport, Split, WindowBounds};
use hh_ledger::{BlockRow, BlockState, Origin, ShareRow, Shipment};
use hh_mining::{
    BlockHash, Division, Network, Oldest, ReportParts, ReportedBlock, Reward, Score, WindowSize,
};

use crate::{EPOCH, NOW_MS, Place, Site, say, share};

const MINUTES: i64 = 40_320;
const WORKERS: u64 = 138;
const ACCOUNTS: u64 = 10_000;
const SHARES_A_MINUTE: u64 = 18;
const SHARE_SCORE: u128 = 1 << 70;

/// The minute of the winning share.
const LAST_MINUTE: i64 = 28_333_334;

const TIME_MAX: Duration = Duration::from_secs(60);
const MEMORY_KIB_MAX: u64 = 1 << 20;

fn origins() -> Vec<Arc<Origin>> {
    let origin = |number: u64| {
        let account = format!("account-{number}");
        let node = ["core", "edge-1", "edge-2"][usize::try_from(number % 3).unwrap()];
        Arc::new(Origin::new(account, format!("rig{number}"), node, "main").unwrap())
    };
    (0..ACCOUNTS).map(origin).collect()
}

/// A share of each worker, as often as they come in a minute, spread over it.
fn minute(minute: i64, first_seq: u64, origins: &[Arc<Origin>]) -> Vec<ShareRow> {
    let each = |seq: u64| {
        let number = seq - first_seq;
        let after_ms = i64::try_from(number * 60_000 / (WORKERS * SHARES_A_MINUTE)).unwrap();
        ShareRow {
            accepted_at_ms: minute * 60_000 + after_ms,
            work: SHARE_SCORE >> 32,
            score: SHARE_SCORE,
            ..share(seq, &origins[usize::try_from(number % WORKERS).unwrap()])
        }
    };
    (first_seq..first_seq + WORKERS * SHARES_A_MINUTE)
        .map(each)
        .collect()
}

/// A share of everybody before the window, which makes their ids 1 to 10,000.
fn everybody(minute: i64, origins: &[Arc<Origin>]) -> Vec<ShareRow> {
    let each = |(seq, origin)| ShareRow {
        accepted_at_ms: minute * 60_000,
        ..share(seq, origin)
    };
    (1..).zip(origins).map(each).collect()
}

/// The first and the last minute as shares, and the block; then what lies between as sums, each minute of other accounts.
async fn fill(site: &Site) -> BlockHash {
    let origins = origins();
    let first_minute = LAST_MINUTE - MINUTES + 1;
    let mut shares = everybody(first_minute - 1, &origins);
    let next_seq = shares.len() as u64 + 1;
    shares.extend(minute(first_minute, next_seq, &origins));
    shares.extend(minute(LAST_MINUTE, shares.len() as u64 + 1, &origins));
    let won = shares.last().unwrap().clone();
    let shipment = Shipment {
        epoch: EPOCH,
        first_seq: 1,
        last_seq: won.seq,
        shares,
        bindings: Vec::new(),
        watermark_ms: Some(won.accepted_at_ms + 60_000),
    };
    site.ledger.ship(Arc::new(shipment)).await.unwrap();
    let block = BlockRow {
        hash: won.hash,
        height: 840_000,
        state: BlockState::Accepted,
        reason: None,
        account: "account-1".to_owned(),
        worker: String::new(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        found_at_ms: won.accepted_at_ms,
        value_sat: 312_500_000,
        extranonce_prefix: "0007000000000001".to_owned(),
        paths: Vec::new(),
    };
    site.ledger.put_block(block).await.unwrap();
    assert_eq!(site.ledger.cut_blocks().await.unwrap(), 1);
    let (from, to) = (first_minute + 1, LAST_MINUTE - 1);
    match &site.place {
        Place::Directory(dir) => {
            let raw = rusqlite::Connection::open(dir.path().join("pool.db")).unwrap();
            let insert = "INSERT INTO minute_sums
                WITH RECURSIVE minutes (minute) AS (SELECT ?1 UNION ALL SELECT minute + 1 FROM minutes WHERE minute < ?2)
                SELECT minutes.minute, log, (origin - 1 + minutes.minute * 138) % 10000 + 1, shares, work, score, chain
                FROM minutes JOIN minute_sums AS whole ON whole.minute = ?3";
            let rows = raw.execute(insert, [from, to, first_minute]).unwrap();
            assert_eq!(rows as u64, WORKERS * (to - from + 1).unsigned_abs());
        }
        Place::Database(database) => {
            database.psql(&format!(
                "INSERT INTO minute_sums (minute, origin, shares, log, work, score, chain)
                SELECT minutes.minute, (origin - 1 + minutes.minute::bigint * 138) % 10000 + 1, shares, log, work, score, chain
                FROM generate_series({from}, {to}) AS minutes (minute) JOIN minute_sums AS whole ON whole.minute = {first_minute};
                ANALYZE minute_sums"
            ));
        }
    }
    won.hash
}

async fn check(site: Site) {
    let engine = match &site.place {
        Place::Directory(_) => "SQLite",
        Place::Database(_) => "PostgreSQL",
    };
    let won = fill(&site).await;
    let shares = WORKERS * SHARES_A_MINUTE * MINUTES.unsigned_abs();
    assert!(shares >= 100_000_000, "{shares}");
    // All but half of the first minute.
    let score = u128::from(shares - WORKERS * SHARES_A_MINUTE / 2) * SHARE_SCORE + 1;
    let size = WindowSize::Pplns {
        score: Score(score),
    };
    let books = site.books();
    let reward = Reward::of(312_500_000, 840_000, Network::Bitcoin).unwrap();
    let tracked = books.track_block(NewBlock {
        hash: won,
        height: 840_000,
        finder: "account-1".to_owned(),
        found_at_ms: NOW_MS,
        reward: Some(reward),
    });
    tracked.await.unwrap();
    let state = BookBlockState::Accepted;
    let accepted = books.set_block_state(won, state, 1, None, NOW_MS);
    accepted.await.unwrap();
    let started = Instant::now();
    let read = site.reader().window(won, size).await.unwrap().unwrap();
    let read_in = started.elapsed();
    let division = Division::of(reward, &read.totals.credits, "account-1");
    let block = ReportedBlock {
        network: Network::Bitcoin,
        hash: won,
        height: 840_000,
        window: size,
        newest: read.bounds.newest.clone(),
        previous_report: None,
    };
    let parts = ReportParts::of(&block, &division, &read.totals, |_| [7; 32]).unwrap();
    let reported_in = started.elapsed();
    let mut split = split(won, &division, score, parts);
    split.edge = read.totals.edge.clone();
    assert!(books.post_split(split, NOW_MS).await.unwrap());
    let taken = started.elapsed();
    let memory = memory_kib_peak();
    say(&format!(
        "{engine}: {shares} shares split in {:.1} s (window {:.1} s, report {:.1} s, posting {:.1} s), {} MiB at most",
        taken.as_secs_f64(),
        read_in.as_secs_f64(),
        (reported_in - read_in).as_secs_f64(),
        (taken - reported_in).as_secs_f64(),
        memory / 1024
    ));
    assert_eq!(division.sum(), Some(reward.value()));
    assert_eq!(division.score, Score(score));
    assert!(matches!(
        read.bounds.oldest,
        Oldest::Share {
            counted: Score(1),
            ..
        }
    ));
    assert_eq!(read.totals.minutes.len() as u64, ACCOUNTS);
    assert!(taken < TIME_MAX, "{taken:?}");
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
}

fn split(hash: BlockHash, division: &Division, score: u128, parts: ReportParts) -> Split {
    let leaves = parts.leaves.into_iter();
    Split {
        hash,
        division: division.clone(),
        window: WindowBounds {
            rule: "pplns 4".to_owned(),
            first_ms: None,
            last_ms: NOW_MS,
            score: Score(score),
        },
        report: SignedReport {
            json: parts.report.to_json(),
            jws: "a.b.c".to_owned(),
        },
        leaves: leaves
            .map(|(account, leaf)| AccountLeaf { account, leaf })
            .collect(),
        edge: Vec::new(),
    }
}

/// The most memory that this process had so far.
fn memory_kib_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_million_shares_are_split_within_a_minute_and_a_gigabyte() {
    if std::env::var_os("HH_TEST_ALL").is_none() {
        say("skipped: the split of 10^8 shares (HH_TEST_ALL is not set)");
        return;
    }
    check(Site::sqlite()).await;
    if let Some(site) = Site::postgres() {
        check(site).await;
    }
}
