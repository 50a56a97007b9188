//! The world of an aggregated lane: a pool that settles what comes, and chooses the difficulty where no credential holds; and miners
//! who hash at a rate and believe what they are told.

mod pool;

use crate::aggregate::{Aggregate, ClassRange, Output, Submitted};
use crate::bridge::Share;
use crate::upstream::{ChannelTerms, ChannelWish, Event, Route};
use hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE;
use hh_mining::{BlockHash, Target};
use pool::PoolChannel;
use std::collections::{BTreeMap, HashSet};

/// SplitMix64: a seed gives the same run on every machine.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// How many of so many expected come, by Poisson.
    fn poisson(&mut self, expected: f64) -> u32 {
        let (mut count, mut at) = (0, 0.0);
        loop {
            at -= (1.0 - self.unit()).max(1e-12).ln();
            if at > expected {
                return count;
            }
            count += 1;
        }
    }
}

#[derive(Clone)]
struct MinerChannel {
    route: Route,
    target: Target,
    lease: Vec<u8>,
}

/// What a miner works on: where its shares go, and what they are worth.
#[derive(Clone, Copy)]
pub(super) struct TestJob {
    route: Route,
    id: u32,
    pub(super) target: Target,
}

pub(super) struct TestMiner {
    name: String,
    pub(super) hashrate: f64,
    channel: Option<MinerChannel>,
    pub(super) job: Option<TestJob>,
    last_sequence_number: u32,
    pub(super) unsettled: BTreeMap<u32, Route>,
}

pub(super) struct World {
    random: Random,
    aggregate: Aggregate,
    seconds: u64,
    pub(super) link: u32,
    pub(super) last_channel_id: u32,
    tip: u8,
    job_id: u32,
    /// No target of the pool is easier.
    pub(super) pool_floor: Target,
    /// No credential holds.
    pool_chooses: bool,
    /// There is a connection, the one of that number.
    is_up: bool,
    /// What channels are kept open with, by key.
    wanted: BTreeMap<u64, ChannelWish>,
    pub(super) pool: BTreeMap<u32, PoolChannel>,
    pub(super) miners: BTreeMap<u64, TestMiner>,
    last_session: u64,
    /// Search spaces by channel and lease that somebody had a job in, on this tip.
    spaces: HashSet<(Route, Vec<u8>)>,
    /// By worker.
    pub(super) books: BTreeMap<String, Book>,
}

/// In hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Book {
    done: f64,
    credited: f64,
    /// What a connection took with it.
    lost: f64,
    /// Of what is found, by Poisson: the sum of expected shares times the square of their work.
    variance: f64,
    largest_share: f64,
    pub(super) shares: u32,
}

pub(super) fn wish(user_identity: &str, hashrate: f64) -> ChannelWish {
    ChannelWish {
        user_identity: user_identity.to_owned(),
        min_extranonce_size: 6,
        terms: terms(hashrate),
        is_exact: false,
    }
}

fn terms(hashrate: f64) -> ChannelTerms {
    ChannelTerms {
        #[expect(clippy::cast_possible_truncation, reason = "SV2 carries it as f32")]
        nominal_hash_rate: hashrate as f32,
        max_target: Target::MAX,
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            aggregate: Aggregate::new(ClassRange::new(None, None), 0),
            seconds: 0,
            link: 1,
            last_channel_id: 0,
            tip: 1,
            job_id: 1,
            pool_floor: Target::MAX,
            pool_chooses: false,
            is_up: true,
            wanted: BTreeMap::new(),
            pool: BTreeMap::new(),
            miners: BTreeMap::new(),
            last_session: 0,
            spaces: HashSet::new(),
            books: BTreeMap::new(),
        }
    }

    /// How many miners each class has.
    pub(super) fn classes(&self) -> Vec<crate::aggregate::ClassView> {
        self.aggregate.classes()
    }

    /// A miner comes, who claims to be so fast.
    pub(super) fn join(&mut self, user_identity: &str, hashrate: f64, claimed: f64) -> u64 {
        self.last_session += 1;
        let session = self.last_session;
        self.miners.insert(
            session,
            TestMiner {
                name: user_identity.to_owned(),
                hashrate,
                channel: None,
                job: None,
                last_sequence_number: 0,
                unsettled: BTreeMap::new(),
            },
        );
        self.aggregate
            .on_open(session, &wish(user_identity, claimed));
        self.settle_outputs();
        session
    }

    pub(super) fn leave(&mut self, session: u64) {
        if self.miners.remove(&session).is_some() {
            self.aggregate.on_close(session);
            self.settle_outputs();
        }
    }

    pub(super) fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second();
        }
    }

    pub(super) fn second(&mut self) {
        self.seconds += 1;
        for session in self.miners.keys().copied().collect::<Vec<_>>() {
            self.mine(session);
        }
        self.answer_shares();
        self.choose_targets();
        self.aggregate.on_tick(self.seconds * 1000);
        self.settle_outputs();
    }

    fn mine(&mut self, session: u64) {
        let Some(miner) = self.miners.get_mut(&session) else {
            return;
        };
        let Some(TestJob { route, id, target }) = miner.job else {
            return;
        };
        let work = target.work().0 as f64;
        let book = self.books.entry(miner.name.clone()).or_default();
        book.done += miner.hashrate;
        book.variance += miner.hashrate * work;
        book.largest_share = book.largest_share.max(work);
        let found = self.random.poisson(miner.hashrate / work);
        for _ in 0..found {
            let miner = self.miners.get_mut(&session).unwrap();
            miner.last_sequence_number += 1;
            let sequence_number = miner.last_sequence_number;
            miner.unsettled.insert(sequence_number, route);
            let share = Share {
                job_id: id,
                version: 0,
                ntime: 0,
                nonce: 0,
                extranonce: Vec::new(),
                hash: BlockHash::from_byte_array([0; 32]),
                hashes: target.work().0,
            };
            self.aggregate.on_submit(
                session,
                Submitted {
                    route,
                    sequence_number,
                    share: Box::new(share),
                    worker: None,
                },
            );
        }
        self.settle_outputs();
    }

    /// The lane sees whose the difficulty is.
    pub(super) fn notice(&mut self) {
        self.aggregate.set_ours(!self.pool_chooses);
        self.settle_outputs();
    }

    fn settle_outputs(&mut self) {
        loop {
            let outputs = self.aggregate.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    Output::Open { key, wish } => {
                        assert_eq!(wish.min_extranonce_size, 8);
                        self.on_wish(key, wish);
                    }
                    Output::Update { key, terms } => self.on_update(key, terms),
                    Output::Submit(submit) => self.on_submit(submit),
                    Output::Close { key } => self.on_close(key),
                    Output::Tell { session, event } => self.on_told(session, event),
                }
            }
        }
    }

    fn on_told(&mut self, session: u64, event: Event) {
        let Some(miner) = self.miners.get_mut(&session) else {
            return;
        };
        match event {
            Event::Opened(opened) => {
                miner.channel = Some(MinerChannel {
                    route: opened.route,
                    target: opened.target,
                    lease: opened.lease.to_vec(),
                });
                miner.job.take_if(|job| job.route.link != opened.route.link);
            }
            Event::Job(job, _) => {
                if job.min_ntime.is_some() {
                    miner.work_on(job.job_id);
                }
            }
            Event::Current(ref work) => self.begin(session, work.job.job_id),
            Event::Tip(ref tip, _) => self.begin(session, tip.job_id),
            Event::Accepted {
                route,
                last_sequence_number,
                count,
            } => {
                let all = miner.unsettled.range(..=last_sequence_number);
                let of_route = all
                    .filter(|(_, of)| **of == route)
                    .map(|(&number, _)| number);
                let settled: Vec<u32> = of_route.collect();
                assert_eq!(settled.len(), count as usize);
                for number in settled {
                    miner.unsettled.remove(&number);
                }
            }
            Event::Lost(link) => {
                miner.unsettled.retain(|_, route| route.link != link);
                let is_lost = |channel: &mut MinerChannel| channel.route.link == link;
                if let Some(lost) = miner.channel.take_if(is_lost) {
                    miner.job = None;
                    // The next one starts where this one was.
                    let hashrate = lost.target.hashrate(DEFAULT_SHARES_PER_MINUTE.into());
                    self.aggregate.on_update(session, terms(hashrate));
                }
            }
            Event::Target(target) => {
                miner.channel.as_mut().unwrap().target = *target;
            }
            other => panic!("{other:?}"),
        }
    }

    /// A miner begins to search its part of a channel's space.
    fn begin(&mut self, session: u64, job_id: u32) {
        let miner = self.miners.get_mut(&session).unwrap();
        miner.work_on(job_id);
        let channel = miner.channel.as_ref().unwrap();
        assert_eq!(channel.lease.len(), 2);
        let is_new = self.spaces.insert((channel.route, channel.lease.clone()));
        assert!(
            is_new,
            "two miners, or two stays, search {:?}",
            channel.lease
        );
    }

    /// Credit, with what the link took, is the work that was done, within what chance allows for each worker.
    #[track_caller]
    pub(super) fn check_books(&self) {
        for (name, book) in &self.books {
            let off = book.credited + book.lost + self.on_their_way(name) - book.done;
            // Five and a half sigma; where few shares are expected, three that came all the same.
            let allowed = 5.5 * book.variance.sqrt() + 3.0 * book.largest_share;
            assert!(off.abs() <= allowed, "{name}: {off:e} off, of {book:?}");
        }
    }

    /// Shares a minute that a miner finds now, on average.
    pub(super) fn rate(&self, session: u64) -> f64 {
        let miner = &self.miners[&session];
        let job = miner.job.expect("it mines");
        miner.hashrate * 60.0 / job.target.work().0 as f64
    }

    /// How many channels the miners are on now.
    pub(super) fn channels(&self) -> usize {
        let jobs = self.miners.values().filter_map(|miner| miner.job);
        let routes: HashSet<Route> = jobs.map(|job| job.route).collect();
        routes.len()
    }
}

impl TestMiner {
    fn work_on(&mut self, id: u32) {
        let channel = self.channel.as_ref().expect("work comes after a channel");
        let (route, target) = (channel.route, channel.target);
        self.job = Some(TestJob { route, id, target });
    }
}
