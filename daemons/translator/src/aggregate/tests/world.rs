//! The world of an aggregated lane: a pool that settles what comes, and miners who hash at a rate and believe what they are told.

use crate::aggregate::{Aggregate, ClassRange, Output, Submitted};
use crate::bridge::{Share, Tip, UpstreamJob};
use crate::upstream::{ChannelTerms, ChannelWish, Command, Event, OpenedChannel, Route};
use hh_mining::{BlockHash, Target};
use hh_sv2::message::{NewExtendedMiningJob, Seq0255, SetNewPrevHash, Sv2Option};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

const NBITS: u32 = 0x1d00_ffff;

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

/// A channel as the pool has it.
pub(super) struct PoolChannel {
    key: u64,
    target: Target,
    /// Shares that are not answered: number, work.
    shares: VecDeque<(u32, f64, String)>,
}

#[derive(Clone)]
struct MinerChannel {
    route: Route,
    target: Target,
    lease: Vec<u8>,
}

pub(super) struct TestMiner {
    name: String,
    pub(super) hashrate: f64,
    channel: Option<MinerChannel>,
    /// What it works on: where the share goes, and its target.
    pub(super) job: Option<(Route, Target)>,
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

fn job(job_id: u32, min_ntime: Option<u32>) -> Arc<UpstreamJob> {
    let message = NewExtendedMiningJob {
        channel_id: 1,
        job_id,
        min_ntime: Sv2Option::new(min_ntime),
        version: 0x2000_0000,
        version_rolling_allowed: true,
        merkle_path: Seq0255::new(Vec::new()).unwrap(),
        coinbase_tx_prefix: vec![1; 50].try_into().unwrap(),
        coinbase_tx_suffix: vec![2; 50].try_into().unwrap(),
    };
    Arc::new(message.into())
}

fn tip(job_id: u32, byte: u8) -> Arc<Tip> {
    let message = SetNewPrevHash {
        channel_id: 1,
        job_id,
        prev_hash: [byte; 32].into(),
        min_ntime: 1_700_000_000,
        nbits: NBITS,
    };
    Arc::new(message.try_into().unwrap())
}

pub(super) fn wish(user_identity: &str, hashrate: f64) -> ChannelWish {
    ChannelWish {
        user_identity: user_identity.to_owned(),
        min_extranonce_size: 6,
        terms: ChannelTerms {
            #[expect(clippy::cast_possible_truncation, reason = "SV2 carries it as f32")]
            nominal_hash_rate: hashrate as f32,
            max_target: Target::MAX,
        },
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
            pool: BTreeMap::new(),
            miners: BTreeMap::new(),
            last_session: 0,
            spaces: HashSet::new(),
            books: BTreeMap::new(),
        }
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
        self.aggregate.on_tick(self.seconds * 1000);
        self.settle_outputs();
    }

    fn mine(&mut self, session: u64) {
        let Some(miner) = self.miners.get_mut(&session) else {
            return;
        };
        let Some((route, target)) = miner.job else {
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
                job_id: 1,
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

    /// The pool settles most of what it has, each channel in a batch.
    fn answer_shares(&mut self) {
        for channel_id in self.pool.keys().copied().collect::<Vec<_>>() {
            let channel = self.pool.get_mut(&channel_id).unwrap();
            let keep = usize::from(self.random.unit() < 0.3);
            let count = channel.shares.len().saturating_sub(keep);
            let settled: Vec<_> = channel.shares.drain(..count).collect();
            let Some(last) = settled.last().map(|(number, ..)| *number) else {
                continue;
            };
            let key = channel.key;
            for (_, work, name) in &settled {
                let book = self.books.entry(name.clone()).or_default();
                book.credited += work;
                book.shares += 1;
            }
            let route = self.route(channel_id);
            self.aggregate.on_event(
                key,
                Event::Accepted {
                    route,
                    last_sequence_number: last,
                    count: u32::try_from(settled.len()).unwrap(),
                },
            );
            self.settle_outputs();
        }
    }

    fn route(&self, channel_id: u32) -> Route {
        Route {
            link: self.link,
            channel_id,
        }
    }

    pub(super) fn new_tip(&mut self) {
        self.tip = self.tip.wrapping_add(1);
        self.job_id += 1;
        let (job_id, byte) = (self.job_id, self.tip);
        // A lease may be let again, to somebody whose jobs are on the new tip.
        self.spaces.clear();
        for key in self.keys() {
            self.aggregate
                .on_event(key, Event::Job(job(job_id, None), Instant::now()));
        }
        for key in self.keys() {
            self.aggregate
                .on_event(key, Event::Tip(tip(job_id, byte), Instant::now()));
            self.settle_outputs();
        }
    }

    fn keys(&self) -> Vec<u64> {
        self.pool.values().map(|channel| channel.key).collect()
    }

    /// The connection is lost; what the pool had not settled is lost with it. All channels are opened again on the next.
    pub(super) fn lose_link(&mut self) {
        let lost = std::mem::take(&mut self.pool);
        let link = self.link;
        for channel in lost.values() {
            for (_, work, name) in &channel.shares {
                self.books.entry(name.clone()).or_default().lost += work;
            }
            self.aggregate.on_event(channel.key, Event::Lost(link));
        }
        self.settle_outputs();
        self.link += 1;
        for channel in lost.into_values() {
            self.open(channel.key, channel.target);
        }
        self.settle_outputs();
    }

    fn open(&mut self, key: u64, target: Target) {
        self.last_channel_id += 1;
        let channel_id = self.last_channel_id;
        let target = target.min(self.pool_floor);
        let shares = VecDeque::new();
        self.pool.insert(
            channel_id,
            PoolChannel {
                key,
                target,
                shares,
            },
        );
        let opened = OpenedChannel {
            route: self.route(channel_id),
            target,
            extranonce_prefix: channel_id.to_be_bytes().into(),
            extranonce_size: 8,
            lease: Box::default(),
        };
        self.aggregate
            .on_event(key, Event::Opened(Box::new(opened)));
        self.aggregate
            .on_event(key, Event::Job(job(self.job_id, None), Instant::now()));
        self.aggregate
            .on_event(key, Event::Tip(tip(self.job_id, self.tip), Instant::now()));
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
                        assert!(!wish.user_identity.contains('.'), "{}", wish.user_identity);
                        self.open(key, wish.terms.max_target);
                    }
                    Output::Submit(submit) => self.on_submit(submit),
                    Output::Close { key } => self.pool.retain(|_, channel| channel.key != key),
                    Output::Tell { session, event } => self.on_told(session, event),
                }
            }
        }
    }

    fn on_submit(&mut self, submit: Command) {
        let Command::Submit {
            session,
            route,
            sequence_number,
            share,
            worker,
        } = submit
        else {
            panic!("{submit:?}");
        };
        if route.link != self.link {
            return;
        }
        let channel = self
            .pool
            .get_mut(&route.channel_id)
            .expect("an open channel");
        assert_eq!(
            share.hashes,
            channel.target.work().0,
            "each share counts as it was told to"
        );
        let name = self.miners[&session].name.clone();
        assert_eq!(
            worker.as_deref(),
            name.split_once('.').map(|(_, worker)| worker)
        );
        channel
            .shares
            .push_back((sequence_number, share.hashes as f64, name));
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
                if miner
                    .job
                    .is_some_and(|(route, _)| route.link != opened.route.link)
                {
                    miner.job = None;
                }
            }
            Event::Current(_) | Event::Tip(..) => {
                let channel = miner.channel.clone().expect("work comes after a channel");
                assert_eq!(channel.lease.len(), 2);
                miner.job = Some((channel.route, channel.target));
                let is_new = self.spaces.insert((channel.route, channel.lease.clone()));
                assert!(
                    is_new,
                    "two miners, or two stays, search {channel:?}",
                    channel = channel.lease
                );
            }
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
                if miner
                    .channel
                    .as_ref()
                    .is_some_and(|channel| channel.route.link == link)
                {
                    miner.channel = None;
                    miner.job = None;
                }
            }
            Event::Target(target) => {
                miner.channel.as_mut().unwrap().target = *target;
            }
            Event::Job(..) => {}
            other => panic!("{other:?}"),
        }
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

    fn on_their_way(&self, name: &str) -> f64 {
        let shares = self.pool.values().flat_map(|channel| &channel.shares);
        shares
            .filter(|(.., of)| of == name)
            .map(|(_, work, _)| work)
            .sum()
    }

    /// Shares a minute that a miner finds now, on average.
    pub(super) fn rate(&self, session: u64) -> f64 {
        let miner = &self.miners[&session];
        let (_, target) = miner.job.expect("it mines");
        miner.hashrate * 60.0 / target.work().0 as f64
    }
}
