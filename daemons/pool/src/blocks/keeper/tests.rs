//! The keeper with its journal, ledger and share log, beside a small Bitcoin Core that can be made to forget.

use super::super::journal::Journal;
use super::*;
use crate::sample::core::FakeCore;
use crate::sample::{self, PATIENCE, wait_for};
use crate::share_log::{Identity, Options, Record, Retention, ShareLog, ShareRecord};
use crate::shipper::Shipper;
use crate::work::{Provider, Work};
use hh_bitcoin::BlockSubmitter;
use hh_daemon::StateFile;
use hh_ledger::{Ledger, Location};
use hh_mining::{Extranonce, Target};
use hh_sv2::message::SubmitSolution;
use std::path::Path;

/// A keeper that runs; its tasks end when it is dropped.
struct Site {
    dir: tempfile::TempDir,
    core: FakeCore,
    blocks: Blocks,
    ledger: Ledger,
    log: ShareLog,
    tasks: Tasks,
    work: watch::Sender<Option<Arc<Work>>>,
    /// Where it does not run.
    _shipper: Option<Shipper>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Site {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), FakeCore::start(), true)
    }

    fn start_in(dir: tempfile::TempDir, core: FakeCore, ships: bool) -> Self {
        Self::start_with(dir, core, ships, VISIT_INTERVAL)
    }

    fn start_with(
        dir: tempfile::TempDir,
        core: FakeCore,
        ships: bool,
        visit_interval: Duration,
    ) -> Self {
        let tasks = Tasks::default();
        let nodes = vec![("near".to_owned(), core.rpc())];
        let tracker = tasks.tracker().clone();
        let location = Location::Sqlite(dir.path().join("pool.db"));
        let ledger = Ledger::open(&location, "pool-1").unwrap();
        let log = open_log(dir.path());
        let (journal, left) = Journal::open(dir.path().join("blocks")).unwrap();
        let (work, seen) = watch::channel(Some(sample::work()));
        let note = StateFile::new(dir.path().join("shipped"));
        let shipper = Shipper::new(log.clone(), ledger.clone(), Retention::NOTHING, note);
        let paths = Paths {
            journal,
            ledger: ledger.clone(),
            submitter: BlockSubmitter::new(nodes.clone(), tracker, tasks.token().clone()),
            nodes,
            work: seen,
            log: log.clone(),
            shipping: shipper.status(),
        };
        let (blocks, mut keeper) = BlockKeeper::new(paths, left, tasks.clone());
        keeper.visit_interval = visit_interval;
        tasks.spawn_session("keeper", keeper.run());
        let mut idle = Some(shipper);
        if let Some(shipper) = idle.take_if(|_| ships) {
            let stop = tasks.token().clone();
            let shipping = shipper.run(stop, std::future::ready(()));
            tasks.spawn_session("shipper", async { shipping.await.unwrap() });
        }
        Self {
            dir,
            core,
            blocks,
            ledger,
            log,
            tasks,
            work,
            _shipper: idle,
        }
    }

    /// Ends as a process does that is killed, and starts again on the same files.
    async fn restart(self) -> Self {
        self.restart_with(true).await
    }

    /// The same; whether the ledger then gets the share log.
    async fn restart_with(mut self, ships: bool) -> Self {
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        let (tasks, core, log) = (self.tasks.clone(), self.core.clone(), self.log.clone());
        drop(self);
        tasks.shutdown(PATIENCE).await.unwrap();
        log.close().await;
        Self::start_in(dir, core, ships)
    }

    async fn wait_for_state(&self, hash: BlockHash, state: BlockState) -> BlockRow {
        wait_for(&format!("{state:?} in the ledger"), async || {
            // There is none before the first row is booked.
            let rows = self.ledger.blocks(99).await.unwrap_or_default();
            rows.into_iter()
                .find(|row| (row.hash, row.state) == (hash, state))
        })
        .await
    }

    /// Hashes of the shares in the log.
    fn logged(&self) -> Vec<[u8; 32]> {
        let mut reader = self.log.reader(1).unwrap();
        let entries = reader.read(usize::MAX).unwrap().into_iter();
        let shares = entries.filter_map(|entry| match entry.record {
            Record::Share(share) => Some(share.hash),
            Record::Binding(_) | Record::Watermark { .. } => None,
        });
        shares.collect()
    }

    /// Waits until the ledger has the share of this hash; how often it has it.
    async fn wait_until_shipped(&self, hash: BlockHash) -> usize {
        wait_for("its share is in the ledger", async || {
            let shares = self.ledger.reader().shares_by_hash(hash).await;
            shares
                .ok()
                .map(|shares| shares.len())
                .filter(|count| *count > 0)
        })
        .await
    }

    fn journalled(&self) -> usize {
        let files = std::fs::read_dir(self.dir.path().join("blocks")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".block")).count()
    }
}

fn open_log(dir: &Path) -> ShareLog {
    let identity = Identity {
        pool: "pool-1".to_owned(),
        server_id: 0,
    };
    let options = Options {
        segment_bytes: 32 << 10,
        ..Options::default()
    };
    let (log, _) = ShareLog::open(&dir.join("shares"), &identity, &options).unwrap();
    log
}

/// A block of a template whose transactions are there, found at this extranonce.
fn found(extranonce: u8) -> (Found, BlockHash) {
    let (found, hash, work) = found_early(extranonce);
    work.job.template.set_transactions(Vec::new());
    (found, hash)
}

/// What a template provider that knows the block's template is sent.
fn provider_of(found: &Found) -> mpsc::Receiver<SubmitSolution> {
    let (solutions, received) = mpsc::channel(9);
    let address = "10.0.0.1:34250".into();
    let provider = Provider { address, solutions };
    found.candidate.job.template.add_known_to(1, &provider);
    received
}

/// The same, of a template whose transactions have not come.
fn found_early(extranonce: u8) -> (Found, BlockHash, Arc<Work>) {
    let work = sample::work();
    let mut channel = sample::channel(1, Target::MAX);
    channel.on_job_sent(Arc::clone(&work.job), &work.tip);
    let mut submission = crate::channel::Submission {
        sequence_number: 1,
        job_id: work.job.id,
        nonce: 0,
        ntime: sample::TIP_TIME,
        version: 0x2000_0000,
        extranonce: Extranonce::from_bytes([extranonce; 16]),
    };
    let candidate = loop {
        if let Some(candidate) = channel.check(&submission, sample::TIP_TIME).block {
            break candidate;
        }
        submission.nonce += 1;
    };
    let hash = candidate.hash;
    let share = ShareRecord {
        accepted_at_ms: unix_ms(),
        hash: hash.to_byte_array(),
        extranonce_prefix: channel.prefix.to_bytes(),
        channel_id: channel.id,
        job_id: submission.job_id,
        nbits: candidate.header.nbits,
        ntime: submission.ntime,
        nonce: submission.nonce,
        version: submission.version,
        work: 2,
        score: 3,
        is_block: true,
        origin: Arc::clone(&channel.origin),
    };
    let found = Found {
        candidate,
        origin: Arc::clone(&channel.origin),
        share,
    };
    (found, hash, work)
}

#[tokio::test]
async fn a_block_goes_by_every_path_and_again_to_a_node_that_forgot_it() {
    let site = Site::start();
    let (found, hash) = found(1);
    let mut solutions = provider_of(&found);
    site.blocks.found(found);
    site.wait_for_state(hash, BlockState::Accepted).await;
    let solution = solutions.recv().await;
    solution.expect("it goes to the template provider");
    assert_eq!(site.core.submissions(), 1);

    site.core.forget();
    wait_for("the node has the block", async || {
        site.core.has(&hash.to_string()).then_some(())
    })
    .await;
    assert_eq!(site.core.submissions(), 2);
    // Also when the node is away in between.
    site.core.set_away(true);
    site.core.forget();
    site.core.set_away(false);
    wait_for("the node has the block", async || {
        site.core.has(&hash.to_string()).then_some(())
    })
    .await;
    assert_eq!(site.journalled(), 1);
}

#[tokio::test]
async fn a_node_whose_work_is_on_a_lower_tip_is_given_a_block_again_at_once() {
    // No visit but those that the tip is the reason of.
    let never = Duration::from_secs(3_600);
    let dir = tempfile::tempdir().unwrap();
    let site = Site::start_with(dir, FakeCore::start(), true, never);
    let (found, hash) = found(1);
    site.blocks.found(found);
    site.wait_for_state(hash, BlockState::Accepted).await;
    // Each time but the first the visit before it is mostly still under way.
    for _ in 0..20 {
        site.core.forget();
        site.work.send_replace(Some(sample::work()));
        let given_again = async {
            while !site.core.has(&hash.to_string()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_again)
            .await
            .expect("the node is given the block again");
    }
}

#[tokio::test]
async fn what_a_killed_pool_left_is_looked_after_and_counts_once() {
    let site = Site::start();
    let (found, hash) = found(1);
    site.blocks.found(found);
    site.wait_for_state(hash, BlockState::Accepted).await;
    wait_for("its share is in the log", async || {
        (!site.logged().is_empty()).then_some(())
    })
    .await;
    wait_for("the journal has 1 blocks", async || {
        (site.journalled() == 1).then_some(())
    })
    .await;

    site.core.forget();
    let site = site.restart().await;
    wait_for("the node has the block", async || {
        site.core.has(&hash.to_string()).then_some(())
    })
    .await;
    let row = site.wait_for_state(hash, BlockState::Accepted).await;
    assert_eq!((&*row.account, &*row.worker), ("alice", "rig1"));
    assert_eq!(site.wait_until_shipped(hash).await, 1);
}

#[tokio::test]
async fn the_share_of_an_accepted_block_is_logged_once_though_its_connection_logs_it_too() {
    let site = Site::start();
    let (found, hash) = found(1);
    let share = found.share.clone();
    site.blocks.found(found);
    site.wait_for_state(hash, BlockState::Accepted).await;
    wait_for("its share is in the log", async || {
        (!site.logged().is_empty()).then_some(())
    })
    .await;
    let mut own = share.clone();
    own.hash[0] ^= 1;
    own.is_block = false;
    let both = vec![Record::Share(share), Record::Share(own.clone())];
    let appended = site.log.append(both).await.unwrap();
    assert_eq!(appended.last_seq - appended.first_seq, 1);
    assert_eq!(site.logged(), [hash.to_byte_array(), own.hash]);
}

#[tokio::test]
async fn a_share_that_no_earlier_process_logged_is_logged_when_the_ledger_lacks_it() {
    let site = Site::start();
    // The node is away, so that the block is not accepted, and its share not logged.
    site.core.set_away(true);
    let (found, hash) = found(1);
    site.blocks.found(found);
    wait_for("the journal has 1 blocks", async || {
        (site.journalled() == 1).then_some(())
    })
    .await;
    let site = site.restart().await;
    site.core.set_away(false);
    site.wait_for_state(hash, BlockState::Accepted).await;
    assert_eq!(site.wait_until_shipped(hash).await, 1);
}

#[tokio::test]
async fn a_share_that_waits_for_the_ledger_holds_up_none_that_does_not() {
    let site = Site::start();
    site.core.set_away(true);
    let (earlier, earlier_hash) = found(1);
    site.blocks.found(earlier);
    wait_for("the journal has 1 blocks", async || {
        (site.journalled() == 1).then_some(())
    })
    .await;
    let site = site.restart_with(false).await;
    site.core.set_away(false);
    site.wait_for_state(earlier_hash, BlockState::Accepted)
        .await;
    let (later, hash) = found(2);
    site.blocks.found(later);
    wait_for("its share is in the log", async || {
        (!site.logged().is_empty()).then_some(())
    })
    .await;
    assert_eq!(site.logged(), [hash.to_byte_array()]);
}

#[tokio::test]
async fn a_refused_block_is_booked_with_the_reason_and_its_share_left_to_its_connection() {
    let site = Site::start();
    site.core.refuse("bad-txns-nonfinal");
    let (found, hash) = found(1);
    site.blocks.found(found);
    let row = site.wait_for_state(hash, BlockState::Rejected).await;
    assert_eq!(row.reason.as_deref(), Some("bad-txns-nonfinal"));
    // Its only node has spoken: the journal lets go of it.
    wait_for("the journal has 0 blocks", async || {
        (site.journalled() == 0).then_some(())
    })
    .await;
    assert!(site.logged().is_empty());
}

#[tokio::test]
async fn a_block_whose_transactions_come_late_is_submitted_when_they_do() {
    let site = Site::start();
    let (found, hash, work) = found_early(1);
    let mut solutions = provider_of(&found);
    site.blocks.found(found);
    let solution = solutions.recv().await;
    solution.expect("it goes to the template provider");
    wait_for("the journal has 1 blocks", async || {
        (site.journalled() == 1).then_some(())
    })
    .await;
    assert_eq!(site.core.submissions(), 0);
    work.job.template.set_transactions(Vec::new());
    site.wait_for_state(hash, BlockState::Accepted).await;
    let key = Key {
        height: sample::HEIGHT,
        hash,
    };
    let site = site.restart().await;
    let journal = Journal::open(site.dir.path().join("blocks")).unwrap().0;
    assert!(journal.read_block(key).unwrap().is_some());
}
