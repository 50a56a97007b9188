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

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (recovered, segments) = recovery::recover(dir.path(), &identity(), &options()).unwrap();
        let shared = Arc::new(Shared {
            dir: dir.path().to_owned(),
            epoch: recovered.epoch,
            segments: Mutex::new(segments),
        });
        let queue = Arc::new(Queue::new(Duration::ZERO));
        let lock = lock(dir.path()).unwrap();
        let (writer, durable, health) =
            Writer::new(&shared, &queue, (&identity(), &options()), &recovered, lock).unwrap();
        Self {
            dir,
            writer,
            shared,
            durable,
            health,
        }
    }

    fn commit(&mut self, record: Record) -> Result<Appended, LogError> {
        let (done, mut result) = oneshot::channel();
        let _room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        self.writer.commit(&mut vec![Append {
            records: vec![record],
            done,
            _room,
        }]);
        result.try_recv().unwrap()
    }

    /// Makes the next write fail.
    fn fill_the_disk(&mut self) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        self.writer.active.as_mut().unwrap().file = full;
    }

    /// Writes a valid frame at this place of the first segment.
    fn plant_frame(&self, record: &Record, offset: usize, first_seq: u64) {
        let mut frame = segment::FrameBuffer::new();
        frame.push(record, record.at_ms());
        let sealed = frame.seal(&self.shared.epoch, 1, offset as u64, first_seq);
        let path = segment::path(self.dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset..offset + sealed.len()].copy_from_slice(sealed);
        fs::write(&path, &bytes).unwrap();
    }
}

#[test]
fn a_failed_write_is_not_acknowledged_and_the_log_goes_on_elsewhere() {
    let mut bench = Bench::new();
    bench.commit(share(1)).unwrap();
    bench.fill_the_disk();
    let error = bench.commit(share(2)).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Io {
                action: "write to",
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(&*bench.health.borrow(), Health::Unwritable(_)));
    assert_eq!(*bench.durable.borrow(), 1);
    assert!(
        bench.commit(share(3)).is_err(),
        "not tried again before the retry interval"
    );

    // What if the frame that failed reached the disk after all? The new segment overrules it.
    bench.plant_frame(&share(2), 4_096 + frame_bytes(&[share(1)]), 2);
    bench.writer.probe();
    assert!(matches!(&*bench.health.borrow(), Health::Writable));
    let appended = bench.commit(share(4)).unwrap();
    assert_eq!(
        appended,
        Appended {
            first_seq: 2,
            last_seq: 2
        }
    );
    let wanted = [(1, share(1)), (2, share(4))].map(|(seq, record)| Entry { seq, record });
    let Bench {
        dir,
        writer,
        shared,
        durable,
        ..
    } = bench;
    let mut reader = LogReader::new(shared, durable, 1).unwrap();
    assert_eq!(reader.read(10).unwrap(), wanted);
    drop(writer);
    let (_, recovered) = open(dir.path());
    assert_eq!(recovered.recent_hashes, hashes(&wanted));
    assert_eq!(recovered.next_seq, 3);
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

#[tokio::test]
async fn a_log_without_room_refuses_and_goes_on_when_there_is_room_again() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, away) = (parent.path().join("log"), parent.path().join("away"));
    let (log, _) = open(&dir);
    fs::rename(&dir, &away).unwrap();
    let (error, acknowledged) = append_until_refused(&log).await;
    assert!(matches!(error, LogError::Io { .. }), "{error}");
    let mut health = log.health();
    assert!(matches!(
        &*health.borrow_and_update(),
        Health::Unwritable(_)
    ));
    fs::rename(&away, &dir).unwrap();
    health
        .wait_for(|health| matches!(health, Health::Writable))
        .await
        .unwrap();
    let appended = log.append(vec![share(1)]).await.unwrap();
    assert_eq!(appended.first_seq, acknowledged + 1);
    assert_eq!(read_all(&log, 1).len() as u64, acknowledged + 1);
    log.close().await;
    assert_eq!(open(&dir).1.next_seq, acknowledged + 2);
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
    let (log, _) = open(dir.path());
    let (error, acknowledged) = append_until_refused(&log).await;
    let LogError::Io { source, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert!(acknowledged > 500, "{acknowledged}");
    assert!(append_until_refused(&log).await.1 == 0);
    let mut health = log.health();
    log.release_through(acknowledged / 2).unwrap();
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
