use super::*;
use crate::share_log::{Binding, Identity, Options, Origin, Retention, ShareRecord};
use hh_ledger::{LedgerReader, Location};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A log and where its ledger is.
struct Site {
    dir: TempDir,
    log: ShareLog,
    retention: Retention,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open_log(&dir.path().join("log"));
        let retention = Retention::NOTHING;
        Self {
            dir,
            log,
            retention,
        }
    }

    /// One that keeps for an hour what is shipped.
    fn keeping() -> Self {
        Self {
            retention: Retention {
                age: Duration::from_secs(3_600),
                segments_max: 100,
            },
            ..Self::new()
        }
    }

    fn note(&self) -> StateFile {
        StateFile::new(self.dir.path().join("shipped"))
    }

    /// Takes the ledger away, and what was known of it.
    fn lose_ledger(&self) {
        fs::remove_dir_all(self.dir.path().join("ledger")).unwrap();
        fs::remove_file(self.dir.path().join("shipped")).unwrap();
    }

    /// Puts in its place what is none.
    fn break_ledger(&self) {
        fs::remove_dir_all(self.dir.path().join("ledger")).unwrap();
        fs::write(self.dir.path().join("ledger"), "").unwrap();
    }

    fn durable_seq(&self) -> u64 {
        *self.log.durable().borrow()
    }

    fn ledger_location(&self) -> Location {
        Location::Sqlite(self.dir.path().join("ledger/pool.db"))
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::new(&self.ledger_location())
    }

    fn run(&self) -> Running {
        let ledger = Ledger::open(&self.ledger_location(), "pool-1").unwrap();
        let shipper = Shipper::new(self.log.clone(), ledger, self.retention, self.note());
        let (status, stop) = (shipper.status(), CancellationToken::new());
        let tracker = tokio_util::task::TaskTracker::new();
        let task = tracker.spawn(shipper.run(stop.clone(), std::future::ready(())));
        Running { status, stop, task }
    }
}

struct Running {
    status: watch::Receiver<Shipping>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ShipperError>>,
}

impl Running {
    async fn wait_for_shipped(&mut self, seq: u64) {
        self.status
            .wait_for(|status| status.shipped_seq >= seq)
            .await
            .unwrap();
    }

    /// The oldest record that waits was made in the first moments after `began_ms`.
    async fn check_waits_since(&mut self, began_ms: i64) {
        let told = self
            .status
            .wait_for(|status| status.oldest_waiting_ms.is_some());
        let oldest_ms = told.await.unwrap().oldest_waiting_ms.unwrap_or_default();
        let latest_ms = began_ms + 5_000;
        assert!((began_ms..=latest_ms).contains(&oldest_ms), "{oldest_ms}");
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn open_log(dir: &Path) -> ShareLog {
    let identity = Identity {
        pool: "pool-1".to_owned(),
        server_id: 7,
    };
    let options = Options {
        segment_bytes: 64 << 10,
        commit_interval: Duration::ZERO,
        ..Options::default()
    };
    ShareLog::open(dir, &identity, &options).unwrap().0
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin::new("alice", "rig1", "core", "main").unwrap())
}

fn share(n: u64) -> Record {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    Record::Share(ShareRecord {
        accepted_at_ms: unix_ms(),
        hash,
        extranonce_prefix: [0, 7, 0, 0, 0, 0, 0, 1],
        channel_id: 1,
        job_id: 2,
        nbits: 0x1d00_ffff,
        ntime: 3,
        nonce: 4,
        version: 5,
        work: 1 << 32,
        score: 1 << 40,
        is_block: false,
        origin: origin(),
    })
}

/// Appends shares in batches of ten; gives the last sequence number.
async fn append(log: &ShareLog, numbers: std::ops::Range<u64>) -> u64 {
    let mut last_seq = 0;
    for from in numbers.clone().step_by(10) {
        let batch = (from..numbers.end.min(from + 10)).map(share).collect();
        last_seq = log.append(batch).await.unwrap().last_seq;
    }
    last_seq
}

/// The ledger has exactly the shares with these numbers, and its sums agree.
async fn check_holds(site: &Site, count: u64) {
    let reader = site.reader();
    let shares = reader
        .shares(site.log.epoch(), 0, usize::MAX)
        .await
        .unwrap();
    let numbers: HashSet<u64> = shares
        .iter()
        .map(|share| u64::from_le_bytes(*share.hash.as_byte_array().first_chunk().unwrap()))
        .collect();
    assert_eq!(numbers, (0..count).collect());
    assert_eq!(shares.len() as u64, count, "each once");
    let sums = reader.minute_sums(i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(sums.iter().map(|sum| sum.shares).sum::<u64>(), count);
    assert_eq!(reader.account_sums(1).await.unwrap()[0].shares, count);
}

#[tokio::test]
async fn what_is_durable_reaches_the_ledger_with_bindings_and_watermarks() {
    let site = Site::new();
    let binding = Binding {
        bound_at_ms: unix_ms(),
        extranonce_prefix: [1; 8],
        origin: origin(),
    };
    site.log
        .append(vec![Record::Binding(binding)])
        .await
        .unwrap();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..100).await;
    running.wait_for_shipped(last_seq).await;
    check_holds(&site, 100).await;
    assert_eq!(
        site.reader()
            .binding(site.log.epoch(), [1; 8])
            .await
            .unwrap(),
        Some((*origin()).clone())
    );
    // Without a share, too, the watermark goes on.
    let mut watermarks = HashSet::new();
    while watermarks.len() < 2 {
        watermarks.extend(site.reader().logs().await.unwrap()[0].watermark_ms);
        running.status.changed().await.unwrap();
    }
    assert!(running.status.borrow().last_error.is_none());
    assert!(running.status.borrow().last_shipped_at_ms.is_some());
    running.stop().await;
}

#[tokio::test]
async fn a_stop_ships_what_is_durable_and_checkpoints() {
    let site = Site::new();
    let running = site.run();
    append(&site.log, 0..50).await;
    running.stop().await;
    check_holds(&site, 50).await;
    let wal = site.dir.path().join("ledger/pool.db-wal");
    assert_eq!(fs::metadata(wal).unwrap().len(), 0);
}

#[tokio::test]
async fn a_stop_waits_for_the_last_shares_and_tells_the_ledger_that_nothing_more_comes() {
    let site = Site::new();
    let ledger = Ledger::open(&site.ledger_location(), "pool-1").unwrap();
    let claim = ledger.claim_server_id(7, site.log.epoch(), unix_ms());
    claim.await.unwrap();
    let (stop, (end, ended)) = (CancellationToken::new(), tokio::sync::oneshot::channel());
    let shipper = Shipper::new(site.log.clone(), ledger, site.retention, site.note());
    let mut status = shipper.status();
    let connections_ended = async { drop(ended.await) };
    let running = shipper.run(stop.clone(), connections_ended);
    let last_share = async {
        let last_seq = append(&site.log, 0..10).await;
        let shipped = status.wait_for(|status| status.shipped_seq >= last_seq);
        drop(shipped.await.unwrap());
        let standing = site.reader().standing(7).await.unwrap().unwrap();
        assert!(!standing.is_closed, "it runs");
        stop.cancel();
        append(&site.log, 10..20).await;
        end.send(()).unwrap();
    };
    let (result, ()) = futures::join!(running, last_share);
    result.unwrap();
    check_holds(&site, 20).await;
    let standing = site.reader().standing(7).await.unwrap().unwrap();
    assert!(standing.is_closed);
    assert_eq!(standing.last_seq, site.durable_seq());
    assert!(matches!(
        site.log.append(vec![share(20)]).await,
        Err(LogError::Closed)
    ));
}

#[tokio::test]
async fn the_shipper_of_a_retired_log_ends_as_misconfigured() {
    let site = Site::new();
    let ledger = Ledger::open(&site.ledger_location(), "pool-1").unwrap();
    let epoch = site.log.epoch();
    ledger.claim_server_id(7, epoch, unix_ms()).await.unwrap();
    let running = site.run();
    let retire = ledger.retire_server_id(7, epoch, hh_ledger::RetireWhere::Replaced);
    retire.await.unwrap();
    append(&site.log, 0..10).await;
    let error = running.task.await.unwrap().unwrap_err();
    assert!(matches!(error, ShipperError::Retired), "{error}");
    assert_eq!(error.failure().status(), hh_daemon::ExitStatus::Config);
    assert_eq!(site.reader().share_count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shippers_killed_at_any_moment_ship_every_share_once() {
    let site = Site::new();
    let mut next = 0;
    for round in 0..25_u64 {
        let mut running = site.run();
        append(&site.log, next..next + 40).await;
        next += 40;
        // A different moment each time: before it began, while it ships, after it shipped.
        for _ in 0..round % 3 {
            if running.status.changed().await.is_err() {
                break;
            }
        }
        running.task.abort();
    }
    let mut running = site.run();
    running.wait_for_shipped(site.durable_seq()).await;
    check_holds(&site, next).await;
    running.stop().await;
}

#[tokio::test]
async fn a_ledger_that_is_away_loses_nothing_and_catches_up() {
    let site = Site::new();
    // A file where the ledger's directory should be.
    let blocker = site.dir.path().join("ledger");
    fs::write(&blocker, "").unwrap();
    let began_ms = unix_ms();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..2_000).await;
    running
        .status
        .wait_for(|status| status.last_error.is_some())
        .await
        .unwrap();
    let error = running.status.borrow().last_error.clone().unwrap();
    assert!(error.contains("could not create"), "{error}");
    assert_eq!(site.log.first_seq(), 1, "nothing is let go");
    running.check_waits_since(began_ms).await;
    running.task.abort();

    // Nor does a pool that is started again without its ledger know where that is; the log has what it needs.
    let mut running = site.run();
    running.check_waits_since(began_ms).await;
    fs::remove_file(&blocker).unwrap();
    running.wait_for_shipped(last_seq).await;
    running
        .status
        .wait_for(|status| status.oldest_waiting_ms.is_none())
        .await
        .unwrap();
    assert!(running.status.borrow().last_error.is_none());
    check_holds(&site, 2_000).await;
    // The segments go with the next shipment.
    let next = append(&site.log, 2_000..2_001).await;
    running.wait_for_shipped(next + 1).await;
    assert!(site.log.first_seq() > 1);
    running.stop().await;
}

#[tokio::test]
async fn a_restored_log_ends_the_shipper_and_a_restored_ledger_does_not() {
    let site = Site::new();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..500).await;
    running.wait_for_shipped(last_seq).await;
    running.stop().await;
    let shipped = site.reader().logs().await.unwrap()[0].last_seq;

    // As if the log were an old copy: the ledger is ahead of it.
    let ledger = Ledger::open(&site.ledger_location(), "pool-1").unwrap();
    ledger
        .skip_to(site.log.epoch(), shipped + 100, 0)
        .await
        .unwrap();
    let ended = site.run().task.await.unwrap().unwrap_err();
    assert!(
        matches!(ended, ShipperError::LogBehindLedger { shipped_seq, .. } if shipped_seq == shipped + 99),
        "{ended}"
    );

    // As if the ledger were an old copy: what the log has let go is missing in it.
    site.lose_ledger();
    site.log
        .release(200, &Retention::NOTHING, i64::MAX)
        .unwrap();
    let first_seq = site.log.first_seq();
    assert!(first_seq > 1);
    let mut running = site.run();
    running.wait_for_shipped(site.durable_seq()).await;
    let shares = site
        .reader()
        .shares(site.log.epoch(), 0, usize::MAX)
        .await
        .unwrap();
    assert!(shares.first().unwrap().seq >= first_seq);
    running.stop().await;
}

#[tokio::test]
async fn a_ledger_that_lacks_what_the_log_has_let_go_is_told_which_records_and_of_when() {
    let site = Site::new();
    let began_ms = unix_ms();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..1_000).await;
    running.wait_for_shipped(last_seq).await;
    running.wait_for_shipped(site.durable_seq() + 1).await;
    running.stop().await;
    let first_seq = site.log.first_seq();
    assert!(first_seq > 1, "segments were let go");
    site.lose_ledger();
    let mut running = site.run();
    running.wait_for_shipped(site.durable_seq()).await;
    let lost = running.status.borrow().lost.clone().unwrap();
    assert_eq!((lost.first_seq, lost.last_seq), (1, first_seq - 1));
    assert_eq!(lost.after_ms, None, "the ledger has nothing");
    let until_ms = lost.until_ms.unwrap();
    assert!((began_ms..=unix_ms()).contains(&until_ms), "{until_ms}");
    running.stop().await;
}

#[tokio::test]
async fn segments_that_are_shipped_stay_for_a_ledger_that_comes_back_older() {
    let site = Site::keeping();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..1_000).await;
    running.wait_for_shipped(last_seq).await;
    running.wait_for_shipped(site.durable_seq() + 1).await;
    running.stop().await;
    assert_eq!(site.log.first_seq(), 1);
    let log_bytes = site.log.disk_bytes();
    assert!(log_bytes > 2 * (64 << 10), "{log_bytes}");
    site.lose_ledger();
    let mut running = site.run();
    running.wait_for_shipped(site.durable_seq()).await;
    check_holds(&site, 1_000).await;
    assert_eq!(running.status.borrow().lost, None);
    assert_eq!(running.status.borrow().log_bytes, log_bytes);
    running.stop().await;
}

#[tokio::test]
async fn a_start_without_the_ledger_does_not_take_what_is_kept_for_what_waits() {
    let site = Site::keeping();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..100).await;
    running.wait_for_shipped(last_seq).await;
    running.stop().await;
    site.break_ledger();
    let running = site.run();
    assert_eq!(running.status.borrow().shipped_seq, site.durable_seq());
    running.stop().await;
}

#[tokio::test]
async fn a_disk_without_room_gets_shipped_segments_back_though_the_ledger_is_away() {
    let mut site = Site::keeping();
    let mut running = site.run();
    let last_seq = append(&site.log, 0..1_000).await;
    running.wait_for_shipped(last_seq).await;
    running.stop().await;
    assert_eq!(site.log.first_seq(), 1);
    site.break_ledger();
    site.log = open_log(&site.dir.path().join("log"));
    let mut running = site.run();
    let failed = running
        .status
        .wait_for(|status| status.last_error.is_some());
    failed.await.unwrap();
    // No segment can be made any more.
    fs::rename(site.dir.path().join("log"), site.dir.path().join("away")).unwrap();
    let held = (0..100).map(|_| site.log.try_append((0..10).map(share).collect()));
    let held: Vec<_> = held.collect();
    crate::sample::wait_for("shipped segments are let go", async || {
        (site.log.first_seq() > 1).then_some(())
    })
    .await;
    drop(held);
    running.stop().await;
}
