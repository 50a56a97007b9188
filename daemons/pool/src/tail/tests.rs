use super::*;
use crate::share_log::{Binding, Identity, Options, Retention, ShareRecord};
use tempfile::TempDir;

struct Site {
    log: ShareLog,
    rejects: Rejects,
    tail: ShareTail,
    _dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            pool: "pool-0".to_owned(),
            server_id: 0,
        };
        let options = Options {
            segment_bytes: 64 << 10,
            commit_interval: Duration::ZERO,
            ..Options::default()
        };
        let (log, _) = ShareLog::open(dir.path(), &identity, &options).unwrap();
        let rejects = Rejects::default();
        let tail = ShareTail::new(log.clone(), rejects.clone());
        Self {
            log,
            rejects,
            tail,
            _dir: dir,
        }
    }

    /// Makes shares of these numbers durable, each with a binding before it.
    async fn accept(&self, account: &str, numbers: std::ops::Range<u32>) {
        let origin = origin(account);
        let records = |nonce| {
            let binding = Binding {
                bound_at_ms: 0,
                extranonce_prefix: [7; 8],
                origin: Arc::clone(&origin),
            };
            let share = ShareRecord {
                accepted_at_ms: 0,
                hash: [1; 32],
                extranonce_prefix: [7; 8],
                channel_id: 2,
                job_id: 1,
                nbits: 0x1d00_ffff,
                ntime: 0,
                nonce,
                version: 0,
                work: 1 << 32,
                score: 1 << 40,
                is_block: false,
                origin: Arc::clone(&origin),
            };
            [Record::Binding(binding), Record::Share(share)]
        };
        for nonce in numbers {
            self.log.append(records(nonce).to_vec()).await.unwrap();
        }
    }

    fn reject(&self, account: &str) {
        self.rejects.count(2, &origin(account), "stale-share");
    }

    /// What comes after `cursor`, without a wait.
    async fn now(&self, cursor: Cursor, max: usize, filter: &Filter) -> Found {
        let since = self.tail.since(cursor, max, filter, Instant::now());
        since.await.unwrap()
    }
}

fn origin(account: &str) -> Arc<Origin> {
    Arc::new(Origin::new(account, "rig1", "core", "sv2").unwrap())
}

fn only(account: &str) -> Filter {
    Filter {
        account: Some(account.to_owned()),
        ..Filter::default()
    }
}

fn nonces(found: &Found) -> Vec<u32> {
    let nonce = |entry: &Entry| match &entry.record {
        Record::Share(share) => share.nonce,
        other => panic!("{other:?} is no share"),
    };
    found.accepted.iter().map(nonce).collect()
}

#[tokio::test]
async fn the_last_shares_come_first_and_then_each_that_follows_once() {
    let site = Site::new();
    let all = Filter::default();
    assert!(site.tail.last(5, &all).await.unwrap().accepted.is_empty());
    site.accept("alice", 0..20).await;
    site.reject("alice");
    let last = site.tail.last(5, &all).await.unwrap();
    assert_eq!(nonces(&last), [15, 16, 17, 18, 19]);
    assert_eq!(last.rejected.len(), 1);
    assert_eq!(last.missed, 0);
    let nothing = site.now(last.cursor, 5, &all).await;
    assert!(nothing.accepted.is_empty() && nothing.rejected.is_empty());
    site.accept("alice", 20..24).await;
    site.reject("bob");
    let mut cursor = nothing.cursor;
    let (mut seen, mut refused) = (Vec::new(), 0);
    for _ in 0..4 {
        let found = site.now(cursor, 3, &all).await;
        assert!(found.accepted.len() <= 3);
        seen.extend(nonces(&found));
        refused += found.rejected.len();
        cursor = found.cursor;
    }
    assert_eq!((seen, refused), (vec![20, 21, 22, 23], 1));
}

#[tokio::test]
async fn who_follows_one_account_sees_nobody_elses() {
    let site = Site::new();
    site.accept("alice", 0..3).await;
    site.accept("bob", 3..6).await;
    site.reject("alice");
    let bob = only("bob");
    let found = site.tail.last(9, &bob).await.unwrap();
    assert_eq!(nonces(&found), [3, 4, 5]);
    assert!(found.rejected.is_empty());
    let refused = Filter {
        rejected_only: true,
        ..only("alice")
    };
    let found = site.now(Cursor::default(), 9, &refused).await;
    assert_eq!((found.accepted.len(), found.rejected.len()), (0, 1));
}

#[tokio::test]
async fn a_wait_ends_with_the_next_share_that_is_wanted() {
    let site = Site::new();
    let all = Filter::default();
    let cursor = site.tail.last(0, &all).await.unwrap().cursor;
    let later = Instant::now() + Duration::from_secs(60);
    let wait = site.tail.since(cursor, 5, &all, later);
    let (found, ()) = tokio::join!(wait, async {
        // Woken by it, and not by the wait's end.
        tokio::task::yield_now().await;
        site.reject("alice");
    });
    let cursor = found.unwrap().cursor;
    let alice = only("alice");
    let wait = site.tail.since(cursor, 5, &alice, later);
    let (found, ()) = tokio::join!(wait, async {
        tokio::task::yield_now().await;
        site.accept("bob", 0..1).await;
        site.accept("alice", 1..2).await;
    });
    assert_eq!(nonces(&found.unwrap()), [1]);
}

#[tokio::test]
async fn who_reads_too_slowly_is_told_how_much_was_passed_over() {
    let site = Site::new();
    let all = Filter::default();
    let cursor = site.tail.last(0, &all).await.unwrap().cursor;
    site.accept("alice", 0..600).await;
    let nothing = Retention::NOTHING;
    site.log.release(1_000, &nothing, i64::MAX).unwrap();
    let first_seq = site.log.first_seq();
    assert!(first_seq > 2, "a segment was let go of");
    let found = site.now(cursor, 500, &all).await;
    assert_eq!(found.missed, first_seq - 1);
    let first = found.accepted.first().unwrap().seq;
    assert!(first == first_seq || first == first_seq + 1);

    let cursor = found.cursor;
    for _ in 0..1_500 {
        site.reject("alice");
    }
    let found = site.now(cursor, 2_000, &all).await;
    assert_eq!((found.missed, found.rejected.len()), (500, 1_000));
}

#[tokio::test]
async fn readers_of_those_who_follow_are_kept_and_not_more() {
    let site = Site::new();
    let all = Filter::default();
    for follower in 0..20 {
        site.accept("alice", 0..1).await;
        let found = site.now(Cursor::default(), follower % 3 + 1, &all).await;
        assert!(!found.accepted.is_empty());
        assert!(site.tail.lock().len() <= KEPT_READERS_MAX);
    }
    let cursor = site.tail.last(1, &all).await.unwrap().cursor;
    let before = site.tail.lock().len();
    site.accept("alice", 1..2).await;
    site.now(cursor, 1, &all).await;
    assert_eq!(site.tail.lock().len(), before, "it was taken and put back");
}
