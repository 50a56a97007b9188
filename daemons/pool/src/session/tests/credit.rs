//! What is credited was proven, and what was proven is credited: over any sequence of what miners, nodes and restarts do, on
//! real sockets and a real share log, against a [`Witness`] that knows the wire alone.

mod miner;
mod steps;

use crate::sample::server::{Options, TestPool};
use crate::sample::witness::{HeaderHash, KnownChannel, KnownJob, Share, Witness, Worth};
use crate::sample::{self, cases};
use crate::share_log::Record;
use hh_sv2::message::{REQUIRES_STANDARD_JOBS, Unknown};
use miner::{Peer, mutilated, now, parse};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use steps::{Step, any_step};

/// A network for which no share of a test is a block.
const HARD_NBITS: u32 = 0x1d00_ffff;

/// More connections at a time than this add nothing.
const MAX_MINERS: usize = 3;

/// A channel takes shares for 24 jobs of a tip; a test that sends more would have to count them.
const MAX_JOBS: usize = 16;

/// How far ahead of the clock a time is good, and from where it is not; the pool's limit is in between, where the second in
/// which it looks decides.
const AHEAD_SECONDS: u32 = 6_900;
const TOO_FAR_AHEAD_SECONDS: u32 = 7_300;

/// A pool and everything that is owed.
struct World {
    pool: TestPool,
    peers: Vec<Peer>,
    templates: u64,
    /// What each hash proved, of all shares that were owed something.
    owed: HashMap<HeaderHash, u128>,
    sent: Vec<Share>,
}

impl World {
    async fn start() -> Self {
        let options = Options {
            nbits: HARD_NBITS,
            ..Options::default()
        };
        Self {
            pool: TestPool::start(options).await,
            peers: Vec::new(),
            templates: 1,
            owed: HashMap::new(),
            sent: Vec::new(),
        }
    }

    async fn step(mut self, step: Step) -> Self {
        match step {
            Step::Restart { killed } => {
                self.peers.clear();
                self.templates = 1;
                self.pool = if killed {
                    self.pool.restart_after_kill().await
                } else {
                    self.pool.restart().await
                };
            }
            Step::Connect { standard_jobs } if self.peers.len() < MAX_MINERS => {
                let flags = if standard_jobs {
                    REQUIRES_STANDARD_JOBS
                } else {
                    0
                };
                let miner = self.pool.connect_with(flags).await;
                let witness = Witness::default();
                self.peers.push(Peer {
                    miner,
                    witness,
                    next_number: 1,
                });
            }
            Step::Template { content } => self.on_template(content, None).await,
            Step::Tip { content, block } => self.on_template(content, Some(block)).await,
            Step::Connect { .. } => {}
            step => self.step_of_a_peer(step).await,
        }
        self
    }

    /// What needs a connection, and is passed over where there is none.
    async fn step_of_a_peer(&mut self, step: Step) {
        let count = self.peers.len();
        if count == 0 {
            return;
        }
        match step {
            Step::Disconnect(miner) => drop(self.peers.swap_remove(miner.index(count))),
            Step::Open {
                miner,
                is_standard,
                hardness,
            } => {
                let peer = &mut self.peers[miner.index(count)];
                peer.open(is_standard, hardness).await;
            }
            Step::Close { miner, channel } => self.peers[miner.index(count)].close(&channel).await,
            Step::Update {
                miner,
                channel,
                hardness,
            } => {
                let peer = &mut self.peers[miner.index(count)];
                peer.update(&channel, hardness).await;
            }
            Step::Submit { miner, shots } => {
                let peer = &mut self.peers[miner.index(count)];
                let shares = shots.iter().filter_map(|shot| peer.aim(shot)).collect();
                self.submit(miner.index(count), shares).await;
            }
            Step::Replay {
                miner,
                share,
                channel,
                newest_job,
            } => {
                let peer = &mut self.peers[miner.index(count)];
                let share = peer.replay(&self.sent, &share, channel.as_ref(), newest_job);
                self.submit(miner.index(count), share.into_iter().collect())
                    .await;
            }
            Step::Mutilate {
                miner,
                shot,
                damage,
                keep,
                tail,
            } => {
                let peer = &mut self.peers[miner.index(count)];
                if let Some(share) = peer.aim(&shot) {
                    let payload = mutilated(&share, &damage, keep.as_ref(), &tail);
                    self.submit_bytes(miner.index(count), &share, payload).await;
                }
            }
            _ => unreachable!("the others need no connection"),
        }
    }

    /// The provider has a template, on the tip there is or on a new one; every channel hears of it.
    async fn on_template(&mut self, content: u8, block: Option<u8>) {
        let jobs = self
            .peers
            .iter()
            .flat_map(|peer| peer.witness.channels.values());
        let many = jobs.map(|channel| channel.jobs.len()).max() >= Some(MAX_JOBS);
        // A block that there was no work on yet ends the jobs there are.
        let block = if many { Some(9) } else { block };
        self.templates += 1;
        let mut template = sample::template(content.into());
        template.template_id = self.templates;
        let board = &mut self.pool.board;
        board
            .on_new_template(0, template, block.is_some(), 0)
            .unwrap();
        if let Some(block) = block {
            let tip = sample::tip_of(block, HARD_NBITS);
            board
                .on_set_new_prev_hash(0, self.templates, tip, 0)
                .unwrap();
        }
        let job_id = board.subscribe().borrow().as_ref().unwrap().job.id;
        for peer in &mut self.peers {
            let is_it = |job: &KnownJob| job.id == job_id && job.is_current();
            let has_it = |channel: &KnownChannel| channel.jobs.iter().any(is_it);
            while !peer.witness.channels.values().all(has_it) {
                peer.recv().await;
            }
        }
    }

    /// Sends shares in one go, and holds the pool's answers against what each is worth.
    async fn submit(&mut self, peer: usize, shares: Vec<Share>) {
        let peer = &mut self.peers[peer];
        let mut wanted = BTreeMap::new();
        let mut credited: HashSet<HeaderHash> = self.owed.keys().copied().collect();
        for share in &shares {
            let worth = peer.witness.judge(share, &credited, now() + AHEAD_SECONDS);
            if let Worth::Work { hash, work } = worth {
                assert!(credited.insert(hash));
                self.owed.insert(hash, work);
            }
            wanted.insert(share.sequence_number, worth);
        }
        for share in &shares {
            peer.miner.connection.queue(share.message()).unwrap();
        }
        peer.miner.connection.flush().await.unwrap();
        let refused = peer.answers(shares.len()).await;
        for (number, worth) in wanted {
            match (worth, refused.get(&number)) {
                (Worth::Work { .. }, None) => {}
                (Worth::Nothing(codes), Some(code)) if codes.contains(&code.as_str()) => {}
                (worth, answer) => panic!("share {number} is worth {worth:?}, got {answer:?}"),
            }
        }
        self.sent.extend(shares);
    }

    /// Sends bytes in the place of a share. Where they can't be read the pool closes the connection; otherwise they are the
    /// share that they say.
    async fn submit_bytes(&mut self, at: usize, share: &Share, payload: Vec<u8>) {
        let is_standard = share.extranonce.is_none();
        let read = parse(&payload, is_standard);
        let now = now();
        let unclear = now + AHEAD_SECONDS + 1..now + TOO_FAR_AHEAD_SECONDS;
        if read
            .as_ref()
            .is_some_and(|share| unclear.contains(&share.ntime))
        {
            return;
        }
        let peer = &mut self.peers[at];
        let credited = self.owed.keys().copied().collect();
        let worth = read
            .as_ref()
            .map(|share| peer.witness.judge(share, &credited, now + AHEAD_SECONDS));
        let message = Unknown {
            extension_type: 0,
            message_type: if is_standard { 0x1a } else { 0x1b },
            channel_msg: true,
            payload,
        };
        peer.miner.send(message).await;
        let Some(worth) = worth else {
            while peer.try_recv().await.is_some() {}
            self.peers.swap_remove(at);
            return;
        };
        let refused = peer.answers(1).await;
        match worth {
            Worth::Work { hash, work } => {
                assert!(refused.is_empty(), "{refused:?}");
                self.owed.insert(hash, work);
            }
            Worth::Nothing(codes) => {
                let code = refused.values().next().expect("it is worth nothing");
                assert!(codes.contains(&code.as_str()), "{code} for {codes:?}");
            }
        }
        self.sent.extend(read);
    }

    /// The share log has each hash that is owed something, once, with exactly that.
    async fn check_log(self) {
        let Self {
            pool, peers, owed, ..
        } = self;
        drop(peers);
        let (mut credited, mut hashes) = (0_u128, HashSet::new());
        for record in pool.logged().await {
            let Record::Share(share) = record else {
                continue;
            };
            assert!(hashes.insert(share.hash), "a hash is credited twice");
            let proven = owed.get(&share.hash);
            assert_eq!(proven, Some(&share.work), "credited and proven");
            credited += share.work;
        }
        assert_eq!(credited, owed.values().sum::<u128>(), "all that is owed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 500,
        ..ProptestConfig::with_cases(cases(48, 3_000))
    })]

    /// Credited work <= proven work for any sequence of submissions, including hostile ones; and nothing that is owed is
    /// refused.
    #[test]
    fn credited_work_is_what_distinct_hashes_prove_whatever_anybody_does(
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::start().await;
            world = world.step(Step::Connect { standard_jobs: false }).await;
            for step in steps {
                world = world.step(step).await;
            }
            world.check_log().await;
        });
    }
}
