use std::fs;
use std::time::Instant;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::sample::cases;

mod damage;
mod failure;

const EPOCH_START_MS: i64 = 1_700_000_000_000;

fn identity() -> Identity {
    Identity {
        pool: "pool-1".to_owned(),
        server_id: 7,
    }
}

/// Small segments, no waiting.
fn options() -> Options {
    Options {
        segment_bytes: 32 << 10,
        commit_interval: Duration::ZERO,
        retry_interval: Duration::from_millis(10),
        ..Options::default()
    }
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin::new("alice", "rig1", "core", "main").unwrap())
}

fn share(n: u64) -> Record {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    Record::Share(ShareRecord {
        accepted_at_ms: EPOCH_START_MS + i64::try_from(n).unwrap(),
        hash,
        extranonce_prefix: [0, 7, 0, 0, 0, 0, 0, 1],
        channel_id: 1,
        job_id: 2,
        nbits: 0x1d00_ffff,
        ntime: 1_700_000_000,
        nonce: 3,
        version: 0x2000_0000,
        work: 1 << 32,
        score: 1 << 40,
        is_block: false,
        origin: origin(),
    })
}

fn binding(prefix: u64) -> Record {
    Record::Binding(Binding {
        bound_at_ms: EPOCH_START_MS,
        extranonce_prefix: prefix.to_be_bytes(),
        origin: origin(),
    })
}

fn open(dir: &Path) -> (ShareLog, Recovered) {
    ShareLog::open(dir, &identity(), &options()).unwrap()
}

fn refusal(dir: &Path) -> LogError {
    ShareLog::open(dir, &identity(), &options()).unwrap_err()
}

fn read_all(log: &ShareLog, from_seq: u64) -> Vec<Entry> {
    log.reader(from_seq).unwrap().read(usize::MAX).unwrap()
}

fn hashes(entries: &[Entry]) -> Vec<[u8; 32]> {
    let shares = entries.iter().filter_map(|entry| match &entry.record {
        Record::Share(share) => Some(share.hash),
        Record::Binding(_) | Record::Watermark { .. } => None,
    });
    shares.collect()
}

/// What a crash leaves behind: a copy of the directory of a log that is still open.
fn crash_copy(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Length of a frame of these records.
fn frame_bytes(records: &[Record]) -> usize {
    let mut frame = segment::FrameBuffer::new();
    records
        .iter()
        .for_each(|record| frame.push(record, record.at_ms()));
    frame.len()
}

fn any_origin() -> impl Strategy<Value = Arc<Origin>> {
    let name = || proptest::string::string_regex("[a-zé@._-]{0,120}").unwrap();
    (name(), name(), name(), name())
        .prop_map(|(account, worker, node, lane)| Origin::new(account, worker, node, lane))
        .prop_map(|origin| Arc::new(origin.unwrap()))
}

fn any_record() -> impl Strategy<Value = Record> {
    let numbers = any::<[u32; 6]>();
    let share = (
        any::<(i64, [u8; 32], [u8; 8], u128, u128, bool)>(),
        numbers,
        any_origin(),
    );
    prop_oneof![
        share.prop_map(
            |((at_ms, hash, prefix, work, score, is_block), n, origin)| {
                Record::Share(ShareRecord {
                    accepted_at_ms: at_ms,
                    hash,
                    extranonce_prefix: prefix,
                    channel_id: n[0],
                    job_id: n[1],
                    nbits: n[2],
                    ntime: n[3],
                    nonce: n[4],
                    version: n[5],
                    work,
                    score,
                    is_block,
                    origin,
                })
            }
        ),
        (any::<(i64, [u8; 8])>(), any_origin()).prop_map(|((at_ms, prefix), origin)| {
            Record::Binding(Binding {
                bound_at_ms: at_ms,
                extranonce_prefix: prefix,
                origin,
            })
        }),
        any::<i64>().prop_map(|at_ms| Record::Watermark { at_ms }),
    ]
}

proptest! {
    #[test]
    fn any_record_is_decoded_as_it_was_encoded(records in prop::collection::vec(any_record(), 1..20)) {
        let mut bytes = Vec::new();
        for record in &records {
            record.encode(record.at_ms(), &mut bytes);
        }
        let count = u32::try_from(records.len()).unwrap();
        prop_assert_eq!(segment::decode_records(&bytes, count), Some(records));
        prop_assert_eq!(segment::decode_records(&bytes[..bytes.len() - 1], count), None);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = segment::decode_records(&bytes, 3);
        let _ = segment::frame_at(&bytes, &[0; 16], 1, 0);
        let _ = segment::any_frame_from(&bytes, &[0; 16], 1, 0);
    }
}

#[test]
fn origin_refuses_a_name_that_can_not_be_logged() {
    let error = Origin::new("a", "w".repeat(256), "core", "main").unwrap_err();
    assert_eq!(
        error,
        OriginError {
            field: "worker",
            bytes: 256
        }
    );
}

#[tokio::test]
async fn appended_records_are_there_after_a_crash_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovered) = open(dir.path());
    assert!(recovered.is_new);
    assert_eq!(
        log.append(vec![binding(9), share(1)]).await.unwrap(),
        Appended {
            first_seq: 1,
            last_seq: 2
        }
    );
    assert_eq!(
        log.append(vec![share(2)]).await.unwrap(),
        Appended {
            first_seq: 3,
            last_seq: 3
        }
    );
    assert_eq!(*log.durable().borrow(), 3);

    let copy = crash_copy(dir.path());
    let (log, recovered) = open(copy.path());
    assert!(!recovered.is_new);
    assert_eq!((recovered.first_seq, recovered.next_seq), (1, 4));
    assert_eq!(recovered.highest_prefix, Some(9_u64.to_be_bytes()));
    assert_eq!(recovered.torn_bytes, 0);
    assert_eq!(log.append(vec![share(3)]).await.unwrap().first_seq, 4);
    let entries = read_all(&log, 1);
    assert_eq!(
        entries.iter().map(|e| e.seq).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(entries[0].record, binding(9));
    assert_eq!(hashes(&read_all(&log, 3)), hashes(&entries)[1..]);
}

#[tokio::test]
async fn time_never_goes_back_even_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(vec![share(500), share(2), Record::Watermark { at_ms: 0 }])
        .await
        .unwrap();
    log.close().await;
    let (log, recovered) = open(dir.path());
    assert_eq!(recovered.last_at_ms, EPOCH_START_MS + 500);
    log.append(vec![share(3)]).await.unwrap();
    assert!(
        read_all(&log, 1)
            .iter()
            .all(|e| e.record.at_ms() == EPOCH_START_MS + 500)
    );
    log.close().await;
    // The segment before the last one holds the time, and an empty one repeats it.
    let (log, _) = open(dir.path());
    log.close().await;
    assert_eq!(open(dir.path()).1.last_at_ms, EPOCH_START_MS + 500);
}

#[tokio::test]
async fn segments_go_when_released_and_the_highest_prefix_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(vec![binding(41), binding(40)]).await.unwrap();
    for n in 0..1_000 {
        log.append(vec![share(n)]).await.unwrap();
    }
    assert!(segment::list(dir.path()).unwrap().len() > 4);
    log.release(500, &Retention::NOTHING, i64::MAX).unwrap();
    let first_seq = log.first_seq();
    assert!((300..=501).contains(&first_seq), "{first_seq}");
    assert!(matches!(
        log.reader(first_seq - 1),
        Err(LogError::Released { .. })
    ));
    assert_eq!(read_all(&log, 501).first().map(|e| e.seq), Some(501));
    log.release(u64::MAX, &Retention::NOTHING, i64::MAX)
        .unwrap();
    assert_eq!(
        segment::list(dir.path()).unwrap().len(),
        1,
        "the active one stays"
    );
    log.append(vec![share(1_000)]).await.unwrap();
    log.close().await;
    let (log, recovered) = open(dir.path());
    assert_eq!(recovered.next_seq, 1_004);
    assert_eq!(recovered.highest_prefix, Some(41_u64.to_be_bytes()));
    assert_eq!(recovered.first_seq, log.first_seq());
}

#[tokio::test]
async fn a_reader_goes_on_in_a_segment_that_was_released() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for n in 0..400 {
        log.append(vec![share(n)]).await.unwrap();
    }
    let mut reader = log.reader(1).unwrap();
    assert_eq!(reader.read(10).unwrap().len(), 10);
    assert_eq!(reader.next_seq(), 11);
    log.release(u64::MAX, &Retention::NOTHING, i64::MAX)
        .unwrap();
    assert!(matches!(
        reader.read(1_000),
        Err(LogError::Released { seq: 11, .. })
    ));
}

#[tokio::test]
async fn an_opening_checks_as_many_records_as_it_is_told_and_a_reader_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for n in 0..1_000 {
        log.append(vec![share(n)]).await.unwrap();
    }
    log.close().await;
    let oldest = segment::path(dir.path(), 1);
    let mut bytes = fs::read(&oldest).unwrap();
    bytes[4_096 + 40] ^= 1;
    fs::write(&oldest, &bytes).unwrap();
    let checking = |checked_records_min| {
        let options = Options {
            checked_records_min,
            ..options()
        };
        ShareLog::open(dir.path(), &identity(), &options)
    };
    let error = checking(1_000).unwrap_err();
    assert!(matches!(error, LogError::Damaged { path, .. } if path == oldest));
    let (log, recovered) = checking(0).unwrap();
    assert_eq!(recovered.next_seq, 1_001);
    log.close().await;
    let (log, recovered) = checking(100).unwrap();
    assert_eq!(recovered.next_seq, 1_001);
    let unread = log.reader(1).unwrap().read(usize::MAX).unwrap_err();
    assert!(matches!(unread, LogError::Damaged { path, .. } if path == oldest));
}

#[tokio::test]
async fn a_log_belongs_to_one_process_and_one_pool() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    assert!(matches!(refusal(dir.path()), LogError::Locked { .. }));
    log.close().await;
    assert!(matches!(
        log.append(vec![share(1)]).await,
        Err(LogError::Closed)
    ));
    let other = Identity {
        server_id: 8,
        ..identity()
    };
    let error = ShareLog::open(dir.path(), &other, &options()).unwrap_err();
    assert!(matches!(
        error,
        LogError::Foreign {
            found_server_id: 7,
            ..
        }
    ));
    let nameless = Identity {
        pool: String::new(),
        ..identity()
    };
    let error = ShareLog::open(dir.path(), &nameless, &options()).unwrap_err();
    assert!(matches!(error, LogError::PoolName { .. }));
}

#[tokio::test]
async fn batches_that_can_not_be_taken_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        queue_records_max: 10,
        commit_interval: Duration::MAX,
        ..options()
    };
    let (log, _) = ShareLog::open(dir.path(), &identity(), &options).unwrap();
    log.append(vec![share(11)]).await.unwrap();
    let first = log.try_append((0..8).map(share).collect()).unwrap();
    let refused = log.try_append((8..11).map(share).collect()).unwrap_err();
    assert_eq!(
        (refused.reason, refused.records.len()),
        (NotTakenReason::Full, 3)
    );
    let refused = log.try_append(Vec::new()).unwrap_err();
    assert_eq!(refused.reason, NotTakenReason::BatchSize);
    let too_many = log.append((0..11).map(share).collect()).await;
    assert!(matches!(
        too_many,
        Err(LogError::BatchTooLarge { records: 11 })
    ));
    assert!(matches!(
        log.append(Vec::new()).await,
        Err(LogError::BatchEmpty)
    ));
    log.close().await;
    assert_eq!(
        first.await.unwrap().last_seq,
        9,
        "closing commits what was taken"
    );
    let refused = log.try_append(vec![share(1)]).unwrap_err();
    assert_eq!(refused.reason, NotTakenReason::Closed);
}

#[tokio::test]
async fn commits_keep_their_interval_but_a_binding_does_not_wait_and_takes_others_along() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        commit_interval: Duration::MAX,
        ..options()
    };
    let (log, _) = ShareLog::open(dir.path(), &identity(), &options).unwrap();
    let at_once = log.append(vec![share(1)]).await.unwrap();
    assert_eq!(at_once.last_seq, 1, "after a rest nothing waits");
    let mut waiting = log.try_append(vec![share(2)]).unwrap();
    assert!(futures::poll!(&mut waiting).is_pending());
    let bound = log.append(vec![binding(7)]).await.unwrap();
    assert_eq!(bound.last_seq, 3);
    assert_eq!(waiting.await.unwrap().last_seq, 2);
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        commit_interval: Duration::from_millis(20),
        ..options()
    };
    let (log, _) = ShareLog::open(dir.path(), &identity(), &options).unwrap();
    let small = log.try_append(vec![share(1)]).unwrap();
    let large = log.try_append((0..4_000).map(share).collect()).unwrap();
    let next = log.try_append((2..150).map(share).collect()).unwrap();
    let last = log.try_append((150..300).map(share).collect()).unwrap();
    assert_eq!(small.await.unwrap().last_seq, 1);
    assert!(matches!(
        large.await,
        Err(LogError::BatchTooLarge { records: 4_000 })
    ));
    assert_eq!(
        next.await.unwrap(),
        Appended {
            first_seq: 2,
            last_seq: 149
        }
    );
    assert_eq!(
        last.await.unwrap(),
        Appended {
            first_seq: 150,
            last_seq: 299
        }
    );
    assert_eq!(read_all(&log, 1).len(), 299);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_are_all_there_once_and_a_reader_sees_durable_ones_only() {
    const TASKS: u64 = 50;
    const BATCHES: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let log = log.clone();
        tasks.spawn(async move {
            for batch in 0..BATCHES {
                let n = (task * BATCHES + batch) * 2;
                let appended = log.append(vec![share(n), share(n + 1)]).await.unwrap();
                assert!(*log.durable().borrow() >= appended.last_seq);
            }
        });
    }
    let mut reader = log.reader(1).unwrap();
    let mut durable = log.durable();
    let total = TASKS * BATCHES * 2;
    let mut entries = Vec::new();
    while entries.len() as u64 != total {
        durable
            .wait_for(|seq| *seq > entries.len() as u64)
            .await
            .unwrap();
        let read = reader.read(777).unwrap();
        let seen = *durable.borrow();
        assert!(read.iter().all(|entry| entry.seq <= seen));
        entries.extend(read);
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    assert!(entries.iter().map(|entry| entry.seq).eq(1..=total));
    let mut all = hashes(&entries);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len() as u64, total);
}

/// For the record, not asserted: run with `--nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed_of_full_batches() {
    const TASKS: u64 = 100;
    const BATCHES: u64 = 40;
    const SHARES: u64 = 32;
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = ShareLog::open(dir.path(), &identity(), &Options::default()).unwrap();
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let log = log.clone();
        tasks.spawn(async move {
            for batch in 0..BATCHES {
                let n = (task * BATCHES + batch) * SHARES;
                log.append((n..n + SHARES).map(share).collect())
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.unwrap();
    }
    let shares = TASKS * BATCHES * SHARES;
    let written = started.elapsed();
    let mut reader = log.reader(1).unwrap();
    let mut read = 0;
    while read < shares {
        read += reader.read(10_000).unwrap().len() as u64;
    }
    let read_in = started.elapsed() - written;
    println!("{shares} shares: durable in {written:?}, read in {read_in:?}");
}
