//! What a miner concludes from what it is told, over any order of its shares, the upstream's answers, moves and losses.

use super::*;
use crate::bridge::sample::{NTIME, VERSION, job, tip};
use crate::config::{LaneConfig, LimitsConfig};
use crate::miners::Miners;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;

fn channel() -> Channel {
    let address = "127.0.0.1:1".parse().unwrap();
    let lane = LaneConfig::new("main", address);
    let miners = Miners::new(&[(lane, address)], &LimitsConfig::default());
    let place = miners.admit(&miners.lanes()[0], address).unwrap();
    let said = Said {
        nominal_hash_rate: 1.0,
        max_target: Target::MAX,
    };
    let (_, events) = mpsc::channel(1);
    let mut channel = Channel::new(33, ChannelKind::Extended, 1, said, place.channel(), events);
    channel.extranonce_size = 8;
    channel
}

/// The upstream opens its channel on a connection, with a job that every header is work for; gives the miner's id of that.
fn attach(channel: &mut Channel, link: LinkNumber) -> u32 {
    let opened = OpenedChannel {
        route: Route {
            link,
            channel_id: 7,
        },
        target: Target::MAX,
        extranonce_prefix: link.to_be_bytes().into(),
        extranonce_size: 8,
        lease: Box::default(),
    };
    channel.attach(&opened).unwrap();
    let job = channel.add_job(job(1, None)).unwrap();
    let active = channel.set_tip(tip(1, 7));
    assert_eq!(active, Some(job.id));
    job.id
}

#[derive(Clone, Debug)]
enum Step {
    /// A share for one of the jobs that were ever sent.
    Submit(Index),
    /// The upstream accepts what was forwarded on a connection, up to one of those shares.
    Accept(Index),
    /// It refuses one.
    Refuse(Index),
    /// It moves the miner to a channel on another connection, and keeps the one before.
    Move,
    /// A connection is lost.
    Lose(Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<Index>().prop_map(Step::Submit),
        3 => any::<Index>().prop_map(Step::Accept),
        1 => any::<Index>().prop_map(Step::Refuse),
        1 => Just(Step::Move),
        1 => any::<Index>().prop_map(Step::Lose),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Refused,
    Lost,
}

/// Both ends, each of which believes what it was told.
#[derive(Default)]
struct World {
    /// What the upstream has made of each share that was forwarded: its route, its number there and the miner's.
    forwarded: Vec<(Route, u32, u32, Option<Fate>)>,
    /// What the miner was told; none where it waits.
    told: BTreeMap<u32, Option<Fate>>,
    jobs: Vec<u32>,
    links: Vec<LinkNumber>,
}

impl World {
    fn move_on(&mut self, channel: &mut Channel) {
        let link = 1 + LinkNumber::try_from(self.jobs.len()).unwrap();
        self.links.push(link);
        self.jobs.push(attach(channel, link));
    }

    fn submit(&mut self, channel: &mut Channel, job_id: u32, number: u32) {
        let submission = Submission {
            sequence_number: number,
            job_id,
            nonce: number,
            ntime: NTIME,
            version: VERSION,
            rolled: vec![0; 8],
        };
        let told = match channel.submit(&submission) {
            Ok(share) => {
                let numbers = (share.route, share.sequence_number, number, None);
                self.forwarded.push(numbers);
                None
            }
            Err(_) => Some(Fate::Refused),
        };
        self.told.insert(number, told);
    }

    fn accept(&mut self, channel: &mut Channel, which: Index) {
        let Some(&(route, last, ..)) = pick(&self.forwarded, which) else {
            return;
        };
        for share in &mut self.forwarded {
            if share.0 == route && share.1 <= last {
                share.3.get_or_insert(Fate::Accepted);
            }
        }
        channel.accept(route, last);
    }

    fn refuse(&mut self, channel: &mut Channel, which: Index) {
        let waiting: Vec<usize> = (0..self.forwarded.len())
            .filter(|at| self.forwarded[*at].3.is_none())
            .collect();
        let Some(&at) = pick(&waiting, which) else {
            return;
        };
        let (route, upstream_number, number, fate) = &mut self.forwarded[at];
        *fate = Some(Fate::Refused);
        let share = channel.refuse(*route, *upstream_number).unwrap();
        assert_eq!(share.sequence_number, *number);
        self.told.insert(*number, Some(Fate::Refused));
    }

    fn lose(&mut self, channel: &mut Channel, which: Index) {
        let Some(&link) = pick(&self.links, which) else {
            return;
        };
        self.links.retain(|known| *known != link);
        for share in channel.detach(link) {
            let before = self.told.insert(share.sequence_number, Some(Fate::Lost));
            assert_eq!(before, Some(None), "it waited for an answer");
        }
        for share in &mut self.forwarded {
            if share.0.link == link {
                share.3.get_or_insert(Fate::Lost);
            }
        }
    }

    /// A success settles every share up to its number that the miner has had no answer to.
    fn hear(&mut self, channel: &mut Channel) {
        let Some(settled) = channel.take_settled() else {
            return;
        };
        let mut count = 0;
        for (_, told) in self.told.range_mut(..=settled.last_sequence_number) {
            if told.is_none() {
                *told = Some(Fate::Accepted);
                count += 1;
            }
        }
        assert_eq!(settled.count, count);
    }

    /// Nothing was told that the upstream has not said.
    fn check(&self) {
        for (.., number, fate) in &self.forwarded {
            let told = self.told[number];
            assert!(
                told.is_none() || told == *fate,
                "{number}: {told:?}, {fate:?}"
            );
        }
    }
}

fn pick<T>(all: &[T], which: Index) -> Option<&T> {
    (!all.is_empty()).then(|| which.get(all))
}

proptest! {
    #[test]
    fn a_miner_believes_of_each_share_what_its_upstream_has_said(steps in vec(any_step(), 1..80)) {
        let (mut channel, mut world) = (channel(), World::default());
        world.move_on(&mut channel);
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Submit(which) => {
                    let job_id = *which.get(&world.jobs);
                    world.submit(&mut channel, job_id, number);
                }
                Step::Accept(which) => world.accept(&mut channel, which),
                Step::Refuse(which) => world.refuse(&mut channel, which),
                Step::Move => world.move_on(&mut channel),
                Step::Lose(which) => world.lose(&mut channel, which),
            }
            world.hear(&mut channel);
            world.check();
        }
        // In the end every share has an answer.
        while let Some(&link) = world.links.first() {
            let all = world.forwarded.clone();
            for (route, last, ..) in all.into_iter().filter(|share| share.0.link == link) {
                channel.accept(route, last);
                for share in &mut world.forwarded {
                    if share.0 == route && share.1 <= last {
                        share.3.get_or_insert(Fate::Accepted);
                    }
                }
            }
            world.links.remove(0);
            world.hear(&mut channel);
        }
        world.check();
        prop_assert!(world.told.values().all(Option::is_some));
        prop_assert_eq!(channel.unsettled(), 0);
    }
}
