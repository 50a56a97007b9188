//! Disks that are full or refuse.

use super::*;

/// A writer that is driven by hand.
struct Bench {
    dir: TempDir,
    writer: Writer,
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    health: watch::Receiver<Health>,
}

type Answer = oneshot::Receiver<Result<Appended, LogError>>;

impl Bench {
    fn new(options: &Options) -> Self {
        Self::on(tempfile::tempdir().unwrap(), options)
    }

    fn on(dir: TempDir, options: &Options) -> Self {
        let log_dir = dir.path().join("log");
        create_dir(&log_dir).unwrap();
        let (recovered, segments) = recovery::recover(&log_dir, &identity(), options).unwrap();
        let shared = Arc::new(Shared {
            dir: log_dir.clone(),
            epoch: recovered.epoch,
            segments: Mutex::new(segments),
            commit_started: Mutex::default(),
        });
        let queue = Arc::new(Queue::new(Duration::ZERO));
        let lock = lock(&log_dir).unwrap();
        let (writer, durable, health) =
            Writer::new(&shared, &queue, (&identity(), options), &recovered, lock).unwrap();
        Self {
            dir,
            writer,
            shared,
            durable,
            health,
        }
    }

    /// Appends one record and lets the writer commit.
    fn commit(&mut self, record: Record) -> Answer {
        let (done, answer) = oneshot::channel();
        let _room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        self.writer.commit(&mut vec![Append {
            records: vec![record],
            done,
            since: Instant::now(),
            _room,
        }]);
        answer
    }

    /// Makes the next commit fail: its write on `/dev/full`, its sync on `/dev/null`.
    fn break_segment(&mut self, device: &str) {
        let broken = File::options().write(true).open(device).unwrap();
        if let Some(active) = &mut self.writer.active {
            active.file = broken;
        }
    }

    /// Without its directory the log gets no other segment.
    fn take_disk_away(&self) {
        fs::rename(self.dir.path().join("log"), self.dir.path().join("away")).unwrap();
    }

    fn bring_disk_back(&self) {
        fs::rename(self.dir.path().join("away"), self.dir.path().join("log")).unwrap();
    }

    /// Lets the writer try again until it has succeeded.
    fn recover(&mut self) {
        while matches!(*self.health.borrow(), Health::Unwritable(_)) {
            std::thread::yield_now();
            self.writer.retry();
        }
    }

    /// What the writer does beside appends, without one.
    fn look_after_next(&mut self) {
        std::thread::yield_now();
        self.writer.commit(&mut Vec::new());
    }

    fn entries(&self) -> Vec<Entry> {
        let shared = Arc::clone(&self.shared);
        let mut reader = LogReader::new(shared, self.durable.clone(), 1).unwrap();
        reader.read(usize::MAX).unwrap()
    }

    /// Writes a valid frame at this place of the first segment.
    fn plant_frame(&self, record: &Record, offset: usize, first_seq: u64) {
        let mut frame = segment::FrameBuffer::new();
        frame.push(record, record.at_ms());
        let sealed = frame.seal(&self.shared.epoch, 1, offset as u64, first_seq);
        let path = self.shared.path(1);
        let mut bytes = fs::read(&path).unwrap();
        bytes.resize(bytes.len().max(offset + sealed.len()), 0);
        bytes[offset..offset + sealed.len()].copy_from_slice(sealed);
        fs::write(&path, &bytes).unwrap();
    }
}

fn seq(answer: &mut Answer) -> u64 {
    answer.try_recv().unwrap().unwrap().first_seq
}

#[test]
fn what_a_segment_refused_is_written_again_to_another_one_at_once() {
    for device in ["/dev/full", "/dev/null"] {
        let mut bench = Bench::new(&options());
        assert_eq!(seq(&mut bench.commit(share(1))), 1);
        bench.break_segment(device);
        assert_eq!(seq(&mut bench.commit(share(2))), 2, "{device}");
        assert!(matches!(&*bench.health.borrow(), Health::Writable));
        assert_eq!(bench.shared.segments().back().unwrap().index, 2);

        // What if the frame that failed reached the disk after all? The new segment overrules it.
        bench.plant_frame(&share(2), 4_096 + frame_bytes(&[share(1)]), 2);
        assert_eq!(seq(&mut bench.commit(share(3))), 3);
        let wanted = [(1, share(1)), (2, share(2)), (3, share(3))]
            .map(|(seq, record)| Entry { seq, record });
        assert_eq!(bench.entries(), wanted);
        let Bench { dir, writer, .. } = bench;
        drop(writer);
        let (log, recovered) = open(&dir.path().join("log"));
        assert_eq!(read_all(&log, 1), wanted);
        assert_eq!(recovered.next_seq, 4);
    }
}

#[test]
fn appends_wait_in_their_order_for_a_disk_that_comes_back() {
    let mut bench = Bench::new(&options());
    bench.commit(share(1));
    bench.break_segment("/dev/full");
    bench.take_disk_away();
    let mut answers: Vec<Answer> = (2..6).map(|n| bench.commit(share(n))).collect();
    assert!(matches!(&*bench.health.borrow(), Health::Unwritable(_)));
    assert_eq!(*bench.durable.borrow(), 1);
    assert!(
        answers.iter_mut().all(|a| a.try_recv().is_err()),
        "nobody is told anything"
    );
    bench.bring_disk_back();
    bench.recover();
    assert!(answers.iter_mut().map(seq).eq(2..6));
    assert_eq!(hashes(&bench.entries()).len(), 5);
}

#[test]
fn an_append_that_has_waited_long_enough_gets_the_error_and_is_not_in_the_log() {
    let hold_max = Duration::from_millis(30);
    let mut bench = Bench::new(&Options {
        hold_max,
        ..options()
    });
    bench.break_segment("/dev/full");
    bench.take_disk_away();
    let mut first = bench.commit(share(1));
    let error = loop {
        bench.writer.retry();
        if let Ok(answer) = first.try_recv() {
            break answer.unwrap_err();
        }
        std::thread::yield_now();
    };
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    let mut second = bench.commit(share(2));
    bench.bring_disk_back();
    bench.recover();
    assert_eq!(seq(&mut second), 1);
    assert_eq!(hashes(&bench.entries()).len(), 1);
}

#[test]
fn a_next_segment_that_can_not_be_prepared_is_told_while_there_is_room_in_this_one() {
    let mut bench = Bench::new(&options());
    bench.commit(share(1));
    bench.take_disk_away();
    bench.writer.preparer.begin_again();
    while matches!(&*bench.health.borrow(), Health::Writable) {
        bench.look_after_next();
    }
    let health = bench.health.borrow().clone();
    assert!(matches!(health, Health::LastSegment(_)), "{health:?}");
    seq(&mut bench.commit(share(1)));
    bench.bring_disk_back();
    while !matches!(&*bench.health.borrow(), Health::Writable) {
        bench.look_after_next();
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    FailWrite,
    FailSync,
    TakeDiskAway,
    BringDiskBack,
    Crash,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Append),
        1 => Just(Step::FailWrite),
        1 => Just(Step::FailSync),
        1 => Just(Step::TakeDiskAway),
        1 => Just(Step::BringDiskBack),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(16, 500)))]

    /// Whatever the disk refuses, and whenever the process is killed: the log has every acknowledged record once, in the
    /// order of the appends, and beside those only such as nobody was told about.
    #[test]
    fn a_disk_that_fails_at_random_loses_nothing_that_was_acknowledged(
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut options = options();
        options.segment_bytes = 8 << 10;
        options.retry_interval = Duration::from_micros(100);
        let mut bench = Bench::new(&options);
        let mut answers: Vec<(u64, Answer)> = Vec::new();
        let mut is_away = false;
        for (n, step) in (0..).zip(steps) {
            match step {
                Step::Append => {
                    let answer = bench.commit(share(n));
                    answers.push((n, answer));
                }
                Step::FailWrite => bench.break_segment("/dev/full"),
                Step::FailSync => bench.break_segment("/dev/null"),
                Step::TakeDiskAway if !is_away => {
                    bench.take_disk_away();
                    is_away = true;
                }
                Step::BringDiskBack if is_away => {
                    bench.bring_disk_back();
                    is_away = false;
                    bench.recover();
                }
                Step::Crash if !is_away => {
                    let Bench { dir, writer, .. } = bench;
                    drop(writer);
                    bench = Bench::on(dir, &options);
                }
                Step::TakeDiskAway | Step::BringDiskBack | Step::Crash => {}
            }
        }
        if is_away {
            bench.bring_disk_back();
        }
        bench.recover();
        let logged = hashes(&bench.entries());
        let mut acknowledged = Vec::new();
        for (n, mut answer) in answers {
            if matches!(answer.try_recv(), Ok(Ok(_))) {
                acknowledged.extend(hashes(&[Entry { seq: 0, record: share(n) }]));
            }
        }
        // Nothing was in flight at a crash here: a writer resolves before it returns.
        prop_assert_eq!(logged, acknowledged);
    }
}

/// Appends until the log refuses; gives the error and the shares that were acknowledged.
async fn append_until_refused(log: &ShareLog) -> (LogError, u64) {
    let mut acknowledged = 0;
    loop {
        match log.append((0..50).map(share).collect()).await {
            Ok(appended) => acknowledged = appended.last_seq,
            Err(error) => return (error, acknowledged),
        }
    }
}

/// Gives appends up soon, so that a test need not wait.
fn impatient() -> Options {
    Options {
        hold_max: Duration::from_millis(50),
        ..options()
    }
}

#[tokio::test]
async fn a_log_that_is_closed_while_it_can_not_be_written_says_so_to_who_waits() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let (log, _) = open(&dir);
    fs::rename(&dir, parent.path().join("away")).unwrap();
    let mut health = log.health();
    let mut waiting = Vec::new();
    while !matches!(&*health.borrow_and_update(), Health::Unwritable(_)) {
        waiting = vec![log.try_append((0..50).map(share).collect()).unwrap()];
        tokio::task::yield_now().await;
    }
    assert!(log.is_failing());
    log.close().await;
    for append in waiting {
        assert!(matches!(append.await, Err(LogError::Closed)));
    }
}

/// The same on a real full disk, where the machine lets us mount one.
#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "hh-share-log-test"])
        .arg(dir.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: can't mount a tmpfs");
        return;
    }
    let unmount = Unmount(dir.path());
    let (log, _) = ShareLog::open(dir.path(), &identity(), &impatient()).unwrap();
    let (error, acknowledged) = append_until_refused(&log).await;
    let LogError::Io { source, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(acknowledged > 500, "{acknowledged}");
    assert!(append_until_refused(&log).await.1 == 0);
    let mut health = log.health();
    // What is kept though it is shipped has to go.
    let keep_all = Retention {
        age: Duration::MAX,
        segments_max: u64::MAX,
    };
    log.release(acknowledged / 2, &keep_all, EPOCH_START_MS)
        .unwrap();
    health
        .wait_for(|health| matches!(health, Health::Writable))
        .await
        .unwrap();
    let appended = log.append(vec![share(1)]).await.unwrap();
    assert_eq!(appended.first_seq, acknowledged + 1);
    log.close().await;
    let (log, recovered) = open(dir.path());
    assert_eq!(recovered.next_seq, acknowledged + 2);
    let entries = read_all(&log, log.first_seq());
    assert_eq!(entries.last().unwrap().seq, acknowledged + 1);
    assert_eq!(entries.len() as u64, acknowledged + 2 - log.first_seq());
    log.close().await;
    drop(unmount);
}

struct Unmount<'a>(&'a Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0)
            .status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}
