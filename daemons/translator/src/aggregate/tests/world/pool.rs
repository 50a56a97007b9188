//! The pool's side of the world, with the connection to it: its channels, and what it makes of shares.

use super::World;
use crate::bridge::sample::{NTIME, job, tip};
use crate::upstream::{ChannelTerms, ChannelWish, Command, Event, OpenedChannel, Route};
use hh_mining::vardiff::DEFAULT_SHARES_PER_MINUTE;
use hh_mining::{Bounds, Target, Vardiff};
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// A channel as the pool has it.
pub(in crate::aggregate::tests) struct PoolChannel {
    key: u64,
    /// It has the target that was asked for, where a credential holds. Others are steered then, as a pool does it.
    is_exact: bool,
    /// The easiest target that was asked for last.
    asked: Target,
    /// Of the next job.
    target: Target,
    /// Of each job, as it was sent with it.
    jobs: BTreeMap<u32, Target>,
    vardiff: Vardiff,
    /// Shares that are not answered: number, work.
    shares: VecDeque<(u32, f64, String)>,
}

impl World {
    /// The pool settles most of what it has, each channel in a batch.
    pub(super) fn answer_shares(&mut self) {
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

    pub(super) fn bounds(&self, asked: Target) -> Bounds {
        Bounds::new(asked.min(self.pool_floor), Target::from_be_bytes([0; 32]))
    }

    /// Vardiff looks at each channel.
    pub(super) fn choose_targets(&mut self) {
        for channel_id in self.pool.keys().copied().collect::<Vec<_>>() {
            let channel = self.pool.get_mut(&channel_id).unwrap();
            if !channel.is_exact || self.pool_chooses {
                channel.vardiff.tick(self.seconds * 1000);
                let target = channel.vardiff.target();
                self.retarget(channel_id, target);
            }
        }
    }

    /// Another target, with a job at it.
    fn retarget(&mut self, channel_id: u32, target: Target) {
        let channel = self.pool.get_mut(&channel_id).unwrap();
        if channel.target == target {
            return;
        }
        self.job_id += 1;
        channel.target = target;
        channel.jobs.insert(self.job_id, target);
        let key = channel.key;
        let now = job(self.job_id, Some(NTIME));
        self.aggregate
            .on_event(key, Event::Target(Box::new(target)));
        self.aggregate
            .on_event(key, Event::Job(now, Instant::now()));
        self.settle_outputs();
    }

    /// The node's credential ends, and the pool goes on from the targets that its channels have.
    pub(in crate::aggregate::tests) fn end_credential(&mut self) {
        self.pool_chooses = true;
        for channel_id in self.pool.keys().copied().collect::<Vec<_>>() {
            let bounds = self.bounds(self.pool[&channel_id].asked);
            let channel = self.pool.get_mut(&channel_id).unwrap();
            channel.vardiff = vardiff(bounds, channel.target, self.seconds);
        }
    }

    /// There is another one, and what was asked for holds again.
    pub(in crate::aggregate::tests) fn present_credential(&mut self) {
        self.pool_chooses = false;
        for channel_id in self.pool.keys().copied().collect::<Vec<_>>() {
            let channel = &self.pool[&channel_id];
            if channel.is_exact {
                let easiest = self.bounds(channel.asked).easiest();
                self.retarget(channel_id, easiest);
            }
        }
    }

    pub(super) fn route(&self, channel_id: u32) -> Route {
        Route {
            link: self.link,
            channel_id,
        }
    }

    pub(in crate::aggregate::tests) fn new_tip(&mut self) {
        self.tip = self.tip.wrapping_add(1);
        self.job_id += 1;
        let (job_id, byte) = (self.job_id, self.tip);
        // A lease may be let again, to somebody whose jobs are on the new tip.
        self.spaces.clear();
        for channel in self.pool.values_mut() {
            channel.jobs.insert(job_id, channel.target);
        }
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

    pub(super) fn keys(&self) -> Vec<u64> {
        self.pool.values().map(|channel| channel.key).collect()
    }

    /// The connection is lost; what the pool had not settled is lost with it. All channels are opened again on the next.
    pub(in crate::aggregate::tests) fn lose_link(&mut self) {
        let lost = std::mem::take(&mut self.pool);
        let link = self.link;
        for channel in lost.values() {
            for (_, work, name) in &channel.shares {
                self.books.entry(name.clone()).or_default().lost += work;
            }
            self.aggregate.on_event(channel.key, Event::Lost(link));
        }
        self.is_up = false;
        self.settle_outputs();
        self.is_up = true;
        self.link += 1;
        for (key, wish) in self.wanted.clone() {
            self.open(key, &wish);
        }
        self.settle_outputs();
    }

    pub(super) fn open(&mut self, key: u64, wish: &ChannelWish) {
        let (terms, is_exact) = (wish.terms, wish.is_exact);
        self.last_channel_id += 1;
        let channel_id = self.last_channel_id;
        let bounds = self.bounds(terms.max_target);
        let start = Target::from_hashrate(
            terms.nominal_hash_rate.into(),
            DEFAULT_SHARES_PER_MINUTE.into(),
        );
        let vardiff = vardiff(bounds, start, self.seconds);
        let target = if is_exact && !self.pool_chooses {
            bounds.easiest()
        } else {
            vardiff.target()
        };
        self.pool.insert(
            channel_id,
            PoolChannel {
                key,
                is_exact,
                asked: terms.max_target,
                target,
                jobs: BTreeMap::from([(self.job_id, target)]),
                vardiff,
                shares: VecDeque::new(),
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

    pub(super) fn on_wish(&mut self, key: u64, wish: ChannelWish) {
        if self.is_up {
            self.open(key, &wish);
        }
        self.wanted.insert(key, wish);
    }

    pub(super) fn on_update(&mut self, key: u64, terms: ChannelTerms) {
        assert!(!self.is_up, "no miner here wants other work than it has");
        let wish = self.wanted.get_mut(&key);
        wish.expect("it is kept open").terms = terms;
    }

    /// What the pool has it has, though nobody is told any more.
    pub(super) fn on_close(&mut self, key: u64) {
        self.wanted.remove(&key);
        for (_, channel) in self.pool.extract_if(.., |_, channel| channel.key == key) {
            for (_, work, name) in channel.shares {
                self.books.entry(name).or_default().credited += work;
            }
        }
    }

    pub(super) fn on_submit(&mut self, submit: Command) {
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
        let target = channel.jobs[&share.job_id];
        assert_eq!(
            share.hashes,
            target.work().0,
            "each share counts as it was told to"
        );
        channel.vardiff.on_share(target);
        let name = self.miners[&session].name.clone();
        assert_eq!(
            worker.as_deref(),
            name.split_once('.').map(|(_, worker)| worker)
        );
        channel
            .shares
            .push_back((sequence_number, share.hashes as f64, name));
    }

    pub(super) fn on_their_way(&self, name: &str) -> f64 {
        let shares = self.pool.values().flat_map(|channel| &channel.shares);
        shares
            .filter(|(.., of)| of == name)
            .map(|(_, work, _)| work)
            .sum()
    }
}

fn vardiff(bounds: Bounds, start: Target, seconds: u64) -> Vardiff {
    Vardiff::new(bounds, DEFAULT_SHARES_PER_MINUTE, start, seconds * 1000)
}
